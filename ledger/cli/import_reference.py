"""`ledger import-reference`: import users, accounts, balances and transactions of the reference service."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, NamedTuple
from uuid import UUID

import typer

from ledger.cli.options import AsJson, parse_value
from ledger.cli.output import emit
from ledger.cli.progress import Progress
from ledger.cli.shell import Use, connected, fail, run
from ledger.import_reference import run as importing
from ledger.import_reference.api import open_api
from ledger.import_reference.books import Books, RehearsedBooks
from ledger.import_reference.database import open_database
from ledger.import_reference.report import Report
from ledger.import_reference.run import Options
from ledger.import_reference.source import Reference
from ledger.money import check_code
from ledger.runtime import open_runtime
from ledger.settings import Settings
from ledger.store.locks import try_lock_import
from ledger.store.migrate import migrate
from ledger.values.ids import parse_id

RESUME = "run the command again to resume; imported rows are not repeated"

Url = Annotated[
    str, typer.Argument(envvar="REFERENCE_URL", help="URL of its database (postgresql://…) or its API (https://…).")
]
Schema = Annotated[str, typer.Option(help="Schema of its tables in the database.")]
Username = Annotated[str, typer.Option(help="Admin of the reference, for the API.")]
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        help="File with the password_hash that this admin logs in with; by default, REFERENCE_PASSWORD is used.",
        exists=True,
        dir_okay=False,
    ),
]
PasswordSalt = Annotated[str | None, typer.Option(help="Send the SHA-256 of the password and this salt instead.")]
Currency = Annotated[
    str | None, typer.Option(help="Currency of all balances; by default, LEDGER_DEFAULT_CURRENCY is used.")
]
MapUser = Annotated[
    list[str] | None, typer.Option(help="ID=USER: map a user of the reference to a user of the ledger.")
]
Holder = Annotated[
    str | None, typer.Option(help="User of the ledger who gets the accounts of users that are not imported.")
]
BalancesOnly = Annotated[bool, typer.Option("--balances-only", help="Import no transactions.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Report what would be imported, and write nothing.")]


class _Source(NamedTuple):
    """The URL of the reference, and how to log in there."""

    url: str
    schema: str
    username: str
    secret: str | None
    salt: str | None


class _Choice(NamedTuple):
    """The choices of the operator. Without a currency, the default of the settings applies."""

    currency: str | None
    mapped: dict[UUID, str]
    holder: str | None
    balances_only: bool
    dry_run: bool


def import_reference(
    url: Url,
    schema: Schema = "public",
    username: Username = "admin",
    password_file: PasswordFile = None,
    password_salt: PasswordSalt = None,
    currency: Currency = None,
    map_user: MapUser = None,
    holder: Holder = None,
    balances_only: BalancesOnly = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Import users, accounts, balances and transactions of the reference service, and check that the sums are equal.

    Run the command again to resume, or to import rows added since. The exit status is 1 if anything was not imported or
    differs.
    """
    source = _Source(url, schema, username, _read_secret(password_file), password_salt)
    mapped = dict(_parse_mapping(text) for text in map_user or [])
    choice = _Choice(currency, mapped, holder, balances_only, dry_run)
    try:
        report = run(
            lambda settings: _import(settings, source, choice),
            redis=Use.NO if dry_run else Use.IF_THERE,
            needs_key=not dry_run,
        )
    except KeyboardInterrupt:
        fail(f"stopped; {RESUME}", 1)
    if as_json:
        emit(report.body())
    else:
        sys.stdout.write("\n".join(report.lines()) + "\n")
    if not report.is_complete:
        sys.exit(1)


async def _import(settings: Settings, source: _Source, choice: _Choice) -> Report:
    currency = parse_value("--currency", choice.currency or settings.ledger_default_currency, check_code)
    options = Options(currency, choice.mapped, choice.holder, choice.balances_only)
    async with _open_reference(source) as reference, _open_books(settings, dry_run=choice.dry_run) as books:
        parse_value("--currency", currency, (await books.assets()).digits)
        with Progress() as progress:
            return await importing.import_reference(reference, books, options, progress)


@asynccontextmanager
async def _open_reference(source: _Source) -> AsyncIterator[Reference]:
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
async def _open_books(settings: Settings, *, dry_run: bool) -> AsyncIterator[RehearsedBooks]:
    if not dry_run:
        await migrate(settings)
    async with connected(settings, statement_seconds=None, hint=f"; {RESUME}") as connection:
        if dry_run:
            yield RehearsedBooks(connection)
        elif not await try_lock_import(connection):
            fail("another import of the reference is running; run the command again when it has ended", 1)
        else:
            async with open_runtime(settings) as runtime:
                yield Books(connection, runtime)


def _read_secret(path: Path | None) -> str | None:
    return os.environ.get("REFERENCE_PASSWORD") if path is None else path.read_text().rstrip("\n")


def _parse_mapping(text: str) -> tuple[UUID, str]:
    user_id, _, user = text.partition("=")
    try:
        return parse_id(user_id), user
    except ValueError:
        fail(f"--map-user: must be ID=USER, not {text!a}", 2)
