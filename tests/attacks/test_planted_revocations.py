"""An attacker who writes to Redis does not revive a revoked token: the ledger believes its own values alone."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from ledger.settings import Settings
from ledger.store.identity import read_identity
from ledger.values.cache_values import CacheValues
from tests.support.controls import Api, Serve
from tests.support.processes import until
from tests.support.token_api import LOGOUT, REVOKE_ALL, REVOKE_USER, Connection, claims_of, log_in, post_with_token
from tests.support.valkey import Valkey, valkey_server

NEVER = 2**53 - 1


@pytest.fixture
async def valkey(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Valkey]:
    with valkey_server(tmp_path_factory.mktemp("v")) as valkey:
        await valkey.start()
        yield valkey


@pytest.fixture
async def own(serve: Serve, settings: Settings, valkey: Valkey) -> Api:
    return await serve(valkey.settings(settings))


def places(values: CacheValues, claims: dict[str, Any]) -> tuple[str, str, str]:
    return values.cutoffs, f"{values.prefix}{claims['sub']}:{claims['sid']}", str(claims["sub"])


@pytest.mark.parametrize("planted", ["0", "0 ", "0 AAAAAAAAAAAAAAAAAAAAAA==", "-1", "\xff", "9" * 400])
async def test_a_planted_value_revives_no_token(own: Api, valkey: Valkey, connection: Connection, planted: str) -> None:
    user = await own.new_user()
    pair = await log_in(own, user)
    caller = replace(own, token=pair["access_token"])
    assert 200 == (await caller.get("/v1/accounts")).status
    assert 200 == (await post_with_token(own, pair["refresh_token"], LOGOUT)).status
    _, key, _ = places(CacheValues(*await read_identity(connection)), claims_of(pair["access_token"]))

    async with valkey.client() as redis:
        assert str(NEVER) == str(await redis.get(key)).partition(" ")[0]
        for _ in range(3):
            await redis.set(key, planted)
            assert 401 == (await caller.get("/v1/accounts")).status

        async def is_repaired() -> bool:
            return str(await redis.get(key)).partition(" ")[0] == str(NEVER)

        if not planted.startswith("9"):  # a greater number stays, and PostgreSQL is asked
            await until(is_repaired)


async def test_a_value_of_another_session_is_no_value_of_this_one(
    own: Api, valkey: Valkey, connection: Connection
) -> None:
    user = await own.new_user()
    ended, living = await log_in(own, user), await log_in(own, user)
    assert 200 == (await replace(own, token=living["access_token"]).get("/v1/accounts")).status
    assert 200 == (await post_with_token(own, ended["refresh_token"], LOGOUT)).status
    values = CacheValues(*await read_identity(connection))
    keys = [places(values, claims_of(pair["access_token"]))[1] for pair in (ended, living)]

    async with valkey.client() as redis:
        await redis.set(keys[0], str(await redis.get(keys[1])))

    assert 401 == (await replace(own, token=ended["access_token"]).get("/v1/accounts")).status
    assert 200 == (await replace(own, token=living["access_token"]).get("/v1/accounts")).status


@pytest.mark.parametrize("path", [REVOKE_USER, REVOKE_ALL])
async def test_a_planted_cut_off_revives_no_token(own: Api, valkey: Valkey, connection: Connection, path: str) -> None:
    user = await own.new_user()
    pair = await log_in(own, user)
    caller = replace(own, token=pair["access_token"])
    assert 200 == (await caller.get("/v1/accounts")).status
    assert 200 == (await own.post(path, {"user_id": user["id"]} if path == REVOKE_USER else None)).status
    values = CacheValues(*await read_identity(connection))
    nobody = "00000000-0000-0000-0000-000000000000"

    async with valkey.client() as redis:
        for member in (user["id"] if path == REVOKE_USER else nobody, "position"):
            await redis.hset(values.cutoffs, member, str(2**50 if member == "position" else 0))
            assert 401 == (await caller.get("/v1/accounts")).status
            assert 401 == (await caller.get("/v1/accounts")).status

        async def is_whole() -> bool:
            marker = values.decode(values.cutoffs, "position", await redis.hget(values.cutoffs, "position"))
            return marker is not None and marker > 0

        await until(is_whole)
    assert 401 == (await caller.get("/v1/accounts")).status
