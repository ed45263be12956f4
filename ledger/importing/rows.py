"""Rows of separated values (RFC 4180), and the place of every cell.

The csv module reads them; only a row with a fault is scanned again, for the line and column of the fault.
"""

import csv
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ledger.importing.faults import FileFaultError, OptionError, Place

SEPARATORS = {",": ",", ";": ";", "\t": "tab"}
_NAMES = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";"}
_HINT = "sep="  # Excel's own first line
BLANKS = " \t\u00a0"


class Row(NamedTuple):
    """A row: the number of its first line, its cells, and its text."""

    line: int
    cells: list[str]
    lines: list[str]


def parse_separator(text: str) -> str:
    """Return the separator that an option names. Raises `OptionError`."""
    separator = _NAMES.get(text, text)
    if len(separator) != 1 or separator in '"\r\n':
        raise OptionError("--separator: must be a character, or tab")
    return separator


class Rows:
    """Reads rows from lines. Raises `FileFaultError` where they cannot be told apart."""

    def __init__(self, lines: Iterable[str], separator: str, begin: int = 1) -> None:
        self._lines = iter(lines)
        self._separator = separator
        self._line = begin
        self._kept: list[str] = []

    def __iter__(self) -> Iterator[Row]:
        """Yield all rows that have a cell that is not blank."""
        rows = csv.reader(self._keep(), delimiter=self._separator, strict=True)
        kept = self._kept
        while True:
            try:
                cells = next(rows, None)
            except csv.Error as error:
                raise self._explain(error) from None
            if cells is None:
                return
            if any(cells):
                cells = [cell.strip(BLANKS) for cell in cells]
                if any(cells):
                    yield Row(self._line, cells, kept.copy())
            self._line += len(kept)
            kept.clear()

    def _keep(self) -> Iterator[str]:
        for line in self._lines:
            self._kept.append(line)
            yield line

    def _explain(self, error: csv.Error) -> FileFaultError:
        row = Row(self._line, [], self._kept)
        cells = list(scan(row, self._separator))
        wrong = next((cell for cell in cells if cell.why), cells[-1])
        return FileFaultError(*wrong.place, wrong.why or f"the row cannot be read: {error}")


class Cell(NamedTuple):
    """Where a cell begins, and what is wrong with its quotation marks."""

    place: Place
    why: str | None = None


def scan(row: Row, separator: str) -> Iterator[Cell]:
    """Yield the place of each cell of a row."""
    text = "".join(row.lines)
    position = 0
    while True:
        begin = position
        quoted = text.startswith('"', position)
        position = _skip_quoted(text, position) if quoted else position
        if position < 0:
            yield Cell(_place(row, text, begin), "this quotation mark is not closed")
            return
        end = _find_end(text, position, separator)
        if quoted and text[position:end].strip("\r\n"):
            yield Cell(_place(row, text, position), "a separator must follow the closing quotation mark")
            return
        yield Cell(_place(row, text, begin))
        if not text.startswith(separator, end):
            return
        position = end + 1


def locate_cell(row: Row, separator: str, number: int) -> Place:
    """Return the place of a cell, or of the end of its row if the row has fewer."""
    cells = list(scan(row, separator))
    return cells[min(number, len(cells) - 1)].place


def _skip_quoted(text: str, position: int) -> int:
    """Return the position after a quoted cell, or -1 if its quotation mark is not closed."""
    position += 1
    while (position := text.find('"', position)) >= 0:
        if not text.startswith('"', position + 1):
            return position + 1
        position += 2
    return -1


def _find_end(text: str, position: int, separator: str) -> int:
    ends = [end for end in (text.find(each, position) for each in (separator, "\n", "\r")) if end >= 0]
    return min(ends, default=len(text))


def _place(row: Row, text: str, position: int) -> Place:
    before = text[:position].replace("\r\n", "\n").replace("\r", "\n") if "\r" in text[:position] else text[:position]
    return Place(row.line + before.count("\n"), len(before) - (before.rfind("\n") + 1) + 1)


def find_separator(lines: Iterator[str], named: str | None, wanted: frozenset[str]) -> tuple[str, int, Row]:
    """Return the separator of a table, the number of its header's line, and the header.

    The separator is certain if it alone makes the header's names out of the wanted ones. Raises `FileFaultError`.
    """
    for number, line in enumerate(lines, 1):
        if line.startswith(_HINT) and number == 1 and len(line.rstrip("\r\n")) == len(_HINT) + 1:
            named = named or line[len(_HINT)]
        elif line.strip(BLANKS + "\r\n,;"):
            return _choose(line, number, lines, named, wanted)
    raise FileFaultError(1, 1, "the file is empty")


def _choose(
    line: str, number: int, lines: Iterator[str], named: str | None, wanted: frozenset[str]
) -> tuple[str, int, Row]:
    if named is None:
        counts = {each: _count_names(line, each, wanted) for each in SEPARATORS}
        best = max(counts.values())
        certain = [each for each, count in counts.items() if count == best]
        if best == 0 or len(certain) > 1:
            raise FileFaultError(number, 1, _explain_header(best, wanted))
        named = certain[0]
    header = next(iter(Rows([line, *_rest_of_quoted(line, lines)], named, number)))
    return named, number + len(header.lines), header


def _rest_of_quoted(line: str, lines: Iterator[str]) -> Iterator[str]:
    """Yield more lines while a quotation mark of the header is open."""
    marks = line.count('"')
    while marks % 2 and (more := next(lines, None)) is not None:
        marks += more.count('"')
        yield more


def _count_names(line: str, separator: str, wanted: frozenset[str]) -> int:
    try:
        cells = next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return 0
    return len(wanted & {cell.strip(BLANKS + "\r\n") for cell in cells})


def _explain_header(best: int, wanted: frozenset[str]) -> str:
    names = ", ".join(sorted(wanted))
    if best:
        return "the separator is not certain: give --separator"
    return f"the header has no known column ({names}): map columns with --map MEMBER=COLUMN"
