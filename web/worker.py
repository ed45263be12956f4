"""One worker process: serves on the socket it was given, until SIGTERM or until whoever started it is gone."""

import asyncio
import gc
import signal
import socket
import sys

import structlog
import uvloop
from aiohttp import web

from ledger import logs
from ledger.settings import Settings
from web.app import create_app
from web.server import Runner

log = structlog.get_logger()


def main() -> None:
    """Run: the arguments are the descriptors of the listening socket and of the lifeline."""
    settings = Settings.load()
    logs.configure(settings)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent says when to stop
    # What the start has made stays for good, and a request leaves no cycles behind: looking for some after every few
    # requests, through all of it, is time that the requests lack.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    uvloop.run(_serve(settings, socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])))


async def _serve(settings: Settings, listener: socket.socket, lifeline: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_reader(lifeline, stop.set)
    runner = Runner(create_app(settings), settings)
    await runner.setup()
    try:
        await web.SockSite(runner, listener, backlog=1024).start()
        sys.stdout.write("serving\n")
        sys.stdout.flush()
        await stop.wait()
        loop.remove_reader(lifeline)
        log.info("draining")
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    main()
