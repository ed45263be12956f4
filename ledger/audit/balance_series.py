"""The balance of an account over time, as a step line of few points: each is exact, and no extreme is left out."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from ledger.projections.account_owners import Span
from ledger.store import account_steps
from ledger.store import reader as event_reader
from ledger.store.account_steps import Stretch
from ledger.store.connections import Reader

MAX_POINTS = 1000
MIN_POINTS = 10
MAX_SCANNED = 200_000  # versions that are all looked at; of a longer history, evenly spaced ones are
OF_BALANCE, OF_BOTH = 3, 5  # steps of a part: the extremes of the balance, and of what is held, and the last one


class Request(NamedTuple):
    """The period to show, as it was known at a position, and the most points to return."""

    from_time: datetime | None
    to_time: datetime | None
    position: int
    points: int


class _Part(NamedTuple):
    """The versions to show of one span: all after the state at `first`, which began to be shown at `since`."""

    first: int
    last: int
    since: datetime | None


async def read_series(
    reader: Reader, account_id: UUID, spans: Sequence[Span], request: Request
) -> tuple[list[dict[str, Any]], bool]:
    """Return the points of a period, in order, and whether every extreme is among them.

    Each span begins with a point that has the state at its beginning, or at that of the period. The steps follow.
    """
    parts = [part for span in spans if (part := await _choose(reader, account_id, span, request)) is not None]
    shown = parts[-(request.points // MIN_POINTS) :]
    points: list[dict[str, Any]] = []
    complete = len(shown) == len(parts)
    for part in shown:
        versions, is_complete = await _choose_versions(reader, account_id, part, request.points // len(shown))
        steps = await account_steps.read_steps(reader, account_id, versions)
        points += [_format(step) for step in steps]
        if part.since is not None:
            points[-len(steps)]["at"] = part.since
        complete = complete and is_complete
    return points, complete


async def _choose(reader: Reader, account_id: UUID, span: Span, request: Request) -> _Part | None:
    """Return the versions of a span that are in the period, or None if the period does not touch the span."""
    last_position = request.position
    if request.to_time is not None:
        last_position = min(last_position, await event_reader.position_at(reader, request.to_time))
    last = await event_reader.version_at(reader, account_id, last_position)
    if span.next_version is not None:
        last = min(last, span.next_version - 1)
    if last < span.first_version:
        return None
    if request.from_time is None:
        return _Part(span.first_version, last, None)
    before = await event_reader.position_before(reader, request.from_time)
    if span.next_position is not None and span.next_position <= before:
        return None
    first = await event_reader.version_at(reader, account_id, before)
    if first < span.first_version:
        return _Part(span.first_version, last, None)
    return _Part(first, last, request.from_time) if first <= last else None


async def _choose_versions(reader: Reader, account_id: UUID, part: _Part, points: int) -> tuple[list[int], bool]:
    """Return up to `points` versions to show, in order, and whether they have every extreme."""
    steps = await account_steps.find_first_steps(reader, account_id, part.first, part.last, points)
    if len(steps) < points:
        return [part.first, *steps], True
    if part.last - part.first > MAX_SCANNED:
        spaced = [part.first + (part.last - part.first) * number // (points - 1) for number in range(points)]
        return spaced, False
    each = OF_BOTH if await account_steps.has_held(reader, account_id) else OF_BALANCE
    begin, end = await account_steps.times_of(reader, account_id, (part.first, part.last))
    stretch = Stretch(part.first, part.last, part.since or begin, end)
    return [part.first, *await account_steps.find_extremes(reader, account_id, stretch, (points - 1) // each)], True


def _format(step: account_steps.Step) -> dict[str, Any]:
    return {
        "at": step.recorded_at,
        "position": step.position,
        "balance_cents": step.balance_cents,
        "held_cents": step.held_cents,
    }
