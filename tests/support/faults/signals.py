"""Processes of a service that are paused or killed, each by its own id."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

from tests.support.processes import Ledger, processes

ATTEMPTS = 30
MOMENT_SECONDS = 0.1
HELD = """SELECT count(*) FROM pg_stat_activity
          WHERE datname = current_database() AND application_name = 'ledger' AND state = 'idle in transaction'
            AND state_change < clock_timestamp() - make_interval(secs => $1)"""


def children(service: Ledger) -> list[int]:
    """List the processes that a service has started: workers, and the writer if there is one."""
    return [row.pid for row in processes() if row.parent == service.pid]


def send(number: signal.Signals, pids: Iterable[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


@contextmanager
def halt(*pids: int) -> Iterator[None]:
    """Stop these processes for the block, wherever they are."""
    try:
        send(signal.SIGSTOP, pids)
        yield
    finally:
        send(signal.SIGCONT, pids)


@asynccontextmanager
async def pause(connection: Any, *pids: int) -> AsyncIterator[None]:
    """Stop these processes, as a pause of their machine does, for the block.

    If possible they are stopped in the middle of a database transaction, in which they may hold locks.
    """
    try:
        for _ in range(ATTEMPTS):
            send(signal.SIGSTOP, pids)
            await asyncio.sleep(MOMENT_SECONDS)
            if await connection.fetchval(HELD, MOMENT_SECONDS / 2):
                break
            send(signal.SIGCONT, pids)
            await asyncio.sleep(MOMENT_SECONDS / 10)
        send(signal.SIGSTOP, pids)
        yield
    finally:
        send(signal.SIGCONT, pids)
