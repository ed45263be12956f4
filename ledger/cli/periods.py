"""`ledger periods`: list, close and reopen periods.

An error in an argument ends the program with status 2, and a refusal with status 1.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ledger.audit import periods
from ledger.audit.periods import Closing
from ledger.cli.audit import print_trial_balance
from ledger.cli.options import AsDryRun, AsJson, parse_option, parse_value
from ledger.cli.output import emit, emit_lines, print_table
from ledger.cli.shell import console, query, run_service
from ledger.commands.periods import ClosePeriod, ReopenPeriod
from ledger.money import Assets
from ledger.projections.assets import read_assets
from ledger.settings import Settings
from ledger.values.ids import new_id
from ledger.values.timestamps import parse_day, rfc3339
from ledger.write.group import Origin, Outcome

if TYPE_CHECKING:
    from ledger.runtime import Runtime

Through = Annotated[str, typer.Argument(help="Last day of the period, such as 2026-03-31 (UTC).")]


def show_list(as_json: AsJson = False) -> None:
    """Show the closed periods, newest first. JSON: one period per line."""
    rows = [_row(closing) for closing in reversed(query(periods.read_closings))]
    if as_json:
        emit_lines(rows)
    else:
        print_table(
            ["through", "closed at", "version", "position"], ([str(cell) for cell in row.values()] for row in rows)
        )


def close(through: Through, dry_run: AsDryRun = False, as_json: AsJson = False) -> None:
    """Close all days through one that has ended, and show the sums at its end. JSON: one document."""
    day = parse_value("THROUGH", through, parse_day)
    sums, assets = run_service(lambda settings: _close(settings, day, dry_run=dry_run))
    print_trial_balance({"through": day.isoformat(), **sums, **_mark(dry_run=dry_run)}, assets, as_json=as_json)
    if dry_run:
        console.print("dry run: nothing was written")


def reopen(
    through: Annotated[
        str | None, typer.Option(help="Last day of the period to reopen, with all later ones; by default the last.")
    ] = None,
    dry_run: AsDryRun = False,
    as_json: AsJson = False,
) -> None:
    """Reopen a closed period, and all later ones. JSON: one document."""
    day = parse_option("--through", through, parse_day)
    outcome = run_service(lambda settings: _reopen(settings, day, dry_run=dry_run))
    if as_json:
        emit({**outcome.result, **_mark(dry_run=dry_run)})
    else:
        did = "dry run: would reopen" if dry_run else "reopened"
        sys.stdout.write(f"{did} the period through {outcome.result['through']}\n")


async def _close(settings: Settings, day: date, *, dry_run: bool) -> tuple[dict[str, Any], Assets]:
    async with _opened(settings, dry_run=dry_run) as runtime:
        command = ClosePeriod(through=day, today=await periods.read_today(runtime.pool))
        outcome = await runtime.committer.submit(command, _origin())
        assert outcome.position is not None  # noqa: S101 - it has appended an event, or would
        sums = await periods.read_sums(runtime.pool, day, outcome.position)
        return sums, await read_assets(runtime.pool)


async def _reopen(settings: Settings, day: date | None, *, dry_run: bool) -> Outcome:
    async with _opened(settings, dry_run=dry_run) as runtime:
        return await runtime.committer.submit(ReopenPeriod(through=day), _origin())


@asynccontextmanager
async def _opened(settings: Settings, *, dry_run: bool) -> AsyncIterator["Runtime"]:
    from ledger.runtime import open_runtime, take_dry_run  # noqa: PLC0415 - all of the service, for these commands alone
    from ledger.write.dry_run import DryRun  # noqa: PLC0415 - as above

    async with open_runtime(settings) as runtime:
        dry = DryRun(runtime.pool, schema=settings.ledger_schema)
        yield take_dry_run(runtime, dry) if dry_run else runtime


def _origin() -> Origin:
    return Origin(new_id(), request_id="ledger-periods")


def _mark(*, dry_run: bool) -> dict[str, bool]:
    """Return what JSON says of a dry run."""
    return {"dry_run": True} if dry_run else {}


def _row(closing: Closing) -> dict[str, Any]:
    return {**closing._asdict(), "through": closing.through.isoformat(), "closed_at": rfc3339(closing.closed_at)}
