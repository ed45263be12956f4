"""A password hash that was swapped in the table is found, and does not log in."""

import json
from typing import Any

import pytest
import structlog

from tests.support.controls import ADMIN_PASSWORD, PASSWORD, Api, Response
from tests.support.processes import run_ledger
from tests.support.token_api import Connection

DIGEST = "the password hash of a user has the digest that the events name"
SWAP = """UPDATE credentials SET hash = thief.hash FROM credentials AS thief
          WHERE thief.user_id = $1 AND credentials.user_id = $2"""


async def log_in(api: Api, username: str, password: str) -> Response:
    return await api.nobody.post("/v1/auth/login", {"username": username, "password": password})


def disclosed_by(answer: Response) -> list[dict[str, Any]]:
    """Return the errors of a response without what differs in each request."""
    errors: list[dict[str, Any]] = answer.body["errors"]
    return [{name: error[name] for name in error.keys() - {"trace_id", "timestamp"}} for error in errors]


async def admin_id(connection: Connection) -> str:
    return str(await connection.fetchval("SELECT id FROM users WHERE username = 'admin'"))


async def find_errors(settings: Any, *arguments: str) -> list[dict[str, Any]]:
    ran = await run_ledger("audit", "verify", "--json", *arguments, variables=settings.environment())
    return [json.loads(line) for line in ran.output.splitlines()]


async def forget_digests(connection: Connection) -> None:
    """Let all events be as earlier versions wrote them."""
    await connection.execute(
        """SET session_replication_role = replica;
           UPDATE stored_events SET state = convert_to(
               (convert_from(state, 'UTF8')::jsonb - 'credential_digest')::text, 'UTF8')
           WHERE topic IN ('UserCreated', 'PasswordChanged');
           RESET session_replication_role"""
    )


@pytest.mark.parametrize("arguments", [(), ("--fast",)])
async def test_a_swapped_hash_is_found(api: Api, connection: Connection, settings: Any, arguments: tuple[str]) -> None:
    eve, admin = await api.new_user(), await admin_id(connection)
    assert [] == await find_errors(settings, *arguments)

    await connection.execute(SWAP, eve["id"], admin)

    (finding,) = await find_errors(settings, *arguments)
    assert (DIGEST, admin, "credentials", "hash") == (*(finding[name] for name in ("rule", "row", "table", "column")),)


async def test_a_swapped_hash_does_not_log_in(api: Api, connection: Connection) -> None:
    eve, admin = await api.new_user(), await admin_id(connection)
    assert 200 == (await log_in(api, eve["username"], PASSWORD)).status
    wrong = await log_in(api, "admin", "a wrong password")
    await connection.execute(SWAP, eve["id"], admin)

    with structlog.testing.capture_logs() as logs:
        answers = [await log_in(api, "admin", password) for password in (PASSWORD, ADMIN_PASSWORD)]

    assert [(401, disclosed_by(wrong))] * 2 == [(answer.status, disclosed_by(answer)) for answer in answers]
    swapped = [entry for entry in logs if entry.get("user_id") == admin]
    assert ["error"] * 2 == [entry["log_level"] for entry in swapped]
    assert "\nledger_swapped_passwords_total 2.0\n" in (await api.get("/metrics")).body


async def test_a_swapped_id_does_not_help(api: Api, connection: Connection, settings: Any) -> None:
    eve, admin = await api.new_user(), await admin_id(connection)
    await connection.execute(SWAP.replace("SET hash", "SET id = thief.id, hash"), eve["id"], admin)

    assert 401 == (await log_in(api, "admin", PASSWORD)).status
    assert {"id", "hash"} == {finding["column"] for finding in await find_errors(settings)}


async def test_the_owner_gets_in_again_with_a_new_password(api: Api, connection: Connection, settings: Any) -> None:
    """The password that the thief has put there counts as new as well, or the swapped hash would stay."""
    eve, alice = await api.new_user(), await api.new_user(password="the password of alice")
    await connection.execute(SWAP, eve["id"], alice["id"])

    assert 200 == (await api.patch(f"/v1/users/{alice['id']}", {"password": PASSWORD})).status

    assert 200 == (await log_in(api, alice["username"], PASSWORD)).status
    assert [] == await find_errors(settings)


async def test_users_of_earlier_versions_log_in_and_get_a_digest_with_the_next_password(
    api: Api, connection: Connection, settings: Any
) -> None:
    alice, eve = await api.new_user(), await api.new_user()
    await forget_digests(connection)
    assert 200 == (await log_in(api, alice["username"], PASSWORD)).status
    assert [] == await find_errors(settings)

    await api.patch(f"/v1/users/{alice['id']}", {"password": "another password"})
    await connection.execute(SWAP, eve["id"], alice["id"])

    assert 401 == (await log_in(api, alice["username"], PASSWORD)).status
    assert [alice["id"]] == [finding["row"] for finding in await find_errors(settings)]
