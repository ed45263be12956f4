"""What the worker and writer processes share: how they start, and how they learn that they should stop.

The parent kills a process that takes too long to stop. Without a parent, a timer does.
"""

import asyncio
import signal
import sys
from typing import NamedTuple

from ledger.environment.gc import collect_rarely
from ledger.service import logging
from ledger.settings import Settings

# The first word of the line that a process prints once it serves, or cannot.
SERVING = "serving"
CANNOT_LISTEN = "cannot-listen"


def configure() -> Settings:
    """Configure this process as the parent process was, and return the settings."""
    settings = Settings.load_passed_on()
    logging.configure(settings)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides when to stop
    collect_rarely()
    return settings


class Stop(NamedTuple):
    """`requested` is set by SIGTERM, or when the parent process is `gone`."""

    requested: asyncio.Event
    gone: asyncio.Event


def watch_parent(lifeline: int, closing_seconds: float) -> Stop:
    """Return the events that say when to stop. `lifeline` is a pipe that the parent process has the other end of."""
    stop = Stop(asyncio.Event(), asyncio.Event())
    loop = asyncio.get_running_loop()

    def abandoned() -> None:
        loop.remove_reader(lifeline)
        signal.setitimer(signal.ITIMER_REAL, closing_seconds)  # SIGALRM ends the process even if something hangs
        stop.requested.set()
        stop.gone.set()

    loop.add_signal_handler(signal.SIGTERM, stop.requested.set)
    loop.add_reader(lifeline, abandoned)
    return stop


def report(line: str) -> None:
    """Tell the parent process whether this one serves: the line begins with one of the words above."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
