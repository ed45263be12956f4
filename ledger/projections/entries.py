"""Statement entries: each is a debit or credit, with the account's version and the balance after it.

They are events of the account, and have no table of their own. The view `entries` shows them to SQL.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias, cast, get_args
from uuid import UUID

import msgspec
from asyncpg import Record

from ledger.events import decode_event
from ledger.events.accounts import AccountCredited, AccountDebited
from ledger.projections.details import DETAILS
from ledger.store.connections import Reader
from ledger.store.sql import ENTRY_EVENTS, ENTRY_TRANSACTION

_DOCUMENTS = frozenset(column.name for column in DETAILS if column.type == "jsonb")
_OPTIONAL = (*(column.name for column in DETAILS if column.name != "reference"), "reverses")
_FROM_TRANSFER = ", ".join(f"transfers.{name}" for name in ("reference", *_OPTIONAL))
# A capture has its own details, or those of the hold; but it counts at its own time.
_OF_CAPTURE = {
    "reverses": "reverses",
    "effective_at": "CASE kind WHEN 'hold' THEN capture.effective_at ELSE transfer.effective_at END AS effective_at",
}
_FROM_CAPTURE = ", ".join(
    _OF_CAPTURE.get(name, f"coalesce(capture.{name}, transfer.{name}) AS {name}") for name in ("reference", *_OPTIONAL)
)
_Entry: TypeAlias = AccountDebited | AccountCredited
HANDLED = frozenset(get_args(_Entry))


class Balance(NamedTuple):
    """The balance of an account after one of its entries, with the version, position and time of that entry."""

    balance_cents: int
    version: int
    position: int
    recorded_at: datetime


async def page(
    reader: Reader, account_id: UUID, *, after: int, before: int, ascending: bool, limit: int
) -> list[dict[str, Any]]:
    """Return up to `limit` entries of an account between two versions (exclusive), newest or oldest first."""
    order = f"ORDER BY version {_direction(ascending)}"
    chosen = f"account_id = $1 AND version > $2 AND version < $3 {order} LIMIT $4"
    rows = await reader.fetch(f"{_select(chosen)} {order}", account_id, after, before, limit)
    return [_body(row) for row in rows]


async def find(reader: Reader, account_id: UUID, versions: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Return the entries of an account at these versions, by version."""
    rows = await reader.fetch(_select("account_id = $1 AND version = ANY($2)"), account_id, versions)
    return {row["version"]: _body(row) for row in rows}


async def read_keys(
    reader: Reader,
    account_id: UUID,
    between: tuple[tuple[datetime, int], tuple[datetime, int]],
    *,
    position: int,
    ascending: bool,
    limit: int,
) -> list[Record]:
    """Return the time of recording and the version of up to `limit` entries, and whether each is dated.

    They are recorded up to a position and `between` two pairs of a time and a version (exclusive).
    """
    (_, first), (_, last) = between
    return await reader.fetch(
        f"""SELECT recorded_at, version, EXISTS (SELECT FROM dated_entries AS dated
                       WHERE dated.account_id = $1 AND dated.position = entry.position) AS is_dated
            FROM ({ENTRY_EVENTS}) AS entry
            WHERE account_id = $1
              AND (recorded_at, version) > ({_LOWER}, $3) AND (recorded_at, version) < ({_UPPER}, $4)
              AND version > (SELECT version_at($1, position_at({_LOWER} - interval '1 microsecond')))
              AND version <= (SELECT version_at($1, least($5, position_at({_UPPER}))))
            ORDER BY version {_direction(ascending)} LIMIT $6""",
        account_id,
        [time for time, _ in between],
        *(first, last, position, limit),
    )


# As an array, because asyncpg sends the first time of the calendar as minus infinity.
_LOWER, _UPPER = "($2::timestamptz[])[1]", "($2::timestamptz[])[2]"


def _direction(ascending: bool) -> str:
    return "ASC" if ascending else "DESC"


def _select(chosen: str) -> str:
    """Return the query for the entries that a where clause chooses, with what their transactions say."""
    return f"""
        SELECT chosen.*, source_account_id, destination_account_id, kind, {_FROM_CAPTURE}
        FROM (SELECT * FROM ({ENTRY_EVENTS}) AS entry WHERE {chosen}) AS chosen,
             LATERAL (SELECT id, source_account_id, destination_account_id, kind, {_FROM_TRANSFER}
                      FROM transfers WHERE id = {ENTRY_TRANSACTION} LIMIT 1) AS transfer
             LEFT JOIN LATERAL (SELECT * FROM captures
                                WHERE kind = 'hold' AND transaction_id = transfer.id
                                  AND captures.position < chosen.position
                                ORDER BY captures.version DESC LIMIT 1) AS capture ON true"""


async def balances_at(reader: Reader, account_ids: Collection[UUID], position: int) -> dict[UUID, Balance]:
    """Return the balance of each account at a position. Accounts without an entry by then are left out."""
    rows = await reader.fetch(
        f"""SELECT id, last.* FROM unnest($1::uuid[]) AS id,
                   LATERAL (SELECT topic, state, version, position, recorded_at FROM ({ENTRY_EVENTS}) AS entry
                            WHERE account_id = id AND version <= (SELECT version_at(id, $2))
                            ORDER BY version DESC LIMIT 1) AS last""",
        account_ids,
        position,
    )
    return {row["id"]: Balance(_decode(row).balance_cents, *row[3:]) for row in rows}


def _decode(row: Record) -> _Entry:
    return cast("_Entry", decode_event(row["topic"], row["state"]))


def _signed_cents(entry: _Entry) -> int:
    return entry.amount_cents if type(entry) is AccountCredited else -entry.amount_cents


def _body(row: Record) -> dict[str, Any]:
    entry = _decode(row)
    return {
        "account_id": row["account_id"],
        "version": row["version"],
        "position": row["position"],
        "transaction_id": entry.transaction_id,
        "other_account_id": row["source_account_id" if type(entry) is AccountCredited else "destination_account_id"],
        "amount_cents": _signed_cents(entry),
        "balance_cents": entry.balance_cents,
        "kind": row["kind"],
        "reference": row["reference"],
        **{name: _decode_detail(name, row[name]) for name in _OPTIONAL if row[name] is not None},
        "created_at": row["recorded_at"],
    }


def _decode_detail(name: str, value: Any) -> Any:
    return msgspec.json.decode(value) if name in _DOCUMENTS else value
