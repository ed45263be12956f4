"""A TCP proxy with which a test breaks the network between a client and a server.

The proxy keeps its port on the loopback interface until the end, so clients can reconnect after any fault. Apart from
`cut` and `half_close`, which are over at once, a fault lasts until `heal`.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from enum import Enum
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr

from ledger.settings import Settings

HOST = "127.0.0.1"
BACKLOG = 128
CHUNK_BYTES = 65_536
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with RST instead of FIN

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Direction(Enum):
    TO_SERVER = "to server"
    TO_CLIENT = "to client"


class Proxy:
    """Passes bytes on between clients and one server, as far as the test lets it."""

    def __init__(self, connect: Callable[[], Awaitable[Stream]]) -> None:
        self.cuts = 0
        self._connect = connect
        self._loop = asyncio.get_running_loop()
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._socket = _bind(0)
        self._is_listening = False
        self._passes = asyncio.Event()
        self._discards = False
        self._delay_seconds = 0.0
        self._chunks_left: dict[Direction, int] = {}
        self.heal()

    @classmethod
    @asynccontextmanager
    async def to(cls, host: str, port: int) -> AsyncIterator[Self]:
        """Run a proxy in front of the server at this address."""
        async with cls._running(lambda: asyncio.open_connection(host, port)) as proxy:
            yield proxy

    @classmethod
    @asynccontextmanager
    async def to_database(cls, settings: Settings) -> AsyncIterator[Self]:
        """Run a proxy in front of the PostgreSQL of these settings, which listens on a Unix socket."""
        (folder,) = parse_qs(urlsplit(settings.database_dsn()).query)["host"]
        async with cls.to_socket(Path(folder) / ".s.PGSQL.5432") as proxy:
            yield proxy

    @classmethod
    @asynccontextmanager
    async def to_socket(cls, path: Path) -> AsyncIterator[Self]:
        """Run a proxy in front of the server at this Unix socket."""
        async with cls._running(lambda: asyncio.open_unix_connection(path)) as proxy:
            yield proxy

    @property
    def address(self) -> tuple[str, int]:
        """Return the host and the port that clients connect to."""
        host, port = self._socket.getsockname()
        return host, port

    def database_url(self, settings: Settings, *, user: str = "ledger") -> str:
        """Return the URL of the settings' database behind this proxy; `user` may include a password."""
        database = urlsplit(settings.database_dsn()).path
        return "postgresql://{}@{}:{}{}?sslmode=disable".format(user, *self.address, database)

    def database_settings(self, settings: Settings) -> Settings:
        """Return these settings with the database behind this proxy."""
        return settings.model_copy(update={"database_url": SecretStr(self.database_url(settings))})

    def freeze(self) -> None:
        """Hold back all bytes; `heal` delivers them."""
        self._passes.clear()

    def delay(self, seconds: float) -> None:
        """Hold back each chunk of bytes for this long."""
        self._delay_seconds = seconds

    def black_hole(self) -> None:
        """Discard all bytes without closing a connection; `heal` resets the connections that lost some."""
        self._discards = True
        for connection in self._connections:
            connection.is_lost = True

    def strand(self) -> None:
        """Discard the bytes of all open connections without closing one, and tell neither side; new ones work."""
        for connection in self._connections:
            connection.is_lost = True

    def refuse(self) -> None:
        """Reset all connections and refuse new ones, as if the server had been killed."""
        if self._is_listening:
            self._is_listening = False
            self._loop.remove_reader(self._socket)
            _, port = self.address
            self._socket.close()
            self._socket = _bind(port)  # nobody else may get the port
        self.cut()

    def cut(self) -> None:
        """Reset all connections; new ones work."""
        for connection in self._connections:
            connection.reset()

    def cut_at(self, direction: Direction, chunk: int) -> None:
        """Reset a connection instead of passing on the n-th chunk from now in this direction; `cuts` counts it."""
        self._chunks_left = {direction: chunk}

    def half_close(self, direction: Direction = Direction.TO_CLIENT) -> None:
        """End all connections in one direction, and discard what comes later; the other direction stays open."""
        for connection in self._connections:
            connection.end(direction)

    def heal(self) -> None:
        """End all faults. Connections that lost bytes are reset."""
        self._delay_seconds, self._discards, self._chunks_left = 0.0, False, {}
        self._passes.set()
        for connection in self._connections:
            if connection.is_lost:
                connection.reset()
        if not self._is_listening:
            self._is_listening = True
            self._socket.listen(BACKLOG)
            self._loop.add_reader(self._socket, self._accept)

    @classmethod
    @asynccontextmanager
    async def _running(cls, connect: Callable[[], Awaitable[Stream]]) -> AsyncIterator[Self]:
        proxy = cls(connect)
        try:
            yield proxy
        finally:
            await proxy._close()

    async def _close(self) -> None:
        self.refuse()
        self._socket.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self) -> None:
        with suppress(BlockingIOError, ConnectionAbortedError):
            accepted, _ = self._socket.accept()
            task = self._loop.create_task(self._serve(accepted))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, accepted: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=accepted)
        connection = _Connection(writer, is_lost=self._discards)
        self._connections.add(connection)
        try:
            await self._passes.wait()
            await self._carry(connection, reader)
        except OSError:  # the server cannot be reached
            connection.reset()
        finally:
            self._connections.discard(connection)
            await connection.close()

    async def _carry(self, connection: "_Connection", from_client: asyncio.StreamReader) -> None:
        sources = {Direction.TO_SERVER: from_client}
        if not connection.is_lost:
            sources[Direction.TO_CLIENT], connection.writers[Direction.TO_SERVER] = await self._connect()
        await asyncio.gather(*(self._pump(connection, *source) for source in sources.items()))

    async def _pump(self, connection: "_Connection", direction: Direction, reader: asyncio.StreamReader) -> None:
        try:
            while chunk := await reader.read(CHUNK_BYTES):
                await self._wait_to_pass()
                if self._is_to_cut(direction):
                    self.cuts += 1
                    connection.reset()
                await connection.write(direction, chunk)
            await self._wait_to_pass()
            connection.end(direction)
        except OSError:  # one end was reset, so the other is, unless nothing passes between them
            if not connection.is_lost:
                connection.reset()

    async def _wait_to_pass(self) -> None:
        if self._delay_seconds:
            await asyncio.sleep(self._delay_seconds)
        await self._passes.wait()

    def _is_to_cut(self, direction: Direction) -> bool:
        if direction not in self._chunks_left:
            return False
        self._chunks_left[direction] -= 1
        return self._chunks_left[direction] == 0


