"""Users that are made without HTTP: the first admin, further admins from the command line, and the demo's."""

import secrets
from typing import NamedTuple
from uuid import UUID

from ledger.batch import Origin
from ledger.commands.accounts import OpenAccount
from ledger.commands.decider import Credential
from ledger.commands.users import CreateUser
from ledger.derived import derived_id
from ledger.errors import Refused
from ledger.events.users import Role
from ledger.ids import new_id
from ledger.names import check_username
from ledger.projections import users
from ledger.runtime import Runtime
from ledger.settings import SettingsError

DEMO_BALANCE_CENTS = 100_00
DEMO_USERS = ("alice", "bob")


class Person(NamedTuple):
    """A demo user, with what it takes to log in and to move money."""

    username: str
    password: str
    user_id: UUID
    account_id: UUID


async def ensure_first_admin(runtime: Runtime) -> bool:
    """Make the first admin of an empty ledger, if a password is set; whether there was one to make.

    The id follows from the purpose, so of several starts at once only one succeeds. Raises `SettingsError` if nobody
    can have the name that is set.
    """
    password = runtime.settings.ledger_admin_password
    if password is None or await users.any_exists(runtime.pool):
        return False
    try:
        check_username(runtime.settings.ledger_admin_username)
    except ValueError as error:
        raise SettingsError(f"LEDGER_ADMIN_USERNAME: {error}") from None
    try:
        await create_user(
            runtime,
            derived_id("user", "first-admin"),
            runtime.settings.ledger_admin_username,
            password.get_secret_value(),
            ("admin",),
        )
    except Refused:
        return False
    return True


async def create_user(
    runtime: Runtime, user_id: UUID, username: str, password: str, roles: tuple[Role, ...], *, email: str | None = None
) -> None:
    """Create a user. Raises `Refused` if the id or a name is taken."""
    credential = Credential(new_id(), user_id, await runtime.passwords.hash(password))
    command = CreateUser(user_id, username, email or f"{username}@localhost", True, roles, credential)
    await runtime.committer.submit(command, Origin(new_id()))


async def create_demo(runtime: Runtime) -> list[Person]:
    """Make alice and bob, with an account of 100.00 each. Raises `Refused` if they are there already."""
    people = []
    for username in DEMO_USERS:
        user_id, account_id = (derived_id(kind, f"demo:{username}") for kind in ("user", "account"))
        password = secrets.token_urlsafe(12)
        await create_user(runtime, user_id, username, password, ("customer",), email=f"{username}@example.com")
        currency = runtime.settings.ledger_default_currency
        command = OpenAccount(account_id, user_id, currency, DEMO_BALANCE_CENTS, new_id())
        await runtime.committer.submit(command, Origin(new_id()))
        people.append(Person(username, password, user_id, account_id))
    return people
