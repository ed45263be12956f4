"""`ledger report`: the reports of accountants, as text, CSV or JSON.

JSON is that of the API, with amounts in minor units. Times are in UTC. The exit status is 0; 1 if the books do not
balance; 2 if an argument is invalid.
"""

import sys
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Annotated, Any

import typer

from ledger.audit import report_queries
from ledger.audit.report_periods import BACKWARDS, Comparison, Period, find_other
from ledger.audit.report_queries import Activity, Scope, When
from ledger.audit.reports import Report, report_body
from ledger.cli.audit import At, Position, parse_moment
from ledger.cli.options import By, EffectiveAt, Order, parse_option
from ledger.cli.output import emit
from ledger.cli.report_text import format_csv, format_text
from ledger.cli.shell import fail, query
from ledger.money import check_code
from ledger.store.connections import Connection
from ledger.values.account_codes import MAX_SEGMENTS
from ledger.values.timestamps import parse_end, parse_start


class ReportFormat(StrEnum):
    """How a report is written."""

    TEXT = "text"
    CSV = "csv"
    JSON = "json"


Depth = Annotated[
    int | None, typer.Option(min=1, max=MAX_SEGMENTS, help="How many segments of the codes the lines have.")
]
Currency = Annotated[str | None, typer.Option(help="Only this currency or asset.")]
Format = Annotated[ReportFormat, typer.Option("--format", help="Output format.")]


def show_trial_balance(
    at: At = None,
    at_position: Position = None,
    effective_at: EffectiveAt = None,
    depth: Depth = None,
    currency: Currency = None,
    format_: Format = ReportFormat.TEXT,
) -> None:
    """Show the debits and credits of each account, by type and code, with subtotals. JSON: one document."""
    when, scope = _when(at, at_position, effective_at), _scope(depth, currency)
    _show_state("Trial balance", report_queries.read_trial_balance, when, scope, format_)


def show_balance_sheet(
    at: At = None,
    at_position: Position = None,
    effective_at: EffectiveAt = None,
    depth: Depth = None,
    currency: Currency = None,
    format_: Format = ReportFormat.TEXT,
) -> None:
    """Show assets, liabilities and equity, which has the result so far. JSON: one document."""
    when, scope = _when(at, at_position, effective_at), _scope(depth, currency)
    _show_state("Balance sheet", report_queries.read_balance_sheet, when, scope, format_)


def show_income_statement(
    from_: Annotated[str | None, typer.Option("--from", help="Start of the period, a time or a date (UTC).")] = None,
    to: Annotated[str | None, typer.Option(help="End of the period, a time or a date (UTC), inclusive.")] = None,
    by: By = Order.RECORDED,
    compare: Annotated[
        Comparison | None, typer.Option(help="Period to compare: the one before, or the same one a year earlier.")
    ] = None,
    at: At = None,
    at_position: Position = None,
    depth: Depth = None,
    currency: Currency = None,
    format_: Format = ReportFormat.TEXT,
) -> None:
    """Show income, expenses and the result of a period, as known now or at a point in time. JSON: one document."""
    period = Period(parse_option("--from", from_, parse_start), parse_option("--to", to, parse_end))
    if period.first is not None and period.last is not None and period.last < period.first:
        fail(f"--to: {BACKWARDS}", 2)
    other = parse_option("--compare", compare, lambda chosen: find_other(period, Comparison(chosen)))
    activity = Activity(period, other, by_effective_time=by is Order.EFFECTIVE)
    point, scope = parse_moment(at, at_position), _scope(depth, currency)
    report = query(
        lambda connection: report_queries.read_income_statement(connection, point, activity, scope),
        statement_seconds=None,
    )
    columns = [
        _describe_period(report.members[name]) for name in ("period", "previous_period") if name in report.members
    ]
    _print(report, "Income statement", columns, format_)


_Read = Callable[[Connection, When, Scope], Awaitable[Report]]


def _show_state(title: str, read: _Read, when: When, scope: Scope, format_: ReportFormat) -> None:
    async def run(connection: Connection) -> Report:
        return await read(connection, when, scope)

    report = query(run, statement_seconds=None)
    _print(report, title, [column.removesuffix("amount") for column in report.columns], format_)
    if not report.is_balanced:
        fail("the books do not balance", 1)


def _print(report: Report, title: str, columns: list[str], format_: ReportFormat) -> None:
    match format_:
        case ReportFormat.TEXT:
            sys.stdout.write(format_text(report, _describe(title, report.members), columns))
        case ReportFormat.CSV:
            sys.stdout.write(format_csv(report))
        case ReportFormat.JSON:
            emit(report_body(report))


def _describe(title: str, members: Any) -> str:
    times = [f"by {members['by']} times"] if "by" in members else []
    times += [f"effective {_shorten(members['effective_at'])}"] if "effective_at" in members else []
    return ", ".join([f"{title} at position {members['position']}", *times])


def _describe_period(period: dict[str, str]) -> str:
    match {name: _shorten(time) for name, time in period.items()}:
        case {"from": first, "to": last}:
            return f"{first} to {last}"
        case {"from": first}:
            return f"since {first}"
        case {"to": last}:
            return f"until {last}"
        case _:
            return "so far"


def _shorten(time: str) -> str:
    """Return the day of a time that is its first or its last microsecond, or else the time."""
    day, _, rest = time.partition("T")
    return day if rest in {"00:00:00.000000Z", "23:59:59.999999Z"} else time


def _when(at: str | None, at_position: int | None, effective_at: str | None) -> When:
    return When(parse_moment(at, at_position), parse_option("--effective-at", effective_at, parse_end))


def _scope(depth: int | None, currency: str | None) -> Scope:
    return Scope(depth, parse_option("--currency", currency, check_code))
