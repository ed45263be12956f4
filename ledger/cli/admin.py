"""`ledger admin`: create admins."""

import sys
from typing import Annotated

import structlog
import typer

from ledger.cli import seed
from ledger.cli.migrate import migrate_schema
from ledger.cli.shell import fail, run_service
from ledger.identity.passwords import MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH
from ledger.runtime import open_runtime
from ledger.settings import Settings
from ledger.values.ids import new_id

log = structlog.get_logger(__name__)


def create_admin(
    username: Annotated[str, typer.Argument(help="User name to log in with.")],
    email: Annotated[str | None, typer.Option(help="Email address.")] = None,
) -> None:
    """Create an admin. The password is prompted for, or read from standard input if that is no terminal."""
    password = _read_password()
    run_service(lambda settings: _create_admin(settings, username, password, email))


async def _create_admin(settings: Settings, username: str, password: str, email: str | None) -> None:
    await migrate_schema(settings)
    async with open_runtime(settings) as runtime:
        try:
            await runtime.passwords.check_password(password, (username,))
        except ValueError as error:
            fail(f"the password {error}", 2)
        await seed.create_user(runtime, new_id(), username, password, ("admin",), email=email)
    log.info("admin created", username=username)


def _read_password() -> str:
    if sys.stdin.isatty():
        password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\n")
    if not MIN_PASSWORD_LENGTH <= len(password) <= MAX_PASSWORD_LENGTH:
        fail(f"a password has {MIN_PASSWORD_LENGTH} to {MAX_PASSWORD_LENGTH} characters", 2)
    return password
