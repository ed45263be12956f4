"""Reads that may lag behind writes: from replicas, with the primary behind each of them.

A reader never goes back from the primary to a replica: what it reads later must not be older than what it has read.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import structlog

from ledger.concurrency.deadline import DEADLINE, find_deadline
from ledger.errors import DatabaseError
from ledger.store import reader as event_reader
from ledger.store.connections import STATEMENT_SECONDS, UNREACHABLE, Connection, Lent, Pool
from ledger.store.identity import read_ledger_id

POLL_SECONDS = 0.02
RETRY_SECONDS = 1.0  # between two attempts to reach a replica that is away

T = TypeVar("T")

log = structlog.get_logger(__name__)


class ReplicaPosition:
    """Waits until a database has replayed up to a position. Callers that wait at the same time share one query."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._query: asyncio.Task[int] | None = None

    async def wait_for(self, position: int, seconds: float) -> int:
        """Return the last visible position once it is `position` or later, or after `seconds` have passed."""
        reached = await self._read_log_end(0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while reached < position:
                    reached = await self._read_log_end(POLL_SECONDS)
        return reached

    async def _read_log_end(self, pause_seconds: float) -> int:
        if self._query is None or self._query.done():
            self._query = asyncio.create_task(self._query_after(pause_seconds))
        return await asyncio.shield(self._query)

    async def _query_after(self, pause_seconds: float) -> int:
        await asyncio.sleep(pause_seconds)
        return await event_reader.log_end(self._pool)


class Replica(Pool):
    """The pool of one replica, and whether it can be reached."""

    retry_seconds = RETRY_SECONDS

    def __init__(
        self, connect: Callable[[], Awaitable[Connection]], *, max_size: int, number: int, ledger_id: UUID
    ) -> None:
        super().__init__(connect, max_size=max_size)
        self.position = ReplicaPosition(self)
        self._number = number
        self._ledger_id = ledger_id
        self._returning: asyncio.Task[None] | None = None

    @property
    def is_reachable(self) -> bool:
        """Whether requests may read from it."""
        return self._returning is None

    async def check(self) -> None:
        """Find out whether it can be reached. Raises `DatabaseError` if it is no copy of this ledger."""
        try:
            found = await read_ledger_id(self)
        except (*UNREACHABLE, asyncpg.PostgresError) as error:
            self.leave(error)
        else:
            if found != self._ledger_id:
                raise DatabaseError(f"DATABASE_READ_URL: replica {self._number} is another ledger than DATABASE_URL")

    def leave(self, error: BaseException) -> None:
        """Let requests read from the primary until the replica answers again."""
        if self._returning is None:
            log.warning("a read replica is away", replica=self._number, error=type(error).__name__)
            self._returning = asyncio.create_task(self._wait_for_return())

    def terminate(self) -> None:
        """Drop all connections."""
        if self._returning is not None:
            self._returning.cancel()
        super().terminate()

    async def _wait_for_return(self) -> None:
        DEADLINE.set(None)  # not that of the request that has found the replica away
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            try:
                async with asyncio.timeout(2 * RETRY_SECONDS):
                    if await read_ledger_id(self) == self._ledger_id:
                        break
            except (*UNREACHABLE, asyncpg.PostgresError):
                pass
        log.warning("a read replica answers again", replica=self._number)
        self._returning = None


class ReplicaReader:
    """What one request reads from: a replica or, from the first time that this fails, the primary."""

    def __init__(self, primary: Pool, replica: Replica | None) -> None:
        self._primary = primary
        self._replica = replica

    async def fetch(self, query: str, *values: Any) -> list[asyncpg.Record]:
        """Return the rows of a read."""
        return await self._read(Connection.fetch, query, values)

    async def fetchrow(self, query: str, *values: Any) -> asyncpg.Record | None:
        """Return the first row of a read."""
        return await self._read(Connection.fetchrow, query, values)

    async def fetchval(self, query: str, *values: Any) -> Any:
        """Return the first column of the first row of a read."""
        return await self._read(Connection.fetchval, query, values)

    @asynccontextmanager
    async def acquire(self, *, seconds: float) -> AsyncIterator[Lent]:
        """Lend a connection for database transactions, as a pool does."""
        async with AsyncExitStack() as stack:
            try:
                lent = await stack.enter_async_context((self._replica or self._primary).acquire(seconds=seconds))
            except UNREACHABLE as error:
                lent = await stack.enter_async_context(self._fall_back(error).acquire(seconds=seconds))
            yield lent

    async def wait_for(self, position: int, seconds: float) -> int:
        """Return the last visible position once it is `position` or later, or after `seconds` have passed."""
        if self._replica is not None:
            try:
                return await self._replica.position.wait_for(position, seconds)
            except UNREACHABLE as error:
                self._fall_back(error)
        return await ReplicaPosition(self._primary).wait_for(position, seconds)

    async def _read(self, method: Callable[..., Awaitable[T]], query: str, values: tuple[Any, ...]) -> T:
        if self._replica is not None:
            try:
                return await self._replica.read(method, query, values)
            except UNREACHABLE as error:
                self._fall_back(error)
        return await self._primary.read(method, query, values)

    def _fall_back(self, error: Exception) -> Pool:
        """Read from the primary from now on. Raises the error if that was read from, or the time is over."""
        is_over = find_deadline(STATEMENT_SECONDS) <= asyncio.get_running_loop().time()
        if self._replica is None or is_over or isinstance(error, asyncpg.QueryCanceledError):
            raise error
        self._replica.leave(error)
        self._replica = None
        return self._primary


class Replicas:
    """The replicas of a database; without any, all reads go to the primary."""

    def __init__(self, primary: Pool, replicas: Sequence[Replica] = ()) -> None:
        self._primary = primary
        self._replicas = replicas
        self._turn = 0

    def choose(self) -> ReplicaReader:
        """Return what a request reads from: the next replica of those that can be reached."""
        reachable = [replica for replica in self._replicas if replica.is_reachable]
        if not reachable:
            return ReplicaReader(self._primary, None)
        self._turn += 1
        return ReplicaReader(self._primary, reachable[self._turn % len(reachable)])

    def count_reachable(self) -> int:
        """Return how many replicas answer."""
        return sum(replica.is_reachable for replica in self._replicas)

    async def close(self) -> None:
        """Close all connections."""
        for replica in self._replicas:
            await replica.close()
