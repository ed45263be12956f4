"""Create users without HTTP: the first admin, further admins from the command line, and the demo users."""

import secrets
from typing import NamedTuple
from uuid import UUID

from pydantic import SecretStr

from ledger.commands.accounts import OpenAccount
from ledger.commands.command import Credential
from ledger.commands.users import CreateUser
from ledger.environment.variables import SettingsError
from ledger.errors import Refused
from ledger.events.users import Role
from ledger.identity import passwords
from ledger.import_reference.users import SAMPLE_PASSWORD
from ledger.projections import accounts, users
from ledger.runtime import Runtime
from ledger.values.derived import derived_id
from ledger.values.ids import new_id
from ledger.values.names import check_username
from ledger.write.group import Origin

DEMO_BALANCE_CENTS = 100_00
DEMO_USERS = ("alice", "bob")


class DemoUser(NamedTuple):
    """A demo user. The password is None if the user existed before."""

    username: str
    password: str | None
    user_id: UUID
    account_id: UUID


async def ensure_first_admin(runtime: Runtime) -> bool:
    """Create the first admin of an empty ledger if a password is set; return whether it was created.

    The id is derived from its purpose, so only one of several concurrent starts succeeds. Raises `SettingsError` if
    the user name or the password in the settings is not accepted.
    """
    password = runtime.settings.ledger_admin_password
    if password is None or await users.any_exists(runtime.pool):
        return False
    username = runtime.settings.ledger_admin_username
    try:
        check_username(username)
    except ValueError as error:
        raise SettingsError(f"LEDGER_ADMIN_USERNAME: {error}") from None
    try:
        await runtime.passwords.check_password(password.get_secret_value(), (username,))
    except ValueError as error:
        raise SettingsError(f"LEDGER_ADMIN_PASSWORD: {error}") from None
    try:
        await create_user(
            runtime,
            derived_id("user", "first-admin"),
            username,
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
    command = CreateUser(
        user_id=user_id,
        username=username,
        email=email or f"{username}@localhost",
        active=True,
        roles=roles,
        credential=credential,
    )
    await runtime.committer.submit(command, Origin(new_id()))


async def has_password(runtime: Runtime, username: str, password: SecretStr) -> bool:
    """Return whether the user of that name has this password."""
    credential = await passwords.find_credential(runtime.pool, username)
    return await runtime.passwords.verify(credential, password.get_secret_value())


async def create_demo(runtime: Runtime, *, sample_passwords: bool) -> list[DemoUser]:
    """Create alice and bob with an account of 100.00 each, unless they exist.

    Their passwords are random or, with `sample_passwords`, the one that the reference publishes. Raises `Refused` if
    another user has such a name.
    """
    return [await _create_demo_user(runtime, username, sample_passwords) for username in DEMO_USERS]


async def _create_demo_user(runtime: Runtime, username: str, sample_password: bool) -> DemoUser:
    user_id, account_id = (derived_id(kind, f"demo:{username}") for kind in ("user", "account"))
    password = None
    if await users.find(runtime.pool, user_id) is None:
        password = SAMPLE_PASSWORD if sample_password else secrets.token_urlsafe(16)
        await create_user(runtime, user_id, username, password, ("customer",), email=f"{username}@mail.com")
    if await accounts.find(runtime.pool, account_id) is None:
        currency = runtime.settings.ledger_default_currency
        command = OpenAccount(
            account_id=account_id,
            owner_id=user_id,
            currency=currency,
            balance_cents=DEMO_BALANCE_CENTS,
            transaction_id=new_id(),
        )
        await runtime.committer.submit(command, Origin(new_id()))
    return DemoUser(username, password, user_id, account_id)
