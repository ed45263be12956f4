"""The history of an account: the entries of a period, and its state after each event."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from ledger.events import State, decode_event, evolve
from ledger.events.accounts import Account
from ledger.projections import entries
from ledger.projections.account_owners import WHOLE, Span
from ledger.store import reader as event_reader
from ledger.store.connections import Reader
from ledger.store.reader import EventFilter, StoredEvent

CHUNK = 1000  # events in one step of a replay


class Period(NamedTuple):
    """A range of versions and a range of times, all bounds inclusive; None is no bound."""

    from_version: int | None = None
    to_version: int | None = None
    from_time: datetime | None = None
    to_time: datetime | None = None


class Step(NamedTuple):
    """An event of an account, and the account after it."""

    event: StoredEvent
    state: Account


async def list_entries(
    reader: Reader,
    account_id: UUID,
    period: Period,
    spans: Sequence[Span] = (WHOLE,),
    *,
    after: int,
    before: int,
    ascending: bool,
    limit: int,
) -> list[dict[str, Any]]:
    """Return up to `limit` entries of a period between two versions (exclusive), newest or oldest first.

    Only entries from within the `spans`, which are given oldest first, are returned.
    """
    lower, upper = after, before
    if period.from_version is not None:
        lower = max(lower, period.from_version - 1)
    if period.to_version is not None:
        upper = min(upper, period.to_version + 1)
    if period.from_time is not None:
        lower = max(
            lower,
            await _read_version_at(reader, account_id, await event_reader.position_before(reader, period.from_time)),
        )
    if period.to_time is not None:
        upper = min(
            upper,
            await _read_version_at(reader, account_id, await event_reader.position_at(reader, period.to_time)) + 1,
        )
    found: list[dict[str, Any]] = []
    for span in spans if ascending else reversed(spans):
        if len(found) < limit:
            found += await entries.page(
                reader,
                account_id,
                after=max(lower, span.first_version - 1),
                before=upper if span.next_version is None else min(upper, span.next_version),
                ascending=ascending,
                limit=limit - len(found),
            )
    return found


async def replay(reader: Reader, account_id: UUID) -> AsyncIterator[Step]:
    """Yield the events of an account in order, each with the account after it; yield nothing for other streams."""
    state: State | None = None
    after, end = 0, await event_reader.log_end(reader)
    while after < end:
        stretch = await event_reader.read(reader, after, limit=CHUNK, matching=EventFilter(stream_id=account_id))
        for event in stretch.events:
            state = evolve(state, decode_event(event.topic, event.state))
            if not isinstance(state, Account):
                return
            yield Step(event, state)
        after = stretch.reached


async def _read_version_at(reader: Reader, account_id: UUID, position: int) -> int:
    """Return the version of an account's last entry up to a position; 0 without an entry."""
    found = await entries.balances_at(reader, [account_id], position)
    return found[account_id].version if account_id in found else 0
