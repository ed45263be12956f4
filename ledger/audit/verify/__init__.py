"""Whether the books are right: the log against itself, and everything that is kept beside it against the log.

The whole check reads the log twice in one snapshot, while the ledger goes on: in the order of positions, for times and
to project the read tables anew, and stream by stream, to fold the heads anew. Memory does not grow with the log, nor
with the number of streams; disk is needed for temporary tables as large as the read tables.

- `fast` trusts the log: heads are compared with the last versions, read tables with heads, and the sums are checked.
- `since` looks at streams that have an event after that position; one in the midst of a transaction stands for its
  beginning. What they were before is folded from their own events, which are trusted: a finding there is not reported.
  The other streams are trusted altogether, except that the events that cut tokens off are taken from all of them, and
  that all balances are summed up.
"""

from collections.abc import AsyncIterator
from typing import NamedTuple, Protocol

from redis.asyncio import Redis

from ledger.audit import progress
from ledger.audit.snapshot import snapshot
from ledger.audit.verify import tables
from ledger.audit.verify.books import check_books
from ledger.audit.verify.commands import check_commands
from ledger.audit.verify.findings import Finding, json_line
from ledger.audit.verify.heads import check_heads
from ledger.audit.verify.reading import Scope
from ledger.audit.verify.revocation_cache import UNUSABLE, check_revocation_cache
from ledger.audit.verify.streams import check_log, check_strangers, check_streams
from ledger.store import integrity
from ledger.store.connections import Connection, Reader

__all__ = ["Finding", "Progress", "Sources", "json_line", "verify"]


class Sources(NamedTuple):
    """Where the books are kept. `connection` takes the snapshot; `now` sees what was committed since."""

    connection: Connection
    now: Reader
    redis: "Redis"


class Progress(progress.Progress, Protocol):
    """Who wants to know how far it is, and what was left out."""

    def note(self, sentence: str) -> None:
        """Something was not checked."""


async def verify(sources: Sources, progress: Progress, *, since: int = 0, fast: bool = False) -> AsyncIterator[Finding]:
    """Check the books and give every finding as it is made; none means that they are right."""
    connection = sources.connection
    async with snapshot(connection):
        schema = await connection.fetchval("SELECT quote_ident(current_schema())")
        scope = Scope(schema, await integrity.start_of_transaction(connection, since))
        async for finding in _heads(connection, progress) if fast else _history(connection, scope, progress):
            yield finding
        async for finding in check_books(connection, scope):
            yield finding
        async for finding in check_strangers(connection):
            yield finding
        try:
            async for finding in check_revocation_cache(connection, sources.now, sources.redis):
                yield finding
        except UNUSABLE as error:
            progress.note(f"the revocation cache was not checked: Redis cannot be used: {type(error).__name__}")


async def _heads(connection: Connection, progress: Progress) -> AsyncIterator[Finding]:
    progress.begin("heads", await integrity.count_heads(connection))
    async for finding in check_heads(connection, progress.advance):
        yield finding


async def _history(connection: Connection, scope: Scope, progress: Progress) -> AsyncIterator[Finding]:
    events = await integrity.count_events(connection, after_position=scope.since)
    progress.begin("the log, by position", events)
    await tables.create_tables(connection, scope)
    async for finding in check_log(connection, scope, progress.advance):
        yield finding
    async for finding in tables.compare(connection, scope):
        yield finding
    progress.begin("the log, by stream", events)
    async for finding in check_streams(connection, scope, progress.advance):
        yield finding
    async for finding in check_commands(connection, scope):
        yield finding
