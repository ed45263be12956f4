"""What was so at a moment: of one account, of all, and whether the books were balanced.

A moment is a position of the log, or is turned into one; what was so then is what the last event up to there left
behind. A balance is one row of `entries`, found by index, however long the account's history is.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias, assert_never, cast
from uuid import UUID

from asyncpg import Record

from ledger.events import Recorded
from ledger.events.accounts import Account, AccountEvent, evolve
from ledger.projections import entries
from ledger.projections.entries import Balance
from ledger.store import reader as event_reader
from ledger.store.connections import Reader
from ledger.store.reader import Landmarks


class AtTime(NamedTuple):
    """After all that was recorded at this time or before."""

    time: datetime


class AtPosition(NamedTuple):
    """After the event at this position of the log."""

    position: int


class AtVersion(NamedTuple):
    """After the event of this version of an account."""

    version: int


Moment: TypeAlias = AtTime | AtPosition  # of the whole ledger
AccountMoment: TypeAlias = Moment | AtVersion


async def position_of(reader: Reader, moment: Moment | None) -> int:
    """The position that a moment, None for now, stands for; it is never beyond the end of the log."""
    head = await event_reader.log_end(reader)
    match moment:
        case None:
            return head
        case AtTime(time=time):
            return min(head, await event_reader.position_at(reader, time))
        case AtPosition(position=position):
            return min(head, position)
        case _:
            assert_never(moment)


async def account_at(reader: Reader, account_id: UUID, moment: AccountMoment) -> dict[str, Any] | None:
    """An account as it was at a moment, and as of which version and position; None before it existed."""
    if isinstance(moment, AtVersion):
        position = await event_reader.position_of(reader, account_id, moment.version)
    else:
        position = await position_of(reader, moment)
    row = await reader.fetchrow(
        "SELECT id, currency, created_at FROM accounts WHERE id = $1 AND position <= $2", account_id, position
    )
    return (await _as_of(reader, [row], position))[0] if row else None


async def accounts_at(
    reader: Reader, position: int, *, owner_id: UUID | None, before: int, limit: int, world: bool = False
) -> list[tuple[int, dict[str, Any]]]:
    """Up to `limit` accounts as they were at a position, the newest first, each with the position of its opening.

    With `owner_id`, those that are that user's now; with `world`, the ledger's own as well.
    """
    mine = "" if owner_id is None else "AND user_id = $3"
    owned = "" if world else "AND user_id IS NOT NULL"
    rows = await reader.fetch(
        f"""SELECT id, currency, created_at, position FROM accounts WHERE position < $1 {mine} {owned}
            ORDER BY position DESC LIMIT $2""",
        *(min(before, position + 1), limit),
        *([] if owner_id is None else [owner_id]),
    )
    bodies = await _as_of(reader, rows, position)
    return [(row["position"], body) for row, body in zip(rows, bodies, strict=True)]


async def trial_balance(reader: Reader, position: int) -> dict[str, Any]:
    """For each currency what accounts owe (`debit_cents`), what they have (`credit_cents`), and the sum: always zero.

    It reads one row of `entries` an account, found by bisection, so it costs the more the more accounts there are, and
    nothing else.
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
    currencies = [_currency(row) for row in rows]
    return {
        "position": position,
        "balanced": all(currency["sum_cents"] == 0 for currency in currencies),
        "currencies": currencies,
    }


async def _as_of(reader: Reader, rows: Sequence[Record], position: int) -> list[dict[str, Any]]:
    account_ids = [row["id"] for row in rows]
    landmarks = await event_reader.read_landmarks(reader, account_ids, position)
    balances = await entries.balances_at(reader, account_ids, position)
    funds = await event_reader.read_funds(reader, account_ids, position)
    return [_account(row, landmarks[row["id"]], balances.get(row["id"]), funds.get(row["id"], [])) for row in rows]


def _account(row: Record, landmarks: Landmarks, balance: Balance | None, funds: Sequence[Recorded]) -> dict[str, Any]:
    account = Account(landmarks.owner_id, row["currency"], balance.balance_cents if balance else 0)
    for event in funds:
        account = evolve(account, cast("AccountEvent", event.event))
    known: list[Landmarks | Balance | Recorded] = [landmarks, *funds, *([balance] if balance else [])]
    last = max(known, key=lambda one: one.version)
    return {
        "id": row["id"],
        "user_id": landmarks.owner_id,
        **account.funds(),
        "currency": row["currency"],
        "status": "closed" if landmarks.closed else "open",
        "created_at": row["created_at"],
        "updated_at": last.recorded_at,
        "version": last.version,
        "position": last.position,
    }


def _currency(row: Record) -> dict[str, Any]:
    debit, credit = int(row["debit"]), int(row["credit"])
    return {
        "currency": row["currency"],
        "accounts": row["accounts"],
        "debit_cents": debit,
        "credit_cents": credit,
        "sum_cents": credit - debit,
    }
