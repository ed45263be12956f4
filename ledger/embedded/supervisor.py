"""The one process that owns the servers of a data folder: `python -m ledger.embedded.supervisor DATA_FOLDER`.

An open connection to it is a lease. The supervisor takes the folder's lock, starts the servers, restarts one that dies,
and stops both when the last lease ends, however its client ended.
"""

import asyncio
import fcntl
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ledger.embedded.binaries import find_programs
from ledger.embedded.folder import READY, DataFolder, EmbeddedError
from ledger.embedded.identity import choose_identity, make_private
from ledger.embedded.postgres import PostgreSQL
from ledger.embedded.process import Launcher, Process
from ledger.embedded.valkey import Valkey

LOCK_POLL_SECONDS = 0.03
READY_POLL_SECONDS = 0.01
STOP_SECONDS = 30  # for PostgreSQL's last checkpoint, before it is stopped without one
RESTARTS_PER_MINUTE = 10
RESTART_PAUSE_SECONDS = 0.2
MINUTE_SECONDS = 60

Server = PostgreSQL | Valkey
log = logging.getLogger("ledger.embedded")


class Supervisor:
    """The leases on one data folder, and its servers."""

    def __init__(self, folder: DataFolder) -> None:
        self._folder = folder
        self._leases: set[asyncio.StreamWriter] = set()
        self._waiting: set[asyncio.StreamWriter] = set()
        self._down = {PostgreSQL.name, Valkey.name}
        self._last: list[asyncio.StreamWriter] = []  # leases that close when this process ends
        self._work: asyncio.Task[None] | None = None

    async def run(self, spawner: socket.socket) -> None:
        """Serve until the last lease ends. The first lease is the socket shared with the client that started this.

        Raises `EmbeddedError`, whose text every lease gets, if the servers cannot be kept running.
        """
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop)
        loop.add_signal_handler(signal.SIGINT, lambda: None)  # Ctrl-C is for the clients
        self._work = asyncio.create_task(self._serve())
        first = asyncio.create_task(self._hold_lease(*await asyncio.open_unix_connection(sock=spawner)))
        try:
            await asyncio.wait({self._work})
            if not self._work.cancelled():
                self._work.result()
        except EmbeddedError as error:
            self._send(self._leases, " ".join(str(error).split()).encode() + b"\n")
            raise
        finally:
            first.cancel()

    def _stop(self) -> None:
        if self._work is not None and not self._work.cancelling():
            self._work.cancel()  # only once: a second cancellation would interrupt the stopping

    async def _hold_lease(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._work is None or self._work.cancelling():  # too late: the client must find another supervisor
            writer.close()
            return
        self._leases.add(writer)
        self._waiting.add(writer)
        self._announce_ready()
        with suppress(OSError):
            await reader.read(1)
        self._leases.remove(writer)
        self._waiting.discard(writer)
        await asyncio.sleep(0)  # a client may end two leases at once: count both as ended
        if self._leases:
            writer.close()
        else:
            self._last.append(writer)  # open until this process ends, which its client waits for
            self._stop()

    def _announce_ready(self) -> None:
        if not self._down:
            self._send(self._waiting, READY)
            self._waiting.clear()

    @staticmethod
    def _send(leases: set[asyncio.StreamWriter], message: bytes) -> None:
        for writer in leases:
            writer.write(message)

    async def _serve(self) -> None:
        lock = await self._take_lock()
        try:
            programs = find_programs()
            launcher = Launcher(self._folder, choose_identity(self._folder, programs), lock)
            make_private(self._folder.sockets, launcher.identity)
            with _listen_at(self._folder.control) as control:
                listener = await asyncio.start_unix_server(self._hold_lease, sock=control)
                servers = PostgreSQL(self._folder, programs), Valkey(self._folder, programs)
                for server in servers:
                    await server.create(launcher)
                await self._run_servers(servers, launcher)
                listener.close()
        except (OSError, subprocess.SubprocessError) as error:
            raise EmbeddedError(f"the servers of {self._folder.path} cannot run: {error}") from error

    async def _take_lock(self) -> int:
        """Wait until all processes of an earlier supervisor have ended, and take the folder's lock."""
        lock = os.open(self._folder.lock, os.O_RDWR | os.O_CREAT, 0o600)
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                await asyncio.sleep(LOCK_POLL_SECONDS)
            else:
                return lock

    async def _run_servers(self, servers: Iterable[Server], launcher: Launcher) -> None:
        """Run the servers until this task is cancelled or one of them keeps dying."""
        tasks = [asyncio.create_task(self._keep_running(server, launcher)) for server in servers]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            for server in servers:
                server.sweep()
        for task in tasks:
            if not task.cancelled():
                task.result()

    async def _keep_running(self, server: Server, launcher: Launcher) -> None:
        deaths: deque[float] = deque(maxlen=RESTARTS_PER_MINUTE)
        while not deaths or len(deaths) < RESTARTS_PER_MINUTE or time.monotonic() - deaths[0] > MINUTE_SECONDS:
            server.sweep()
            process = launcher.start(
                server.command(), server.name, when_orphaned=server.stop_signal, stdin=server.stdin()
            )
            try:
                await self._watch(server, process)
            finally:
                await process.stop(server.stop_signal, server.insist_signal, ask_seconds=STOP_SECONDS)
            deaths.append(time.monotonic())
            log.warning("%s ended (%s), restarting it", server.name, process.ended.result())
            await asyncio.sleep(RESTART_PAUSE_SECONDS)
        raise EmbeddedError(
            f"{server.name} died {RESTARTS_PER_MINUTE} times in a minute and is not restarted: "
            f"{self._folder.last_lines(server.name)}"
        )

    async def _watch(self, server: Server, process: Process) -> None:
        """Wait until the server ends. New leases wait until it is ready."""
        self._down.add(server.name)
        while not process.ended.done() and not await server.is_ready(process.pid):
            await asyncio.wait({process.ended}, timeout=READY_POLL_SECONDS)
        if not process.ended.done():
            self._down.discard(server.name)
            self._announce_ready()
        await asyncio.wait({process.ended})


@contextmanager
def _listen_at(path: Path) -> Iterator[socket.socket]:
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        try:
            yield listener
        finally:
            path.unlink(missing_ok=True)
            with suppress(OSError):
                path.parent.rmdir()


def main() -> None:
    """Supervise the folder named on the command line, with standard input as the first lease."""
    os.umask(0o077)
    os.chdir("/")
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    try:
        asyncio.run(Supervisor(DataFolder(Path(sys.argv[1]))).run(socket.socket(fileno=0)))
    except EmbeddedError as error:
        log.error("%s", error)  # noqa: TRY400 - its text is enough
        sys.exit(1)


if __name__ == "__main__":
    main()
