"""PostgreSQL and Valkey for a service that is configured with neither.

They run from installed wheels and keep their data in one data folder. Every process that names the folder shares them,
and they stop when the last of these processes ends.
"""

import asyncio
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ledger.embedded.folder import READY, DataFolder, EmbeddedError

__all__ = ["EmbeddedError", "Services", "embedded_services"]

SERVING_ROLE = "ledger_serving"
POLL_SECONDS = 0.01
STOP_SECONDS = 60  # longer than the supervisor takes to kill the servers
FIRST_RETRY_SECONDS = 0.1
LONGEST_RETRY_SECONDS = 5.0

log = logging.getLogger(__name__)
_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class Services:
    """The URLs of the servers: `database_url` for the owner. They depend only on the path of the data folder."""

    database_url: str
    redis_url: str

    @property
    def serving_url(self) -> str:
        """The URL of PostgreSQL for the role that serves, which does not own the tables."""
        return self.database_url.replace("://ledger@", f"://{SERVING_ROLE}@", 1)


@asynccontextmanager
async def embedded_services(data_dir: Path, *, timeout_seconds: float = 60) -> AsyncIterator[Services]:
    """Run PostgreSQL and Valkey on a data folder, or share those that already run there.

    They are restarted if they are lost, and stop when the last process leaves. Raises `EmbeddedError` if they are not
    ready in time.
    """
    if sys.platform == "win32":
        raise EmbeddedError("Windows has no embedded servers: set DATABASE_URL and REDIS_URL")
    folder = DataFolder.prepare(data_dir)
    lease = _Lease(folder, timeout_seconds, await _acquire(folder, timeout_seconds))
    keeper = asyncio.create_task(lease.keep())
    try:
        yield Services(folder.database_url, folder.redis_url)
    finally:
        keeper.cancel()
        await asyncio.wait({keeper})
        await lease.release()


class _Lease:
    """A connection to the folder's supervisor. The servers run while it is open."""

    def __init__(self, folder: DataFolder, timeout_seconds: float, connection: _Connection) -> None:
        self._folder = folder
        self._timeout_seconds = timeout_seconds
        self._reader, self._writer = connection

    async def keep(self) -> None:
        """Acquire another lease whenever this one is lost."""
        while True:
            message = b""
            with suppress(OSError):
                message = await self._reader.read()
            reason = message.decode().strip() or "their supervisor has ended"
            log.warning("lost the servers of %s, restarting them: %s", self._folder.path, reason)
            self._writer.close()
            self._reader, self._writer = await self._regain()

    async def release(self) -> None:
        """End the lease. If it is the last one, wait until both servers have stopped."""
        with suppress(OSError):
            async with asyncio.timeout(STOP_SECONDS):
                if not self._writer.is_closing():
                    self._writer.write_eof()
                    await self._reader.read()
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()

    async def _regain(self) -> _Connection:
        """Retry without limit, with pauses that grow up to a bound."""
        pause_seconds = FIRST_RETRY_SECONDS
        while True:
            try:
                connection = await _acquire(self._folder, self._timeout_seconds)
            except EmbeddedError as error:
                log.error("%s; next attempt in %g s", error, pause_seconds)  # noqa: TRY400 - its text is enough
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(2 * pause_seconds, LONGEST_RETRY_SECONDS)
            else:
                log.warning("the servers of %s are back", self._folder.path)
                return connection


async def _acquire(folder: DataFolder, timeout_seconds: float) -> _Connection:
    """Connect to the folder's supervisor, or start one. If several are started at once, the lock lets one serve all."""
    spawned: socket.socket | None = None
    try:
        async with asyncio.timeout(timeout_seconds):
            while (connection := await _connect(folder)) is None:
                if spawned is None:
                    spawned = _spawn(folder)
                _raise_if_ended(spawned, folder)
                await asyncio.sleep(POLL_SECONDS)
            if spawned is not None:
                spawned.close()  # from here on the connection is the lease
                spawned = None
            return connection
    except TimeoutError:
        raise EmbeddedError(
            f"the servers of {folder.path} were not ready within {timeout_seconds:g} seconds: "
            f"see the logs in it; if they are empty, a process still holds {folder.lock}"
        ) from None
    except OSError as error:
        raise EmbeddedError(f"the servers of {folder.path} cannot be started: {error}") from None
    finally:
        if spawned is not None:
            await _abandon(spawned)


async def _connect(folder: DataFolder) -> _Connection | None:
    """Get a lease from the folder's supervisor; None if none runs. Raises `EmbeddedError` if it refuses."""
    if not folder.is_served():
        return None
    try:
        reader, writer = await asyncio.open_unix_connection(folder.control)
    except (FileNotFoundError, ConnectionError):
        return None
    message = b""
    try:
        with suppress(OSError):
            message = await reader.readline()
    finally:
        if message != READY:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
    if message not in {READY, b""}:
        raise EmbeddedError(message.decode().strip())
    return (reader, writer) if message else None


def _spawn(folder: DataFolder) -> socket.socket:
    """Start a supervisor in its own session. The returned socket, which it shares, is the first lease."""
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "ledger.embedded.supervisor", str(folder.path)]
    try:
        with theirs, folder.open_log("supervisor") as output:
            process = subprocess.Popen(  # noqa: S603 - this interpreter with our own module
                command, stdin=theirs.fileno(), stdout=output, stderr=output, start_new_session=True
            )
    except OSError:
        ours.close()
        raise
    threading.Thread(target=process.wait, daemon=True).start()  # so that it leaves no zombie
    ours.setblocking(False)
    return ours


async def _abandon(spawned: socket.socket) -> None:
    """Leave a supervisor that was started for nothing. Unless others use it, wait until it and its servers stop."""
    with spawned, suppress(OSError):
        spawned.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(STOP_SECONDS):
            while await asyncio.get_running_loop().sock_recv(spawned, 4096):
                pass


def _raise_if_ended(spawned: socket.socket, folder: DataFolder) -> None:
    try:
        message = spawned.recv(4096)
    except BlockingIOError:
        return
    if message != READY:
        raise EmbeddedError(
            message.decode().strip()
            or f"the supervisor of {folder.path} ended without a message: {folder.last_lines('supervisor')}"
        )
