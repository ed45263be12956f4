"""Findings: the rule that is broken, where, and the expected and the found value."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from ledger.money import MAX_CENTS

Value = Any  # any value of a column or an event


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """A broken rule and its place. `expected` or `found` is None if there should be, or is, no value."""

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
        """Return the finding as one line of text."""
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
        expected, found = _format_value(self.expected), _format_value(self.found)
        return f"{self.rule}: {', '.join(parts)}: expected {expected}, found {found}"


class Difference(NamedTuple):
    """A row that differs from what the events give, both as JSON. None: no such row exists, or should exist."""

    table: str
    key: str
    expected: str | None
    found: str | None


class Advanced(NamedTuple):
    """The number of events that were checked since the last one."""

    events: int


def json_line(finding: Finding) -> str:
    """Return the finding as one JSON object. An integer that JSON readers might round is text."""
    exact = msgspec.structs.replace(finding, expected=_keep_exact(finding.expected), found=_keep_exact(finding.found))
    return msgspec.json.encode(exact, enc_hook=str).decode()


def _keep_exact(value: Value) -> Value:
    return str(value) if isinstance(value, int) and abs(value) > MAX_CENTS else value


def compare_columns(
    table: str, row: str, expected: Mapping[str, Value], found: Mapping[str, Value]
) -> Iterator[Finding]:
    """Yield a finding for each column of `expected` that differs in a row of a read table."""
    for column, value in expected.items():
        if found.get(column) != value:
            yield Finding(
                "the read table matches the events",
                value,
                found.get(column),
                table=table,
                row=row,
                column=column,
            )


def judge_difference(difference: Difference) -> Iterator[Finding]:
    """Yield a finding for each column of a row that differs, or one for the row."""
    table, key, expected, found = difference
    if found is None:
        yield report_missing(table, key)
    elif expected is None:
        yield report_unexpected(table, key)
    else:
        yield from compare_columns(table, key, msgspec.json.decode(expected), msgspec.json.decode(found))


def report_missing(table: str, row: str) -> Finding:
    """Return the finding that a row is missing, although it follows from the events."""
    return Finding("the read table has every row that follows from the events", "a row", None, table=table, row=row)


def report_unexpected(table: str, row: str) -> Finding:
    """Return the finding that a row exists, although it does not follow from the events."""
    return Finding("the read table has only rows that follow from the events", None, "a row", table=table, row=row)


def _format_value(value: Value) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return repr(value[:80])
    return str(value)
