"""Somebody with the URL of the serving role cannot rewrite history: PostgreSQL refuses."""

from collections.abc import AsyncIterator
from pathlib import Path
from secrets import token_hex
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr

from ledger.cli import seed
from ledger.embedded import SERVING_ROLE
from ledger.errors import DatabaseError
from ledger.runtime import open_runtime
from ledger.settings import Settings
from ledger.store import migrate as migrations
from ledger.store.pool import connect
from ledger.store.roles import create_serving_role, describe_serving_role
from tests.support import traffic
from tests.support.controls import PASSWORD, Serve, new_id
from tests.support.processes import Ran, run_ledger
from tests.support.roles import divide_roles, serving_url, without_owner
from tests.support.sealed import write_key_file

LOG = ("stored_events", "command_log", "seals")
REFUSED = [
    *(f"{change} {table}" for table in LOG for change in ("DELETE FROM", "TRUNCATE")),
    "UPDATE stored_events SET topic = topic",
    "UPDATE command_log SET actor_id = NULL",
    "UPDATE seals SET key_id = key_id",
    *(f"ALTER TABLE {table} DISABLE TRIGGER append_only" for table in LOG),
    *(f"DROP TRIGGER append_only ON {table}" for table in LOG),
    *(f"DROP TABLE {table}" for table in LOG),
    "CREATE RULE forget AS ON INSERT TO seals DO INSTEAD NOTHING",
    "CREATE FUNCTION abs(bigint) RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint'",
    "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "CREATE TRIGGER give BEFORE INSERT ON stored_events FOR EACH ROW EXECUTE FUNCTION ignore_entry()",
    "CREATE TABLE forged () INHERITS (stored_events)",
    "SET session_replication_role = replica",
    "ALTER TABLE command_log DROP CONSTRAINT command_log_pkey",
    "UPDATE alembic_version SET version_num = '9999'",
    "UPDATE ledger_identity SET id = gen_random_uuid()",
    "UPDATE rebuilds SET position = 0",
    "CREATE SCHEMA another",
    "SET ROLE ledger",
]


@pytest.fixture
async def divided(settings: Settings) -> Settings:
    """Return the settings of a ledger with two roles."""
    return await divide_roles(settings)


@pytest.fixture
async def serving(divided: Settings) -> AsyncIterator[Any]:
    """Yield a connection of the serving role."""
    connection = await connect(divided)
    yield connection
    await connection.close()


async def run(settings: Settings, *arguments: str) -> Ran:
    return await run_ledger(*arguments, variables=settings.environment())


async def test_the_serving_role_may_not_change_history(serving: Any) -> None:
    for statement in REFUSED:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await serving.execute(statement)


async def test_the_serving_role_serves(serve: Serve, divided: Settings, tmp_path: Path) -> None:
    """Every command, the seals, a clean-up, verification, and a rebuild by the owner while the service runs."""
    sealed = without_owner(divided).model_copy(update={"ledger_seal_key_file": write_key_file(tmp_path / "key.pem")})
    async with open_runtime(sealed) as runtime:
        await traffic.execute(runtime)
        await seed.create_user(runtime, new_id(), "root", PASSWORD, ("admin",))
    api = await (await serve(sealed, logs_in=False)).logged_in("root")
    source, destination = await api.new_account(balance_cents=100), await api.new_account()
    accepted = await run(sealed, "audit", "accept-head", "--reason", "the log began before it was sealed")
    assert 0 == accepted.status, accepted.error
    assert 0 == (await run(sealed, "audit", "seal")).status

    assert 0 == (await run(divided, "projections", "rebuild", "--all", "--keep-old")).status
    assert 200 == (await api.transfer(source, destination, 25)).status
    assert 0 == (await run(divided, "projections", "rollback", "transfers")).status
    assert 200 == (await api.transfer(source, destination, 25)).status
    assert 50 == await api.balance(destination)
    tried = await api.put(f"/v1/accounts/{source['id']}", {"balance_cents": 7}, params={"dry_run": "true"})
    assert (200, 7, 50) == (tried.status, tried.body["balance_cents"], await api.balance(source))
    assert 200 == (await api.get("/v1/readyz")).status

    verified = await run(sealed, "audit", "verify")
    assert (0, "") == (verified.status, verified.output), verified.error
    assert f"the role {SERVING_ROLE} of DATABASE_URL may not change history" in verified.error
    assert 0 == (await run(sealed, "audit", "verify-seals")).status


