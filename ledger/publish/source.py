"""Reads the events that leave, in order: none before it is durable, and none that the ledger keeps to itself."""

from typing import NamedTuple
from uuid import UUID

from ledger.events.cloud import encode_cloud_event, event_id
from ledger.events.disclosure import DISCLOSED_TOPICS
from ledger.followers.follower import CannotApplyError
from ledger.publish.accounts import ACCOUNT_TOPICS, Codes
from ledger.publish.destination import Outgoing
from ledger.store import reader as event_reader
from ledger.store.connections import Reader
from ledger.store.durable import DurableEnd
from ledger.store.reader import EVENT_TOPICS, StoredEvent, Stretch


async def read_durable(reader: Reader, durable_end: DurableEnd, after: int, limit: int) -> Stretch:
    """Read up to `limit` events after a position, and none that a failover could take back."""
    end = await durable_end.get()
    if end <= after:
        return Stretch([], after, end)
    events = await event_reader.read_range(reader, after, end, limit)
    return Stretch(events, events[-1].position if len(events) == limit else end, end)


class Page(NamedTuple):
    """Events that leave, and the position up to which the log was read for them. After a full page, more may follow."""

    events: list[Outgoing]
    reached: int
    is_full: bool


class Source:
    """The log as it leaves the ledger, read forwards.

    The same position always gives the same event with the same code: that of its account then, and not of now.
    """

    def __init__(self, reader: Reader, durable_end: DurableEnd, ledger_id: UUID) -> None:
        self._reader = reader
        self._durable_end = durable_end
        self._ledger_id = ledger_id
        self._codes = Codes(reader)

    async def read(self, after: int, limit: int) -> Page:
        """Return what leaves of the next `limit` events. Raises `CannotApplyError` at one that it cannot read."""
        stretch = await read_durable(self._reader, self._durable_end, after, limit)
        leaving = [stored for stored in stretch.events if _leaves(stored)]
        await self._codes.learn(after, (stored.stream_id for stored in leaving if stored.topic in ACCOUNT_TOPICS))
        events = [self._convert(stored) for stored in leaving]
        self._codes.reach(stretch.reached)
        return Page(events, stretch.reached, len(stretch.events) == limit)

    async def find(self, position: int) -> StoredEvent | None:
        """Return the event at a position, even if it is not durable yet."""
        return next(iter(await event_reader.read_range(self._reader, position - 1, position, 1)), None)

    def encode(self, stored: StoredEvent) -> bytes:
        """Return an event as it leaves. Raises `CannotApplyError`."""
        try:
            return encode_cloud_event(stored, self._ledger_id)
        except ValueError as error:
            raise CannotApplyError(str(error), stored.position) from error

    def _convert(self, stored: StoredEvent) -> Outgoing:
        self._codes.follow(stored)
        account_id = stored.stream_id if stored.topic in ACCOUNT_TOPICS else None
        return Outgoing(
            stored.position,
            event_id(self._ledger_id, stored.position),
            stored.topic,
            stored.stream_id,
            account_id,
            None if account_id is None else self._codes.get(account_id),
            self.encode(stored),
        )


def _leaves(stored: StoredEvent) -> bool:
    """Return whether an event leaves. Raises `CannotApplyError` for one of a later version of the ledger."""
    if stored.topic not in EVENT_TOPICS:
        raise CannotApplyError(f"unknown topic: {stored.topic}", stored.position)
    return stored.topic in DISCLOSED_TOPICS
