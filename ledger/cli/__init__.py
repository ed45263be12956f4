"""The `ledger` command. Whatever goes wrong at a start is one line on standard error, and exit status 1 or 2."""

import asyncio
import os
import signal
import socket
import sys
from typing import Annotated

import structlog
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ledger import people, workers
from ledger.cli import export, import_reference, importing, projections, seals, tokens, verify  # noqa: F401 - some only register their commands
from ledger.cli.audit import audit
from ledger.cli.running import ListenError, console, fail, run
from ledger.credentials import MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH
from ledger.ids import new_id
from ledger.migrations import migrate as apply_migrations
from ledger.profile import ADMIN_PASSWORD_FILE
from ledger.projections import users
from ledger.runtime import open_runtime
from ledger.seals.sealing import sealing
from ledger.settings import Settings

DEMO_WIDTH = 120  # an id that is folded into two lines cannot be copied


app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="An event-sourced, double-entry ledger.")
admins = typer.Typer(no_args_is_help=True, help="Users who may do everything.")
app.command("import")(importing.import_file)
app.command("import-reference")(import_reference.import_reference)
app.add_typer(admins, name="admin")
app.add_typer(tokens.app, name="tokens")
app.add_typer(projections.app, name="projections")
app.add_typer(audit, name="audit")
log = structlog.get_logger()


def main() -> None:
    """The entry point."""
    app()


@app.command()
def serve(
    count: Annotated[int, typer.Option("--workers", min=1, max=64, help="How many processes serve requests.")] = 1,
) -> None:
    """Serve the API, on PostgreSQL and Valkey of its own where no others are configured."""
    run(lambda settings: _serve(settings, count))


@app.command()
def migrate() -> None:
    """Bring the database's schema up to date."""
    run(_migrate)


@admins.command("create")
def create_admin(
    username: Annotated[str, typer.Argument(help="The name to log in with.")],
    email: Annotated[str | None, typer.Option(help="Where to write to.")] = None,
) -> None:
    """Create an admin; the password is asked for, or read from a pipe."""
    password = _ask_password()
    run(lambda settings: _create_admin(settings, username, password, email))


@app.command()
def demo() -> None:
    """Load the sample data: alice and bob, with 100.00 each."""
    run(_demo)


async def _migrate(settings: Settings) -> None:
    changed = await apply_migrations(settings)
    log.info("schema migrated" if changed else "schema is up to date", schema=settings.ledger_schema)


async def _serve(settings: Settings, count: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await _migrate(settings)
    seals.tell_if_off(settings)
    async with open_runtime(settings) as runtime:
        made = await people.ensure_first_admin(runtime)
        if not made and not await users.any_exists(runtime.pool):
            log.warning("there is no user yet: set LEDGER_ADMIN_PASSWORD, or run `ledger admin create`")
    try:
        listener = workers.listen(settings)
    except OSError as error:
        raise ListenError(f"{settings.service_host}:{settings.service_port}: {error.strerror}") from error
    async with sealing(settings):
        with listener:
            await workers.run_workers(
                settings, listener, count, ready=lambda: _welcome(settings, listener, made=made), stop=stop
            )
    log.info("stopped")


def _welcome(settings: Settings, listener: socket.socket, *, made: bool) -> None:
    host, port = listener.getsockname()[:2]
    log.info("serving", url=f"http://{f'[{host}]' if ':' in host else host}:{port}", pid=os.getpid())
    given = Settings.load()
    if made and settings.ledger_admin_password and not given.ledger_admin_password and not given.has_database:
        path = settings.ledger_data_dir / ADMIN_PASSWORD_FILE
        console.print(
            f"\nThe first admin is [bold]{escape(settings.ledger_admin_username)}[/], with the password"
            f" [bold]{settings.ledger_admin_password.get_secret_value()}[/]"
            f"\nThis is shown once. It is kept in {escape(str(path))}, which only you can read.\n",
            soft_wrap=True,
        )


async def _create_admin(settings: Settings, username: str, password: str, email: str | None) -> None:
    await _migrate(settings)
    async with open_runtime(settings) as runtime:
        await people.create_user(runtime, new_id(), username, password, ("admin",), email=email)
    log.info("admin created", username=username)


async def _demo(settings: Settings) -> None:
    await _migrate(settings)
    async with open_runtime(settings) as runtime:
        made = await people.create_demo(runtime)
    table = Table("username", "password (shown once)", "user id", "account id", box=None)
    for person in made:
        table.add_row(person.username, person.password, str(person.user_id), str(person.account_id))
    Console(width=DEMO_WIDTH).print(table)


def _ask_password() -> str:
    if sys.stdin.isatty():
        password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\n")
    if not MIN_PASSWORD_LENGTH <= len(password) <= MAX_PASSWORD_LENGTH:
        fail(f"a password has {MIN_PASSWORD_LENGTH} to {MAX_PASSWORD_LENGTH} characters", 2)
    return password
