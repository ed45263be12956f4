"""The statement in a bank's file, to be compared with the ledger: its lines, its balances, and what identifies it."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from ledger.importing.bank.balances import Balances, read_balances
from ledger.importing.draft import Draft, Reading
from ledger.importing.faults import MAX_FAULTS, Fault, FaultyFileError, FileFaultError, OptionError, Place
from ledger.importing.members import check
from ledger.importing.readers import find_encoding, find_format, open_reader

_OWN, _OTHER = "own", "other"  # stand for the two sides of each line
_BANKS = frozenset(("csv", "ofx", "camt", "mt940", "qif"))


class FileLine(NamedTuple):
    """A line of a statement, and where it is in the file. Money that comes in has a positive amount."""

    line: int
    day: date
    amount_cents: int
    currency: str | None
    reference: str | None
    end_to_end_id: str | None
    description: str


class FileStatement(NamedTuple):
    """The lines and balances of a file. `source` is the digest of the file."""

    source: str
    lines: list[FileLine]
    balances: Balances

    @property
    def currency(self) -> str | None:
        """Return the currency of the statement, if the file says it."""
        balance = self.balances.closing or self.balances.opening
        return next((line.currency for line in self.lines if line.currency), balance and balance.currency)


def identify_file(path: Path) -> str:
    """Return the digest that identifies a file."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def read_statement(path: Path, reading: Reading) -> FileStatement:
    """Return the statement in a bank's file. Raises `FaultyFileError`, or `OptionError` if an option is wrong."""
    format_ = find_format(path, reading.format)
    if format_ not in _BANKS:
        raise OptionError(f"{format_} is no format of banks: {', '.join(sorted(_BANKS))}")
    faults: list[Fault] = []
    lines: list[FileLine] = []
    balances = Balances()
    try:
        for read in _read_lines(path, replace(reading, account=_OWN, against=_OTHER)):
            if isinstance(read, Fault):
                faults.append(read)
            else:
                lines.append(read)
        balances = read_balances(path, format_, find_encoding(path, format_, reading), reading.assets)
    except FileFaultError as error:
        raise FaultyFileError([*faults, error.fault][:MAX_FAULTS], complete=False) from None
    faults += _check_currencies(lines)
    if faults:
        raise FaultyFileError(faults[:MAX_FAULTS], complete=len(faults) <= MAX_FAULTS)
    return FileStatement(identify_file(path), lines, balances)


def _read_lines(path: Path, reading: Reading) -> Iterator[FileLine | Fault]:
    for draft in open_reader(path, reading):
        if isinstance(draft, Fault):
            yield draft
            continue
        checked = check(draft, reading.assets)
        if isinstance(checked, list):
            yield from checked
        else:
            yield _to_line(draft, checked.kind, checked.body, checked.currency)


def _to_line(draft: Draft, kind: str, body: dict[str, Any], currency: str | None) -> FileLine | Fault:
    sides = (body.get("source_account_id"), body.get("destination_account_id"))
    if kind != "transfer" or draft.is_export or set(sides) != {_OWN, _OTHER}:
        return Fault(Place(draft.line, 1), "the line is no line of a bank's statement")
    if "effective_at" not in body:
        return Fault(draft.locate("effective_at"), "effective_at: must be given, the day of the line")
    metadata = body.get("metadata", {})
    return FileLine(
        draft.line,
        date.fromisoformat(body["effective_at"][:10]),
        body["amount_cents"] if sides[1] == _OWN else -body["amount_cents"],
        currency,
        metadata.get("bank_reference") or body.get("reference"),
        metadata.get("end_to_end_id") or metadata.get("customer_reference"),
        body.get("description", ""),
    )


def _check_currencies(lines: list[FileLine]) -> list[Fault]:
    first = next((line.currency for line in lines if line.currency), None)
    return [
        Fault(Place(line.line, 1), f"currency: {line.currency}, and lines before are in {first}")
        for line in lines
        if line.currency not in (None, first)
    ]
