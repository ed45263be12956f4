"""An account's entries in the order of the times at which they count, with the balance after each in this order.

Two lists in this order are merged: the entries that count when they were recorded, from the log, and the dated entries.
A page looks at a bounded number of both, so it may be short although another follows. All pages show what was known at
one position, and each continues with the balance that the one before it has reached.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from ledger.projections import dated_entries, entries
from ledger.projections.account_owners import Span
from ledger.store import reader as event_reader
from ledger.store.connections import Reader
from ledger.store.reader import MAX_POSITION

SCAN = 500  # more keys than asked for that one page looks at in each list
FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


class Place(NamedTuple):
    """A place between two entries: the key of the one before it, what was known, and the balance there."""

    time: datetime
    version: int
    position: int
    balance_cents: int


class Period(NamedTuple):
    """A range of effective times, both included, as it was known at a position."""

    first: datetime
    last: datetime
    position: int


class _Key(NamedTuple):
    """The key of the order: when an entry counts, and its version."""

    time: datetime
    version: int


class _Keys(NamedTuple):
    """The next keys of one list, in order, and the last key that was looked at; None if the list ends there."""

    found: list[_Key]
    seen: _Key | None


async def list_entries(
    reader: Reader, account_id: UUID, period: Period, place: Place | None, *, ascending: bool, limit: int
) -> tuple[list[dict[str, Any]], Place | None]:
    """Return up to `limit` entries of a period after a place, and the place where the list continues."""
    begin = place or await _begin(reader, account_id, period, ascending=ascending)
    lower, upper = _Key(period.first, 0), _Key(period.last, MAX_POSITION)
    if place is not None:
        lower, upper = (_Key(*place[:2]), upper) if ascending else (lower, _Key(*place[:2]))
    lists = [
        await read(reader, account_id, lower, upper, position=begin.position, ascending=ascending, limit=limit + SCAN)
        for read in (_read_recorded, _read_dated)
    ]
    keys, end = _merge(lists, ascending=ascending)
    chosen = keys[:limit]
    if len(keys) > limit:
        end = chosen[-1]
    bodies = await entries.find(reader, account_id, [key.version for key in chosen])
    items, balance = _add_balances([(key, bodies[key.version]) for key in chosen], begin.balance_cents, ascending)
    return items, None if end is None else Place(*end, begin.position, balance)


async def list_newest(reader: Reader, account_id: UUID, last: datetime | None, limit: int) -> list[dict[str, Any]]:
    """Return the `limit` entries that count last, by a time if there is one, the last first."""
    period = Period(FIRST, last or LAST, await event_reader.log_end(reader))
    found: list[dict[str, Any]] = []
    place: Place | None = None
    while len(found) < limit:
        items, place = await list_entries(
            reader, account_id, period, place, ascending=False, limit=min(SCAN, limit - len(found))
        )
        found += items
        if place is None:
            break
    return found


async def _begin(reader: Reader, account_id: UUID, period: Period, *, ascending: bool) -> Place:
    """Return the place before the first entry, with the balance at that end of the period."""
    time = period.last
    if ascending:
        if period.first == FIRST:
            return Place(FIRST, 0, period.position, 0)
        time = period.first - timedelta(microseconds=1)
    balances = await dated_entries.balances_as_of(reader, [account_id], time, period.position)
    return Place(time, 0, period.position, balances[account_id])


async def _read_recorded(
    reader: Reader, account_id: UUID, lower: _Key, upper: _Key, *, position: int, ascending: bool, limit: int
) -> _Keys:
    """Return the keys of entries that count when they were recorded."""
    rows = await entries.read_keys(
        reader, account_id, (lower, upper), position=position, ascending=ascending, limit=limit
    )
    keys = [_Key(recorded_at, version) for recorded_at, version, _ in rows]
    found = [key for key, (_, _, is_dated) in zip(keys, rows, strict=True) if not is_dated]
    return _Keys(found, keys[-1] if len(keys) == limit else None)


async def _read_dated(
    reader: Reader, account_id: UUID, lower: _Key, upper: _Key, *, position: int, ascending: bool, limit: int
) -> _Keys:
    """Return the keys of dated entries."""
    rows = await dated_entries.read_keys(reader, account_id, (lower, upper), ascending=ascending, limit=limit)
    keys = [_Key(effective_at, version) for effective_at, version, _ in rows]
    found = [key for key, (_, _, recorded) in zip(keys, rows, strict=True) if recorded <= position]
    return _Keys(found, keys[-1] if len(keys) == limit else None)


def _merge(lists: Sequence[_Keys], *, ascending: bool) -> tuple[list[_Key], _Key | None]:
    """Return the keys of all lists in order, as far as all lists were looked at, and the end of that."""
    seen = [one.seen for one in lists if one.seen is not None]
    keys = sorted((key for one in lists for key in one.found), reverse=not ascending)
    if not seen:
        return keys, None
    end = min(seen) if ascending else max(seen)
    return [key for key in keys if (key <= end if ascending else key >= end)], end


def _add_balances(
    found: Iterable[tuple[_Key, dict[str, Any]]], balance: int, ascending: bool
) -> tuple[list[dict[str, Any]], int]:
    """Return the entries with the balance after each, in the order of the keys, and the balance at the end."""
    items = []
    for key, body in found:
        amount = body["amount_cents"]
        items.append({**body, "balance_cents": balance + (amount if ascending else 0), "effective_at": key.time})
        balance += amount if ascending else -amount
    return items, balance


class Visible:
    """The entries that a caller may see: those of its spans that also count in the time of one of them.

    Otherwise an entry that an owner dates back would show the balance of an earlier owner.
    """

    def __init__(self, spans: Sequence[Span], times: Sequence[tuple[datetime, datetime]]) -> None:
        self._spans, self._times = spans, times

    @classmethod
    async def of(cls, reader: Reader, spans: Sequence[Span]) -> "Visible":
        """Read the times of the spans. The first owner of an account has also the time before it was opened."""
        positions = [span.first_position for span in spans] + [span.next_position or 0 for span in spans]
        at = await event_reader.times_at(reader, positions)
        times = [
            (
                FIRST if span.first_version == 1 else at[span.first_position],
                LAST if span.next_position is None else at[span.next_position],
            )
            for span in spans
        ]
        return cls(spans, times)

    def shows(self, entry: dict[str, Any]) -> bool:
        """Return whether the caller may see an entry."""
        return any(span.has_version(entry["version"]) for span in self._spans) and any(
            first <= entry["effective_at"] <= last for first, last in self._times
        )
