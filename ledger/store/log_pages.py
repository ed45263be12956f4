"""Reads single events of the log."""

from ledger.store.connections import Reader
from ledger.store.reader import StoredEvent
from ledger.store.tables import STORED_EVENTS

_COLUMNS = "notification_id, originator_id, originator_version, recorded_at, topic, state, command_id"


async def read_at(reader: Reader, positions: list[int]) -> list[StoredEvent]:
    """Return the events at these positions, in order; positions without an event are left out."""
    rows = await reader.fetch(
        f"SELECT {_COLUMNS} FROM {STORED_EVENTS} WHERE notification_id = ANY($1::bigint[]) ORDER BY notification_id",
        positions,
    )
    return [StoredEvent(*row) for row in rows]
