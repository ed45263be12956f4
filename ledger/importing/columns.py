"""Tables: from the columns of a file to the members of a request, by name or by a mapping."""

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.importing.bank.entries import Entry, Sides, make_draft
from ledger.importing.draft import Draft, Drafts, Reading
from ledger.importing.faults import Fault, FileFaultError, Place
from ledger.importing.members import CHECKS, READ_ONLY
from ledger.importing.rows import Row, Rows, find_separator, locate_cell
from ledger.importing.text import read_lines
from ledger.values import strict_json
from ledger.values.spreadsheets import restore_cell
from ledger.values.strict_json import MalformedJsonError

METADATA = "metadata."  # the prefix of a column whose name ends with a key
MEMBERS = frozenset(("id", *(name for checks in CHECKS.values() for name in checks), *READ_ONLY))
_DOCUMENTS = ("metadata", "postings")  # as JSON, in exports
_INTEGERS = ("amount_cents", "expires_in_seconds")
_BREAKS = re.compile(r"[ \t]*(?:\r\n|[\r\n\u2028\u2029\x0b\x0c\x85])[ \t\r\n]*")
Convert = Callable[[str, Mapping[str, str], Reading], Any]
_TWO_SIDED = ("source_account_id", "destination_account_id")


@dataclass(frozen=True)
class Header:
    """The member that each column is for; None for a column without a name, or one to leave out."""

    members: tuple[str | None, ...]
    separator: str
    sides: Sides | None
    is_export: bool
    converters: "tuple[tuple[str, Convert], ...]"
    has_texts: bool

    def find(self, member: str) -> int:
        """Return the number of the column that a member comes from; 0 if there is none."""
        for number, name in enumerate(self.members):
            if name == member or (name == "amount" and member == "amount_cents"):
                return number
        return next((at for at, name in enumerate(self.members) if name and name.startswith(f"{member}.")), 0)


def read_table(path: Path, encoding: str, reading: Reading) -> Drafts:
    """Yield the rows of a table."""
    lines = read_lines(path, encoding)
    wanted = frozenset(reading.columns.values()) or MEMBERS
    separator, number, first = find_separator(lines, reading.separator, wanted | (MEMBERS - {"id"}))
    header = _read_header(first, separator, reading)
    locate_in = locate_cell
    for row in Rows(lines, separator, number):
        if len(row.cells) < len(header.members) or any(row.cells[len(header.members) :]):
            why = f"the row has {len(row.cells)} cells, and the header {len(header.members)}"
            yield Fault(locate_in(row, separator, len(header.members)), why)
            continue
        yield from _read_row(row, header, reading)


def _read_header(row: Row, separator: str, reading: Reading) -> Header:
    names = row.cells.copy()
    while not names[-1]:
        names.pop()
    by_column = {column: member for member, column in reading.columns.items()}
    members: list[str | None] = []
    for number, name in enumerate(names):
        member = by_column.get(name, None if name in reading.columns else name)
        if (
            not name
            or name in reading.ignored
            or (name not in by_column and "*" in reading.ignored and not _is_known(name))
        ):
            members.append(None)
        elif member is None or not _is_known(member):
            raise FileFaultError(*locate_cell(row, separator, number), _explain_column(name))
        elif member in members:
            raise FileFaultError(*locate_cell(row, separator, number), f"the column {name} is there twice")
        else:
            members.append(member)
    _check_columns(row, members, by_column, reading)
    is_export = {"position", "recorded_at", "kind"} <= set(members)
    has_sides = set(_TWO_SIDED) & set(members)
    return Header(
        tuple(members),
        separator,
        None if has_sides or is_export else _sides(reading),
        is_export,
        tuple((name, convert) for name, convert in _CONVERTERS.items() if name in members),
        any(name == "description" or (name or "").startswith(METADATA) for name in members),
    )


def _sides(reading: Reading) -> Sides | None:
    if reading.account is None or reading.against is None:
        return None
    return Sides(reading.account, reading.against)


def _is_known(member: str) -> bool:
    return member in MEMBERS or (member.startswith(METADATA) and len(member) > len(METADATA))


