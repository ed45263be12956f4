"""How many times money moved in each of the last minutes, counted in the log itself.

Positions appear in order and `recorded_at` never decreases, so what was counted once need not be counted again. A call
counts a bounded number of events, from the present minute backwards. So the first calls on a busy ledger leave out
minutes, which later calls fill in.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from ledger.events import TOPICS
from ledger.events.transactions import HoldCaptured, JournalEntryPosted, MoneyTransferred
from ledger.store.connections import Reader

MINUTES = 60
MAX_EVENTS = 100_000  # of the log that one call counts

_MINUTE = timedelta(minutes=1)
_MOVING = ", ".join(f"'{TOPICS[cls]}'" for cls in (MoneyTransferred, JournalEntryPosted, HoldCaptured))


@dataclass
class _Minute:
    """What is counted of a minute: `count` up to the position `reached`, out of those up to `upto`."""

    reached: int
    upto: int
    count: int = 0
    is_over: bool = False

    @property
    def left(self) -> int:
        return self.upto - self.reached


class Activity:
    """Counts the movements of money in each minute: transfers, journal entries, and captures of holds."""

    def __init__(self) -> None:
        self._minutes: dict[datetime, _Minute] = {}

    async def read(self, reader: Reader) -> tuple[datetime, list[int | None]]:
        """Return when the first of the last 60 minutes began, and the count of each; None if it is not known yet."""
        row = await reader.fetchrow(_NOW)
        assert row is not None  # noqa: S101 - it has no FROM
        present, logged = row
        wanted = [present - number * _MINUTE for number in range(MINUTES)]
        await self._find_ends(reader, wanted, logged)
        await self._count(reader, wanted)
        counts = [None if (one := self._minutes[minute]).left else one.count for minute in reversed(wanted)]
        return wanted[-1], counts

    async def _find_ends(self, reader: Reader, wanted: list[datetime], logged: datetime | None) -> None:
        """Find the positions of the minutes that may have got events since the last call."""
        known = self._minutes
        open_ = [minute for minute in wanted if minute not in known or not known[minute].is_over]
        rows = await reader.fetch(_ENDS, open_)
        self._minutes = {minute: known[minute] for minute in wanted if minute in known}
        for minute, after, upto in rows:
            one = self._minutes.setdefault(minute, _Minute(after, upto))
            one.upto = max(one.upto, upto)
            one.is_over = logged is not None and logged >= minute + _MINUTE

    async def _count(self, reader: Reader, wanted: list[datetime]) -> None:
        budget, parts = MAX_EVENTS, dict[datetime, int]()
        for minute in wanted:
            one = self._minutes[minute]
            if one.left and budget:
                parts[minute] = one.reached + min(one.left, budget)
                budget -= min(one.left, budget)
        rows = await reader.fetch(
            _COUNTS, list(parts), [self._minutes[minute].reached for minute in parts], list(parts.values())
        )
        for minute, count in rows:
            one = self._minutes[minute]
            one.reached, one.count = parts[minute], one.count + count


_NOW = """SELECT date_trunc('minute', now()), (SELECT recorded_at FROM stored_events
                                               ORDER BY notification_id DESC LIMIT 1)"""
_ENDS = """SELECT minute, position_at(minute - interval '1 microsecond'),
                  position_at(minute + interval '59.999999 seconds')
           FROM unnest($1::timestamptz[]) AS minute"""
_COUNTS = f"""SELECT minute, (SELECT count(*) FROM stored_events
                              WHERE notification_id > after AND notification_id <= upto AND topic IN ({_MOVING}))
              FROM unnest($1::timestamptz[], $2::bigint[], $3::bigint[]) AS part(minute, after, upto)"""
