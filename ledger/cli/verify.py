"""`ledger audit verify`: check that the books are right. Prints one finding per line; exits with 1 if there are any."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import typer

from ledger.audit.verify import Processes, Sources, json_line
from ledger.audit.verify import verify as find_errors
from ledger.audit.verify.processes import count_cores
from ledger.cli.output import plural
from ledger.cli.progress import Progress
from ledger.cli.shell import connected, console, fail, run
from ledger.identity.valkey import open_client
from ledger.settings import Settings
from ledger.store.roles import describe_serving_role


def verify(
    since: Annotated[int, typer.Option(min=0, help="Check only what changed after this position of the log.")] = 0,
    fast: Annotated[
        bool, typer.Option("--fast", help="Check heads, read tables and sums, but not the history.")
    ] = False,
    processes: Annotated[
        int | None, typer.Option(min=1, max=64, help="Processes that share a long log (default: one per core).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per finding.")] = False,
) -> None:
    """Check the schema, the log, read tables, balances and the revocation cache; exit with 1 if anything is wrong."""
    if since and fast:
        fail("--since limits the history that is read, and --fast reads none: give one of them", 2)
    number = processes or count_cores()
    if run(lambda settings: _verify(Processes(settings, number), since=since, fast=fast, as_json=as_json)):
        sys.exit(1)


async def _verify(processes: Processes, *, since: int, fast: bool, as_json: bool) -> int:
    """Print the findings, and return their number."""
    count = 0
    async with _open_sources(processes.settings) as sources:
        role = await describe_serving_role(sources.connection, processes.settings.ledger_schema)
        with Progress() as progress:
            progress.note(role.text())
            async for finding in find_errors(sources, progress, since=since, fast=fast, processes=processes):
                sys.stdout.write((json_line(finding) if as_json else finding.text()) + "\n")
                count += 1
    console.print(
        plural(count, "finding") if count else "the books are right",
        style="red" if count else "green",
    )
    return count


@asynccontextmanager
async def _open_sources(settings: Settings) -> AsyncIterator[Sources]:
    redis = open_client(settings)
    try:
        async with connected(settings) as connection, connected(settings) as now:
            yield Sources(connection, now, redis)
    finally:
        await redis.aclose()
