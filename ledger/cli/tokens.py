"""`ledger tokens`: what an operator asks about the mirror of revocations, and how it is made anew."""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import typer
from asyncpg import UndefinedTableError
from rich.console import Console
from rich.table import Table

from ledger.cli.shell import run
from ledger.errors import DatabaseError
from ledger.identity import valkey as redis
from ledger.identity.revocation_cache import Mirror, MirrorStatus, MirrorUnusableError
from ledger.identity.valkey import RedisUnusableError
from ledger.settings import Settings
from ledger.store import pool as database
from ledger.store.identity import read_ledger_id

app = typer.Typer(no_args_is_help=True, help="Tokens, and what is known of those that were revoked.")
mirror = typer.Typer(no_args_is_help=True, help="The mirror of revocations in Redis.")
app.add_typer(mirror, name="mirror")
AsJson = Annotated[bool, typer.Option("--json", help="One line of JSON instead of text.")]


@mirror.command("status")
def show_status(as_json: AsJson = False) -> None:
    """Show how far the mirror reaches. The exit status is 1 if that is not far enough, or Redis does not answer."""
    status = run(_status, needs_redis=True)
    if as_json:
        _print_json(status)
    else:
        table = Table("position", "last revocation", "whole", box=None)
        table.add_row(_shown(status), str(status.last_revocation), "yes" if status.is_whole else "no")
        Console().print(table)
    if not status.is_whole:
        sys.exit(1)


@mirror.command("rebuild")
def rebuild(as_json: AsJson = False) -> None:
    """Throw the mirror away and fill it anew. Services may run: they ask PostgreSQL meanwhile."""
    status = run(_rebuild, needs_redis=True)
    if as_json:
        _print_json(status)
    else:
        sys.stdout.write(f"mirror rebuilt up to position {_shown(status)}\n")


def _print_json(status: MirrorStatus) -> None:
    sys.stdout.write(json.dumps({**status._asdict(), "whole": status.is_whole}) + "\n")


def _shown(status: MirrorStatus) -> str:
    return "none" if status.position is None else str(status.position)


async def _status(settings: Settings) -> MirrorStatus:
    async with _opened(settings) as opened:
        return await opened.status()


async def _rebuild(settings: Settings) -> MirrorStatus:
    async with _opened(settings) as opened:
        await opened.rebuild()
        return await opened.status()


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Mirror]:
    """The mirror without the rest of a runtime, which would fill it while it is looked at."""
    pool, client = await database.open_pool(settings), redis.open_client(settings)
    try:
        ledger_id = await read_ledger_id(pool)
        yield Mirror(client, pool, ledger_id, leeway_seconds=settings.jwt_validation_leeway_seconds)
    except UndefinedTableError as error:
        raise DatabaseError("the database has no ledger of this version: run `ledger migrate`") from error
    except MirrorUnusableError as error:
        raise RedisUnusableError(str(error)) from error
    finally:
        await client.aclose()
        await pool.close()
