"""Holds end when their time has come, whether or not anybody asks about them.

A hold that is due cannot be captured any more; that its money is free again takes a command, which is given here. Every
process looks for holds that are due, and a lock lets one at a time see to them: if two did, one of two commands would
find nothing to do.
"""

import asyncio
from datetime import UTC, datetime
from typing import cast

import structlog

from ledger.commands.holds import ExpireHold
from ledger.errors import LedgerError
from ledger.projections import transactions
from ledger.store.connections import Connection, Pool
from ledger.store.locks import try_lock_expiry
from ledger.store.pool import UNREACHABLE
from ledger.values.ids import new_id
from ledger.write.committer import Committer
from ledger.write.group import Origin

MAX_HOLDS = 100  # holds that are seen to at once

log = structlog.get_logger(__name__)


class Expirer:
    """Ends holds that are due."""

    def __init__(self, pool: Pool, committer: Committer) -> None:
        self._pool = pool
        self._committer = committer

    async def follow(self, pause_seconds: float) -> None:
        """End whatever is due, again and again, for as long as the process runs."""
        while True:
            try:
                while await self.expire(datetime.now(UTC)) == MAX_HOLDS:
                    pass
            except (LedgerError, *UNREACHABLE) as error:
                log.warning("holds cannot be expired", error=str(error) or type(error).__name__)
            except Exception:  # nobody else would do it
                log.exception("holds cannot be expired")
            await asyncio.sleep(pause_seconds)

    async def expire(self, now: datetime) -> int:
        """End up to `MAX_HOLDS` holds that are due; how many were ended. None if another process is at it.

        Raises what PostgreSQL and the committer raise; some may have been ended then.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            if not await try_lock_expiry(connection):
                return 0
            due = await transactions.list_due_holds(cast("Connection", connection), now, MAX_HOLDS)
            commands = [ExpireHold(hold.transaction_id, hold.source_account_id, now) for hold in due]
            answers = await asyncio.gather(
                *(self._committer.submit(command, Origin(new_id())) for command in commands), return_exceptions=True
            )
        ended = 0
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
            ended += answer.position is not None
        return ended
