"""Transfers, as `/transactions` shows them."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from asyncpg import Record

from ledger.database import Reader
from ledger.events import Recorded
from ledger.events.transfers import MoneyTransferred
from ledger.statements import Statement, columns, integers, texts, times, uuids, words

HANDLED = frozenset({MoneyTransferred})
_TYPES = ("uuid", "bigint", "timestamptz", "uuid", "uuid", "bigint", "text", "text", "text")


def apply(events: Sequence[Recorded]) -> list[Statement]:
    """A row a transfer."""
    made = [(row, row.event) for row in events if isinstance(row.event, MoneyTransferred)]
    if not made:
        return []
    return [
        Statement(
            f"""INSERT INTO transfers (id, position, recorded_at, source_account_id, destination_account_id,
                                       amount_cents, currency, kind, reference)
                SELECT id, first_position + number, coalesce(at, recorded_at), source_id, destination_id, amount_cents,
                       currency, kind, reference
                FROM {columns(*_TYPES)} AS new(id, number, at, source_id, destination_id, amount_cents, currency, kind,
                                               reference), reserved""",
            (
                uuids(row.stream_id for row, _ in made),
                integers(row.position for row, _ in made),
                times([row.recorded_at for row, _ in made]),
                uuids(event.source_account_id for _, event in made),
                uuids(event.destination_account_id for _, event in made),
                integers(event.amount_cents for _, event in made),
                words(event.currency for _, event in made),
                words(event.kind for _, event in made),
                texts(event.reference for _, event in made),
            ),
        )
    ]


async def find(reader: Reader, transfer_id: UUID, *, party_id: UUID | None = None) -> dict[str, Any] | None:
    """One transfer; with `party_id`, only if one of its accounts is that user's now."""
    row = await reader.fetchrow(
        """SELECT * FROM transfers
           WHERE id = $1 AND ($2::uuid IS NULL OR EXISTS (
               SELECT FROM accounts WHERE user_id = $2 AND id IN (source_account_id, destination_account_id)))""",
        transfer_id,
        party_id,
    )
    return _body(row) if row else None


def _body(row: Record) -> dict[str, Any]:
    members = ("source_account_id", "destination_account_id", "amount_cents", "currency", "kind", "reference")
    return {
        "id": row["id"],
        **{member: row[member] for member in members},
        "created_at": row["recorded_at"],
    }
