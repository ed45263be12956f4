"""Statement entries: one row for each debit and credit, with the account's version and the balance after it."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias, cast, get_args
from uuid import UUID

from asyncpg import Record

from ledger.events import Recorded
from ledger.events.accounts import AccountCredited, AccountDebited
from ledger.projections.table import POSITION, TIME, Column, Table, insert
from ledger.store.connections import Reader
from ledger.store.statements import Statement, integers, times, uuids

_Entry: TypeAlias = AccountDebited | AccountCredited
HANDLED = frozenset(get_args(_Entry))

ENTRIES = Table(
    name="entries",
    key=("account_id", "version"),
    stream="account_id",
    columns=(
        Column("account_id", "uuid"),
        Column("version", "bigint"),
        Column("transfer_id", "uuid"),
        Column("amount_cents", "bigint"),
        Column("balance_cents", "bigint"),
        Column("position", "bigint", POSITION),
        Column("recorded_at", "timestamptz", TIME),
    ),
    changes="never",
)


class Balance(NamedTuple):
    """The balance of an account after one of its entries, with the version, position and time of that entry."""

    balance_cents: int
    version: int
    position: int
    recorded_at: datetime


def apply(events: Sequence[Recorded]) -> list[Statement]:
    """Return the insert of one row per entry; debits are negative."""
    rows = [row for row in events if type(row.event) in HANDLED]
    if not rows:
        return []
    entries = [cast("_Entry", row.event) for row in rows]
    values = {
        "account_id": uuids([row.stream_id for row in rows]),
        "version": integers([row.version for row in rows]),
        "position": integers([row.position for row in rows]),
        "recorded_at": times([row.recorded_at for row in rows]),
        "transfer_id": uuids([entry.transaction_id for entry in entries]),
        "amount_cents": integers(
            [entry.amount_cents if type(entry) is AccountCredited else -entry.amount_cents for entry in entries]
        ),
        "balance_cents": integers([entry.balance_cents for entry in entries]),
    }
    return [insert(ENTRIES, values)]


async def page(
    reader: Reader, account_id: UUID, *, after: int, before: int, ascending: bool, limit: int
) -> list[dict[str, Any]]:
    """Return up to `limit` entries of an account between two versions (exclusive), newest or oldest first."""
    rows = await reader.fetch(
        f"""SELECT chosen.*, transfer.*
            FROM (SELECT * FROM entries WHERE account_id = $1 AND version > $2 AND version < $3
                  ORDER BY version {"ASC" if ascending else "DESC"} LIMIT $4) AS chosen,
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
    """Return the balance of each account at a position. Accounts without an entry by then are left out."""
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
