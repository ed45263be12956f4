"""`ledger import-reference`: users, accounts, balances and transactions of the reference service."""

import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, NamedTuple
from uuid import UUID

import asyncpg
import typer

from ledger.cli.progress import Progress
from ledger.cli.shell import fail, run
from ledger.errors import DatabaseError
from ledger.import_reference.api import open_api
from ledger.import_reference.books import Books, RehearsedBooks
from ledger.import_reference.database import open_database
from ledger.import_reference.report import Report
from ledger.import_reference.run import Options
from ledger.import_reference.run import import_reference as import_all
from ledger.import_reference.source import Reference
from ledger.money import CURRENCIES
from ledger.runtime import open_runtime
from ledger.settings import Settings
from ledger.store.migrate import migrate
from ledger.store.pool import UNREACHABLE, connect
from ledger.values.ids import parse_id

RESUME = "run the same command again to resume; what was taken is not taken twice"


class _Source(NamedTuple):
    """Where the reference is, and how to log in there."""

    url: str
    schema: str
    username: str
    secret: str | None
    salt: str | None


def import_reference(
    url: Annotated[
        str, typer.Argument(envvar="REFERENCE_URL", help="Its database (postgresql://…) or its API (https://…).")
    ],
    schema: Annotated[str, typer.Option(help="The schema of its tables, in the database.")] = "public",
    username: Annotated[str, typer.Option(help="An admin of the reference, for the API.")] = "admin",
    password_file: Annotated[
        Path | None,
        typer.Option(
            help="Holds what that admin sends as password_hash; else REFERENCE_PASSWORD does.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    password_salt: Annotated[
        str | None, typer.Option(help="Send the SHA-256 of the password and this salt instead.")
    ] = None,
    currency: Annotated[
        str | None, typer.Option(help="The currency of all balances; else LEDGER_DEFAULT_CURRENCY.")
    ] = None,
    map_user: Annotated[
        list[str] | None, typer.Option(help="ID=USER: a user of the reference who is this user of the ledger.")
    ] = None,
    holder: Annotated[
        str | None, typer.Option(help="The user of the ledger who gets accounts whose users are not taken.")
    ] = None,
    balances_only: Annotated[bool, typer.Option("--balances-only", help="Take no transactions.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Report what would be done, and write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output instead of text.")] = False,
) -> None:
    """Take over users, accounts, balances and transactions of the reference service, and prove that sums are equal.

    Run the command again to resume it, or to take what has been added since. The exit status is 1 if anything was not
    taken, or differs.
    """
    source = _Source(url, schema, username, _secret(password_file), password_salt)
    mapped = dict(_mapping(text) for text in map_user or [])

    async def work(settings: Settings) -> Report:
        options = Options(currency or settings.ledger_default_currency, mapped, holder, balances_only)
        if options.currency not in CURRENCIES:
            fail("--currency: must be an ISO 4217 code", 2)
        async with _reference(source) as reference, _books(settings, dry_run=dry_run) as books:
            with Progress() as progress:
                return await import_all(reference, books, options, progress)

    try:
        report = run(work, needs_redis=not dry_run, needs_key=not dry_run)
    except KeyboardInterrupt:
        fail(f"stopped; {RESUME}", 1)
    sys.stdout.write(json.dumps(report.body()) if as_json else "\n".join(report.lines()))
    sys.stdout.write("\n")
    if not report.is_complete:
        sys.exit(1)


@asynccontextmanager
async def _reference(source: _Source) -> AsyncIterator[Reference]:
    if source.url.startswith(("postgresql://", "postgres://")):
        async with open_database(source.url, source.schema) as database:
            yield database
    elif source.url.startswith(("http://", "https://")):
        if source.secret is None:
            fail("give --password-file, or set REFERENCE_PASSWORD", 2)
        async with open_api(source.url, source.username, source.secret, source.salt) as api:
            yield api
    else:
        fail("the URL must start with postgresql://, http:// or https://", 2)


@asynccontextmanager
async def _books(settings: Settings, *, dry_run: bool) -> AsyncIterator[RehearsedBooks]:
    if not dry_run:
        await migrate(settings)
    connection = await connect(settings, statement_seconds=None)
    try:
        if dry_run:
            yield RehearsedBooks(connection)
        else:
            async with open_runtime(settings) as runtime:
                yield Books(connection, runtime)
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError) as error:
        raise DatabaseError("the schema is not up to date: run `ledger migrate`") from error
    except UNREACHABLE as error:
        raise DatabaseError(f"PostgreSQL is gone: {type(error).__name__}; {RESUME}") from error
    finally:
        await connection.close(timeout=1)


def _secret(path: Path | None) -> str | None:
    return os.environ.get("REFERENCE_PASSWORD") if path is None else path.read_text().rstrip("\n")


def _mapping(text: str) -> tuple[UUID, str]:
    user_id, _, user = text.partition("=")
    try:
        return parse_id(user_id), user
    except ValueError:
        fail(f"--map-user: must be ID=USER, not {text!a}", 2)
