"""Statements as JSON and as CSV. Pure."""

import csv
import io
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from ledger.audit.statements.model import FIRST, Lines, Statement
from ledger.money import format_sums
from ledger.values.spreadsheets import protect_cell
from ledger.values.timestamps import rfc3339

OPENING, CLOSING = "opening_balance", "closing_balance"
COLUMNS = (
    *("counts_at", "recorded_at", "kind", "transaction_id", "other_accounts", "reference", "description"),
    *("debit", "credit", "balance", "currency", "amount_cents", "balance_cents", "version", "position", "metadata"),
)


def describe(statement: Statement) -> dict[str, Any]:
    """Return the members of a statement in JSON, without its lines."""
    holder = {name: value for name, value in statement.holder._asdict().items() if value is not None}
    return {
        "id": statement.id,
        "account_id": statement.account_id,
        **holder,
        "currency": statement.currency,
        "digits": statement.digits,
        "by": "effective" if statement.by_effective_time else "recorded",
        "from_time": None if statement.first == FIRST else statement.first,
        "to_time": statement.last,
        "created_at": statement.created_at,
        "position": statement.position,
        "opening_balance_cents": statement.opening_cents,
        "closing_balance_cents": statement.closing_cents,
        **format_sums(credit_cents=statement.sums.credit_cents, debit_cents=statement.sums.debit_cents),
        "credits": statement.sums.credits,
        "debits": statement.sums.debits,
    }


class JsonWriter:
    """One JSON object, whose last member is the list of the lines."""

    def begin(self, statement: Statement) -> str:
        """Return the members of the head, and the begin of the list."""
        return f'{_encode(describe(statement))[:-1]},"lines":['

    def write(self, statement: Statement, lines: Lines, *, is_first: bool) -> str:  # noqa: ARG002 - as all formats
        """Return the next lines as objects."""
        objects = ",".join(map(_encode, lines))
        return objects if is_first or not objects else f",{objects}"

    def end(self, statement: Statement) -> str:  # noqa: ARG002
        """Return the end of the list and of the object."""
        return "]}"


class CsvWriter:
    """A header, a row for the opening balance, a row for each line, and a row for the closing balance (RFC 4180).

    Text that a spreadsheet would run is marked as text.
    """

    def begin(self, statement: Statement) -> str:
        """Return the header and the opening balance."""
        at = None if statement.first == FIRST else rfc3339(statement.first)
        return _format_rows([COLUMNS, _balance_row(statement, OPENING, at, statement.opening_cents)])

    def write(self, statement: Statement, lines: Lines, *, is_first: bool) -> str:  # noqa: ARG002
        """Return a row for each line."""
        return _format_rows([_format_row(statement, line) for line in lines])

    def end(self, statement: Statement) -> str:
        """Return the closing balance."""
        return _format_rows([_balance_row(statement, CLOSING, rfc3339(statement.last), statement.closing_cents)])


def _encode(members: Mapping[str, Any]) -> str:
    times = {name: rfc3339(value) for name, value in members.items() if isinstance(value, datetime)}
    return msgspec.json.encode({**members, **times}).decode()


def _balance_row(statement: Statement, kind: str, at: str | None, cents: int) -> list[Any]:
    row = {
        "counts_at": at,
        "kind": kind,
        "balance": statement.amount(cents),
        "balance_cents": cents,
        "currency": statement.currency,
    }
    return [row.get(name) for name in COLUMNS]


def _format_row(statement: Statement, line: dict[str, Any]) -> list[Any]:
    cents = line["amount_cents"]
    row = {
        **line,
        "counts_at": rfc3339(statement.counts_at(line)),
        "recorded_at": rfc3339(line["created_at"]),
        "other_accounts": statement.name_others(line),
        "debit": statement.amount(-cents) if cents < 0 else None,
        "credit": statement.amount(cents) if cents > 0 else None,
        "balance": statement.amount(line["balance_cents"]),
        "currency": statement.currency,
        "metadata": _encode(line["metadata"]) if "metadata" in line else None,
    }
    texts = {name: protect_cell(row[name]) for name in ("other_accounts", "reference", "description") if row.get(name)}
    return [_plain({**row, **texts}.get(name)) for name in COLUMNS]


def _plain(value: object) -> object:
    return str(value) if isinstance(value, UUID) else value


def _format_rows(rows: list[Any]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
