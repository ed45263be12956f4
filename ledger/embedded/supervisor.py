"""The one process that owns the servers of a data folder: `python -m ledger.embedded.supervisor DATA_FOLDER`.

An open connection to it is a lease. It starts the servers, brings back one that dies, and stops both when the
last lease is gone, however that client ended. Only the holder of the folder's lock gets that far.
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
STOP_SECONDS = 30  # for PostgreSQL's last checkpoint; then it is told to stop without
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
        self._unanswered: set[asyncio.StreamWriter] = set()
        self._down = {PostgreSQL.name, Valkey.name}
        self._last: list[asyncio.StreamWriter] = []
        self._work: asyncio.Task[None] | None = None

    async def run(self, spawner: socket.socket) -> None:
        """Serve until the last lease is gone. The socket shared with who started us is the first.

        EmbeddedError, told to every lease, when the servers cannot be kept running.
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
            self._tell(self._leases, " ".join(str(error).split()).encode() + b"\n")
            raise
        finally:
            first.cancel()

    def _stop(self) -> None:
        if self._work is not None and not self._work.cancelling():
            self._work.cancel()  # only once: a second time would cut the stopping short

    async def _hold_lease(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._work is None or self._work.cancelling():  # too late: it has to find another supervisor
            writer.close()
            return
        self._leases.add(writer)
        self._unanswered.add(writer)
        self._answer()
        with suppress(OSError):
            await reader.read(1)
        self._leases.remove(writer)
        self._unanswered.discard(writer)
        await asyncio.sleep(0)  # a client that has just started us leaves two at once; none may see the other
        if self._leases:
            writer.close()
        else:
            self._last.append(writer)  # open until this process is gone, which is what its client waits for
            self._stop()

    def _answer(self) -> None:
        if not self._down:
            self._tell(self._unanswered, READY)
            self._unanswered.clear()

    @staticmethod
    def _tell(leases: set[asyncio.StreamWriter], words: bytes) -> None:
        for writer in leases:
            writer.write(words)

    async def _serve(self) -> None:
        lock = await self._take_lock()
        try:
            programs = find_programs()
            launcher = Launcher(self._folder, choose_identity(self._folder, programs), lock)
            make_private(self._folder.sockets, launcher.identity)
            with _listening_at(self._folder.control) as control:
                door = await asyncio.start_unix_server(self._hold_lease, sock=control)
                servers = PostgreSQL(self._folder, programs), Valkey(self._folder, programs)
                for server in servers:
                    await server.create(launcher)
                await self._run_servers(servers, launcher)
                door.close()
        except (OSError, subprocess.SubprocessError) as error:
            raise EmbeddedError(f"the servers of {self._folder.path} cannot run: {error}") from error

    async def _take_lock(self) -> int:
        """Wait until no process of an earlier set is left, or until nobody waits for us."""
        lock = os.open(self._folder.lock, os.O_RDWR | os.O_CREAT, 0o600)
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                await asyncio.sleep(LOCK_POLL_SECONDS)
            else:
                return lock

    async def _run_servers(self, servers: Iterable[Server], launcher: Launcher) -> None:
        """Run them until we are stopped, or until one keeps dying."""
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
            process = launcher.start(server.command(), server.name, when_orphaned=server.stop_signal)
            try:
                await self._watch(server, process)
            finally:
                await process.stop(server.stop_signal, server.insist_signal, ask_seconds=STOP_SECONDS)
            deaths.append(time.monotonic())
            log.warning("%s ended (%s), it is started again", server.name, process.ended.result())
            await asyncio.sleep(RESTART_PAUSE_SECONDS)
        raise EmbeddedError(
            f"{server.name} died {RESTARTS_PER_MINUTE} times in a minute and is not started again: "
            f"{self._folder.last_lines(server.name)}"
        )

    async def _watch(self, server: Server, process: Process) -> None:
        """Return when the server has ended. While it is not ready, new leases wait."""
        self._down.add(server.name)
        while not process.ended.done() and not await server.is_ready(process.pid):
            await asyncio.wait({process.ended}, timeout=READY_POLL_SECONDS)
        if not process.ended.done():
            self._down.discard(server.name)
            self._answer()
        await asyncio.wait({process.ended})


@contextmanager
def _listening_at(path: Path) -> Iterator[socket.socket]:
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
    """Be the supervisor of the folder named on the command line, with standard input as the first lease."""
    os.umask(0o077)
    os.chdir("/")
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    try:
        asyncio.run(Supervisor(DataFolder(Path(sys.argv[1]))).run(socket.socket(fileno=0)))
    except EmbeddedError as error:
        log.error("%s", error)  # noqa: TRY400 - its text is all there is to say
        sys.exit(1)


if __name__ == "__main__":
    main()
