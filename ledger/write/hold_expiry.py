"""Expires holds when they are due, whether or not a client asks about them.

A hold that is due holds no more money: a command that needs it ends the hold first (`ledger.write.overdue`), and reads
leave it out. Here the end is recorded for all others.
Every process looks for due holds; a lock lets one process at a time expire them, so that no hold is expired twice.
"""

import asyncio
from datetime import UTC, datetime

from ledger.projections import holds
from ledger.store.connections import Pool
from ledger.store.locks import try_lock_expiry
from ledger.values.ids import new_id
from ledger.write.due import repeat
from ledger.write.group import Origin
from ledger.write.overdue import expire
from ledger.write.writer import Writer

MAX_HOLDS = 100  # expired at once


class Expirer:
    """Expires due holds."""

    def __init__(self, pool: Pool, committer: Writer) -> None:
        self._pool = pool
        self._committer = committer

    async def follow(self, pause_seconds: float) -> None:
        """Expire due holds until cancelled."""
        await repeat(self._step, pause_seconds, "holds cannot be expired")

    async def expire(self, now: datetime) -> int:
        """Expire up to `MAX_HOLDS` due holds and return their number; 0 if another process holds the lock.

        Raises what PostgreSQL and the committer raise, possibly after some holds have expired.
        """
        async with self._pool.acquire() as lent, lent.connection.transaction():
            if not await try_lock_expiry(lent.connection):
                return 0
            due = await holds.list_due_holds(lent.connection, now, MAX_HOLDS)
            commands = [expire(hold, now) for hold in due]
            outcomes = await asyncio.gather(
                *(self._committer.submit(command, Origin(new_id())) for command in commands), return_exceptions=True
            )
        expired = 0
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
            expired += outcome.position is not None
        return expired

    async def _step(self) -> bool:
        return await self.expire(datetime.now(UTC)) == MAX_HOLDS
