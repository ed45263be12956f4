"""A limit on what runs at once: in total, and for each caller, so that one caller cannot keep all others out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import UUID
from weakref import WeakValueDictionary

from ledger.errors import OverloadedError


class ConcurrencyLimit:
    """Admits `total` at once, and at most `each` of them for one caller; by default, a caller may take all.

    Up to `queue` others wait for at most `wait_seconds`.
    """

    def __init__(self, total: int, *, each: int | None = None, queue: int = 0, wait_seconds: float = 1.0) -> None:
        self.admitted = 0
        self._each = total if each is None else each
        self._queue = queue
        self._wait_seconds = wait_seconds
        self._waiting = 0
        self._all = asyncio.Semaphore(total)
        self._callers: WeakValueDictionary[UUID, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def admit(self, caller: UUID, *, each: int | None = None) -> AsyncIterator[None]:
        """Wait for admission, and keep it for the block. Raises `OverloadedError` if it does not come in time.

        `each` replaces the limit of this caller.
        """
        own = self._callers.setdefault(caller, asyncio.Semaphore(each or self._each))
        async with AsyncExitStack() as held:
            await self._wait(held, own)
            self.admitted += 1
            try:
                yield
            finally:
                self.admitted -= 1

    async def _wait(self, held: AsyncExitStack, own: asyncio.Semaphore) -> None:
        if (own.locked() or self._all.locked()) and self._waiting >= self._queue:
            raise OverloadedError("too many requests wait for their turn")
        self._waiting += 1
        try:
            async with asyncio.timeout(self._wait_seconds):
                await held.enter_async_context(own)  # first: a caller at its own limit takes no part of the total
                await held.enter_async_context(self._all)
        except TimeoutError:
            raise OverloadedError("no turn in time") from None
        finally:
            self._waiting -= 1
