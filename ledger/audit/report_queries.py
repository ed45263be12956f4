"""Reads what the reports of accountants need, and sums of balances by code, at a point in time."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from ledger.audit import as_of, sums
from ledger.audit.as_of import PointInTime
from ledger.audit.effective_entries import FIRST, LAST
from ledger.audit.report_periods import Period
from ledger.audit.reports import (
    RESULT_TYPES,
    Report,
    build_balance_sheet,
    build_income_statement,
    build_trial_balance,
)
from ledger.audit.sums import Amount, Balance, Change, Group, Grouping
from ledger.money import Assets, format_sums
from ledger.projections.assets import read_assets
from ledger.store import reader as event_reader
from ledger.store.connections import Reader
from ledger.values.timestamps import rfc3339

_INSTANT = timedelta(microseconds=1)


class When(NamedTuple):
    """A point in time, and the effective time by which entries count; None stands for now, and for none."""

    point: PointInTime | None = None
    effective_at: datetime | None = None


class Scope(NamedTuple):
    """What a report shows: codes up to a number of segments, and one currency; None stands for all."""

    depth: int | None = None
    currency: str | None = None


class Activity(NamedTuple):
    """The period of an income statement and the one to compare, by effective or recorded times."""

    period: Period = Period()
    other: Period | None = None
    by_effective_time: bool = False


async def read_balances(reader: Reader, when: When, grouping: Grouping) -> dict[str, Any]:
    """Return the sums of balances by code, as clients see them. Raises `TooManyGroupsError`."""
    position, balance = await _locate(reader, when)
    groups = await sums.read_groups(reader, position, [balance], grouping)
    ordered = sorted(groups, key=lambda group: (group.kind, (group.code or "").lower().split(":"), group.currency))
    return {**_members(position, when), "balances": [_group_body(group) for group in ordered]}


async def read_trial_balance(reader: Reader, when: When, scope: Scope) -> Report:
    """Return the trial balance. Raises `TooManyGroupsError`."""
    return build_trial_balance(*await _read_state(reader, when, scope))


async def read_balance_sheet(reader: Reader, when: When, scope: Scope) -> Report:
    """Return the balance sheet. Raises `TooManyGroupsError`."""
    return build_balance_sheet(*await _read_state(reader, when, scope))


async def read_income_statement(reader: Reader, point: PointInTime | None, activity: Activity, scope: Scope) -> Report:
    """Return the income statement of a period, as it was known at a point in time.

    Accounts have the codes, names and types of that point. Raises `TooManyGroupsError`.
    """
    periods = [activity.period, *([] if activity.other is None else [activity.other])]
    position = await as_of.position_of(reader, point)
    amounts = [await _change_in(reader, period, position, activity) for period in periods]
    grouping = Grouping(depth=scope.depth, currency=scope.currency, by_type=True, types=RESULT_TYPES)
    groups = await sums.read_groups(reader, position, amounts, grouping)
    names = ("period", "previous_period")
    members = {
        "position": position,
        "by": "effective" if activity.by_effective_time else "recorded",
        **{name: _period_body(period) for name, period in zip(names, periods, strict=False)},
    }
    return build_income_statement(groups, await read_assets(reader), members, compares=len(periods) > 1)


async def _read_state(reader: Reader, when: When, scope: Scope) -> tuple[list[Group], Assets, dict[str, Any]]:
    position, balance = await _locate(reader, when)
    grouping = Grouping(depth=scope.depth, currency=scope.currency, by_type=True)
    groups = await sums.read_groups(reader, position, [balance], grouping)
    return groups, await read_assets(reader), _members(position, when)


async def _locate(reader: Reader, when: When) -> tuple[int, Balance]:
    position = await as_of.position_of(reader, when.point)
    return position, Balance(position, when.effective_at)


async def _change_in(reader: Reader, period: Period, position: int, activity: Activity) -> Amount:
    """Return the change of each balance in a period, as it was known at a position."""
    first, last = period
    if activity.by_effective_time:
        after = Balance(position, last or LAST)
        before = None if first is None or first == FIRST else Balance(position, first - _INSTANT)
    else:
        after = Balance(position if last is None else min(position, await event_reader.position_at(reader, last)))
        before = None if first is None else Balance(min(position, await event_reader.position_before(reader, first)))
    return after if before is None else Change(before, after)


def _members(position: int, when: When) -> dict[str, Any]:
    counted = {} if when.effective_at is None else {"effective_at": rfc3339(when.effective_at)}
    return {"position": position, **counted}


def _period_body(period: Period) -> dict[str, str]:
    return {name: rfc3339(time) for name, time in zip(("from", "to"), period, strict=True) if time is not None}


def _group_body(group: Group) -> dict[str, Any]:
    (amount,) = group.sums
    return {
        "group": group.kind,
        **({} if group.code is None else {"code": group.code}),
        **({} if group.name is None else {"name": group.name}),
        "currency": group.currency,
        "accounts": group.accounts,
        "accounts_below": group.below,
        **format_sums(debit_cents=amount.negative, credit_cents=amount.positive, sum_cents=amount.net),
    }
