"""A value that is read rarely, however often it is asked for."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")

REST = 10  # times as long as a read took, for which its value is kept: so reading takes a tenth of the time at most


class Cached(Generic[T]):
    """Keeps the value of `read` for some seconds, and longer if reading takes long. Concurrent callers share a read."""

    def __init__(self, read: Callable[[], Awaitable[T]], *, seconds: float) -> None:
        self._read = read
        self._seconds = seconds
        self._reading: asyncio.Task[T] | None = None
        self._stale_at = 0.0

    async def get(self) -> T:
        """Return the value. Raises what `read` raises, which is not kept."""
        loop = asyncio.get_running_loop()
        if self._reading is None or (self._reading.done() and loop.time() >= self._stale_at):
            self._reading = loop.create_task(self._read_once())
        return await asyncio.shield(self._reading)

    async def refresh(self) -> T:
        """Return a value that is read after this call."""
        if self._reading is not None and not self._reading.done():
            await asyncio.wait((self._reading,))
        self._stale_at = 0.0
        return await self.get()

    async def _read_once(self) -> T:
        clock = asyncio.get_running_loop().time
        began, self._stale_at = clock(), 0.0
        value = await self._read()
        self._stale_at = clock() + max(self._seconds, REST * (clock() - began))
        return value
