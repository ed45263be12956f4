"""Watches the accounts and sums of balance monitors, and records each crossing once, in the order of the log.

It reads what an account's events say, never its balance of now, so a crossing between two looks is not missed. A
process that dies may leave crossings that are not recorded, or its position not reported: the next one reads these
events again, and the command finds what is recorded already.
"""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple, cast
from uuid import UUID

from ledger.audit.as_of import AtVersion, account_at
from ledger.commands.monitors import Crossing, RecordCrossings
from ledger.events import Recorded, evolve
from ledger.events.accounts import Account
from ledger.followers.follower import Follower, FollowerProgress, follow, read_positions
from ledger.projections import monitors
from ledger.projections.monitors import Watched
from ledger.settings import Settings
from ledger.store import reader as event_reader
from ledger.store.connections import Connection
from ledger.store.pool import connect
from ledger.store.stream_events import read_stream, version_at
from ledger.values.ids import new_id
from ledger.write.group import Origin
from ledger.write.sum_crossings import SumWatch
from ledger.write.writer import Writer

NAME = "crossings"
PAUSE_SECONDS = 1.0
PAGE = 1000  # events of an account that are read at once


async def watch_balances(settings: Settings, committer: Writer) -> None:
    """Record crossings until cancelled, if no other process does."""
    await follow(CrossingWatch(committer).follower(), lambda: connect(settings))


class _Seen(NamedTuple):
    """The state of an account after one of its events."""

    version: int
    account: Account


class CrossingWatch:
    """Follows the accounts of all monitors."""

    def __init__(self, committer: Writer) -> None:
        self._committer = committer
        self._accounts: dict[UUID, _Seen] = {}
        self._sums = SumWatch()
        self._since = 0  # the position that an earlier leader has reached
        self._reached: int | None = None

    def follower(self) -> Follower:
        """Return the task."""
        return Follower(NAME, self._step, lambda: asyncio.sleep(PAUSE_SECONDS), self._begin)

    async def _begin(self, connection: Connection) -> None:
        self._accounts.clear()
        self._sums.clear()
        self._since = next((row[1] for row in await read_positions(connection) if row[0] == NAME), 0)
        self._reached = None

    async def _step(self, connection: Connection, leads: bool) -> FollowerProgress:
        if not leads:
            self._reached = None
            return FollowerProgress(None)
        if self._reached is None:  # another process may have led until now
            await self._begin(connection)
        end = await event_reader.log_end(connection)
        if end != self._reached:
            await self._watch(connection, end)
            self._reached = end
        return FollowerProgress(end)

    async def _watch(self, connection: Connection, end: int) -> None:
        watched = await monitors.list_watched(connection)
        for gone in self._accounts.keys() - {one.rule.account_id for one in watched}:
            del self._accounts[gone]
        for account_id, group in groupby(watched, key=lambda one: one.rule.account_id):
            if account_id is None:
                sums = [one for one in group if one.position <= end]
                await self._record(await self._sums.find_crossings(connection, sums, self._since, end))
            else:
                await self._watch_account(connection, account_id, [*group])

    async def _watch_account(self, connection: Connection, account_id: UUID, watched: Sequence[Watched]) -> None:
        """Record the crossings of an account's monitors, up to the version that it has now."""
        seen = self._accounts.get(account_id) or await self._load(connection, account_id, watched)
        triggered = {one.id: one.triggered for one in watched}
        version_now = watched[0].version_now or 0
        while seen.version < version_now:
            events = await read_stream(connection, account_id, seen.version, version_now, PAGE)
            seen, found = _find_crossings(seen, events, watched, triggered)
            await self._record(found)
        self._accounts[account_id] = seen

    async def _record(self, found: Mapping[UUID, Sequence[Crossing]]) -> None:
        for monitor_id, crossings in found.items():
            command = RecordCrossings(monitor_id=monitor_id, crossings=tuple(crossings))
            await self._committer.submit(command, Origin(new_id()))

    async def _load(self, connection: Connection, account_id: UUID, watched: Sequence[Watched]) -> _Seen:
        """Return an account as it was when one of its monitors began, or at the position of an earlier leader."""
        first = min(one.seen_version for one in watched)
        version = max(first, await version_at(connection, account_id, self._since))
        body = cast("dict[str, Any]", await account_at(connection, account_id, AtVersion(version)))
        funds = {name: body[name] for name in ("balance_cents", "held_cents", "overdraft_limit_cents", "frozen")}
        return _Seen(version, Account(owner_id=body["user_id"], currency=body["currency"], **funds))


def _find_crossings(
    seen: _Seen, events: Sequence[Recorded], watched: Sequence[Watched], triggered: dict[UUID, bool]
) -> tuple[_Seen, dict[UUID, list[Crossing]]]:
    """Return the account after these events, and the crossings of each monitor; `triggered` is brought up to date."""
    found: dict[UUID, list[Crossing]] = {}
    version, account = seen
    for row in events:
        version, account = row.version, cast("Account", evolve(account, row.event))
        for one in watched:
            cents = one.rule.measure(account)
            is_met = one.rule.is_met(cents)
            if version > one.seen_version and is_met != triggered[one.id]:
                triggered[one.id] = is_met
                crossing = Crossing(is_met, version, row.position, cents)
                found.setdefault(one.id, []).append(crossing)
    return _Seen(version, account), found
