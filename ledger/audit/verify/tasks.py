"""The tasks of a full check. Each can be done by any process that sees the same snapshot, in any order."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from itertools import zip_longest
from typing import Literal, NamedTuple, TypeAlias

from ledger.audit.verify.books import check_books
from ledger.audit.verify.commands import check_commands
from ledger.audit.verify.findings import Advanced, Difference, Finding
from ledger.audit.verify.reading import Scope, Share
from ledger.audit.verify.streams import check_streams, check_times
from ledger.audit.verify.tables import check_ordered_tables
from ledger.store import integrity
from ledger.store.connections import Connection

Kind: TypeAlias = Literal["books", "times", "commands", "ordered tables", "streams"]
SHARES = 4  # of the streams for each process: a process that is done takes the next one


class Suspicious(NamedTuple):
    """The ledger's own tables break a rule of the books."""


Result = Finding | Difference | Advanced | Suspicious


class Task(NamedTuple):
    """A part of the check, and the share of the streams that it is about."""

    kind: Kind
    share: Share = Share()


async def list_tasks(connection: Connection, processes: int, events: int) -> list[Task]:
    """Return the tasks of some processes; the longest that cannot be divided come first.

    A single process checks the books at the end, when it knows which rows of the read tables are wrong.
    """
    shared = processes > 1
    ids = await integrity.split_streams(connection, SHARES * processes, events=events) if shared else []
    firsts = [Share().first, *ids]
    return [
        *([Task("books")] if shared else []),
        Task("ordered tables"),
        Task("commands"),
        Task("times"),
        *(Task("streams", Share(first, end)) for first, end in zip_longest(firsts, ids)),
    ]


async def prepare(connection: Connection) -> None:
    """Let the transaction read whole tables: results are read to their end, and sorted in memory as far as possible."""
    await connection.execute("SET LOCAL cursor_tuple_fraction = 1; SET LOCAL work_mem = '64MB'")


async def run_task(connection: Connection, scope: Scope, task: Task) -> AsyncIterator[Result]:
    """Yield the results of a task."""
    async for result in _CHECKS[task.kind](connection, scope, task.share):
        yield result


async def _suspect_books(connection: Connection, scope: Scope, _: Share) -> AsyncIterator[Result]:
    async with aclosing(check_books(connection, scope)) as findings:  # its end uses the connection
        async for _finding in findings:
            yield Suspicious()
            break


_CHECKS: Mapping[Kind, Callable[[Connection, Scope, Share], AsyncIterator[Result]]] = {
    "books": _suspect_books,
    "ordered tables": lambda connection, scope, _: check_ordered_tables(connection, scope),
    "commands": lambda connection, scope, _: check_commands(connection, scope),
    "times": lambda connection, scope, _: check_times(connection, scope),
    "streams": check_streams,
}
