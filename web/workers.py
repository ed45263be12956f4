"""The worker processes: started on one listening socket, restarted when they die, drained when the service stops.

With more than one worker there is also a writer process, which executes the commands of all. Each process has the
reading end of a pipe whose other end is here. If this process is killed, the others see the pipe close, and stop. Their
metrics are in shared memory, those of the process that writes first.
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
from ledger.service.child import CANNOT_LISTEN, SERVING
from ledger.settings import Settings
from ledger.write.link import create_exchange

MAX_RESTARTS_IN_A_ROW = 5
RESTART_PAUSE_SECONDS = 0.2
STEADY_SECONDS = 2  # a process that runs this long has started successfully
WORKER, WRITER, PUBLISHER = "web.worker", "web.writer", "web.publisher"  # the modules that the processes run
_DEATHS = {WORKER: "worker died", WRITER: "writer died", PUBLISHER: "publisher died"}
SLACK_SECONDS = 5  # for a worker to exit after its cleanup


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
    """Run `count` workers, and a writer if there are several, until `stop` is set; call `ready` once all serve.

    The writer stops after the workers, whose commands it executes until then. So does the publisher, if there is one.
    """
    drained = asyncio.Event()
    with _describe_children(settings, listener, count) as children:
        async with asyncio.TaskGroup() as group:
            running = {
                group.create_task(_keep_running(child, stop if child.kind == WORKER else drained)): child.kind
                for child in children
            }
            waiting = group.create_task(_announce(children, ready))
            await stop.wait()
            listener.close()  # new connections are refused at once, instead of never being answered
            waiting.cancel()
            await asyncio.wait([task for task, kind in running.items() if kind == WORKER])
            drained.set()


class _Child(NamedTuple):
    """The arguments of each start of a process, which inherits `descriptors`; `serving` is set once it serves."""

    settings: Settings
    kind: str
    number: int
    descriptors: Sequence[int]
    serving: asyncio.Event


@contextlib.contextmanager
def _describe_children(settings: Settings, listener: socket.socket, count: int) -> Iterator[list[_Child]]:
    """Yield the processes to run, with the memory and the sockets that they share.

    A writer is number 0, and a publisher has the number after the workers.
    """
    numbers = range(1) if count == 1 else range(1, count + 1)
    dialing, accepting = create_exchange()
    file = metrics.create_shared_file(numbers.stop + 1)
    try:
        with dialing, accepting:
            shared = (file, listener.fileno()) if count == 1 else (file, listener.fileno(), dialing.fileno())
            children = [_Child(settings, WORKER, number, shared, asyncio.Event()) for number in numbers]
            if count > 1:
                children.append(_Child(settings, WRITER, 0, (file, accepting.fileno()), asyncio.Event()))
            if settings.publishes:
                children.append(_Child(settings, PUBLISHER, numbers.stop, (file,), asyncio.Event()))
            yield children
    finally:
        os.close(file)


async def _announce(children: Sequence[_Child], ready: Callable[[], None]) -> None:
    for child in children:
        if child.kind != PUBLISHER:  # clients need not wait for it
            await child.serving.wait()
    ready()


async def _keep_running(child: _Child, stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    failures = 0
    while not stop.is_set():
        began = loop.time()
        code = await _run_once(child, stop)
        if stop.is_set():
            return
        failures = 1 if loop.time() - began > STEADY_SECONDS else failures + 1
        log.error(_DEATHS[child.kind], exit_code=code, restarts_in_a_row=failures)
        if failures > MAX_RESTARTS_IN_A_ROW and child.kind != PUBLISHER:  # without which the ledger serves its clients
            raise WorkersFailedError("the workers keep dying; see the log above")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), min(failures, 25) * RESTART_PAUSE_SECONDS)


async def _run_once(child: _Child, stop: asyncio.Event) -> int:
    lifeline_read, lifeline_write = os.pipe()
    arguments = (child.number, lifeline_read, *child.descriptors)
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", child.kind, *map(str, arguments)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=(lifeline_read, *child.descriptors),
            env=child.settings.child_environment(),
        )
    finally:
        os.close(lifeline_read)
    try:
        return await _watch(child, process, stop)
    finally:
        os.close(lifeline_write)


async def _watch(child: _Child, process: asyncio.subprocess.Process, stop: asyncio.Event) -> int:
    exited = asyncio.create_task(process.wait())
    reading = asyncio.create_task(_read_state(child, process))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((reading, stopping), return_when=asyncio.FIRST_COMPLETED)
        if reading.done():
            reading.result()
        await asyncio.wait((exited, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not exited.done():
            process.send_signal(signal.SIGTERM)
            await asyncio.wait((exited,), timeout=child.settings.stop_seconds() + SLACK_SECONDS)
    finally:
        stopping.cancel()
        reading.cancel()
        if not exited.done():
            process.kill()
    return await exited


async def _read_state(child: _Child, process: asyncio.subprocess.Process) -> None:
    """Wait for the one line that a process prints; none if it dies before. Raises `ListenError`."""
    assert process.stdout is not None  # noqa: S101 - it was asked for
    word, _, reason = (await process.stdout.readline()).decode().strip().partition(" ")
    if word == SERVING:
        child.serving.set()
    elif word == CANNOT_LISTEN:  # another process that is bound to the same address listened first
        raise _create_listen_error(child.settings, reason)
