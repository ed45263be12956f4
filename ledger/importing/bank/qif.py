"""QIF: the entries of one account, one field a line, `^` after each. It has no references, and no order of dates."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ledger.importing.bank.entries import Entry, Sides, make_draft
from ledger.importing.draft import Draft, Drafts, Reading
from ledger.importing.faults import Fault, FileFaultError, Place
from ledger.importing.text import read_lines

_TYPES = ("bank", "cash", "ccard", "oth a", "oth l")
_FIELDS = {"D": "effective_at", "T": "amount_cents", "U": "amount_cents", "P": "description", "M": "description"}


class _Field(NamedTuple):
    line: int
    text: str


def read_qif(path: Path, encoding: str, reading: Reading, sides: Sides) -> Drafts:
    """Yield the entries of a file."""
    if reading.currency is None or reading.date_form is None:
        raise FileFaultError(1, 1, "QIF names neither a currency nor the form of its dates: give both as options")
    for entry in _find_entries(path, encoding):
        yield _read_entry(entry, reading, sides)


def _find_entries(path: Path, encoding: str) -> Iterator[dict[str, _Field]]:
    entry: dict[str, _Field] = {}
    is_bank, number = False, 0
    for number, line in enumerate(read_lines(path, encoding), 1):
        code, text = line[:1], line[1:].strip()
        if code == "!":
            is_bank = _check_type(number, text)
        elif code == "^":
            if entry:
                yield entry
            entry = {}
        elif line.strip():
            if not is_bank:
                raise FileFaultError(number, 1, "the file must begin with !Type:Bank, Cash or CCard")
            entry.setdefault(code, _Field(number, text))
    if entry:
        raise FileFaultError(number, 1, "the last entry has no ^ after it: the file is cut off")


def _check_type(number: int, header: str) -> bool:
    name, _, kind = header.partition(":")
    if name.lower() != "type" or kind.lower() not in _TYPES:
        raise FileFaultError(number, 1, f"!{header} cannot be imported: only !Type:Bank, Cash and CCard")
    return True


def _read_entry(entry: dict[str, _Field], reading: Reading, sides: Sides) -> Draft | Fault:
    first = min(field.line for field in entry.values())
    places = {member: entry[code].line for code, member in _FIELDS.items() if code in entry}
    amount = entry.get("T") or entry.get("U")
    if amount is None or "D" not in entry:
        return Fault(Place(first, 1), "the entry must have a date (D) and an amount (T)")
    date_form, currency = reading.date_form, reading.currency
    assert date_form is not None  # noqa: S101 - `read_qif` has checked both
    assert currency is not None  # noqa: S101
    place = Place(entry["D"].line, 2)
    try:
        day = date_form.parse(entry["D"].text)
        place = Place(amount.line, 2)
        cents = reading.number_form.parse_amount(amount.text, currency, reading.assets)
    except ValueError as error:
        return Fault(place, str(error))
    return make_draft(
        Entry(
            first,
            cents,
            currency,
            lambda member: Place(places.get(member, first), 1),
            day=day,
            description=" ".join(entry[code].text for code in "PM" if code in entry),
            metadata={"check_number": entry["N"].text} if "N" in entry else None,
        ),
        sides,
    )