class _Connection:
    """A client's connection to the proxy, and the proxy's to the server unless it was never opened."""

    def __init__(self, client: asyncio.StreamWriter, *, is_lost: bool) -> None:
        self.writers = {Direction.TO_CLIENT: client}
        self.is_lost = is_lost  # some bytes were discarded
        self._ended: set[Direction] = set()

    async def write(self, direction: Direction, chunk: bytes) -> None:
        writer = self.writers.get(direction)
        if writer is not None and not self._drops(direction, writer):
            writer.write(chunk)
            await writer.drain()

    def end(self, direction: Direction) -> None:
        writer = self.writers.get(direction)
        if writer is not None and not self._drops(direction, writer):
            self._ended.add(direction)
            writer.write_eof()

    def reset(self) -> None:
        for writer in self.writers.values():
            if not writer.transport.is_closing():
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                writer.transport.abort()

    async def close(self) -> None:
        for writer in self.writers.values():
            writer.close()
        for writer in self.writers.values():
            with suppress(OSError):
                await writer.wait_closed()

    def _drops(self, direction: Direction, writer: asyncio.StreamWriter) -> bool:
        return self.is_lost or direction in self._ended or writer.transport.is_closing()


def _bind(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((HOST, port))
    bound.setblocking(False)
    return bound
