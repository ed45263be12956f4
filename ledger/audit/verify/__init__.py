"""Check that the books are right: the log itself, and everything that follows from it.

The full check reads the log twice in one snapshot, while the ledger keeps running. It reads by position, to check times
and to project the read tables again, and stream by stream, to fold the heads again. Memory is bounded. Disk is needed
for temporary tables as large as the read tables.

- `fast` trusts the log: it compares heads with the last versions and read tables with heads, and checks the sums.
- `since` checks only streams with an event after that position. A position inside a database transaction stands for its
  start. Earlier events of these streams are read as well, but trusted: findings about them are not reported.
  Other streams are trusted, but their events that revoke tokens are projected, and the sums cover all balances.
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
from ledger.audit.verify.streams import check_log, check_orphans, check_streams
from ledger.store import integrity
from ledger.store.connections import Connection, Reader

__all__ = ["Finding", "Progress", "Sources", "json_line", "verify"]


class Sources(NamedTuple):
    """Where the books are kept: `connection` takes the snapshot, and `now` also sees later commits."""

    connection: Connection
    now: Reader
    redis: "Redis"


class Progress(progress.Progress, Protocol):
    """Receives the progress of verification, and notes on what was skipped."""

    def note(self, sentence: str) -> None:
        """Report that something was not checked."""


async def verify(sources: Sources, progress: Progress, *, since: int = 0, fast: bool = False) -> AsyncIterator[Finding]:
    """Check the books and yield each finding; the books are right if there are no findings."""
    connection = sources.connection
    async with snapshot(connection):
        schema = await connection.fetchval("SELECT quote_ident(current_schema())")
        scope = Scope(schema, await integrity.start_of_transaction(connection, since))
        async for finding in (
            _check_heads(connection, progress) if fast else _check_history(connection, scope, progress)
        ):
            yield finding
        async for finding in check_books(connection, scope):
            yield finding
        async for finding in check_orphans(connection):
            yield finding
        try:
            async for finding in check_revocation_cache(connection, sources.now, sources.redis):
                yield finding
        except UNUSABLE as error:
            progress.note(f"the revocation cache was not checked: Redis is not usable: {type(error).__name__}")


async def _check_heads(connection: Connection, progress: Progress) -> AsyncIterator[Finding]:
    progress.begin("heads", await integrity.count_heads(connection))
    async for finding in check_heads(connection, progress.advance):
        yield finding


async def _check_history(connection: Connection, scope: Scope, progress: Progress) -> AsyncIterator[Finding]:
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
