"""`ledger audit verify`: check that the books are right. Prints one finding per line; exits with 1 if there are any.

Of more than a thousand findings, it counts the others by the rules that are broken.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import asyncpg
import typer

from ledger.audit.limited import MAX_FINDINGS, Limited
from ledger.audit.verify import Processes, Sources, json_line
from ledger.audit.verify import verify as find_errors
from ledger.audit.verify.ending import describe_ending
from ledger.audit.verify.processes import count_cores
from ledger.cli.options import AllFindings
from ledger.cli.output import describe_omitted, emit_lines, plural
from ledger.cli.progress import Progress
from ledger.cli.shell import connected, console, fail, run
from ledger.errors import LedgerError
from ledger.identity.valkey import open_client
from ledger.settings import Settings
from ledger.store import outbox
from ledger.store.connections import UNREACHABLE
from ledger.store.outbox import Cause, Entry
from ledger.store.reader import log_end
from ledger.store.roles import describe_serving_role
from ledger.values.ids import new_id

REQUEST_ID = "ledger-audit-verify"  # in the command log
FAILURES = (LedgerError, asyncpg.PostgresError, *UNREACHABLE)


def verify(
    since: Annotated[int, typer.Option(min=0, help="Check only what changed after this position of the log.")] = 0,
    fast: Annotated[
        bool, typer.Option("--fast", help="Check heads, read tables and sums, but not the history.")
    ] = False,
    processes: Annotated[
        int | None, typer.Option(min=1, max=64, help="Processes that share a long log (default: one per core).")
    ] = None,
    everything: AllFindings = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per finding.")] = False,
) -> None:
    """Check the schema, the log, read tables, balances and the revocation cache; exit with 1 if anything is wrong."""
    if since and fast:
        fail("--since limits the history that is read, and --fast reads none: give one of them", 2)
    number = processes or count_cores()
    found = Limited(None if everything else MAX_FINDINGS)
    run(lambda settings: _verify(Processes(settings, number), found, since=since, fast=fast, as_json=as_json))
    if found.count:
        sys.exit(1)


async def _verify(processes: Processes, found: Limited, *, since: int, fast: bool, as_json: bool) -> None:
    """Print the findings up to the limit, and the number of the others."""
    async with (
        _open_sources(processes.settings) as sources,
        _recording(processes.settings, found, await log_end(sources.now), since=since, fast=fast),
    ):
        role = await describe_serving_role(sources.connection, processes.settings.ledger_schema)
        with Progress() as progress:
            progress.note(role.text())
            async for finding in find_errors(sources, progress, since=since, fast=fast, processes=processes):
                if found.admits(finding.rule):
                    sys.stdout.write((json_line(finding) if as_json else finding.text()) + "\n")
    if as_json:
        emit_lines({"rule": rule, "omitted": count} for rule, count in found.omitted.items())
    else:
        sys.stdout.writelines(f"{line}\n" for line in describe_omitted(found.omitted))
    console.print(
        plural(found.count, "finding") if found.count else "the books are right",
        style="red" if found.count else "green",
    )


@asynccontextmanager
async def _recording(
    settings: Settings, found: Limited, position: int, *, since: int, fast: bool
) -> AsyncIterator[None]:
    """Record the end of the verification in the context; one that is interrupted has none."""
    cause = Cause(new_id(), request_id=REQUEST_ID)
    try:
        yield
    except FAILURES as error:
        await _record(
            settings, describe_ending(cause, "failed", since=since, fast=fast, position=position, error=error)
        )
        raise
    ended = describe_ending(cause, "succeeded", since=since, fast=fast, position=position, findings=found.count)
    await _record(settings, ended)


async def _record(settings: Settings, ended: Entry) -> None:
    """Record an end if the role may write: an auditor's may not, and verifies all the same."""
    reason = await outbox.try_to_add(settings, [ended])
    if reason is not None:
        console.print(f"this verification is not recorded in the log: {reason}")


@asynccontextmanager
async def _open_sources(settings: Settings) -> AsyncIterator[Sources]:
    redis = open_client(settings)
    try:
        async with connected(settings) as connection, connected(settings) as now:
            yield Sources(connection, now, redis)
    finally:
        await redis.aclose()
