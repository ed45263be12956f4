"""One at a time for each key: callers that would only make each other begin again wait for their turn instead."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID
from weakref import WeakValueDictionary

from ledger.errors import OverloadedError

MAX_WAITING = 1000  # callers, whatever they wait for


class Turns:
    """Locks by key, which are there as long as somebody has one or waits for it."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()
        self._waiting = 0

    @asynccontextmanager
    async def take(self, key: UUID, *, until: float) -> AsyncIterator[None]:
        """Wait for the turn, up to a time of the event loop's clock. Raises `OverloadedError` if it does not come."""
        lock = self._locks.get(key)
        if lock is None:
            self._locks[key] = lock = asyncio.Lock()
        if self._waiting >= MAX_WAITING:
            raise OverloadedError("too many callers wait for their turn")
        self._waiting += 1
        try:
            async with asyncio.timeout_at(until):
                await lock.acquire()
        except TimeoutError:
            raise OverloadedError("the turn did not come in time") from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            lock.release()
