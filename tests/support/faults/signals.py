"""Processes of a service that are paused or killed, each by its own id."""

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from tests.support.processes import Ledger, processes


def children(service: Ledger) -> list[int]:
    """List the processes that a service has started: workers, and the writer if there is one."""
    return [row.pid for row in processes() if row.parent == service.pid]


def send(number: signal.Signals, pids: Iterable[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


@contextmanager
def paused(*pids: int) -> Iterator[None]:
    """Stop these processes, as a pause of their machine does, for the block."""
    send(signal.SIGSTOP, pids)
    try:
        yield
    finally:
        send(signal.SIGCONT, pids)
