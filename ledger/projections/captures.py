"""Captures of holds: one row for each movement of a hold's money, with its own time, amount and details."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, cast
from uuid import UUID

import msgspec
from asyncpg import Record

from ledger.events import Recorded, encode
from ledger.events.transactions import HoldCaptured
from ledger.projections.details import DETAILS
from ledger.projections.table import POSITION, TIME, Column, Index, Table, encode_columns, insert
from ledger.store.connections import Reader
from ledger.store.statements import Statement
from ledger.values.timestamps import rfc3339

HANDLED = frozenset({HoldCaptured})

CAPTURES = Table(
    name="captures",
    key=("transaction_id", "version"),
    stream="transaction_id",
    columns=(
        Column("transaction_id", "uuid"),
        Column("version", "bigint"),
        Column("position", "bigint", POSITION),
        Column("recorded_at", "timestamptz", TIME),
        Column("amount_cents", "bigint"),
        *DETAILS,
    ),
    indexes=(
        Index("captures_position_idx", '("position")', unique=True),
        Index("captures_reference_idx", "(reference)", where="(reference IS NOT NULL)"),
    ),
    changes="never",
)


def apply(events: Sequence[Recorded]) -> list[Statement]:
    """Return the insert of one row for each capture."""
    rows = [_Row(row) for row in events if isinstance(row.event, HoldCaptured)]
    return [insert(CAPTURES, encode_columns(CAPTURES, CAPTURES.names, rows))] if rows else []


class _Row:
    """The values of the columns of one capture; a column that is not named here has the value in the event."""

    def __init__(self, recorded: Recorded) -> None:
        self._event = cast("HoldCaptured", recorded.event)
        self.transaction_id, self.version = recorded.stream_id, recorded.version
        self.position, self.recorded_at = recorded.position, recorded.recorded_at

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._event, name)
        return encode(value) if value is not None and CAPTURES.by_name[name].type == "jsonb" else value


async def add_captures(reader: Reader, bodies: Collection[dict[str, Any]]) -> dict[UUID, list[dict[str, Any]]]:
    """Add the captures to the bodies of holds that were captured in parts, or with details of the capture's own.

    Return the captures of all holds, as far as they make up the amount that a body says is captured. So a body that is
    the result of an earlier command gets the captures of that time.
    """
    captured = {body["id"]: body for body in bodies if body.get("captured_cents") is not None}
    found: dict[UUID, list[dict[str, Any]]] = {transaction_id: [] for transaction_id in captured}
    if not captured:
        return found
    rows = await reader.fetch(
        "SELECT * FROM captures WHERE transaction_id = ANY($1) ORDER BY transaction_id, version", list(captured)
    )
    for row in rows:
        parts = found[row["transaction_id"]]
        if sum(part["amount_cents"] for part in parts) < captured[row["transaction_id"]]["captured_cents"]:
            parts.append(_format_capture(row))
    for transaction_id, parts in found.items():
        body = captured[transaction_id]
        if len(parts) > 1 or body["status"] == "pending" or any(len(part) > len(_ALWAYS) for part in parts):
            body["captures"] = parts
    return found


_ALWAYS = ("amount_cents", "created_at")


def _format_capture(row: Record) -> dict[str, Any]:
    """Return a capture as clients see it, without the details that it does not have."""
    details = {column.name: _format_detail(column, row[column.name]) for column in DETAILS}
    return {
        "amount_cents": row["amount_cents"],
        **{name: value for name, value in details.items() if value is not None},
        "created_at": rfc3339(row["recorded_at"]),
    }


def _format_detail(column: Column, value: Any) -> Any:
    if value is not None and column.type == "jsonb":
        return msgspec.json.decode(value)
    return rfc3339(value) if isinstance(value, datetime) else value
