"""How far a database is, for all who wait until it is far enough: they share one question at a time."""

import asyncio
import contextlib

from ledger.store import reader as event_reader
from ledger.store.connections import Pool

POLL_SECONDS = 0.02


class ReplicaPosition:
    """Waits for positions to become visible in the database behind a pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._looking: asyncio.Task[int] | None = None

    async def wait_for(self, position: int, seconds: float) -> int:
        """The last position that can be read, once it is this one or a later one, or so many seconds have passed."""
        reached = await self._look(0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while reached < position:
                    reached = await self._look(POLL_SECONDS)
        return reached

    async def _look(self, pause: float) -> int:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._after(pause))
        return await asyncio.shield(self._looking)

    async def _after(self, pause: float) -> int:
        await asyncio.sleep(pause)
        return await event_reader.log_end(self._pool)
