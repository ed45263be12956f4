"""The closed periods, as the log has them, and the sums of a closing."""

from datetime import UTC, date, datetime, time
from typing import Any, NamedTuple, cast

from ledger.audit import as_of
from ledger.events import decode_event
from ledger.events.periods import PERIODS, PeriodEvent, PeriodReopened
from ledger.store import reader as event_reader
from ledger.store.connections import Reader
from ledger.store.reader import READ_LIMIT, EventFilter


class Closing(NamedTuple):
    """A closed period: its last day, and the event that closed it."""

    through: date
    version: int
    position: int
    closed_at: datetime


async def read_closings(reader: Reader) -> list[Closing]:
    """Return the closed periods, oldest first."""
    closings: list[Closing] = []
    after, is_last = 0, False
    while not is_last:
        stretch = await event_reader.read(reader, after, limit=READ_LIMIT, matching=EventFilter(stream_id=PERIODS))
        for row in stretch.events:
            event = cast("PeriodEvent", decode_event(row.topic, row.state))
            if isinstance(event, PeriodReopened):
                closings = [closing for closing in closings if closing.through < event.through]
            else:
                closings.append(Closing(event.through, row.version, row.position, row.recorded_at))
        after, is_last = stretch.reached, stretch.is_last
    return closings


async def read_sums(reader: Reader, through: date, position: int) -> dict[str, Any]:
    """Return the trial balance at the end of a day, as it was known at a position; that of a closing never changes."""
    return await as_of.trial_balance(reader, position, datetime.combine(through, time.max, UTC))


async def read_today(reader: Reader) -> date:
    """Return the day in UTC by the clock that gives events their times; no later event has an earlier day."""
    today: date = await reader.fetchval("SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date")
    return today
