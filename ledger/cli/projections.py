"""`ledger projections`: the read tables, whether they are what the log says, and how they are made anew from it."""

import asyncio
import json
import signal
import sys
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ledger.cli.shell import console, fail, run
from ledger.followers.follower import FOLLOWERS
from ledger.projections import INLINE
from ledger.projections.rebuild.rebuild import BATCH, Outcome, cancel, rebuild, rollback
from ledger.projections.rebuild.replay import Report
from ledger.projections.rebuild.shadow import RebuildError, printed
from ledger.projections.rebuild.status import Status, resume, status

T = TypeVar("T")
WIDTH = 160  # of a table that is not shown on a terminal

app = typer.Typer(no_args_is_help=True, help="The tables that queries read, which follow from the log.")

AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output instead of text.")]
Batch = Annotated[int, typer.Option(min=1, max=100_000, help="How many events share a transaction.")]


@app.command("list")
def show_list(as_json: AsJson = False) -> None:
    """Show which projections and followers there are, and where they write."""
    rows = [
        *(("inline", one.name, one.table_names) for one in INLINE),
        *(("follower", name, (target,)) for name, target in FOLLOWERS.items()),
    ]
    if as_json:
        _write([{"name": name, "kind": kind, "tables": tables} for kind, name, tables in rows])
    else:
        _print(("projection", "kind", "tables"), [(name, kind, ", ".join(tables)) for kind, name, tables in rows])


@app.command("status")
def show_status(as_json: AsJson = False) -> None:
    """Show how far each projection and follower is, and what it or its last rebuild met with."""
    rows = run(status)
    if as_json:
        _write([row._asdict() for row in rows])
    else:
        _print(Status._fields[:-2], [tuple(map(_text, _told(row)[:-2])) for row in rows])


@app.command("rebuild")
def start_rebuild(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME...", help="Which projections.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All projections.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Compare only; exit status 1 if rows differ.")] = False,
    keep_old: Annotated[bool, typer.Option("--keep-old", help="Keep the old tables, for a rollback.")] = False,
    batch: Batch = BATCH,
    as_json: AsJson = False,
) -> None:
    """Make tables anew from the log, compare them with those of now, and put them in their place.

    Services may run: nobody notices. What was interrupted goes on where it was when the same names are given again.
    """
    if bool(names) == everything:
        fail("name the projections, or give --all", 2)
    which = [one.name for one in INLINE] if everything else list(names or ())
    with _shown() as report:
        outcome = run(
            lambda settings: _until_stopped(
                rebuild(settings, which, dry_run=dry_run, keep_old=keep_old, batch=batch, report=report)
            )
        )
    _tell(outcome, as_json=as_json)
    if dry_run and outcome.differing:
        sys.exit(1)


@app.command("rollback")
def start_rollback(name: str, batch: Batch = BATCH, as_json: AsJson = False) -> None:
    """Put back the tables that `rebuild --keep-old` kept, with all that has happened since; keep those of now."""
    with _shown() as report:
        outcome = run(lambda settings: _until_stopped(rollback(settings, name, batch=batch, report=report)))
    _tell(outcome, as_json=as_json)


@app.command("resume")
def start_again(name: str, as_json: AsJson = False) -> None:
    """Let a follower that has stopped try again at the event that it could not apply."""
    if name not in FOLLOWERS:
        fail(f"there is no follower {name!r}: {', '.join(FOLLOWERS)}", 2)
    position = run(lambda settings: resume(settings, name))
    if position is None:
        fail(f"{name} has not stopped: see `ledger projections status`", 1)
    if as_json:
        _write({"resumed": name, "position": position})
    else:
        sys.stdout.write(f"{name} goes on after position {position} within a second, where a service runs\n")


@app.command("cancel")
def throw_away(as_json: AsJson = False) -> None:
    """Throw away what an interrupted rebuild has done. The live tables are as they were."""
    names = run(cancel)
    if as_json:
        _write({"cancelled": names})
    else:
        sys.stdout.write(f"cancelled: {', '.join(names)}\n" if names else "there was nothing to cancel\n")


async def _until_stopped(work: Awaitable[T]) -> T:
    """Do the work; SIGINT and SIGTERM end it in order."""
    task = asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError as error:
        raise RebuildError(
            "stopped; the live tables are as they were, and the same command goes on from here"
        ) from error


@contextmanager
def _shown() -> Iterator[Report]:
    """A bar on a terminal, which ends before anything else is said, so that it hides no error."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[speed]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("starting", total=None, speed="")
        yield lambda at: bar.update(
            task,
            description=at.stage,
            completed=at.position,
            total=at.head,
            speed=f"{at.events:,} events, {at.events / max(bar.tasks[0].elapsed or 0, 0.001):,.0f}/s",
        )


def _tell(outcome: Outcome, *, as_json: bool) -> None:
    if as_json:
        _write({**outcome._asdict(), "differences": [row._asdict() for row in outcome.differences]})
        return
    for line in printed(outcome.differences):
        sys.stdout.write(f"{line}\n")
    if outcome.differing > len(outcome.differences):
        sys.stdout.write(f"... and {outcome.differing - len(outcome.differences)} more\n")
    went = f", going on after position {outcome.resumed_from}" if outcome.resumed_from is not None else ""
    sys.stdout.write(
        f"{', '.join(outcome.projections)}: {outcome.events} events up to position {outcome.position}"
        f" in {outcome.seconds:.1f} s ({outcome.events / max(outcome.seconds, 0.001):,.0f}/s){went};"
        f" {outcome.differing} row{' differs' if outcome.differing == 1 else 's differ'}\n"
    )
    if outcome.swapped:
        sys.stdout.write(
            f"swapped: appends waited for {outcome.locked_ms:.0f} ms, queries for {outcome.blocked_ms:.0f} ms\n"
        )
        if any(row.table in {"sessions", "cutoffs"} for row in outcome.differences):
            sys.stdout.write("what revokes tokens was wrong: run `ledger tokens mirror rebuild` now\n")


def _print(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    output = Console()
    table = Table(*(name.replace("_", " ") for name in header), box=None)
    for row in rows:
        table.add_row(*row)
    Console(width=None if output.is_terminal else WIDTH).print(table)


def _told(row: Status) -> Status:
    """The place of an error in front of it."""
    if row.error_position is None:
        return row
    return row._replace(last_error=f"position {row.error_position}, {row.error_topic}: {row.last_error}")


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case tuple():
            return ", ".join(value)
        case float():
            return f"{value:,.1f}"
        case _:
            return str(value)


def _write(document: Any) -> None:
    sys.stdout.write(json.dumps(document, default=str) + "\n")
