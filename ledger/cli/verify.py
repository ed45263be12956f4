"""`ledger audit verify`: whether the books are right. Findings on standard output, one a line, and exit status 1."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import asyncpg
import typer

from ledger.audit.verify import Sources, json_line
from ledger.audit.verify import verify as findings
from ledger.cli.audit import audit
from ledger.cli.progress import Progress
from ledger.cli.shell import console, fail, run
from ledger.errors import DatabaseError
from ledger.identity.valkey import open_client
from ledger.settings import Settings
from ledger.store.pool import UNREACHABLE, connect


@audit.command()
def verify(
    since: Annotated[int, typer.Option(min=0, help="Check only what changed after this position of the log.")] = 0,
    fast: Annotated[bool, typer.Option("--fast", help="Heads, read tables and sums, without the history.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a finding.")] = False,
) -> None:
    """Check the log, the read tables, the balances and the mirror; exit with 1 if anything is wrong."""
    if since and fast:
        fail("--since says where the history begins, and --fast reads none", 2)
    if run(lambda settings: _verify(settings, since=since, fast=fast, as_json=as_json)):
        sys.exit(1)


async def _verify(settings: Settings, *, since: int, fast: bool, as_json: bool) -> int:
    """Print the findings; how many there are."""
    count = 0
    async with _sources(settings) as sources:
        with Progress() as progress:
            async for finding in findings(sources, progress, since=since, fast=fast):
                sys.stdout.write((json_line(finding) if as_json else finding.text()) + "\n")
                count += 1
    console.print(
        f"{count} finding{'' if count == 1 else 's'}" if count else "the books are right",
        style="red" if count else "green",
    )
    return count


@asynccontextmanager
async def _sources(settings: Settings) -> AsyncIterator[Sources]:
    redis = open_client(settings)
    try:
        connection, now = await connect(settings), await connect(settings)
        try:
            yield Sources(connection, now, redis)
        finally:
            await connection.close(timeout=1)
            await now.close(timeout=1)
    except asyncpg.UndefinedTableError as error:
        raise DatabaseError("the schema is not up to date: run `ledger migrate`") from error
    except UNREACHABLE as error:
        raise DatabaseError(f"PostgreSQL is gone: {type(error).__name__}") from error
    finally:
        await redis.aclose()
