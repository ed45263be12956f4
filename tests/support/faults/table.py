"""The table of what was measured: printed after the run, and written into the documentation by `make faults`."""

import os
import re
from pathlib import Path
from typing import Any

COLUMNS = {
    "fault": "fault",
    "times": "times",
    "acknowledged": "acknowledged",
    "lost": "lost",
    "doubled": "doubled",
    "silence": "longest silence (s)",
    "statuses": "other answers",
    "held": "bound",
}
MARKED = re.compile(r"(<!-- faults -->\n).*?(<!-- /faults -->)", re.DOTALL)


def print_table(reporter: Any) -> None:
    """Print a row for each test that measured one, and write the table into the page that `FAULTS_PAGE` names."""
    rows = [row for outcome in ("passed", "failed") for row in _rows(reporter.stats.get(outcome, ()), outcome)]
    if not rows:
        return
    table = render(rows)
    reporter.section("faults")
    reporter.write_line(table)
    if page := os.environ.get("FAULTS_PAGE"):
        write(Path(page), table)


def render(rows: list[dict[str, Any]]) -> str:
    """Render the rows as a Markdown table."""
    ordered = sorted(rows, key=lambda row: str(row["fault"]))
    lines = [[_text(row[name]) for name in COLUMNS] for row in ordered]
    return "\n".join(_line(cells) for cells in ([*COLUMNS.values()], ["---"] * len(COLUMNS), *lines))


def write(page: Path, table: str) -> None:
    """Put the table between the page's markers."""
    page.write_text(MARKED.sub(lambda found: f"{found[1]}{table}\n{found[2]}", page.read_text()))


def _rows(reports: Any, outcome: str) -> list[dict[str, Any]]:
    held = {"passed": "met", "failed": "**missed**"}[outcome]
    found = [value for report in reports for name, value in report.user_properties if name == "fault"]
    return [{**row, "held": held} for row in found]


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _text(value: Any) -> str:
    return "?" if value is None else str(value)