async def test_what_needs_the_owner_says_so(divided: Settings) -> None:
    alone = without_owner(divided)
    ran = await run(alone, "projections", "rebuild", "--all")
    assert (1, True) == (ran.status, "run it with LEDGER_OWNER_DATABASE_URL" in ran.error), ran.error

    owner = await connect(divided.as_owner())
    await owner.execute("UPDATE alembic_version SET version_num = '0016'")
    await owner.close()
    with pytest.raises(DatabaseError, match="run `ledger migrate` with LEDGER_OWNER_DATABASE_URL"):
        await migrations.migrate(alone)


async def test_a_single_role_is_named_as_one_that_may_change_history(settings: Settings, connection: Any) -> None:
    ran = await run(settings, "audit", "verify", "--fast")
    assert (0, "") == (ran.status, ran.output), ran.error
    assert "the role ledger of DATABASE_URL may change history: it is a superuser" in ran.error

    role = "ledger_owner_of_tests"
    divided = settings.model_copy(
        update={
            "database_url": serving_url_of(settings, role),
            "ledger_owner_database_url": settings.database_url,
        }
    )
    await create_serving_role(divided)
    await connection.execute(f"GRANT USAGE ON SCHEMA ledger TO {role}; GRANT ALL ON seals TO {role}")
    assert "may UPDATE, DELETE, TRUNCATE, TRIGGER seals" in await describe(divided)
    await connection.execute(f"ALTER TABLE stored_events OWNER TO {role}")
    assert "owns stored_events" in await describe(divided)


async def test_privileges_that_are_too_many_or_too_few_are_corrected_at_the_next_start(
    divided: Settings, connection: Any
) -> None:
    await connection.execute(
        f"GRANT UPDATE ON command_log TO {SERVING_ROLE}; REVOKE INSERT ON transfers FROM {SERVING_ROLE}"
    )
    assert "may UPDATE command_log" in await describe(divided)

    assert not await migrations.migrate(divided), "there is no migration to apply"

    assert "may not change history" in await describe(divided)
    assert await connection.fetchval(f"SELECT has_table_privilege('{SERVING_ROLE}', 'transfers', 'INSERT')")


async def test_no_child_process_gets_the_url_of_the_owner(divided: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEDGER_OWNER_DATABASE_URL", "postgresql://from-the-environment")
    environment = divided.child_environment()
    assert serving_url(divided.database_dsn()) == environment["DATABASE_URL"]
    assert "LEDGER_OWNER_DATABASE_URL" not in environment


async def test_the_embedded_service_has_two_roles(tmp_path: Path) -> None:
    folder = {"LEDGER_DATA_DIR": str(tmp_path / "data")}
    assert 0 == (await run_ledger("migrate", variables=folder)).status
    ran = await run_ledger("audit", "verify", variables=folder)
    assert 0 == ran.status, ran.error
    assert f"the role {SERVING_ROLE} of DATABASE_URL may not change history" in ran.error


async def test_no_role_is_created_with_a_password_that_can_be_guessed(settings: Settings, connection: Any) -> None:
    """PostgreSQL's verifier of it takes few iterations."""
    role = f"role_{new_id().hex}"
    for password, is_created in (("hunter2", False), ("x" * 21, False), (token_hex(16), True)):
        url = serving_url(settings.database_dsn(), f"{role}:{password}")
        variables = {"DATABASE_URL": url, "LEDGER_OWNER_DATABASE_URL": settings.database_dsn()}
        ran = await run_ledger("migrate", variables=variables)

        found = await connection.fetchval("SELECT count(*) FROM pg_roles WHERE rolname = $1", role)
        assert (0 if is_created else 1, is_created) == (ran.status, found == 1), ran
        assert is_created or "must have at least 22 random characters" in ran.error
        assert password not in ran.error + ran.output
    await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def serving_url_of(settings: Settings, role: str) -> SecretStr:
    return SecretStr(serving_url(settings.database_dsn(), role))


async def describe(settings: Settings) -> str:
    connection = await connect(settings)
    try:
        return (await describe_serving_role(connection, settings.ledger_schema)).text()
    finally:
        await connection.close()
