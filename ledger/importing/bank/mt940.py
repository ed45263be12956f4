"""MT940 (SWIFT): the entries of one account, read with the package mt-940.

Each statement must add up: its opening balance and its entries make its closing balance, so no entry is lost.
"""

import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import mt940

from ledger.importing.bank.entries import Entry, Sides, make_draft
from ledger.importing.draft import Draft, Drafts, Reading
from ledger.importing.faults import Fault, FileFaultError, Place
from ledger.importing.forms import format_day
from ledger.importing.text import read_text

_STATEMENT = re.compile(r"^:20:", re.MULTILINE)
_ENTRY = re.compile(r"^:61:(?P<value>.*(?:\n(?![:{}-]).*)*)", re.MULTILINE)
_AMOUNT = re.compile(r"[0-9]{6}(?:[0-9]{4}|[ ]{4})?R?[DC][A-Z]?[\n ]?[0-9]+,[0-9]*[A-Z]", re.IGNORECASE)
_NONE = frozenset(("NONREF", "NOREF", ""))


class _Part(NamedTuple):
    """One statement: its text, and the line on which it begins."""

    text: str
    line: int


def read_mt940(path: Path, encoding: str, reading: Reading, sides: Sides) -> Drafts:
    """Yield the entries of a file."""
    text = read_text(path, encoding)
    begins = [found.start() for found in _STATEMENT.finditer(text)]
    if not begins:
        raise FileFaultError(1, 1, "the file is no MT940: it has no :20:")
    account: str | None = None
    for begin, end in zip(begins, [*begins[1:], len(text)], strict=True):
        part = _Part(text[begin:end], text.count("\n", 0, begin) + 1)
        statement = _parse(part)
        own = str(statement.data.get("account_identification") or "")
        if account not in (None, own):
            raise FileFaultError(part.line, 1, "a second bank account: import one at a time")
        account = own
        yield from _read_statement(part, statement, reading, sides)


def _parse(part: _Part) -> Any:
    match = mt940.tags.Statement().re.match
    for found in _ENTRY.finditer(part.text):  # the package takes `1.50` for 1
        if not _AMOUNT.match(found["value"]) or not match(found["value"]):
            line = part.line + part.text.count("\n", 0, found.start())
            raise FileFaultError(line, 1, "the field :61: is not as MT940 defines it")
    statement = mt940.models.Transactions(options=mt940.Options.all())
    try:
        statement.parse(part.text)
    except (RuntimeError, ValueError, ArithmeticError):
        raise FileFaultError(part.line, 1, "the statement has a field that is not as MT940 defines it") from None
    return statement


def _read_statement(part: _Part, statement: Any, reading: Reading, sides: Sides) -> Iterator[Draft | Fault]:
    lines = [part.line + part.text.count("\n", 0, found.start()) for found in _ENTRY.finditer(part.text)]
    entries = list(statement.transactions)
    if lines and len(lines) != len(entries):
        raise FileFaultError(
            part.line, 1, f"the statement has {len(lines)} fields :61:, and {len(entries)} can be read"
        )
    if not lines:
        return
    _check_sum(part, statement, entries)
    for line, entry in zip(lines, entries, strict=True):
        yield _read_entry(line, entry.data, statement, reading, sides)


def _check_sum(part: _Part, statement: Any, entries: list[Any]) -> None:
    opening = statement.data.get("final_opening_balance") or statement.data.get("intermediate_opening_balance")
    closing = statement.data.get("final_closing_balance") or statement.data.get("intermediate_closing_balance")
    if opening is None or closing is None:
        raise FileFaultError(
            part.line, 1, "the statement must have an opening balance (:60F:) and a closing one (:62F:)"
        )
    total = opening.amount.amount + sum((entry.data["amount"].amount for entry in entries), Decimal())
    if total != closing.amount.amount:
        why = f"the entries make {total}, and the closing balance is {closing.amount.amount}"
        raise FileFaultError(part.line, 1, f"the statement does not add up: {why}")


def _read_entry(line: int, entry: dict[str, Any], statement: Any, reading: Reading, sides: Sides) -> Draft | Fault:
    currency = str(statement.currency or reading.currency or "")
    try:
        units = entry["amount"].amount * 10 ** reading.assets.digits(currency)
    except ValueError as error:
        return Fault(Place(line, 5), f"the currency {error}")
    if units != int(units):
        return Fault(Place(line, 5), f"the amount has more decimal places than {currency}")
    day = entry.get("entry_date") or entry["date"]
    references = [str(entry.get(name) or "").strip() for name in ("bank_reference", "customer_reference")]
    return make_draft(
        Entry(
            line,
            int(units),
            currency,
            lambda _: Place(line, 1),
            str(statement.data.get("account_identification") or ""),
            references[0] if references[0].upper() not in _NONE else None,
            format_day(date(day.year, day.month, day.day)),
            _describe(entry),
            {"customer_reference": "" if references[1].upper() in _NONE else references[1]},
        ),
        sides,
    )


def _describe(entry: dict[str, Any]) -> str:
    """Return who paid or was paid, and for what; else the whole of field 86, or what follows field 61."""
    structured = [entry.get(name) for name in ("applicant_name", "purpose")]
    texts = [str(text) for text in structured if text]
    return " ".join(texts) or str(entry.get("transaction_details") or entry.get("extra_details") or "")
