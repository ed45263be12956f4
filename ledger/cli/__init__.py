"""The `ledger` command. Whatever goes wrong at a start is one line on standard error, and exit status 1 or 2."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import structlog
import typer
from rich.console import Console
from rich.table import Table

from ledger import __version__
from ledger.cli import export, import_reference, projections, seals, tokens, verify  # noqa: F401 - some only register their commands
from ledger.cli import import_ as importing
from ledger.cli import seed as people
from ledger.cli.audit import audit
from ledger.cli.shell import fail, run
from ledger.cli.welcome import prepare_admin, welcome
from ledger.identity.passwords import MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH
from ledger.runtime import open_runtime
from ledger.seals.sealing import sealing
from ledger.settings import Settings
from ledger.store.migrate import migrate as apply_migrations
from ledger.values.ids import new_id
from web import workers

T = TypeVar("T")

DEMO_WIDTH = 160  # an id that is folded into two lines cannot be copied

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
admins = typer.Typer(no_args_is_help=True, help="Users who may do everything.")
app.command("import")(importing.import_file)
app.command("import-reference")(import_reference.import_reference)
app.add_typer(admins, name="admin")
app.add_typer(tokens.app, name="tokens")
app.add_typer(projections.app, name="projections")
app.add_typer(audit, name="audit")
log = structlog.get_logger(__name__)


def main() -> None:
    """The entry point."""
    app()


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"ledger {__version__}\n")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """An event-sourced, double-entry ledger."""


@app.command()
def serve(
    count: Annotated[int, typer.Option("--workers", min=1, max=64, help="How many processes serve requests.")] = 1,
) -> None:
    """Serve the API, on PostgreSQL and Valkey of its own where no others are configured."""
    _run_whole(lambda settings: _serve(settings, count))


@app.command()
def migrate() -> None:
    """Bring the database's schema up to date. Of the settings it needs those of PostgreSQL alone."""
    run(_migrate)


@admins.command("create")
def create_admin(
    username: Annotated[str, typer.Argument(help="The name to log in with.")],
    email: Annotated[str | None, typer.Option(help="Where to write to.")] = None,
) -> None:
    """Create an admin; the password is asked for, or read from a pipe."""
    password = _ask_password()
    _run_whole(lambda settings: _create_admin(settings, username, password, email))


@app.command()
def demo(
    sample_passwords: Annotated[
        bool, typer.Option(help="The documented password on a configured database too: for test systems only.")
    ] = False,
) -> None:
    """Load the sample data: alice and bob, with 100.00 each. What exists already is left as it is.

    On the embedded database their password is the documented sample; on a configured one it is random and shown once.
    """
    _run_whole(lambda settings: _demo(settings, sample_passwords=sample_passwords))


def _run_whole(work: Callable[[Settings], Awaitable[T]]) -> T:
    return run(work, needs_redis=True, needs_key=True)


async def _migrate(settings: Settings) -> None:
    changed = await apply_migrations(settings)
    log.info("schema migrated" if changed else "schema is up to date", schema=settings.ledger_schema)


async def _serve(settings: Settings, count: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with workers.bound(settings) as listener:  # a start that cannot serve must not migrate, nor make an admin
        await _migrate(settings)
        seals.tell_if_off(settings)
        async with open_runtime(settings) as runtime:
            admin = await prepare_admin(runtime)
        workers.listen(settings, listener)
        async with sealing(settings):
            await workers.run_workers(settings, listener, count, ready=lambda: welcome(listener, admin), stop=stop)
    log.info("stopped")


async def _create_admin(settings: Settings, username: str, password: str, email: str | None) -> None:
    await _migrate(settings)
    async with open_runtime(settings) as runtime:
        await people.create_user(runtime, new_id(), username, password, ("admin",), email=email)
    log.info("admin created", username=username)


async def _demo(settings: Settings, *, sample_passwords: bool) -> None:
    is_embedded = not Settings.load().has_database  # `settings` name the embedded server like any other
    await _migrate(settings)
    async with open_runtime(settings) as runtime:
        made = await people.create_demo(runtime, sample_passwords=sample_passwords or is_embedded)
    table = Table("username", "password", "user id", "account id", box=None)
    for person in made:
        shown = person.password or "(as before: the user existed already)"
        table.add_row(person.username, shown, str(person.user_id), str(person.account_id))
    Console(width=DEMO_WIDTH).print(table)


def _ask_password() -> str:
    if sys.stdin.isatty():
        password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\n")
    if not MIN_PASSWORD_LENGTH <= len(password) <= MAX_PASSWORD_LENGTH:
        fail(f"a password has {MIN_PASSWORD_LENGTH} to {MAX_PASSWORD_LENGTH} characters", 2)
    return password
