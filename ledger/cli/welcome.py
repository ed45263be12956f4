"""Greet the operator once `ledger serve` accepts requests: a record in the log, and an introduction on the terminal.

The first admin's password is shown once, by the start that generated it, and only on a terminal: elsewhere, logs keep
what is printed. Other starts name the file that holds it, as long as it is still that admin's password.
"""

import os
import socket
import sys
from pathlib import Path
from typing import NamedTuple

import structlog
from rich.markup import escape

from ledger.cli import seed
from ledger.cli.shell import console
from ledger.projections import users
from ledger.runtime import Runtime
from ledger.service.bootstrap import admin_password_file

log = structlog.get_logger(__name__)


class Admin(NamedTuple):
    """The first admin: the file with the generated password, and that password if it is new."""

    username: str
    password_file: Path | None = None
    new_password: str | None = None


async def prepare_admin(runtime: Runtime) -> Admin:
    """Create the first admin of an empty ledger, and return how to log in as the first admin."""
    settings = runtime.settings
    username, password = settings.ledger_admin_username, settings.ledger_admin_password
    is_new = await seed.ensure_first_admin(runtime)
    if not is_new and not await users.any_exists(runtime.pool):
        log.warning("there is no user yet: set LEDGER_ADMIN_PASSWORD, or run `ledger admin create`")
    file = admin_password_file(settings)
    if file is None or password is None or not await seed.has_password(runtime, username, password):
        return Admin(username)
    if not is_new:
        log.warning("the first admin still has the generated password: change it", username=username)
    return Admin(username, file, password.get_secret_value() if is_new else None)


def welcome(listener: socket.socket, admin: Admin) -> None:
    """Log and print the URLs of the service and its documentation, and where the admin's password is."""
    host, port = listener.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    file = {"admin_password_file": str(admin.password_file)} if admin.password_file else {}
    log.info("serving", url=url, docs=f"{url}/docs", pid=os.getpid(), **file)
    if console.is_terminal or admin.new_password:
        introduction = _introduction(url, admin, shows_password=sys.stderr.isatty())
        console.print(f"\n{introduction}\n", soft_wrap=True)


def _introduction(url: str, admin: Admin, *, shows_password: bool) -> str:
    lines = [f"Look at the books at [bold]{url}/console[/]", f"Read and try the API at [bold]{url}/docs[/]"]
    name, file = f"[bold]{escape(admin.username)}[/]", escape(str(admin.password_file))
    if admin.new_password and shows_password:
        lines += [
            f"The first admin is {name}, with the password [bold]{admin.new_password}[/]",
            f"This is shown once. It is kept in {file}, which only you can read.",
        ]
    elif admin.password_file:
        lines.append(f"The first admin is {name}; the password is in {file}")
    return "\n".join(lines)
