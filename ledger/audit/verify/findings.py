"""What is wrong, and where: a finding names the rule that is broken, its place, and what should stand there."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

Value = Any  # whatever a column or an event holds; `json_line` and `text` say how it is shown


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One broken rule. What is None says nothing about the place; `expected` or `found` None means: nothing there."""

    rule: str
    expected: Value = None
    found: Value = None
    stream_id: UUID | None = None
    version: int | None = None
    position: int | None = None
    table: str | None = None
    row: str | None = None
    column: str | None = None

    def text(self) -> str:
        """The finding as one line."""
        parts = [
            f"{name} {value}"
            for name, value in (
                ("stream", self.stream_id),
                ("version", self.version),
                ("position", self.position),
                ("table", self.table),
                ("row", self.row),
                ("column", self.column),
            )
            if value is not None
        ]
        return f"{self.rule}: {', '.join(parts)}: expected {_shown(self.expected)}, found {_shown(self.found)}"


def json_line(finding: Finding) -> str:
    """The finding as one JSON object."""
    return msgspec.json.encode(finding, enc_hook=str).decode()


def differences(table: str, row: str, expected: Mapping[str, Value], found: Mapping[str, Value]) -> Iterator[Finding]:
    """A finding for each column of `expected` in which a row of a table says something else."""
    for column, value in expected.items():
        if found.get(column) != value:
            yield Finding(
                "the read table says what the events say",
                value,
                found.get(column),
                table=table,
                row=row,
                column=column,
            )


def missing(table: str, row: str) -> Finding:
    """A row that the events call for is not there."""
    return Finding("the read table has a row for what the events say", "a row", None, table=table, row=row)


def unfounded(table: str, row: str) -> Finding:
    """A row is there that no event calls for."""
    return Finding("the read table has no row that the events do not call for", None, "a row", table=table, row=row)


def _shown(value: Value) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return repr(value[:80])
    return str(value)
