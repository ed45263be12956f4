"""The connection that a committer writes on. Nothing that runs on it is ever cancelled.

PostgreSQL takes a cancel request during a COMMIT that waits for a synchronous standby as "stop waiting": the
transaction is then visible here, but not on the standby. So a statement that takes too long is left to itself: the
socket is dropped, and the next connection looks up whether the statement was executed.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from ledger.errors import DatabaseError
from ledger.store import log as event_log
from ledger.store.connections import UNREACHABLE, Connection
from ledger.values.asyncpg_private import count_unsent_bytes

CONNECT_SECONDS = 2.0  # for one attempt; a server that accepts and says nothing must not take the whole patience
MAX_PAUSE_SECONDS = 0.2  # between two attempts
FLUSH_SECONDS = 0.005  # some ten times what a large group takes to be sent; a network that is stuck takes longer

log = structlog.get_logger(__name__)


class WriteConnection:
    """Opens a connection with `connect` when one is needed, and again after `drop`.

    `warned` is set when the server has sent a warning: it may have stopped waiting for a standby.
    """

    def __init__(self, connect: Callable[[], Awaitable[Connection]]) -> None:
        self._connect = connect
        self._connection: Connection | None = None
        self._closing = False
        self.warned = False

    async def get(self) -> Connection:
        """Return the open connection, or open one, however long that takes. Raises `DatabaseError` once closing."""
        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        pause = 0.02
        while True:
            try:
                return await self._open()
            except UNREACHABLE as error:
                if self._closing:
                    raise DatabaseError("PostgreSQL cannot be reached") from error
            await asyncio.sleep(pause)
            pause = min(2 * pause, MAX_PAUSE_SECONDS)

    async def _open(self) -> Connection:
        async with asyncio.timeout(CONNECT_SECONDS):
            self._connection = connection = await self._connect()
        self.warned = False
        connection.add_log_listener(self._note_warning)
        return connection

    async def flush(self) -> None:
        """Let the event loop send what tasks write in this turn, for a short time at most.

        A large group does not fit into the socket's buffer, and PostgreSQL begins with it once it has all of it. So the
        event loop should not be kept busy before.
        """
        loop = asyncio.get_running_loop()
        ends = loop.time() + FLUSH_SECONDS
        await asyncio.sleep(0)
        while self._has_unsent_bytes() and loop.time() < ends:  # noqa: ASYNC110 - asyncpg has no event for it
            await asyncio.sleep(0)

    def _has_unsent_bytes(self) -> bool:
        connection = self._connection
        return connection is not None and not connection.is_closed() and count_unsent_bytes(connection) > 0

    def _note_warning(self, *_: object) -> None:
        self.warned = True

    def drop(self) -> None:
        """Drop the socket; what waits on the connection fails at once, and what runs in PostgreSQL goes on."""
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed():
            connection.terminate()

    async def is_cut_off(self) -> bool:
        """Return whether PostgreSQL has nothing to do for the connection, although a statement runs on it here.

        Then the network has lost the statement or its result without telling either end.
        """
        connection = self._connection
        if connection is None or connection.is_closed():
            return False
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                other = await self._connect()
                try:
                    return await event_log.is_idle(other, connection.get_server_pid())
                finally:
                    other.terminate()
        except UNREACHABLE:
            return False

    def stop_trying(self) -> None:
        """Let `get` fail instead of waiting for a server that is away."""
        self._closing = True

    async def close(self) -> None:
        """Close the connection; nothing runs on it."""
        connection, self._connection = self._connection, None
        if connection is None or connection.is_closed():
            return
        try:
            async with asyncio.timeout(1):
                await connection.close()
        except UNREACHABLE:
            connection.terminate()
