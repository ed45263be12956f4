"""`ledger admin`: create admins."""

import sys
from typing import Annotated

import structlog
import typer

from ledger.cli import seed
from ledger.cli.migrate import migrate_schema
from ledger.cli.options import AsDryRun
from ledger.cli.shell import fail, run_service
from ledger.identity.passwords import MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH
from ledger.runtime import open_runtime, take_dry_run
from ledger.settings import Settings
from ledger.values.ids import new_id
from ledger.write.dry_run import DryRun

log = structlog.get_logger(__name__)


def create_admin(
    username: Annotated[str, typer.Argument(help="User name to log in with.")],
    email: Annotated[str | None, typer.Option(help="Email address.")] = None,
    dry_run: AsDryRun = False,
) -> None:
    """Create an admin. The password is prompted for, or read from standard input if that is no terminal."""
    password = _read_password()
    run_service(lambda settings: _create_admin(settings, username, password, email, dry_run=dry_run))


async def _create_admin(settings: Settings, username: str, password: str, email: str | None, *, dry_run: bool) -> None:
    if not dry_run:
        await migrate_schema(settings)
    async with open_runtime(settings) as runtime:
        try:
            await runtime.passwords.check_password(password, (username,))
        except ValueError as error:
            fail(f"the password {error}", 2)
        dry = DryRun(runtime.pool, schema=settings.ledger_schema)
        target = take_dry_run(runtime, dry) if dry_run else runtime
        await seed.create_user(target, new_id(), username, password, ("admin",), email=email)
    log.info("dry run: an admin would be created" if dry_run else "admin created", username=username)


def _read_password() -> str:
    if sys.stdin.isatty():
        password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\n")
    if not MIN_PASSWORD_LENGTH <= len(password) <= MAX_PASSWORD_LENGTH:
        fail(f"a password has {MIN_PASSWORD_LENGTH} to {MAX_PASSWORD_LENGTH} characters", 2)
    return password
