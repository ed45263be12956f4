"""Waits until a database has replayed up to a position. Callers that wait at the same time share one query."""

import asyncio
import contextlib

from ledger.store import reader as event_reader
from ledger.store.connections import Pool

POLL_SECONDS = 0.02


class ReplicaPosition:
    """Waits for positions to become visible in the database behind a pool."""

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
