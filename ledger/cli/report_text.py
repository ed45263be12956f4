"""The reports of accountants as text for people, and as CSV for spreadsheets. Pure.

Amounts are in units with all decimal places of their currency, and each currency has a table of its own.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from rich.cells import cell_len, set_cell_size

from ledger.audit.reports import Books, Line, Report, Section, SectionName
from ledger.cli.output import plural
from ledger.money import decimal_text
from ledger.values.spreadsheets import protect_cell

MAX_NAME_CELLS = 40
GAP, INDENT = "  ", "  "
UNTYPED = "accounts without a type"
HEADINGS: dict[SectionName, str] = {
    "assets": "Assets",
    "liabilities": "Liabilities",
    "equity": "Equity",
    "income": "Income",
    "expenses": "Expenses",
    "untyped": UNTYPED.capitalize(),
}
GROUPS = {
    "uncoded": "accounts without a code",
    "world": "world: opening balances",
    "result": "income less expenses so far",
}
CSV_COLUMNS = ("currency", "section", "row", "group", "code", "name", "level", "accounts")


class _Row(NamedTuple):
    """A row of a table: its label, and its cells; a rule above it if it is a total."""

    label: str
    cells: Sequence[str] = ()
    has_rule: bool = False


def format_text(report: Report, title: str, columns: Sequence[str]) -> str:
    """Return a report with a title, and with the headings of its columns."""
    tables = [_format_table(books, columns) for books in report.currencies]
    return "\n".join([f"{title}\n", *(tables or ["no accounts\n"])])


def format_csv(report: Report) -> str:
    """Return a report as CSV (RFC 4180): a row for each line and total.

    The rows `accounts` and `result` of a currency have each amount once; `subtotal` and `total` sum them up.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow((*CSV_COLUMNS, *report.columns))
    for books in report.currencies:
        for section in books.sections:
            writer.writerows(_csv_row(books, section, line) for line in section.lines)
            total = (books.currency, section.name, "total", "", "", "", 0, "")
            writer.writerow((*total, *_decimals(books, section.total)))
    return text.getvalue()


def _csv_row(books: Books, section: Section, line: Line) -> tuple[Any, ...]:
    row = "subtotal" if line.is_subtotal else "result" if line.group == "result" else "accounts"
    texts = (protect_cell(line.code or ""), protect_cell(line.name or ""))
    return (
        *(books.currency, section.name, row, line.group, *texts, line.level, line.accounts),
        *_decimals(books, line.amounts),
    )


def _decimals(books: Books, amounts: Sequence[int]) -> list[str]:
    return [decimal_text(amount, books.digits) for amount in amounts]


def _format_table(books: Books, columns: Sequence[str]) -> str:
    rows = [_Row(books.currency, columns), *_rows(books)]
    label_width = max(cell_len(row.label) for row in rows)
    widths = [max(cell_len(row.cells[number]) for row in rows if row.cells) for number in range(len(columns))]
    return "".join(_format_row(row, label_width, widths) for row in rows)


def _format_row(row: _Row, label_width: int, widths: Sequence[int]) -> str:
    cells = [" " * (width - cell_len(cell)) + cell for cell, width in zip(row.cells, widths, strict=False)]
    line = GAP.join([set_cell_size(row.label, label_width), *cells]).rstrip() + "\n"
    rule = GAP.join([" " * label_width, *("-" * width for width in widths)]) + "\n"
    return rule + line if row.has_rule else line


def _rows(books: Books) -> Iterator[_Row]:
    """Yield the rows below the head: the sections that have lines, and the totals of all."""
    has_sides = "debit" in books.totals
    for section in books.sections:
        if not section.lines:
            continue
        yield _Row(HEADINGS[section.name])
        for label, line in zip(_labels(section.lines), section.lines, strict=True):
            yield _Row(INDENT + label, _cells(books, line.amounts, blank_zeros=has_sides))
        yield _Row(f"Total {HEADINGS[section.name].lower()}", _cells(books, section.total), has_rule=True)
        yield _Row("")
    yield from _final_rows(books)


def _final_rows(books: Books) -> Iterator[_Row]:
    totals = books.totals
    if "debit" in totals:
        yield _Row("Total", _cells(books, totals["debit"] + totals["credit"]), has_rule=True)
    elif "difference" in totals:
        if totals["untyped"][0]:
            yield _Row(f"Total assets and {UNTYPED}", _cells(books, (totals["assets"][0] + totals["untyped"][0],)))
        yield _Row("Total liabilities and equity", _cells(books, (totals["liabilities"][0] + totals["equity"][0],)))
        yield _Row("Difference", _cells(books, totals["difference"]))
    else:
        yield _Row("Result", _cells(books, totals["result"]), has_rule=True)


def _cells(books: Books, amounts: Sequence[int], *, blank_zeros: bool = False) -> list[str]:
    return ["" if blank_zeros and not amount else decimal_text(amount, books.digits) for amount in amounts]


def _labels(lines: Sequence[Line]) -> Iterator[str]:
    """Yield the labels of lines: codes without what the subtotals around them have in common."""
    above: list[str] = [""]
    for line in lines:
        del above[line.level + 1 :]
        yield INDENT * line.level + _label(line, above[-1])
        if line.is_subtotal:
            above.append(line.code or "")


def _label(line: Line, above: str) -> str:
    if line.code is None:
        text = GROUPS[line.group]
    elif len(line.code) == len(above):
        text = f"{line.code.rpartition(':')[2]} itself"
    else:
        text = line.code[len(above) + 1 :] if above else line.code
    if line.name:
        text += GAP + (line.name if cell_len(line.name) <= MAX_NAME_CELLS else _shorten(line.name))
    if line.accounts > 1 and not line.is_subtotal and line.group != "result":
        text += f" ({plural(line.accounts, 'account')})"
    return text


def _shorten(name: str) -> str:
    return set_cell_size(name, MAX_NAME_CELLS - 1).rstrip() + "…"
