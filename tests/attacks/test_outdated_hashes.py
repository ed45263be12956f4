"""A password whose hash has other parameters than new hashes get is hashed again at a login, which nobody notices."""

from typing import Any

import pytest
from argon2 import PasswordHasher
from argon2.exceptions import HashingError

from ledger.identity import passwords
from tests.support.controls import PASSWORD, Api
from tests.support.processes import run_ledger, until
from tests.support.token_api import Connection, can_refresh, is_accepted, log_in

STRONGER = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1)
REHASHED = "SELECT count(*) FROM stored_events WHERE topic = 'PasswordRehashed'"


@pytest.fixture
def strengthen(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that lets new hashes have stronger parameters, as a new version does."""
    return lambda hasher=STRONGER: monkeypatch.setattr(passwords, "_HASHER", hasher)


async def hash_of(connection: Connection, user: dict[str, Any]) -> str:
    return str(await connection.fetchval("SELECT hash FROM credentials WHERE user_id = $1", user["id"]))


async def wait_for_events(connection: Connection, count: int) -> None:
    async def are_there() -> bool:
        return bool(await connection.fetchval(REHASHED) == count)

    await until(are_there)


async def test_a_login_replaces_an_outdated_hash_and_ends_no_session(
    api: Api, connection: Connection, settings: Any, strengthen: Any
) -> None:
    alice, bob = await api.new_user(), await api.new_user()
    earlier, stored, of_bob = await log_in(api, alice), await hash_of(connection, alice), await hash_of(connection, bob)
    read = await api.get(f"/v1/users/{alice['id']}")
    strengthen()

    later = await log_in(api, alice)
    await wait_for_events(connection, 1)

    replaced = await hash_of(connection, alice)
    assert not STRONGER.check_needs_rehash(replaced)
    assert (True, of_bob) == (STRONGER.check_needs_rehash(stored), await hash_of(connection, bob))
    assert [True] * 4 == [await check(api, pair) for pair in (earlier, later) for check in (is_accepted, can_refresh)]
    assert read.body == (await api.get(f"/v1/users/{alice['id']}")).body
    await log_in(api, alice)
    assert replaced == await hash_of(connection, alice)
    refused = await api.nobody.post("/v1/auth/login", {"username": alice["username"], "password": PASSWORD + "!"})
    assert (401, 1) == (refused.status, await connection.fetchval(REHASHED))
    verified = await run_ledger("audit", "verify", variables=settings.environment())
    assert 0 == verified.status, verified


async def test_the_new_hash_is_named_by_the_event(api: Api, connection: Connection, strengthen: Any) -> None:
    """So a hash that is put back or swapped later does not log in."""
    alice = await api.new_user()
    stored = await hash_of(connection, alice)
    strengthen()
    await log_in(api, alice)
    await wait_for_events(connection, 1)

    await connection.execute("UPDATE credentials SET hash = $1 WHERE user_id = $2", stored, alice["id"])

    refused = await api.nobody.post("/v1/auth/login", {"username": alice["username"], "password": PASSWORD})
    assert 401 == refused.status


async def test_a_swapped_hash_is_not_laundered(api: Api, connection: Connection, strengthen: Any) -> None:
    alice, eve = await api.new_user(), await api.new_user(password="the password of eve")
    await connection.execute(
        "UPDATE credentials SET hash = $1 WHERE user_id = $2", await hash_of(connection, eve), alice["id"]
    )
    strengthen()

    login = {"username": alice["username"], "password": "the password of eve"}
    assert 401 == (await api.nobody.post("/v1/auth/login", login)).status
    await api.logged_in(eve["username"], "the password of eve")
    await wait_for_events(connection, 1)

    rehashed = await connection.fetch("SELECT originator_id FROM stored_events WHERE topic = 'PasswordRehashed'")
    assert [eve["id"]] == [str(row[0]) for row in rehashed]


async def test_a_login_does_not_wait_for_the_new_hash_nor_fail_with_it(
    api: Api, connection: Connection, strengthen: Any
) -> None:
    class Failing(PasswordHasher):
        calls = 0

        def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
            del password, salt
            Failing.calls += 1
            raise HashingError("out of memory")

    alice = await api.new_user()
    strengthen(Failing(time_cost=2, memory_cost=16, parallelism=1))
    assert await is_accepted(api, await log_in(api, alice))
    await until(lambda: Failing.calls == 1)
    strengthen()

    await log_in(api, alice)
    await wait_for_events(connection, 1)

    assert not STRONGER.check_needs_rehash(await hash_of(connection, alice))
