"""The worker processes: started on one listening socket, restarted when they die, drained when the service stops.

Each worker holds the reading end of a pipe whose other end is here: should this process be killed, the workers see it
close and stop by themselves.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable

import structlog

from ledger.settings import Settings

MAX_RESTARTS_IN_A_ROW = 5
RESTART_PAUSE_SECONDS = 0.2
STEADY_SECONDS = 10  # a worker that lived this long has started well

log = structlog.get_logger()


class WorkersFailedError(Exception):
    """The workers keep dying."""


def listen(settings: Settings) -> socket.socket:
    """Bind the service's socket. Raises `OSError`."""
    family = socket.AF_INET6 if ":" in settings.service_host else socket.AF_INET
    return socket.create_server((settings.service_host, settings.service_port), family=family, backlog=1024)


async def run_workers(
    settings: Settings, listener: socket.socket, count: int, *, ready: Callable[[], None], stop: asyncio.Event
) -> None:
    """Run `count` workers until `stop` is set; call `ready` once all of them serve."""
    started = [asyncio.Event() for _ in range(count)]
    async with asyncio.TaskGroup() as group:
        for serving in started:
            group.create_task(_keep_running(settings, listener, serving, stop))
        waiting = group.create_task(_announce(started, ready))
        await stop.wait()
        listener.close()  # whoever comes now is refused at once, instead of never being answered
        waiting.cancel()


async def _announce(started: list[asyncio.Event], ready: Callable[[], None]) -> None:
    for serving in started:
        await serving.wait()
    ready()


async def _keep_running(
    settings: Settings, listener: socket.socket, serving: asyncio.Event, stop: asyncio.Event
) -> None:
    loop = asyncio.get_running_loop()
    failures = 0
    while not stop.is_set():
        began = loop.time()
        code = await _run_once(settings, listener, serving, stop)
        if stop.is_set():
            return
        failures = 1 if loop.time() - began > STEADY_SECONDS else failures + 1
        log.error("worker died", exit_code=code, restarts_in_a_row=failures)
        if failures > MAX_RESTARTS_IN_A_ROW:
            raise WorkersFailedError("the workers keep dying; see the log above")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), RESTART_PAUSE_SECONDS)


async def _run_once(settings: Settings, listener: socket.socket, serving: asyncio.Event, stop: asyncio.Event) -> int:
    lifeline_read, lifeline_write = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "web.worker", str(listener.fileno()), str(lifeline_read)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=(listener.fileno(), lifeline_read),
            env={**os.environ, **settings.environment()},
        )
    finally:
        os.close(lifeline_read)
    try:
        return await _watch(settings, process, serving, stop)
    finally:
        os.close(lifeline_write)


async def _watch(
    settings: Settings, process: asyncio.subprocess.Process, serving: asyncio.Event, stop: asyncio.Event
) -> int:
    assert process.stdout is not None  # noqa: S101 - it was asked for
    exited = asyncio.create_task(process.wait())
    stopping = asyncio.create_task(stop.wait())
    try:
        if await process.stdout.readline():  # its one line: it serves
            serving.set()
        await asyncio.wait((exited, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not exited.done():
            process.send_signal(signal.SIGTERM)
            # Draining takes up to `shutdown_seconds` for requests, and as long again for the committer's queue.
            await asyncio.wait((exited,), timeout=2 * settings.ledger_shutdown_seconds + 5)
    finally:
        stopping.cancel()
        if not exited.done():
            process.kill()
    return await exited
