"""The worker processes: started on one listening socket, restarted when they die, drained when the service stops.

Each worker has the reading end of a pipe whose other end is here. If this process is killed, the workers see the pipe
close, and stop. Their metrics are in shared memory.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import structlog

from ledger.service import metrics
from ledger.settings import Settings

MAX_RESTARTS_IN_A_ROW = 5
RESTART_PAUSE_SECONDS = 0.2
STEADY_SECONDS = 10  # a worker that runs this long has started successfully
SLACK_SECONDS = 5  # for a worker to exit after its cleanup

# The first word of the line that a worker prints once it serves, or cannot.
SERVING = "serving"
CANNOT_LISTEN = "cannot-listen"

log = structlog.get_logger(__name__)


class WorkersFailedError(Exception):
    """The workers keep dying."""


class ListenError(Exception):
    """The service's address cannot be used."""


@contextlib.contextmanager
def bound(settings: Settings) -> Iterator[socket.socket]:
    """Yield a socket bound to the service's address; a worker that serves listens on it. Raises `ListenError`."""
    family = socket.AF_INET6 if ":" in settings.service_host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        with _explain_address(settings):
            listener.bind((settings.service_host, settings.service_port))
        yield listener


@contextlib.contextmanager
def _explain_address(settings: Settings) -> Iterator[None]:
    """Raise `ListenError` for an address that cannot be used, with the settings that change it."""
    try:
        yield
    except OSError as error:
        raise _create_listen_error(settings, str(error.strerror)) from error


def _create_listen_error(settings: Settings, reason: str) -> ListenError:
    address = f"{settings.service_host}:{settings.service_port}"
    return ListenError(f"{address}: {reason}; change SERVICE_PORT or SERVICE_HOST")


async def run_workers(
    settings: Settings, listener: socket.socket, count: int, *, ready: Callable[[], None], stop: asyncio.Event
) -> None:
    """Run `count` workers until `stop` is set; call `ready` once all of them serve."""
    file = metrics.create_shared_file(count)
    workers = [_Worker(settings, listener, asyncio.Event(), file, number) for number in range(count)]
    try:
        async with asyncio.TaskGroup() as group:
            for worker in workers:
                group.create_task(_keep_running(worker, stop))
            waiting = group.create_task(_announce(workers, ready))
            await stop.wait()
            listener.close()  # new connections are refused at once, instead of never being answered
            waiting.cancel()
    finally:
        os.close(file)


class _Worker(NamedTuple):
    """The arguments of each start of a worker; `serving` is set once it serves."""

    settings: Settings
    listener: socket.socket
    serving: asyncio.Event
    metrics_file: int
    number: int


async def _announce(workers: Sequence[_Worker], ready: Callable[[], None]) -> None:
    for worker in workers:
        await worker.serving.wait()
    ready()


async def _keep_running(worker: _Worker, stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    failures = 0
    while not stop.is_set():
        began = loop.time()
        code = await _run_once(worker, stop)
        if stop.is_set():
            return
        failures = 1 if loop.time() - began > STEADY_SECONDS else failures + 1
        log.error("worker died", exit_code=code, restarts_in_a_row=failures)
        if failures > MAX_RESTARTS_IN_A_ROW:
            raise WorkersFailedError("the workers keep dying; see the log above")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), RESTART_PAUSE_SECONDS)


async def _run_once(worker: _Worker, stop: asyncio.Event) -> int:
    lifeline_read, lifeline_write = os.pipe()
    descriptors = (worker.listener.fileno(), lifeline_read, worker.metrics_file)
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "web.worker", *map(str, descriptors), str(worker.number)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=descriptors,
            env=worker.settings.child_environment(),
        )
    finally:
        os.close(lifeline_read)
    try:
        return await _watch(worker, process, stop)
    finally:
        os.close(lifeline_write)


async def _watch(worker: _Worker, process: asyncio.subprocess.Process, stop: asyncio.Event) -> int:
    exited = asyncio.create_task(process.wait())
    reading = asyncio.create_task(_read_state(worker, process))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((reading, stopping), return_when=asyncio.FIRST_COMPLETED)
        if reading.done():
            reading.result()
        await asyncio.wait((exited, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not exited.done():
            process.send_signal(signal.SIGTERM)
            await asyncio.wait((exited,), timeout=worker.settings.stop_seconds() + SLACK_SECONDS)
    finally:
        stopping.cancel()
        reading.cancel()
        if not exited.done():
            process.kill()
    return await exited


async def _read_state(worker: _Worker, process: asyncio.subprocess.Process) -> None:
    """Wait for the one line that a worker prints; none if it dies before. Raises `ListenError`."""
    assert process.stdout is not None  # noqa: S101 - it was asked for
    word, _, reason = (await process.stdout.readline()).decode().strip().partition(" ")
    if word == SERVING:
        worker.serving.set()
    elif word == CANNOT_LISTEN:  # another process that is bound to the same address listened first
        raise _create_listen_error(worker.settings, reason)
