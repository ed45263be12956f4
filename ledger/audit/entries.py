"""What happened to an account: its lines between two moments, and its events folded one by one."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from ledger.events import State, decode_event, evolve
from ledger.events.accounts import Account
from ledger.projections import entries
from ledger.store import reader as event_reader
from ledger.store.connections import Reader
from ledger.store.reader import Chosen, StoredEvent

CHUNK = 1000  # events in one step of a replay


class Period(NamedTuple):
    """Which lines are wanted: those between two versions and between two times, these included; None is no bound."""

    from_version: int | None = None
    to_version: int | None = None
    from_time: datetime | None = None
    to_time: datetime | None = None


class Step(NamedTuple):
    """An event of an account, and what the account was after it."""

    event: StoredEvent
    state: Account


async def lines(
    reader: Reader, account_id: UUID, period: Period, *, after: int, before: int, ascending: bool, limit: int
) -> list[dict[str, Any]]:
    """Up to `limit` lines of a period between two versions, both excluded; the newest first, or the oldest."""
    lower, upper = after, before
    if period.from_version is not None:
        lower = max(lower, period.from_version - 1)
    if period.to_version is not None:
        upper = min(upper, period.to_version + 1)
    if period.from_time is not None:
        lower = max(
            lower, await _version_at(reader, account_id, await event_reader.position_before(reader, period.from_time))
        )
    if period.to_time is not None:
        upper = min(
            upper, await _version_at(reader, account_id, await event_reader.position_at(reader, period.to_time)) + 1
        )
    return await entries.page(reader, account_id, after=lower, before=upper, ascending=ascending, limit=limit)


async def replay(reader: Reader, account_id: UUID) -> AsyncIterator[Step]:
    """The account's events up to now, in order, each with what they add up to until then; no events, no steps."""
    state: State | None = None
    after, end = 0, await event_reader.log_end(reader)
    while after < end:
        stretch = await event_reader.read(reader, after, limit=CHUNK, chosen=Chosen(stream_id=account_id))
        for event in stretch.events:
            state = evolve(state, decode_event(event.topic, event.state))
            if not isinstance(state, Account):
                return
            yield Step(event, state)
        after = stretch.reached


async def _version_at(reader: Reader, account_id: UUID, position: int) -> int:
    """The version of an account's last line up to a position; 0 if there is none."""
    found = await entries.balances_at(reader, [account_id], position)
    return found[account_id].version if account_id in found else 0
