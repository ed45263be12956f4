"""A worker process: it serves on an inherited socket until SIGTERM, or until its parent process is gone.

The parent kills a worker that takes too long to stop. Without a parent, a timer does.
"""

import asyncio
import signal
import socket
import sys
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING

import structlog
import uvloop
from aiohttp import web

from ledger.environment.gc import collect_rarely
from ledger.service import logging
from ledger.settings import Settings
from web.app import create_app, make_metrics
from web.handlers.monitoring import DRAINING
from web.server import Runner
from web.workers import CANNOT_LISTEN, SERVING

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

BACKLOG = 1024  # connections waiting to be accepted

log = structlog.get_logger("web.worker")  # `__name__` is `__main__` here


def main() -> None:
    """Run a worker; the arguments are the descriptors of listener, lifeline and metrics, and the worker's number."""
    settings = Settings.load_passed_on()
    logging.configure(settings)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides when to stop
    collect_rarely()
    listener, lifeline, file, number = map(int, sys.argv[1:])
    metrics = make_metrics(file, number)
    with _tracing(settings) as tracer:
        uvloop.run(_serve(settings, socket.socket(fileno=listener), lifeline, create_app(settings, metrics, tracer)))


def _tracing(settings: Settings) -> "AbstractContextManager[Tracer | None]":
    if settings.ledger_tracing == "off":
        return nullcontext()
    from ledger.service.tracing import open_tracer  # noqa: PLC0415 - it needs an optional dependency

    return open_tracer()


async def _serve(settings: Settings, listener: socket.socket, lifeline: int, app: web.Application) -> None:
    stop, gone = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def abandoned() -> None:
        loop.remove_reader(lifeline)
        closing_seconds = settings.stop_seconds() - settings.ledger_drain_seconds
        signal.setitimer(signal.ITIMER_REAL, closing_seconds)  # SIGALRM ends the process even if something hangs
        stop.set()
        gone.set()

    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_reader(lifeline, abandoned)
    runner = Runner(app, settings)
    try:
        if not await _set_up(runner, stop):
            return
        await _listen(runner, listener)
        await stop.wait()
        log.info("draining")
        app[DRAINING].set()
        with suppress(TimeoutError):
            async with asyncio.timeout(settings.ledger_drain_seconds):
                await gone.wait()
        await runner.drain()
    finally:
        await runner.cleanup()


async def _set_up(runner: Runner, stop: asyncio.Event) -> bool:
    """Open what the application works with, which waits for PostgreSQL; return False if the worker is stopped first."""
    opening, stopping = asyncio.create_task(runner.setup()), asyncio.create_task(stop.wait())
    await asyncio.wait((opening, stopping), return_when=asyncio.FIRST_COMPLETED)
    if not opening.done():
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        return False
    stopping.cancel()
    await opening
    return True


async def _listen(runner: Runner, listener: socket.socket) -> None:
    """Accept connections from now on, and tell the parent process. The first worker lets the shared socket listen."""
    try:
        await web.SockSite(runner, listener, backlog=BACKLOG).start()
    except OSError as error:
        _say(f"{CANNOT_LISTEN} {error.strerror}")
        raise SystemExit(1) from None
    _say(SERVING)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
