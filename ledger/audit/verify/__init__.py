"""Check that the books are right: the schema, the log itself, and everything that follows from it.

The full check reads the log once in one snapshot, stream by stream, while the ledger keeps running: it folds the heads
again, and projects the read tables again. A long log is shared by processes, which all see the same snapshot. Memory is
bounded.

- `fast` trusts the log: it compares heads with the last versions and read tables with heads, and checks the sums.
- `since` checks only streams with an event after that position. A position inside a database transaction stands for its
  start. Earlier events of these streams are read as well, but trusted: findings about them are not reported.
  Other streams are trusted, but their events that revoke tokens are projected, and the sums cover all balances.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import NamedTuple, Protocol

from redis.asyncio import Redis

from ledger.audit import progress
from ledger.audit.snapshot import snapshot
from ledger.audit.verify.books import check_books
from ledger.audit.verify.corrections import Corrections
from ledger.audit.verify.findings import Advanced, Difference, Finding, json_line, judge_difference
from ledger.audit.verify.heads import check_heads
from ledger.audit.verify.processes import Processes, run_tasks_in_processes
from ledger.audit.verify.reading import Scope
from ledger.audit.verify.revocation_cache import UNUSABLE, check_revocation_cache
from ledger.audit.verify.schema import check_schema
from ledger.audit.verify.streams import check_orphans
from ledger.audit.verify.tasks import Result, Suspicious, list_tasks, prepare, run_task
from ledger.store import integrity
from ledger.store.connections import Connection, Reader

__all__ = ["Finding", "Processes", "Progress", "Sources", "json_line", "verify"]


class Sources(NamedTuple):
    """Where the books are kept: `connection` takes the snapshot, and `now` also sees later commits."""

    connection: Connection
    now: Reader
    redis: "Redis"


class Progress(progress.Progress, Protocol):
    """Receives the progress of verification, and notes on what was skipped."""

    def note(self, sentence: str) -> None:
        """Report that something was not checked."""


async def verify(
    sources: Sources, progress: Progress, *, since: int = 0, fast: bool = False, processes: Processes | None = None
) -> AsyncGenerator[Finding, None]:
    """Check the books and yield each finding; the books are right if there are no findings.

    Without `processes`, or if the log is short, this process does all the work. A caller that leaves before the end
    closes the generator.
    """
    connection = sources.connection
    async for finding in check_schema(sources.now):
        yield finding
    async with snapshot(connection):
        await prepare(connection)
        schema = await connection.fetchval("SELECT quote_ident(current_schema())")
        scope = Scope(schema, await integrity.start_of_transaction(connection, since))
        checking = (
            _check_heads(connection, scope, progress)
            if fast
            else _check_history(connection, scope, progress, processes)
        )
        async with aclosing(checking) as findings:  # before the snapshot is rolled back
            async for finding in findings:
                yield finding
        async for finding in check_orphans(connection):
            yield finding
        try:
            async for finding in check_revocation_cache(connection, sources.now, sources.redis):
                yield finding
        except UNUSABLE as error:
            progress.note(f"the revocation cache was not checked: Redis is not usable: {type(error).__name__}")


async def _check_heads(connection: Connection, scope: Scope, progress: Progress) -> AsyncGenerator[Finding, None]:
    progress.begin("heads", await integrity.count_heads(connection))
    async for finding in check_heads(connection, progress.advance):
        yield finding
    async with aclosing(check_books(connection, scope)) as findings:
        async for finding in findings:
            yield finding


async def _check_history(
    connection: Connection, scope: Scope, progress: Progress, processes: Processes | None
) -> AsyncGenerator[Finding, None]:
    events = await integrity.count_events(connection, after_position=scope.since)
    progress.begin("the log, by stream", events)
    number = 1 if processes is None or scope.since or events < processes.least_events else processes.number
    corrections = Corrections(connection, scope)
    if scope.since:
        await integrity.note_changed_streams(connection, scope.since)
        await corrections.create()
    check_again = number == 1
    async with aclosing(_run_tasks(connection, scope, processes if number > 1 else None, events)) as results:
        async for result in results:
            match result:
                case Finding():
                    await corrections.leave_out(result)
                    yield result
                case Difference():
                    await corrections.add([result])
                    for finding in judge_difference(result):
                        yield finding
                case Advanced(count):
                    progress.advance(count)
                case Suspicious():
                    check_again = True
    if check_again or corrections.needed:
        await corrections.show()
        async with aclosing(check_books(connection, scope)) as findings:
            async for finding in findings:
                yield finding


async def _run_tasks(
    connection: Connection, scope: Scope, processes: Processes | None, events: int
) -> AsyncGenerator[Result, None]:
    tasks = await list_tasks(connection, 1 if processes is None else processes.number, events)
    if processes is not None:
        async with aclosing(run_tasks_in_processes(processes, connection, scope, tasks)) as results:
            async for result in results:
                yield result
        return
    for task in tasks:
        async for result in run_task(connection, scope, task):
            yield result
