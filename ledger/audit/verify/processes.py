"""Share the tasks of a check among processes, which all see the snapshot of one database transaction.

Each process takes the next task when it is done with one. They end with this process: each ends when its standard input
does. If one of them dies or fails, so does the check.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple, TypeAlias

from ledger.audit.verify.frames import read_frame, write_frame
from ledger.audit.verify.reading import Scope
from ledger.audit.verify.tasks import Result, Task
from ledger.errors import LedgerError
from ledger.settings import Settings
from ledger.store.connections import Connection

LEAST_EVENTS = 100_000  # that a log has if it is worth the start of processes
WAITING_FRAMES = 64  # results that wait to be read; the processes wait, too, when there are more

_Process: TypeAlias = asyncio.subprocess.Process
_Queue: TypeAlias = "asyncio.Queue[Sequence[Result] | Exception]"


class CheckProcessError(LedgerError):
    """A process that checks a part of the ledger has ended too early."""


class Processes(NamedTuple):
    """How many processes share the check of a log of at least so many events, and how they find the database."""

    settings: Settings
    number: int
    least_events: int = LEAST_EVENTS


def count_cores() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


async def run_tasks_in_processes(
    processes: Processes, connection: Connection, scope: Scope, tasks: Sequence[Task]
) -> AsyncGenerator[Result, None]:
    """Yield the results of all tasks, as they come. Raises `CheckProcessError` if a process ends too early."""
    snapshot = await connection.fetchval("SELECT pg_export_snapshot()")
    waiting = list(reversed(tasks))
    results: _Queue = asyncio.Queue(WAITING_FRAMES)
    working = [
        asyncio.create_task(_work_and_report(processes.settings, (snapshot, scope), waiting, results))
        for _ in range(min(processes.number, len(tasks)))
    ]
    try:
        at_work = len(working)
        while at_work:
            found = await results.get()
            if isinstance(found, Exception):
                raise found
            at_work -= not found
            for result in found:
                yield result
    finally:
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)


async def _work_and_report(settings: Settings, start: object, waiting: list[Task], results: _Queue) -> None:
    """Let one process do tasks until none is left. An empty result says that it has ended; an error, why."""
    try:
        async with _start_process(settings) as process:
            await _work(process, start, waiting, results)
    except (OSError, EOFError) as error:
        await results.put(CheckProcessError(f"a process of the check could not be used: {error}"))
    except CheckProcessError as error:
        await results.put(error)
    else:
        await results.put(())


async def _work(process: _Process, start: object, waiting: list[Task], results: _Queue) -> None:
    assert process.stdin is not None  # noqa: S101 - both were asked for
    assert process.stdout is not None  # noqa: S101
    write_frame(process.stdin, start)
    while waiting:
        write_frame(process.stdin, waiting.pop())
        while found := await _read_results(process, process.stdout):
            await results.put(found)


async def _read_results(process: _Process, output: asyncio.StreamReader) -> Sequence[Result]:
    """Return the next results of a task; none if it is done."""
    try:
        answer = await read_frame(output)
    except asyncio.IncompleteReadError:
        status = await process.wait()
        raise CheckProcessError(f"a process of the check has ended with status {status}; run the check again") from None
    if isinstance(answer, str):
        raise CheckProcessError(f"a process of the check has failed: {answer}")
    found: Sequence[Result] = answer
    return found


@asynccontextmanager
async def _start_process(settings: Settings) -> AsyncIterator[_Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ledger.audit.verify.process"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=settings.child_environment(),
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):  # it has ended already
            process.kill()
        await process.wait()