def _explain_column(name: str) -> str:
    close = difflib.get_close_matches(name, MEMBERS, n=1)
    meant = f"; did you mean {close[0]}?" if close else ""
    return f"unknown column {name!r}{meant}: map it with --map MEMBER={name}, or leave it out with --ignore {name}"


def _check_columns(row: Row, members: list[str | None], by_column: Mapping[str, str], reading: Reading) -> None:
    if missing := [column for column in by_column if column not in row.cells]:
        raise FileFaultError(row.line, 1, f"no column {missing[0]}, which --map names")
    if "postings" in members:
        return
    amounts = {"amount_cents", "amount"} & set(members)
    if not amounts:
        raise FileFaultError(row.line, 1, "no column amount_cents (in the minor unit), nor amount (in units)")
    if amounts == {"amount"} and "currency" not in members and reading.currency is None:
        raise FileFaultError(row.line, 1, "amount needs a column currency, or --currency")
    if _sides(reading) is None or set(_TWO_SIDED) & set(members):
        for name in _TWO_SIDED:
            if name not in members:
                raise FileFaultError(row.line, 1, f"no column {name}")


def _read_row(row: Row, header: Header, reading: Reading) -> Iterator[Draft | Fault]:
    def locate(member: str) -> Place:
        return locate_cell(row, header.separator, header.find(member))

    members: dict[str, Any] = {
        name: cell for name, cell in zip(header.members, row.cells, strict=False) if cell and name is not None
    }
    faults = list(_convert(members, header, reading, locate))
    if faults:
        yield from faults
        return
    if header.has_texts:
        _join_texts(members)
    if header.is_export:
        _restore_texts(members)
    else:
        _complete(members, reading)
    if header.sides is None:
        yield Draft(row.line, members, locate, header.is_export)
    else:
        yield make_draft(Entry.of_members(row.line, members, locate), header.sides)


def _convert(
    members: dict[str, Any], header: Header, reading: Reading, locate: Callable[[str], Place]
) -> Iterator[Fault]:
    for name, convert in header.converters:
        if name in members:
            try:
                members[name] = convert(members[name], members, reading)
            except ValueError as error:
                yield Fault(locate(name), f"{name}: {error}")


def _complete(members: dict[str, Any], reading: Reading) -> None:
    """Take an amount in units as the amount, and the currency of the option where the row has none."""
    if "amount" in members and "amount_cents" not in members:
        members["amount_cents"] = members.pop("amount")
    if reading.currency is not None:
        members.setdefault("currency", reading.currency)


def _join_texts(members: dict[str, Any]) -> None:
    """Put the lines of a quoted cell on one, and collect the columns of metadata."""
    if "description" in members:
        members["description"] = _join(members["description"])
    if names := [name for name in members if name.startswith(METADATA)]:
        metadata = {name[len(METADATA) :]: _join(members.pop(name)) for name in names}
        members["metadata"] = {**(members.get("metadata") or {}), **metadata}


def _join(text: str) -> str:
    return _BREAKS.sub(" ", text)


def _restore_texts(members: dict[str, Any]) -> None:
    for name in ("reference", "description"):
        if isinstance(text := members.get(name), str):
            members[name] = restore_cell(text)


def _convert_integer(text: str, _: Mapping[str, str], reading: Reading) -> int:
    return reading.number_form.parse_integer(text)


def _convert_amount(text: str, given: Mapping[str, str], reading: Reading) -> int | str:
    if "amount_cents" in given:  # an export has both, and `members.check` compares them
        return text
    currency = given.get("currency") or reading.currency
    if currency is None:
        raise ValueError("needs a currency")
    return reading.number_form.parse_amount(text, currency, reading.assets)


def _convert_document(text: str, _: Mapping[str, str], __: Reading) -> Any:
    try:
        return strict_json.decode(text.encode())
    except MalformedJsonError as error:
        raise ValueError(str(error)) from None


def _convert_day(text: str, _: Mapping[str, str], reading: Reading) -> str:
    return text if reading.date_form is None else reading.date_form.parse(text)


_CONVERTERS: dict[str, Convert] = {
    **dict.fromkeys(_INTEGERS, _convert_integer),
    "amount": _convert_amount,
    **dict.fromkeys(_DOCUMENTS, _convert_document),
    "effective_at": _convert_day,
}
