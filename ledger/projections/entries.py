"""Statement entries: each is a debit or credit, with the account's version and the balance after it.

They are events of the account, and have no table of their own. The view `entries` shows them to SQL.
"""

from collections.abc import Collection
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
_FROM_CAPTURE = ", ".join(
    "reverses" if name == "reverses" else f"coalesce(capture.{name}, transfer.{name}) AS {name}"
    for name in ("reference", *_OPTIONAL)
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
    rows = await reader.fetch(
        f"""SELECT chosen.*, source_account_id, destination_account_id, kind, {_FROM_CAPTURE}
            FROM (SELECT * FROM ({ENTRY_EVENTS}) AS entry WHERE account_id = $1 AND version > $2 AND version < $3
                  ORDER BY version {"ASC" if ascending else "DESC"} LIMIT $4) AS chosen,
                 LATERAL (SELECT id, source_account_id, destination_account_id, kind, {_FROM_TRANSFER}
                          FROM transfers WHERE id = {ENTRY_TRANSACTION} LIMIT 1) AS transfer
                 LEFT JOIN LATERAL (SELECT * FROM captures
                                    WHERE kind = 'hold' AND transaction_id = transfer.id
                                      AND captures.position < chosen.position
                                    ORDER BY captures.version DESC LIMIT 1) AS capture ON true
            ORDER BY version {"ASC" if ascending else "DESC"}""",
        account_id,
        after,
        before,
        limit,
    )
    return [_body(row) for row in rows]


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
