"""Combines the look-ups of one tick of the event loop into one query."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class DataLoader(Generic[K, T]):
    """Looks up keys with `fetch`, which gets all keys of one tick and returns a value for each key that has one."""

    def __init__(self, fetch: Callable[[Collection[K]], Awaitable[Mapping[K, T]]]) -> None:
        self._fetch = fetch
        self._waiting: list[tuple[K, asyncio.Future[T | None]]] = []
        self._running: set[asyncio.Task[None]] = set()

    async def get(self, key: K) -> T | None:
        """Return the value of a key, read after this call, or None. Raises what `fetch` raises."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._start, loop)
        future: asyncio.Future[T | None] = loop.create_future()
        self._waiting.append((key, future))
        return await future

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        waiting, self._waiting = self._waiting, []
        task = loop.create_task(self._run(waiting))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run(self, waiting: Sequence[tuple[K, "asyncio.Future[T | None]"]]) -> None:
        try:
            values = await self._fetch({key for key, _ in waiting})
        except Exception as error:  # noqa: BLE001 - every waiting caller gets it
            for _, future in waiting:
                if not future.done():
                    future.set_exception(error)
        else:
            for key, future in waiting:
                if not future.done():
                    future.set_result(values.get(key))
