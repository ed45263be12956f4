"""`ledger demo`: load sample data."""

from typing import Annotated

import typer

from ledger.cli import seed
from ledger.cli.migrate import migrate_schema
from ledger.cli.output import print_table
from ledger.cli.shell import run_service
from ledger.runtime import open_runtime
from ledger.settings import Settings


def demo(
    sample_passwords: Annotated[
        bool, typer.Option(help="Use the password that the reference service publishes. For test systems only.")
    ] = False,
) -> None:
    """Load the sample data: users alice and bob, with 100.00 each. Existing users and accounts do not change.

    Their passwords are random and shown once.
    """
    run_service(lambda settings: _demo(settings, sample_passwords=sample_passwords))


async def _demo(settings: Settings, *, sample_passwords: bool) -> None:
    await migrate_schema(settings)
    async with open_runtime(settings) as runtime:
        users = await seed.create_demo(runtime, sample_passwords=sample_passwords)
    rows = [
        (user.username, user.password or "(unchanged: the user existed)", str(user.user_id), str(user.account_id))
        for user in users
    ]
    print_table(("username", "password", "user id", "account id"), rows)
