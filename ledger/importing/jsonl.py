"""JSON Lines: a request on each line, with or without a byte-order mark, blank lines and carriage returns."""

import re
from pathlib import Path

from ledger.importing.draft import Draft, Drafts, Reading
from ledger.importing.faults import Fault, Place
from ledger.importing.text import read_lines
from ledger.values import strict_json
from ledger.values.strict_json import MalformedJsonError

WHITESPACE = " \t\r\n"  # of JSON (RFC 8259, section 2)
_EXPORTED = frozenset(("position", "recorded_at", "kind"))


def read_json_lines(path: Path, encoding: str, reading: Reading) -> Drafts:
    """Yield the lines of a file."""
    for number, line in enumerate(read_lines(path, encoding), 1):
        if text := line.strip(WHITESPACE):
            yield _read_line(number, line, text, reading)


def _read_line(number: int, line: str, text: str, reading: Reading) -> Draft | Fault:
    try:
        members = strict_json.decode(text.encode())
    except MalformedJsonError as error:
        return Fault(
            Place(number, error.column + len(line) - len(line.lstrip(WHITESPACE))),
            f"the line {str(error).partition(' at line ')[0]}",
        )
    except UnicodeEncodeError:
        return Fault(Place(number, 1), "the line has half of a surrogate pair")
    if not isinstance(members, dict):
        return Fault(Place(number, 1), "the line is no JSON object")
    if reading.currency is not None:
        members.setdefault("currency", reading.currency)
    is_export = members.keys() >= _EXPORTED
    return Draft(number, members, lambda member: _locate(number, line, member), is_export)


def _locate(number: int, line: str, member: str) -> Place:
    found = re.search(rf'"{re.escape(member)}"\s*:', line)
    return Place(number, found.start() + 1 if found else 1)
