"""Accounts and the trial balance at a point in time.

Every point in time is converted to a position in the log. The state at that position follows from the last events up
to it. A balance is in one event of the account, found by index, however long the account's history is.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias, assert_never, cast
from uuid import UUID

from asyncpg import Record

from ledger.events import Recorded
from ledger.events.accounts import Account, AccountEvent, evolve
from ledger.money import format_sums
from ledger.projections import account_labels, entries
from ledger.projections.account_labels import Described
from ledger.projections.account_owners import belonged_to, did_belong, ever_of
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
    reader: Reader, account_id: UUID, point: AccountPointInTime, *, owner_id: Party | None = None
) -> dict[str, Any] | None:
    """Return an account at a point in time, with its version and position then; None before it was opened.

    With `owner_id`, an account that was of another party then is None as well.
    """
    if isinstance(point, AtVersion):
        position = await event_reader.position_of(reader, account_id, point.version)
    else:
        position = await position_of(reader, point)
    if owner_id is not None and not await did_belong(reader, account_id, owner_id, position):
        return None
    row = await reader.fetchrow(
        "SELECT id, currency, created_at FROM accounts WHERE id = $1 AND position <= $2", account_id, position
    )
    return (await _read_accounts(reader, [row], position))[0] if row else None


async def accounts_at(
    reader: Reader, position: int, *, owner_id: Party | None, before: int, limit: int, world: bool = False
) -> list[tuple[int, dict[str, Any]]]:
    """Return up to `limit` accounts as they were at a position, newest first, each with the position of its opening.

    With `owner_id`, only accounts that were of this party then; with `world`, also the ledger's own.
    """
    of_owner = (
        ""
        if owner_id is None
        else f"""AND id IN ({ever_of(owner_id).format("$3")})
                 AND {belonged_to(owner_id, "accounts.id", "$4").format("$3")}"""
    )
    of_users = "" if world else "AND user_id IS NOT NULL"
    rows = await reader.fetch(
        f"""SELECT id, currency, created_at, position FROM accounts WHERE position < $1 {of_owner} {of_users}
            ORDER BY position DESC LIMIT $2""",
        *(min(before, position + 1), limit),
        *([] if owner_id is None else [owner_id, position]),
    )
    bodies = await _read_accounts(reader, rows, position)
    return [(row["position"], body) for row, body in zip(rows, bodies, strict=True)]


async def trial_balance(reader: Reader, position: int) -> dict[str, Any]:
    """Return the sums of negative (`debit_cents`) and positive balances (`credit_cents`) of each currency.

    Their sum is zero in balanced books. The query finds the last entry of each account by index, so its cost grows
    with the number of accounts alone.
    """
    rows = await reader.fetch(
        """SELECT currency, count(*) AS accounts,
                  coalesce(-sum(last.balance_cents) FILTER (WHERE last.balance_cents < 0), 0) AS debit,
                  coalesce(sum(last.balance_cents) FILTER (WHERE last.balance_cents > 0), 0) AS credit
           FROM accounts LEFT JOIN LATERAL (
                    SELECT entries.balance_cents FROM entries
                    WHERE account_id = accounts.id AND entries.version <= (SELECT version_at(accounts.id, $1))
                    ORDER BY entries.version DESC LIMIT 1) AS last(balance_cents) ON true
           WHERE accounts.position <= $1 GROUP BY currency ORDER BY currency""",
        position,
    )
    currencies = [_currency_body(row) for row in rows]
    return {
        "position": position,
        "balanced": all(currency["sum_cents"] == 0 for currency in currencies),
        "currencies": currencies,
    }


async def _read_accounts(reader: Reader, rows: Sequence[Record], position: int) -> list[dict[str, Any]]:
    account_ids = [row["id"] for row in rows]
    landmarks = await event_reader.read_landmarks(reader, account_ids, position)
    balances = await entries.balances_at(reader, account_ids, position)
    funds = await event_reader.read_funds(reader, account_ids, position)
    described = await account_labels.read_at(reader, account_ids, position)
    return [
        _account_body(
            row, landmarks[row["id"]], balances.get(row["id"]), funds.get(row["id"], []), described.get(row["id"])
        )
        for row in rows
    ]


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


def _currency_body(row: Record) -> dict[str, Any]:
    debit, credit = int(row["debit"]), int(row["credit"])
    return {
        "currency": row["currency"],
        "accounts": row["accounts"],
        **format_sums(debit_cents=debit, credit_cents=credit, sum_cents=credit - debit),
    }
