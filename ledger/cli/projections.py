"""`ledger projections`: show the state of the read tables and followers, and rebuild read tables from the log."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer
from rich.console import Console

from ledger.cli.options import AsJson
from ledger.cli.output import emit, plural, print_table
from ledger.cli.progress import Progress
from ledger.cli.shell import fail, run
from ledger.followers.follower import FOLLOWERS
from ledger.projections import INLINE
from ledger.projections.rebuild.rebuild import CHUNK_EVENTS, Outcome, cancel, rebuild, rollback
from ledger.projections.rebuild.replay import Report
from ledger.projections.rebuild.shadow import RebuildError, format_differences
from ledger.projections.rebuild.status import Status, resume, status
from ledger.settings import Settings
from ledger.store.outbox import Cause
from ledger.values.ids import new_id

T = TypeVar("T")
REQUEST_ID = "ledger-projections"  # in the command log
REVOCATION_TABLES = {"sessions", "cutoffs"}
UNBOUNDED = 1000  # characters of a table in a pipe: a wrapped error cannot be searched for

Chunk = Annotated[int, typer.Option("--chunk", "--batch", min=1, max=100_000, help="Events per database transaction.")]


def show_list(as_json: AsJson = False) -> None:
    """List the projections and followers, and the tables they write to."""
    rows = [
        *(("inline", one.name, one.table_names) for one in INLINE),
        *(("follower", name, (target,)) for name, target in FOLLOWERS.items()),
    ]
    if as_json:
        emit([{"name": name, "kind": kind, "tables": tables} for kind, name, tables in rows])
    else:
        _print(("projection", "kind", "tables"), [(name, kind, ", ".join(tables)) for kind, name, tables in rows])


def show_status(as_json: AsJson = False) -> None:
    """Show the position of each projection and follower, and its last error or that of its last rebuild."""
    rows = run(status)
    if as_json:
        emit([row._asdict() for row in rows])
    else:
        _print(Status._fields[:-2], [tuple(map(_format_value, _add_place(row)[:-2])) for row in rows])


def start_rebuild(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME...", help="Projections to rebuild.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Rebuild all projections.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Compare only; exit with 1 if rows differ.")] = False,
    keep_old: Annotated[bool, typer.Option("--keep-old", help="Keep the old tables for a rollback.")] = False,
    chunk: Chunk = CHUNK_EVENTS,
    as_json: AsJson = False,
) -> None:
    """Rebuild read tables from the log, compare them with the live ones, and swap them in.

    Services keep running without interruption. To resume an interrupted rebuild, give the same names again.
    """
    if bool(names) == everything:
        fail("name the projections, or give --all", 2)
    chosen = [projection.name for projection in INLINE] if everything else list(names or ())
    cause = Cause(new_id(), request_id=REQUEST_ID)
    outcome = _run_rebuild(
        lambda settings, report: rebuild(
            settings, chosen, dry_run=dry_run, keep_old=keep_old, chunk=chunk, report=report, cause=cause
        )
    )
    _print_outcome(outcome, as_json=as_json)
    if dry_run and outcome.differing:
        sys.exit(1)


def start_rollback(
    name: Annotated[str, typer.Argument(help="Projection whose old tables to swap back in.")],
    chunk: Chunk = CHUNK_EVENTS,
    as_json: AsJson = False,
) -> None:
    """Swap the tables kept by `rebuild --keep-old` back in, after applying all events since; keep the replaced ones."""
    cause = Cause(new_id(), request_id=REQUEST_ID)
    outcome = _run_rebuild(lambda settings, report: rollback(settings, name, chunk=chunk, report=report, cause=cause))
    _print_outcome(outcome, as_json=as_json)


def resume_follower(
    name: Annotated[str, typer.Argument(help="Follower that has stopped.")], as_json: AsJson = False
) -> None:
    """Resume a follower that stopped at an event it could not apply; it tries that event again."""
    if name not in FOLLOWERS:
        fail(f"there is no follower {name!r}: {', '.join(FOLLOWERS)}", 2)
    position = run(lambda settings: resume(settings, name, request_id=REQUEST_ID))
    if position is None:
        fail(f"{name} has not stopped: see `ledger projections status`", 1)
    if as_json:
        emit({"resumed": name, "position": position})
    else:
        sys.stdout.write(f"{name} resumes after position {position} within a second of a running service\n")


def cancel_rebuild(as_json: AsJson = False) -> None:
    """Discard what an interrupted rebuild has done. The live tables do not change."""
    names = run(lambda settings: cancel(settings, Cause(new_id(), request_id=REQUEST_ID)))
    if as_json:
        emit({"cancelled": names})
    else:
        sys.stdout.write(f"cancelled: {', '.join(names)}\n" if names else "there was nothing to cancel\n")


def _run_rebuild(work: Callable[[Settings, Report], Awaitable[Outcome]]) -> Outcome:
    async def run_with_progress(settings: Settings) -> Outcome:
        with Progress() as progress:
            return await _until_stopped(work(settings, lambda at: progress.update(at.stage, at.position, at.log_end)))

    return run(run_with_progress)


async def _until_stopped(work: Awaitable[T]) -> T:
    """Await the work; SIGINT and SIGTERM cancel it in an orderly way."""
    task = asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError as error:
        raise RebuildError(
            "stopped; the live tables have not changed; run the command again to resume from here"
        ) from error


def _print_outcome(outcome: Outcome, *, as_json: bool) -> None:
    if as_json:
        emit({**outcome._asdict(), "differences": [row._asdict() for row in outcome.differences]})
        return
    for line in format_differences(outcome.differences):
        sys.stdout.write(f"{line}\n")
    if outcome.differing > len(outcome.differences):
        sys.stdout.write(f"... and {outcome.differing - len(outcome.differences)} more\n")
    resumed = f", resumed after position {outcome.resumed_from}" if outcome.resumed_from is not None else ""
    sys.stdout.write(
        f"{', '.join(outcome.projections)}: {outcome.events} events up to position {outcome.position}"
        f" in {outcome.seconds:.1f} s ({outcome.events / max(outcome.seconds, 0.001):,.0f}/s){resumed};"
        f" {plural(outcome.differing, 'row')} {'differs' if outcome.differing == 1 else 'differ'}\n"
    )
    if outcome.swapped:
        sys.stdout.write(
            f"swapped: appends waited for {outcome.locked_ms:.0f} ms, queries for {outcome.blocked_ms:.0f} ms\n"
        )
        if any(row.table in REVOCATION_TABLES for row in outcome.differences):
            sys.stdout.write("tables of revoked tokens were wrong: run `ledger tokens mirror rebuild` now\n")


def _print(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    print_table([name.replace("_", " ") for name in header], rows, width=None if Console().is_terminal else UNBOUNDED)


def _add_place(row: Status) -> Status:
    """Return the status with the position and topic of the failing event in front of the error."""
    if row.error_position is None:
        return row
    return row._replace(last_error=f"position {row.error_position}, {row.error_topic}: {row.last_error}")


def _format_value(value: object) -> str:
    match value:
        case None:
            return ""
        case tuple():
            return ", ".join(value)
        case float():
            return f"{value:,.1f}"
        case _:
            return str(value)
