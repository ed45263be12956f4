"""Accounts and the trial balance at a point in time.

Every point in time is converted to a position in the log. The state at that position follows from the last events up
to it. A balance is in one event of the account, found by index, however long the account's history is.

With an effective time, balances are those of the entries that count by then, as far as they were recorded at the point
in time.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias, assert_never, cast
from uuid import UUID

from asyncpg import Record

from ledger.events import Recorded
from ledger.events.accounts import Account, AccountEvent, evolve
from ledger.money import MAX_CENTS, format_sums
from ledger.projections import account_labels, dated_entries, entries
from ledger.projections.account_labels import Described
from ledger.projections.account_owners import belonged_to, did_belong, ever_of
from ledger.projections.dated_entries import EffectiveTime
from ledger.projections.entries import Balance
from ledger.store import reader as event_reader
from ledger.store.connections import Reader
from ledger.store.reader import Landmarks
from ledger.store.sql import Party


class AtTime(NamedTuple):
    """After all events recorded at this time or earlier."""

    time: datetime


class AtPosition(NamedTuple):
    """After the event at this position of the log."""

    position: int


class AtVersion(NamedTuple):
    """After the event with this version of an account."""

    version: int


PointInTime: TypeAlias = AtTime | AtPosition  # of the whole ledger
AccountPointInTime: TypeAlias = PointInTime | AtVersion


async def position_of(reader: Reader, point: PointInTime | None) -> int:
    """Return the position of a point in time, at most the log end; None stands for now."""
    log_end = await event_reader.log_end(reader)
    match point:
        case None:
            return log_end
        case AtTime(time=time):
            return min(log_end, await event_reader.position_at(reader, time))
        case AtPosition(position=position):
            return min(log_end, position)
        case _:
            assert_never(point)


async def account_at(
    reader: Reader,
    account_id: UUID,
    point: AccountPointInTime | None,
    *,
    owner_id: Party | None = None,
    effective_at: datetime | None = None,
) -> dict[str, Any] | None:
    """Return an account at a point in time, with its version and position then; None before it was opened.

    With `owner_id`, an account that was of another party then, or at the effective time, is None as well.
    """
    if isinstance(point, AtVersion):
        position = await event_reader.position_of(reader, account_id, point.version)
    else:
        position = await position_of(reader, point)
    row = await reader.fetchrow(
        "SELECT id, currency, created_at, position FROM accounts WHERE id = $1 AND position <= $2", account_id, position
    )
    if row is None:
        return None
    if owner_id is not None:
        for seen in {position, await _reach(reader, row["position"], position, effective_at)}:
            if not await did_belong(reader, account_id, owner_id, seen):
                return None
    return (await _read_accounts(reader, [row], position, effective_at))[0]


async def _reach(reader: Reader, opened: int, position: int, effective_at: datetime | None) -> int:
    """Return the position from which an effective time shows an account: at the earliest that of its opening."""
    if effective_at is None:
        return position
    return max(opened, min(position, await event_reader.position_at(reader, effective_at)))


async def accounts_at(
    reader: Reader,
    position: int,
    *,
    owner_id: Party | None,
    before: int,
    limit: int,
    world: bool = False,
    effective_at: datetime | None = None,
) -> list[tuple[int, dict[str, Any]]]:
    """Return up to `limit` accounts as they were at a position, newest first, each with the position of its opening.

    With `owner_id`, only accounts that were of this party then, and at the effective time; with `world`, also the
    ledger's own.
    """
    of_owner = (
        ""
        if owner_id is None
        else f"""AND id IN ({ever_of(owner_id).format("$3")})
                 AND {belonged_to(owner_id, "accounts.id", "$4").format("$3")}
                 AND {belonged_to(owner_id, "accounts.id", "greatest(accounts.position, $5::bigint)").format("$3")}"""
    )
    of_users = "" if world else "AND user_id IS NOT NULL"
    rows = await reader.fetch(
        f"""SELECT id, currency, created_at, position FROM accounts WHERE position < $1 {of_owner} {of_users}
            ORDER BY position DESC LIMIT $2""",
        *(min(before, position + 1), limit),
        *([] if owner_id is None else [owner_id, position, await _reach(reader, 0, position, effective_at)]),
    )
    bodies = await _read_accounts(reader, rows, position, effective_at)
    return [(row["position"], body) for row, body in zip(rows, bodies, strict=True)]


async def trial_balance(reader: Reader, position: int, effective_at: datetime | None = None) -> dict[str, Any]:
    """Return the sums of negative (`debit_cents`) and positive balances (`credit_cents`) of each currency.

    Their sum is zero in balanced books. The query finds the last entry of each account by index, so its cost grows
    with the number of accounts alone.
    """
    last = _RECORDED
    values: tuple[object, ...] = (position,)
    if effective_at is not None:
        last = f"SELECT {dated_entries.balance_sql('accounts.id', 2)}"
        values = (position, *EffectiveTime.of(effective_at, position))
    rows = await reader.fetch(
        f"""SELECT currency, count(*) AS accounts,
                   coalesce(-sum(last.balance_cents) FILTER (WHERE last.balance_cents < 0), 0) AS debit,
                   coalesce(sum(last.balance_cents) FILTER (WHERE last.balance_cents > 0), 0) AS credit
            FROM accounts LEFT JOIN LATERAL ({last}) AS last(balance_cents) ON true
            WHERE accounts.position <= $1 GROUP BY currency ORDER BY currency""",
        *values,
    )
    currencies = [format_sums_of(row) for row in rows]
    return {
        "position": position,
        **({} if effective_at is None else {"effective_at": effective_at}),
        "balanced": all(currency["sum_cents"] == 0 for currency in currencies),
        "currencies": currencies,
    }


_RECORDED = """SELECT entries.balance_cents FROM entries
               WHERE account_id = accounts.id AND entries.version <= (SELECT version_at(accounts.id, $1))
               ORDER BY entries.version DESC LIMIT 1"""


async def _read_accounts(
    reader: Reader, rows: Sequence[Record], position: int, effective_at: datetime | None
) -> list[dict[str, Any]]:
    account_ids = [row["id"] for row in rows]
    landmarks = await event_reader.read_landmarks(reader, account_ids, position)
    balances = await entries.balances_at(reader, account_ids, position)
    funds = await event_reader.read_funds(reader, account_ids, position)
    described = await account_labels.read_at(reader, account_ids, position)
    bodies = [
        _account_body(
            row, landmarks[row["id"]], balances.get(row["id"]), funds.get(row["id"], []), described.get(row["id"])
        )
        for row in rows
    ]
    if effective_at is not None:
        counted = await dated_entries.balances_as_of(reader, account_ids, effective_at, position)
        return [{**body, **_restate(body, counted[body["id"]], effective_at)} for body in bodies]
    return bodies


def _restate(body: Mapping[str, Any], balance_cents: int, effective_at: datetime) -> dict[str, Any]:
    """Return the members of an account that an effective time changes: what is held has no effective time."""
    available = balance_cents - body["held_cents"] + body["overdraft_limit_cents"]
    return {
        "balance_cents": balance_cents,
        "available_cents": max(-MAX_CENTS, min(available, MAX_CENTS)),
        "effective_at": effective_at,
    }


def _account_body(
    row: Record,
    landmarks: Landmarks,
    balance: Balance | None,
    funds: Sequence[Recorded],
    described: Described | None,
) -> dict[str, Any]:
    account = Account(landmarks.owner_id, row["currency"], balance.balance_cents if balance else 0)
    for event in funds:
        account = evolve(account, cast("AccountEvent", event.event))
    others = [change for change in (balance, described) if change is not None]
    changes: list[Landmarks | Balance | Recorded | Described] = [landmarks, *funds, *others]
    last = max(changes, key=lambda change: change.version)
    return {
        "id": row["id"],
        "user_id": landmarks.owner_id,
        **account.funds(),
        **(described.labels.members() if described else {}),
        "currency": row["currency"],
        "status": "closed" if landmarks.closed else "open",
        "created_at": row["created_at"],
        "updated_at": last.recorded_at,
        "version": last.version,
        "position": last.position,
    }


def format_sums_of(row: Record) -> dict[str, Any]:
    """Return the sums of a currency, of which a row has the columns `accounts`, `debit` and `credit`."""
    debit, credit = int(row["debit"]), int(row["credit"])
    return {
        "currency": row["currency"],
        "accounts": row["accounts"],
        **format_sums(debit_cents=debit, credit_cents=credit, sum_cents=credit - debit),
    }
