"""Executes scheduled transactions when they are due.

Every process that writes looks for what is due by the database's clock, so the clocks of hosts have no effect. A lock
lets one process at a time execute it. The decision alone makes it exact: it finds a transaction that is no longer
scheduled, so a process that dies, or works on in spite of a lost lock, executes nothing twice.
"""

import asyncio

from ledger.commands.schedules import ExecuteSchedule
from ledger.events.users import Role
from ledger.projections import schedules
from ledger.store.connections import Pool
from ledger.store.locks import try_lock_schedule
from ledger.values.ids import new_id
from ledger.write.due import repeat
from ledger.write.group import Origin
from ledger.write.writer import Writer

MAX_DUE = 100  # executed at once


class Scheduler:
    """Executes scheduled transactions, in the order in which they fall due.

    Users without a second factor do not have the `factored` roles.
    """

    def __init__(self, pool: Pool, committer: Writer, factored: tuple[Role, ...] = ()) -> None:
        self._pool = pool
        self._committer = committer
        self._factored = factored

    async def follow(self, pause_seconds: float) -> None:
        """Execute what is due until cancelled."""
        await repeat(self._step, pause_seconds, "scheduled transactions cannot be executed")

    async def execute(self) -> int:
        """Execute up to `MAX_DUE` due transactions and return their number; 0 if another process holds the lock.

        The failure of a transaction is an outcome too. Raises what PostgreSQL and the committer raise, possibly after
        some are executed.
        """
        async with self._pool.acquire() as lent, lent.connection.transaction():
            if not await try_lock_schedule(lent.connection):
                return 0
            due = await schedules.list_due(lent.connection, MAX_DUE)
            outcomes = await asyncio.gather(*map(self._submit, due), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return len(due)

    async def _step(self) -> bool:
        return await self.execute() == MAX_DUE

    async def _submit(self, due: schedules.DueSchedule) -> None:
        command = ExecuteSchedule(
            transaction_id=due.transaction_id, scheduled=due.scheduled, now=due.now, factored=self._factored
        )
        await self._committer.submit(command, Origin(new_id(), actor_id=due.scheduled.actor_id))
