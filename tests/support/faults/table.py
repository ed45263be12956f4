"""The table of what was measured: printed after the run, and written into the documentation by `make faults`."""

import os
import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.support.faults.extent import FULL

COLUMNS = {
    "fault": "fault",
    "times": "times",
    "acknowledged": "acknowledged",
    "lost": "lost",
    "doubled": "doubled",
    "silence": "longest silence (s)",
    "others": "other answers",
    "held": "bound",
}
MARKED = re.compile(r"(<!-- faults -->\n).*?(<!-- /faults -->)", re.DOTALL)
EXTENT = "`make faults`" if FULL else "the short form, which `make check` runs"
Row = dict[str, Any]


def print_table(reporter: Any, extent: str = EXTENT) -> None:
    """Print a row for each fault that was measured, and write the table into the page that `FAULTS_PAGE` names."""
    rows = [row for outcome in ("passed", "failed") for row in _rows(reporter.stats.get(outcome, ()), outcome)]
    if not rows:
        return
    table = render(rows)
    reporter.section("faults")
    reporter.write_line(table)
    if page := os.environ.get("FAULTS_PAGE"):
        write(Path(page), table, extent)


def render(rows: list[Row]) -> str:
    """Render the rows as a Markdown table, one for each fault."""
    merged: dict[str, Row] = {}
    for row in rows:
        merged[row["fault"]] = _merge(merged[row["fault"]], row) if row["fault"] in merged else row
    ordered = [merged[fault] for fault in sorted(merged, key=str.lower)]
    lines = [[_text(row[name]) for name in COLUMNS] for row in ordered]
    return "\n".join(_line(cells) for cells in ([*COLUMNS.values()], ["---"] * len(COLUMNS), *lines))


def write(page: Path, table: str, extent: str) -> None:
    """Put the table between the page's markers, with when and how it was measured."""
    measured = f"Measured on {datetime.now(UTC).date()} with {extent}, on {os.cpu_count()} cores:\n\n{table}\n"
    page.write_text(MARKED.sub(lambda found: found[1] + measured + found[2], page.read_text()))


def _rows(reports: Any, outcome: str) -> list[Row]:
    held = {"passed": "met", "failed": "**missed**"}[outcome]
    found = [value for report in reports for name, value in report.user_properties if name == "fault"]
    return [{**row, "held": held} for row in found]


def _merge(first: Row, second: Row) -> Row:
    """Add up what several runs of a fault have measured."""
    sums = {name: _sum(first[name], second[name]) for name in ("times", "acknowledged", "lost", "doubled")}
    return {
        **first,
        **sums,
        "silence": max(first["silence"], second["silence"]),
        "others": dict(Counter(first["others"]) + Counter(second["others"])),
        "held": max(first["held"], second["held"], key=len),
    }


def _sum(first: int | None, second: int | None) -> int | None:
    return None if first is None or second is None else first + second


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{count} x {outcome}" for outcome, count in Counter(value).most_common())
    return "?" if value is None else str(value)
