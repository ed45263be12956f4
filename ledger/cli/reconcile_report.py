"""The report of `ledger reconcile` as text: amounts in units, lines by their place in the file."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ledger.cli.output import plural
from ledger.importing.statements import FileLine, FileStatement
from ledger.money import decimal_text

_HOW = {"reference": "by reference", "day": "on the same day", "window": "within the window"}


class Report(NamedTuple):
    """The report of the service, and what it is about. `digits` are the decimal places of the currency."""

    body: Mapping[str, Any]
    statement: FileStatement
    file: Path
    account: str
    digits: int

    def format(self, cents: int) -> str:
        """Return an amount in units, with separators of thousands."""
        sign, text = ("-" if cents < 0 else ""), decimal_text(abs(cents), self.digits)
        whole, point, fraction = text.partition(".")
        return f"{sign}{int(whole):,}{point}{fraction}"


def has_differences(body: Mapping[str, Any]) -> bool:
    """Return whether a line or an entry is missing or ambiguous, or a balance differs."""
    lacking = ("missing_in_ledger", "missing_in_statement", "ambiguous")
    return any(body[name] for name in lacking) or any(
        body[name]["difference_cents"] for name in ("opening", "closing") if name in body
    )


def list_lines(statement: FileStatement) -> list[dict[str, Any]]:
    """Return the lines of a statement as JSON has them, in the order to which the report refers."""
    return [{**line._asdict(), "day": line.day.isoformat()} for line in statement.lines]


def write_report(report: Report, *, dry_run: bool) -> None:
    """Print the report on standard output."""
    sys.stdout.writelines(f"{line}\n" for line in _format_report(report, dry_run=dry_run))


def _format_report(report: Report, *, dry_run: bool) -> Iterator[str]:
    body = report.body
    count = plural(len(report.statement.lines), "line")
    yield f"{report.account}: {count} of {report.file}, from {body['first_day']} to {body['last_day']}"
    yield from _format_balances(report)
    yield _count_matched(body["matched"])
    for name, what in (("reconciled_before", "matched before"), ("repeated", "twice in the file")):
        if body[name]:
            yield f"{len(body[name]):,} {what}"
    yield from _format_section(
        "not in the ledger", [[f"  {_line(report, number)}"] for number in body["missing_in_ledger"]]
    )
    yield from _format_section(
        "not on the statement", [[f"  {_entry(report, entry)}"] for entry in body["missing_in_statement"]]
    )
    yield from _format_section("ambiguous, so not matched", [_format_group(report, one) for one in body["ambiguous"]])
    if dry_run:
        yield "dry run: nothing was written"
    elif "id" in body:
        yield f"to undo this: ledger reconcile {report.account} --undo {body['id']}"


def _format_balances(report: Report) -> Iterator[str]:
    named = [(name, report.body[name]) for name in ("opening", "closing") if name in report.body]
    if not named:
        return
    rows = [("balance", "end of", "statement", "ledger", "difference")]
    for name, one in named:
        cents = (one["statement_cents"], one["ledger_cents"], one["difference_cents"])
        rows.append((name, one["day"], *map(report.format, cents)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, day, *amounts in rows:
        aligned = (amount.rjust(width) for amount, width in zip(amounts, widths[2:], strict=True))
        yield "  ".join(("", name.ljust(widths[0]), day.ljust(widths[1]), *aligned))


def _count_matched(matched: Sequence[Mapping[str, Any]]) -> str:
    counts = {how: sum(one["by"] == by for one in matched) for by, how in _HOW.items()}
    details = ", ".join(f"{count:,} {how}" for how, count in counts.items() if count)
    return f"{len(matched):,} matched{': ' if details else ''}{details}"


def _format_section(title: str, items: Sequence[Sequence[str]]) -> Iterator[str]:
    if items:
        yield f"{title}: {len(items):,}"
        for lines in items:
            yield from lines


def _format_group(report: Report, group: Mapping[str, Any]) -> list[str]:
    lines = [f"  {_line(report, number)}" for number in group["lines"]]
    return [*lines, *(f"    could be {_entry(report, entry)}" for entry in group["entries"])]


def _line(report: Report, number: int) -> str:
    line: FileLine = report.statement.lines[number]
    said = [text for text in (line.description, line.reference) if text]
    return "  ".join([f"line {line.line}", line.day.isoformat(), report.format(line.amount_cents), *said])


def _entry(report: Report, entry: Mapping[str, Any]) -> str:
    said = [entry[name] for name in ("description", "reference") if name in entry]
    if "reconciliation_id" in entry:
        said.append("(matched with another line)")
    amount = report.format(entry["amount_cents"])
    return "  ".join([f"entry {entry['entry_version']}", entry["day"], amount, *said])
