"""Registered assets, as `/assets` shows them: one row each, which never changes."""

from collections.abc import Sequence
from typing import Any, cast

from asyncpg import Record

from ledger.events import Recorded
from ledger.events.assets import AssetRegistered
from ledger.money import CURRENCIES, CURRENCIES_ALONE, Assets
from ledger.projections.table import POSITION, TIME, Column, Index, Table, encode_columns, insert
from ledger.store.connections import Reader
from ledger.store.statements import Statement

HANDLED = frozenset((AssetRegistered,))

ASSETS = Table(
    name="assets",
    key=("id",),
    stream="id",
    columns=(
        Column("id", "uuid"),
        Column("code", "text"),
        Column("name", "text"),
        Column("digits", "smallint"),
        Column("position", "bigint", POSITION),
        Column("created_at", "timestamptz", TIME),
    ),
    indexes=(
        Index("assets_code_idx", "(code)", unique=True),
        Index("assets_position_idx", '("position")', unique=True),
    ),
    changes="never",
)
_CURRENCIES = sorted(CURRENCIES)


def apply(events: Sequence[Recorded]) -> list[Statement]:
    """Return the insert of one row for each registered asset."""
    rows = [_Row(row) for row in events if type(row.event) in HANDLED]
    return [insert(ASSETS, encode_columns(ASSETS, ASSETS.names, rows))] if rows else []


class _Row:
    """The values of the columns of one row."""

    __slots__ = ("code", "created_at", "digits", "id", "name", "position")

    def __init__(self, recorded: Recorded) -> None:
        event = cast("AssetRegistered", recorded.event)
        self.id, self.position, self.created_at = recorded.stream_id, recorded.position, recorded.recorded_at
        self.code, self.name, self.digits = event.code, event.name, event.digits


async def read_assets(reader: Reader) -> Assets:
    """Return the currencies and all registered assets."""
    rows = await reader.fetch("SELECT code, digits FROM assets")
    return Assets({row["code"]: row["digits"] for row in rows})


async def find(reader: Reader, code: str) -> dict[str, Any] | None:
    """Return a registered asset or a currency of ISO 4217 as clients see it, or None."""
    row = await reader.fetchrow("SELECT * FROM assets WHERE code = $1", code)
    if row is None:
        return _describe_currency(code) if code in CURRENCIES else None
    return _body(row)


async def is_known(reader: Reader, code: str) -> bool:
    """Return whether a code is of a currency of ISO 4217 or of a registered asset."""
    return code in CURRENCIES or await find(reader, code) is not None


async def page(reader: Reader, *, before: int, limit: int) -> list[tuple[int, dict[str, Any]]]:
    """Return up to `limit` assets before a position, newest first, each with its position.

    The currencies of ISO 4217 follow in the order of their codes, at positions from 0 downwards.
    """
    rows = await reader.fetch(
        "SELECT * FROM assets WHERE position < $1 ORDER BY position DESC LIMIT $2", max(before, 0), limit
    )
    first = max(0, 1 - before)
    currencies = _CURRENCIES[first : first + limit - len(rows)]
    return [
        *((row["position"], _body(row)) for row in rows),
        *((-number, _describe_currency(code)) for number, code in enumerate(currencies, first)),
    ]


def _body(row: Record) -> dict[str, Any]:
    members = {member: row[member] for member in ("code", "name", "digits", "created_at")}
    return {**members, "source": "registered"}


def _describe_currency(code: str) -> dict[str, Any]:
    return {"code": code, "digits": CURRENCIES_ALONE.digits(code), "source": "iso4217"}
