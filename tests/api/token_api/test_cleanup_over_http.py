"""Purging expired revoked tokens revives none, and losing access ends sessions."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from ledger.settings import Settings
from tests.support.controls import ADMIN_PASSWORD, Api, Clock
from tests.support.token_api import (
    CLEANUP,
    LEEWAY,
    LOGOUT,
    REFRESH,
    SESSIONS,
    Connection,
    Serve,
    assert_forbidden,
    assert_wrong_credentials,
    can_refresh,
    event_positions,
    in_force,
    is_accepted,
    log_in,
    post_with_token,
    refresh_pair,
    remove_access,
    revoke,
    session_of,
)


@pytest.fixture
async def short(serve: Serve, settings: Settings, clock: Clock) -> Api:
    """Return a service with lifetimes of 100 s for access and 200 s for refresh tokens, and a stopped clock."""
    assert (True, LEEWAY) == (clock.now > 0, settings.jwt_validation_leeway_seconds)
    lifetimes = {"jwt_expire_access_token_seconds": 100, "jwt_expire_refresh_token_seconds": 200}
    return await serve(settings.model_copy(update=lifetimes))


async def clean_up(api: Api) -> int:
    """Log in as the admin and clean up; return the number of purged tokens."""
    answer = await (await api.logged_in("admin", ADMIN_PASSWORD)).post(CLEANUP)
    assert (200, ["deleted_tokens"]) == (answer.status, list(answer.body)), answer
    return int(answer.body["deleted_tokens"])


async def test_a_cleanup_purges_each_revoked_token_once_after_its_leeway(
    short: Api, clock: Clock, connection: Connection
) -> None:
    """Lesson 24. Access and refresh tokens count separately, and unrevoked tokens do not count."""
    start, user = clock.now, await short.new_user()
    revoked, _ = await log_in(short, user), await log_in(short, await short.new_user())
    await post_with_token(short, revoked["refresh_token"], LOGOUT)

    found = []
    for seconds in (0, 100, 100 + LEEWAY, 101 + LEEWAY, 200 + LEEWAY, 201 + LEEWAY):
        clock.now = start + seconds
        found.append([await clean_up(short), await clean_up(short)])

    assert [[0, 0], [0, 0], [0, 0], [1, 0], [0, 0], [1, 0]] == found
    assert 2 == len(await event_positions(connection, "RevokedTokensForgotten"))  # an empty cleanup appends nothing


async def test_a_cleanup_counts_tokens_revoked_in_every_way(short: Api, clock: Clock) -> None:
    start, users = clock.now, [await short.new_user() for _ in range(5)]
    pairs = [await log_in(short, user) for user in users]
    await post_with_token(short, pairs[0]["refresh_token"], LOGOUT)  # 2 tokens
    await post_with_token(short, (await refresh_pair(short, pairs[1]))["refresh_token"], LOGOUT)  # 4
    await revoke(short, users[2])  # 2
    await short.delete(f"{SESSIONS}/{session_of(pairs[3])}")  # 2
    await refresh_pair(short, pairs[4])  # 2, and 2 that live

    clock.now = start + 201 + LEEWAY

    assert [12, 0] == [await clean_up(short), await clean_up(short)]


async def test_purging_a_revoked_token_does_not_revive_it(short: Api, clock: Clock) -> None:
    """Lesson 24: an expired token is accepted within the leeway, but not this one."""
    start, user = clock.now, await short.new_user()
    revoked, other = await log_in(short, user), await log_in(short, user)
    await post_with_token(short, revoked["refresh_token"], LOGOUT)

    found = []
    for seconds in (100 + LEEWAY - 1, 100 + LEEWAY):
        clock.now = start + seconds
        found.append((await clean_up(short), await is_accepted(short, revoked), await is_accepted(short, other)))
    for seconds in (200 + LEEWAY - 1, 200 + LEEWAY, 201 + LEEWAY):
        clock.now = start + seconds
        assert 0 <= await clean_up(short) <= 2
        assert not await can_refresh(short, revoked)

    assert [(0, False, True), (0, False, False)] == found


async def test_purging_its_first_tokens_does_not_revive_a_session(short: Api, clock: Clock) -> None:
    """Lesson 24: the previous pair is purged, the current one is not."""
    first = await log_in(short)
    clock.now += 150
    second = await refresh_pair(short, first)
    await post_with_token(short, second["refresh_token"], LOGOUT)

    clock.now += 201 + LEEWAY - 150

    assert 2 == await clean_up(short)
    assert (False, False) == await in_force(short, second)


async def test_concurrent_cleanups_count_no_token_twice(short: Api, clock: Clock) -> None:
    users = [await short.new_user() for _ in range(5)]
    for user in users:
        await post_with_token(short, (await log_in(short, user))["refresh_token"], LOGOUT)
    clock.now += 201 + LEEWAY
    admin = await short.logged_in("admin", ADMIN_PASSWORD)

    answers = await asyncio.gather(*(admin.post(CLEANUP) for _ in range(4)))

    assert [200] * 4 == [answer.status for answer in answers]
    assert 10 == sum(answer.body["deleted_tokens"] for answer in answers)


async def test_a_cleanup_repeated_with_its_key_gets_the_same_response(short: Api, clock: Clock) -> None:
    await post_with_token(short, (await log_in(short))["refresh_token"], LOGOUT)
    clock.now += 201 + LEEWAY
    admin, key = await short.logged_in("admin", ADMIN_PASSWORD), {"Idempotency-Key": "one"}

    answers = [await admin.post(CLEANUP, headers=key) for _ in range(2)]

    assert [(200, {"deleted_tokens": 2})] * 2 == [(answer.status, answer.body) for answer in answers]


@pytest.mark.parametrize("roles", ["auditor", "customer", "guest"])
async def test_only_admins_can_clean_up(api: Api, roles: str) -> None:
    assert_forbidden(await (await api.as_new_user(roles)).post(CLEANUP))


@pytest.mark.parametrize("how", ["deactivated", "deleted", "demoted", "given another password"])
async def test_losing_access_logs_a_user_out_everywhere(api: Api, how: str) -> None:
    """Lesson 27: with a read or a write as the first request."""
    user = await api.new_user(roles="admin,customer")
    source, destination = await api.new_account(balance_cents=100), await api.new_account()
    pairs = [await log_in(api, user) for _ in range(4)]
    callers = [replace(api, token=pair["access_token"]) for pair in pairs]
    assert [200] * 4 == [(await caller.transfer(source, destination, 1)).status for caller in callers]

    await remove_access(api, user, how)

    assert_wrong_credentials(await callers[0].transfer(source, destination, 1))
    assert_wrong_credentials(await callers[1].transfer(source, destination, 1, headers={"Idempotency-Key": "one"}))
    assert_wrong_credentials(await callers[2].get(f"/v1/accounts/{source['id']}"))
    assert_wrong_credentials(await post_with_token(api, pairs[3]["refresh_token"], REFRESH))
    assert [(False, False)] * 4 == [await in_force(api, pair) for pair in pairs]
    assert 96 == await api.balance(source)


async def test_a_user_who_is_active_again_needs_new_tokens(api: Api) -> None:
    """Lesson 27."""
    user = await api.new_user()
    before = await log_in(api, user)

    await remove_access(api, user, "deactivated")
    await api.put(f"/v1/users/{user['id']}", {**user, "active": True})

    assert (False, False) == await in_force(api, before)
    assert (True, True) == await in_force(api, await log_in(api, user))


async def test_restored_roles_need_new_tokens(api: Api) -> None:
    user = await api.new_user(roles="admin,customer")
    before = await log_in(api, user)

    await remove_access(api, user, "demoted")
    await api.put(f"/v1/users/{user['id']}", user)

    assert (False, False) == await in_force(api, before)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"roles": "customer,auditor"},
        {"roles": "auditor,customer"},
        {"username": "another name"},
        {"email": "another@example.com"},
        {"active": True},
        {"active": None},
    ],
    ids=str,
)
async def test_other_changes_keep_a_user_logged_in(api: Api, change: dict[str, Any]) -> None:
    user = await api.new_user()
    pair = await log_in(api, user)
    source, destination = await api.new_account(user["id"], balance_cents=100), await api.new_account()

    changed = await api.put(f"/v1/users/{user['id']}", {**user, **change})

    assert 200 == changed.status
    assert 200 == (await replace(api, token=pair["access_token"]).transfer(source, destination, 1)).status
    assert (True, True) == await in_force(api, pair)


async def test_a_cleanup_leaves_no_row_of_ended_sessions_and_their_tokens(
    short: Api, clock: Clock, connection: Connection
) -> None:
    user, refused = await short.new_user(), ""
    rows = [f"SELECT count(*) FROM {table} WHERE user_id = $1" for table in ("sessions", "tokens")]
    for _ in range(3):
        refused = (await log_in(short, user))["refresh_token"]
        await post_with_token(short, refused, LOGOUT)
    assert [3, 6] == [await connection.fetchval(sql, UUID(user["id"])) for sql in rows]

    clock.now += 201 + LEEWAY
    assert 6 == await clean_up(short)
    assert [0, 0] == [await connection.fetchval(sql, UUID(user["id"])) for sql in rows]
    assert_wrong_credentials(await post_with_token(short, refused, LOGOUT))
