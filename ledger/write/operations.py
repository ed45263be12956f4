"""Records what waits in the outbox: how operations ended, and when followers stopped and resumed.

Every process that writes looks for it. The id of a command follows from that of the entry, so the command log lets each
event be appended once, although two processes find the same entry, or one dies before it has removed it.
"""

import asyncio
from typing import cast, get_args
from uuid import UUID

import msgspec
import structlog

from ledger.commands.operations import to_command
from ledger.events import decode_event
from ledger.events.operations import OperationEvent
from ledger.store import outbox
from ledger.store.connections import Pool
from ledger.store.outbox import StoredEntry
from ledger.values.derived import derived_id
from ledger.write.due import repeat
from ledger.write.group import Origin
from ledger.write.writer import Writer

PAUSE_SECONDS = 1.0
PAGE = 100  # entries that are read at once
OPERATION_EVENTS = get_args(OperationEvent)

log = structlog.get_logger(__name__)


class OperationRecorder:
    """Records the entries of the outbox, oldest first."""

    def __init__(self, pool: Pool, committer: Writer) -> None:
        self._pool = pool
        self._committer = committer
        self._unreadable: set[UUID] = set()

    async def follow(self) -> None:
        """Record what waits until cancelled; at the start of a process, requests come first."""
        await asyncio.sleep(PAUSE_SECONDS)
        await repeat(self._step, PAUSE_SECONDS, "events of operations cannot be recorded")

    async def record(self) -> None:
        """Record all entries. Those that this version cannot read stay for another one, and hold up no others.

        Raises what PostgreSQL and the committer raise, possibly after some are recorded.
        """
        last: StoredEntry | None = None
        while entries := await outbox.read_entries(self._pool, last, PAGE):
            last = entries[-1]
            for entry in entries:
                event = self._decode(entry)
                if event is not None:
                    await self._record(entry, event)

    async def _step(self) -> bool:
        await self.record()
        return False

    async def _record(self, entry: StoredEntry, event: OperationEvent) -> None:
        origin = Origin(derived_id("operation", str(entry.id)), actor_id=entry.actor_id, request_id=entry.request_id)
        await self._committer.submit(to_command(event), origin)
        async with self._pool.acquire() as lent:
            await outbox.remove(lent.connection, entry.id)

    def _decode(self, entry: StoredEntry) -> OperationEvent | None:
        """Return the event of an entry; if there is none in it, say so once, and return None."""
        try:
            event = decode_event(entry.topic, entry.state)
            if isinstance(event, OPERATION_EVENTS):
                return cast("OperationEvent", event)
            reason = "it is no event of an operation"
        except (ValueError, msgspec.MsgspecError) as error:
            reason = str(error)
        if entry.id not in self._unreadable:
            self._unreadable.add(entry.id)
            log.error("an entry of the outbox cannot be read", id=str(entry.id), topic=entry.topic, reason=reason)
        return None
