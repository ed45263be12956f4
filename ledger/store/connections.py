"""Connections to PostgreSQL and the pool of them; asyncpg's classes take a type parameter in its stubs only.

A statement of the pool ends by the deadline of its request: the connection is then terminated. Nothing is cancelled,
because asyncpg cancels a statement over a new connection, and waits for that without a bound.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import asyncpg
import structlog

from ledger.concurrency.deadline import find_deadline

if TYPE_CHECKING:
    from ledger.store.replica import ReplicaReader

    Connection: TypeAlias = asyncpg.Connection[Any]
else:
    Connection = asyncpg.Connection

T = TypeVar("T")

log = structlog.get_logger(__name__)

STATEMENT_SECONDS = 30  # for statements outside requests
CONNECT_SECONDS = 2.0  # for one attempt: a server that accepts and says nothing must not take the whole deadline
IDLE_SECONDS = 300.0  # after which a connection that is not needed is closed
CLOSE_SECONDS = 1.0
SWEEP_SECONDS = 0.1  # between two looks at the deadlines
FIRST_PAUSE_SECONDS = 0.02  # between two attempts to connect, and then ever longer
DOUBT_SECONDS = 1.0  # after which the pool asks PostgreSQL whether a statement still runs
MAX_PAUSE_SECONDS = 0.5

# Errors that mean PostgreSQL is down, shutting down or starting. asyncpg itself raises `InterfaceError` on a closed
# connection, and `InternalClientError` if the connection ends while a statement is sent.
UNREACHABLE = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.ObjectNotInPrerequisiteStateError,  # the database allows no connections
)


class DatabaseAwayError(asyncpg.InterfaceError):
    """PostgreSQL did not answer by the deadline; nothing has changed."""


class _Lease:
    __slots__ = ("asked_at", "deadline", "doubtable")

    def __init__(self, deadline: float, now: float, *, doubtable: bool) -> None:
        self.deadline = deadline
        self.asked_at = now
        self.doubtable = doubtable


class Lent:
    """A connection that a pool has lent for some time."""

    def __init__(self, connection: Connection, lease: _Lease) -> None:
        self.connection = connection
        self._lease = lease

    def renew(self, seconds: float) -> None:
        """Lend it for this time from now on."""
        self._lease.deadline = asyncio.get_running_loop().time() + seconds


class Pool:
    """Up to `max_size` connections that queries share; the last one used is the next one used.

    A read whose connection is lost is repeated on another one until its deadline. So is a read of which PostgreSQL
    knows nothing although it runs here: the network has lost it.
    """

    retry_seconds: float | None = None  # for which a lost read is repeated, and connecting tried; None: to its deadline

    def __init__(self, connect: Callable[[], Awaitable[Connection]], *, max_size: int) -> None:
        self._connect = connect
        self._max_size = max_size
        self._size = 0
        self._idle: list[tuple[Connection, float]] = []
        self._leases: dict[Connection, _Lease] = {}
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._failures = 0  # since the last read that has succeeded
        self._sweeping = self._loop.create_task(self._sweep(), name="pool")
        self._asking: asyncio.Task[None] | None = None

    async def fetch(self, query: str, *values: Any) -> list[asyncpg.Record]:
        """Return the rows of a read."""
        return await self.read(Connection.fetch, query, values)

    async def fetchrow(self, query: str, *values: Any) -> asyncpg.Record | None:
        """Return the first row of a read."""
        return await self.read(Connection.fetchrow, query, values)

    async def fetchval(self, query: str, *values: Any) -> Any:
        """Return the first column of the first row of a read."""
        return await self.read(Connection.fetchval, query, values)

    @asynccontextmanager
    async def acquire(self, *, seconds: float = STATEMENT_SECONDS) -> AsyncIterator["Lent"]:
        """Lend a connection for database transactions: for `seconds`, unless that is renewed.

        Waits until the deadline for it. Raises one of `UNREACHABLE`.
        """
        connection = self._take_idle() or await self._take(find_deadline(STATEMENT_SECONDS))
        self._leases[connection] = lease = _Lease(0, 0, doubtable=False)
        lent = Lent(connection, lease)
        lent.renew(seconds)
        try:
            yield lent
        except UNREACHABLE as error:
            if _is_lost(connection, error):
                connection.terminate()
            raise
        finally:
            if not connection.is_closed() and connection.is_in_transaction():
                connection.terminate()
            self._give_back(connection)

    def get_size(self) -> int:
        """Return the number of open connections."""
        return self._size

    def get_idle_size(self) -> int:
        """Return the number of open connections that nothing uses."""
        return len(self._idle)

    async def close(self) -> None:
        """Close all connections, without waiting for a server that does not answer."""
        self._closed = True
        idle = [connection for connection, _ in self._idle]
        if idle:
            closing = [self._loop.create_task(connection.close()) for connection in idle]
            await asyncio.wait(closing, timeout=CLOSE_SECONDS)
        self.terminate()

    def terminate(self) -> None:
        """Drop all connections."""
        self._closed = True
        self._sweeping.cancel()
        for connection in [*(connection for connection, _ in self._idle), *self._leases]:
            connection.terminate()
        self._idle.clear()

    async def read(self, method: Callable[..., Awaitable[T]], query: str, values: tuple[Any, ...]) -> T:
        """Call this method of a connection. Raises one of `UNREACHABLE`, or another error of PostgreSQL."""
        deadline = find_deadline(STATEMENT_SECONDS)
        retry_until, pause = self._limit_retries(deadline), 0.0
        while True:
            connection = self._take_idle() or await self._take(deadline)
            self._leases[connection] = _Lease(deadline, self._loop.time(), doubtable=True)
            try:
                found = await method(connection, query, *values)
            except UNREACHABLE as error:
                if not _is_lost(connection, error):
                    raise
                connection.terminate()
                if self._closed or self._loop.time() + pause >= retry_until:
                    raise self._fail("PostgreSQL did not answer in time", error) from error
            except BaseException as error:
                if not isinstance(error, asyncpg.PostgresError):  # a cancellation, for one
                    connection.terminate()
                raise
            else:
                if self._failures:
                    self._recover()
                return found
            finally:
                self._give_back(connection)
            await asyncio.sleep(pause)
            pause = min(2 * pause or FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS)

    def _limit_retries(self, deadline: float) -> float:
        return deadline if self.retry_seconds is None else min(deadline, self._loop.time() + self.retry_seconds)

    def _take_idle(self) -> Connection | None:
        """Return an open connection that nothing uses. While other callers wait for one, there is none."""
        while self._idle:
            connection, _ = self._idle.pop()
            if not connection.is_closed():
                return connection
            self._size -= 1
        return None

    async def _take(self, deadline: float) -> Connection:
        """Return a connection: one that is given back, or a new one, after as many attempts as the time allows."""
        retry_until, pause = self._limit_retries(deadline), FIRST_PAUSE_SECONDS
        while not self._closed:
            connection = self._take_idle()  # it may have been given back during a pause
            if connection is None and self._size >= self._max_size:
                connection = await self._wait_for_turn(deadline)
            if connection is not None and not connection.is_closed():
                return connection
            if connection is not None:
                self._size -= 1
            if self._size >= self._max_size:  # another caller was faster
                continue
            try:
                return await self._open(retry_until)
            except UNREACHABLE as error:
                if self._loop.time() + pause >= retry_until:
                    raise self._fail("PostgreSQL cannot be reached", error) from error
            await asyncio.sleep(pause)
            pause = min(2 * pause, MAX_PAUSE_SECONDS)
        raise asyncpg.InterfaceError("the pool is closed")

    def _fail(self, text: str, error: Exception) -> DatabaseAwayError:
        if not self._failures:
            log.warning("reads fail", error=f"{text}: {' '.join(str(error).split()) or type(error).__name__}")
        self._failures += 1
        return DatabaseAwayError(text)

    def _recover(self) -> None:
        log.warning("reads succeed again", failures=self._failures)
        self._failures = 0

    async def _wait_for_turn(self, deadline: float) -> Connection | None:
        """Wait until a connection is given back, or until one more may be opened (None)."""
        turn: asyncio.Future[Connection | None] = self._loop.create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout_at(deadline):
                return await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._pass_on(turn.result())
            elif turn in self._waiting:
                self._waiting.remove(turn)
            if isinstance(error, TimeoutError):
                raise DatabaseAwayError("no connection became free in time") from error
            raise

    async def _open(self, deadline: float) -> Connection:
        self._size += 1
        try:
            async with asyncio.timeout_at(min(deadline, self._loop.time() + CONNECT_SECONDS)):
                return await self._connect()
        except BaseException:
            self._size -= 1
            self._pass_on(None)
            raise

    def _give_back(self, connection: Connection) -> None:
        del self._leases[connection]
        if connection.is_closed() or self._closed:
            connection.terminate()
            self._size -= 1
            self._pass_on(None)
        else:
            self._pass_on(connection)

    def _pass_on(self, connection: Connection | None) -> None:
        """Give a connection, or the right to open one, to the caller that has waited longest."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(connection)
                return
        if connection is not None:
            self._idle.append((connection, self._loop.time()))

    async def _sweep(self) -> None:
        """End the leases whose deadline has passed: one task for all of them costs less than a timer for each."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = self._loop.time()
            for connection, lease in list(self._leases.items()):
                if now >= lease.deadline:
                    connection.terminate()
                elif lease.doubtable and now - lease.asked_at >= DOUBT_SECONDS and self._asking is None:
                    self._asking = self._loop.create_task(self._ask_for_lost(now))
                    self._asking.add_done_callback(self._forget_asking)
            while self._idle and len(self._idle) > 1 and now - self._idle[0][1] > IDLE_SECONDS:
                self._idle.pop(0)[0].terminate()
                self._size -= 1

    def _forget_asking(self, _: object) -> None:
        self._asking = None

    async def _ask_for_lost(self, now: float) -> None:
        """Drop connections whose statements PostgreSQL does not run, although they are waited for here."""
        doubted = {
            connection.get_server_pid(): (connection, lease)
            for connection, lease in self._leases.items()
            if lease.doubtable and now - lease.asked_at >= DOUBT_SECONDS
        }
        running = await self._ask_running(list(doubted))
        for pid, (connection, lease) in doubted.items():
            lease.asked_at = self._loop.time()
            if pid not in running and self._leases.get(connection) is lease:
                connection.terminate()

    async def _ask_running(self, pids: list[int]) -> set[int]:
        """Return which backends are at work. If PostgreSQL does not say, it may be all of them."""
        try:
            async with asyncio.timeout(DOUBT_SECONDS):
                connection = await self._connect()
                try:
                    return {row[0] for row in await connection.fetch(_RUNNING, pids)}
                finally:
                    connection.terminate()
        except (*UNREACHABLE, asyncpg.PostgresError):
            return set(pids) if self.retry_seconds is None else set()


if TYPE_CHECKING:
    Reader: TypeAlias = Pool | Connection | ReplicaReader
else:
    Reader = Pool | Connection

_RUNNING = "SELECT pid FROM pg_stat_activity WHERE pid = ANY($1::int[]) AND state IS DISTINCT FROM 'idle'"


def _is_lost(connection: Connection, error: BaseException) -> bool:
    """Return whether a connection, and not a statement, has failed."""
    is_shutdown = isinstance(error, asyncpg.OperatorInterventionError)
    return connection.is_closed() or (is_shutdown and not isinstance(error, asyncpg.QueryCanceledError))
