"""Statement lines: one row for each debit and credit, numbered by the account's version, with the balance after it."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias, cast, get_args
from uuid import UUID

from asyncpg import Record

from ledger.events import Recorded
from ledger.events.accounts import AccountCredited, AccountDebited
from ledger.store.connections import Reader
from ledger.store.statements import Statement, columns, integers, times, uuids

_Entry: TypeAlias = AccountDebited | AccountCredited
HANDLED = frozenset(get_args(_Entry))


class Balance(NamedTuple):
    """What an account had after one of its lines, and which and when that was."""

    balance_cents: int
    version: int
    position: int
    recorded_at: datetime


def apply(events: Sequence[Recorded]) -> list[Statement]:
    """A row an entry; debits are negative."""
    entries = [(row, cast("_Entry", row.event)) for row in events if type(row.event) in HANDLED]
    if not entries:
        return []
    return [
        Statement(
            f"""INSERT INTO entries (account_id, version, position, recorded_at, transfer_id, amount_cents,
                                     balance_cents)
                SELECT account_id, version, first_position + number, coalesce(at, recorded_at), transfer_id,
                       amount_cents, balance_cents
                FROM {columns("uuid", "bigint", "bigint", "timestamptz", "uuid", "bigint", "bigint")}
                     AS new(account_id, version, number, at, transfer_id, amount_cents, balance_cents), reserved""",
            (
                uuids(row.stream_id for row, _ in entries),
                integers(row.version for row, _ in entries),
                integers(row.position for row, _ in entries),
                times([row.recorded_at for row, _ in entries]),
                uuids(entry.transfer_id for _, entry in entries),
                integers(
                    entry.amount_cents if type(entry) is AccountCredited else -entry.amount_cents
                    for _, entry in entries
                ),
                integers(entry.balance_cents for _, entry in entries),
            ),
        )
    ]


async def page(
    reader: Reader, account_id: UUID, *, after: int, before: int, ascending: bool, limit: int
) -> list[dict[str, Any]]:
    """Up to `limit` lines of an account between two versions, both excluded; the newest first, or the oldest."""
    rows = await reader.fetch(
        f"""SELECT lines.*, transfer.*
            FROM (SELECT * FROM entries WHERE account_id = $1 AND version > $2 AND version < $3
                  ORDER BY version {"ASC" if ascending else "DESC"} LIMIT $4) AS lines,
                 LATERAL (SELECT source_account_id, destination_account_id, kind, reference
                          FROM transfers WHERE id = transfer_id LIMIT 1) AS transfer
            ORDER BY version {"ASC" if ascending else "DESC"}""",
        account_id,
        after,
        before,
        limit,
    )
    return [_body(row) for row in rows]


async def balances_at(reader: Reader, account_ids: Collection[UUID], position: int) -> dict[UUID, Balance]:
    """The balances at a position of those of these accounts that had a line by then: one row an account."""
    rows = await reader.fetch(
        """SELECT id, last.* FROM unnest($1::uuid[]) AS id,
                  LATERAL (SELECT balance_cents, version, position, recorded_at FROM entries
                           WHERE account_id = id AND version <= (SELECT version_at(id, $2))
                           ORDER BY version DESC LIMIT 1) AS last""",
        account_ids,
        position,
    )
    return {row[0]: Balance(*row[1:]) for row in rows}


def _body(row: Record) -> dict[str, Any]:
    other = "destination_account_id" if row["amount_cents"] < 0 else "source_account_id"
    return {
        "account_id": row["account_id"],
        "version": row["version"],
        "position": row["position"],
        "transaction_id": row["transfer_id"],
        "other_account_id": row[other],
        "amount_cents": row["amount_cents"],
        "balance_cents": row["balance_cents"],
        "kind": row["kind"],
        "reference": row["reference"],
        "created_at": row["recorded_at"],
    }
