"""A worker process: it serves on an inherited socket until SIGTERM, or until its parent process is gone."""

import asyncio
import socket
import sys
from contextlib import suppress

import structlog
import uvloop
from aiohttp import web

from ledger.service.child import CANNOT_LISTEN, SERVING, configure, report, watch_parent
from ledger.service.tracer import open_tracing
from ledger.settings import Settings
from web.app import create_app, make_metrics
from web.handlers.monitoring import DRAINING
from web.server import Runner

BACKLOG = 1024  # connections waiting to be accepted

log = structlog.get_logger("web.worker")  # `__name__` is `__main__` here


def main() -> None:
    """Run a worker.

    The arguments are the worker's number, and the descriptors of lifeline, metrics, listener and, if there is a writer
    process, the socket over which it takes connections.
    """
    settings = configure()
    number, lifeline, file, listener, *dialing = map(int, sys.argv[1:])
    metrics = make_metrics(file, number)
    to_writer = socket.socket(fileno=dialing[0]) if dialing else None
    with open_tracing(settings) as tracer:
        app = create_app(settings, metrics, tracer, to_writer)
        uvloop.run(_serve(settings, socket.socket(fileno=listener), lifeline, app))


async def _serve(settings: Settings, listener: socket.socket, lifeline: int, app: web.Application) -> None:
    stop = watch_parent(lifeline, settings.stop_seconds() - settings.ledger_drain_seconds)
    runner = Runner(app, settings)
    try:
        if not await _set_up(runner, stop.requested):
            return
        await _listen(runner, listener)
        await stop.requested.wait()
        log.info("draining")
        app[DRAINING].set()
        with suppress(TimeoutError):
            async with asyncio.timeout(settings.ledger_drain_seconds):
                await stop.gone.wait()
        await runner.drain(listener)
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
        report(f"{CANNOT_LISTEN} {error.strerror}")
        raise SystemExit(1) from None
    report(SERVING)


if __name__ == "__main__":
    main()
