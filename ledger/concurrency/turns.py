"""Lets one caller at a time work on a key, so that callers which would make each other retry wait instead."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID
from weakref import WeakValueDictionary

from ledger.errors import OverloadedError

MAX_WAITING = 1000  # callers, for all keys together


class Turns:
    """Locks by key. A lock exists only while a caller holds it or waits for it."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()
        self._waiting = 0

    @asynccontextmanager
    async def take(self, key: UUID, *, until: float) -> AsyncIterator[None]:
        """Hold a key's lock. Raises `OverloadedError` if it is not free by `until`, on the event loop's clock."""
        lock = self._locks.get(key)
        if lock is None:
            self._locks[key] = lock = asyncio.Lock()
        if self._waiting >= MAX_WAITING:
            raise OverloadedError("too many callers are waiting for their turn")
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
