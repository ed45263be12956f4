"""Logged-out and revoked tokens are refused everywhere immediately."""

import asyncio
import itertools
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from ledger.settings import Settings
from tests.support.controls import ADMIN_PASSWORD, NOBODY, Api, Clock
from tests.support.token_api import (
    CLEANUP,
    LOGOUT,
    NO_GRACE,
    NOT_ENFORCED,
    REVOKE_ALL,
    REVOKE_USER,
    SESSIONS,
    Connection,
    Serve,
    assert_forbidden,
    assert_problem,
    assert_wrong_credentials,
    can_refresh,
    claims_of,
    event_positions,
    events,
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
async def lax(serve: Serve, settings: Settings) -> Api:
    """Return a service with `JWT_ENABLE_REVOKED_TOKENS=false`."""
    return await serve(settings.model_copy(update=NOT_ENFORCED))


async def test_a_logout_has_no_body_and_invalidates_the_pair_immediately(api: Api) -> None:
    user = await api.new_user()
    pair, other = await log_in(api, user), await log_in(api, user)
    source, destination = await api.new_account(user["id"], balance_cents=100), await api.new_account()

    answer = await post_with_token(api, pair["refresh_token"], LOGOUT)

    assert (200, "") == (answer.status, answer.body)
    assert 401 == (await replace(api, token=pair["access_token"]).transfer(source, destination, 1)).status
    assert (False, False) == await in_force(api, pair)
    assert (True, True) == await in_force(api, other)
    assert 100 == await api.balance(source)


async def test_a_second_logout_is_refused(api: Api, connection: Connection) -> None:
    pair = await log_in(api)
    await post_with_token(api, pair["refresh_token"], LOGOUT)
    before = await events(connection)

    assert_wrong_credentials(await post_with_token(api, pair["refresh_token"], LOGOUT))

    assert before == await events(connection)


@pytest.mark.parametrize("update", [{}, NO_GRACE], ids=["with a grace", "without"])
async def test_a_logout_with_a_rotated_token_changes_nothing_and_its_successor_can_still_log_out(
    serve: Serve, settings: Settings, connection: Connection, update: dict[str, Any]
) -> None:
    api = await serve(settings.model_copy(update=update))
    first = await log_in(api)
    second = await refresh_pair(api, first)
    before = await events(connection)

    assert_wrong_credentials(await post_with_token(api, first["refresh_token"], LOGOUT))

    assert (before, True) == (await events(connection), await is_accepted(api, second))
    assert 200 == (await post_with_token(api, second["refresh_token"], LOGOUT)).status
    assert (False, False) == await in_force(api, second)


async def test_an_access_token_cannot_log_out(api: Api) -> None:
    """Lesson 21."""
    pair = await log_in(api)

    assert_wrong_credentials(await post_with_token(api, pair["access_token"], LOGOUT))

    assert (True, True) == await in_force(api, pair)


async def test_only_one_of_concurrent_logouts_ends_the_session(api: Api, connection: Connection) -> None:
    pair = await log_in(api)

    answers = await asyncio.gather(*(post_with_token(api, pair["refresh_token"], LOGOUT) for _ in range(10)))

    assert {200: 1, 401: 9} == Counter(answer.status for answer in answers)
    assert 1 == len(await event_positions(connection, "SessionRevoked", session_of(pair)))


async def test_a_token_revoked_at_one_service_is_refused_at_the_other_immediately(
    api: Api, serve: Serve, settings: Settings
) -> None:
    other, user = await serve(settings), await api.new_user()

    for _ in range(5):
        pair = await log_in(api, user)
        assert await is_accepted(other, pair)
        await post_with_token(api, pair["refresh_token"], LOGOUT)
        assert not await is_accepted(other, pair)


async def test_an_access_token_that_outlives_its_refresh_token_ends_with_the_session(
    serve: Serve, settings: Settings, clock: Clock
) -> None:
    """Lesson 24: a revocation is kept as long as any token that it affects."""
    lifetimes = {"jwt_expire_refresh_token_seconds": 10, "jwt_validation_leeway_seconds": 0}
    clock.now -= 1000
    api = await serve(settings.model_copy(update=lifetimes))
    pair = await log_in(api)
    clock.now += 1000
    assert await is_accepted(api, pair)

    await api.delete(f"{SESSIONS}/{session_of(pair)}")

    assert not await is_accepted(api, pair)


@pytest.mark.parametrize("path", [LOGOUT, CLEANUP, REVOKE_USER, REVOKE_ALL, f"{SESSIONS}/{NOBODY}"])
async def test_without_enforcement_what_would_have_no_effect_is_refused(
    lax: Api, connection: Connection, path: str
) -> None:
    pair = await log_in(lax)
    method = "DELETE" if path.startswith(SESSIONS) else "POST"
    token = pair["refresh_token" if path == LOGOUT else "access_token"]
    before = await events(connection)

    refused = await replace(lax, token=token).call(method, path, {"user_id": NOBODY} if path == REVOKE_USER else None)

    assert_problem(
        refused,
        400,
        "authentication_revoked_tokens_inactive",
        "authentication_error",
        "use of revoked tokens is inactive",
    )
    assert_wrong_credentials(await lax.nobody.call(method, path))
    assert before == await events(connection)
    assert (True, True) == await in_force(lax, pair)


async def test_without_enforcement_a_new_password_ends_the_sessions_at_their_next_refresh(lax: Api) -> None:
    user = await lax.new_user()
    pair, other = await log_in(lax, user), await log_in(lax)
    pair = await refresh_pair(lax, pair)

    await remove_access(lax, user, "given another password")

    assert (True, False) == await in_force(lax, pair)
    assert (True, True) == await in_force(lax, other)


async def test_without_enforcement_revoked_tokens_are_accepted(api: Api, lax: Api) -> None:
    user = await lax.new_user()
    first = await log_in(lax, user)
    source, destination = await lax.new_account(user["id"], balance_cents=100), await lax.new_account()
    second = await refresh_pair(lax, first)
    await revoke(api, user)
    assert 200 == (await api.post(REVOKE_ALL)).status

    for pair in (first, second):
        caller = replace(lax, token=pair["access_token"])
        assert 200 == (await caller.transfer(source, destination, 1)).status
        assert (True, True) == await in_force(lax, pair)


@pytest.mark.parametrize("how", ["deactivated", "deleted", "demoted"])
async def test_without_enforcement_a_user_can_still_lose_access(lax: Api, how: str) -> None:
    """Lesson 27."""
    user = await lax.new_user(roles="admin,customer")
    caller = replace(lax, token=(await log_in(lax, user))["access_token"])
    source, destination = await lax.new_account(balance_cents=100), await lax.new_account()
    assert 200 == (await caller.transfer(source, destination, 1)).status

    await remove_access(lax, user, how)

    for answer in (
        await caller.transfer(source, destination, 1),
        await caller.transfer(source, destination, 1, headers={"Idempotency-Key": "one"}),
        await caller.get("/"),
        await caller.get("/v1/users"),
    ):
        assert_wrong_credentials(answer)
    assert 99 == await lax.balance(source)


async def test_without_enforcement_a_refresh_after_a_demotion_returns_the_current_roles(lax: Api) -> None:
    user = await lax.new_user(roles="admin,customer")
    pair = await log_in(lax, user)
    await remove_access(lax, user, "demoted")

    after = await refresh_pair(lax, pair)

    assert "customer" == claims_of(after["access_token"])["roles"]
    assert 403 == (await replace(lax, token=after["access_token"]).get("/v1/users")).status


@pytest.mark.parametrize("by", ["the user", "an admin"])
async def test_revoking_a_user_invalidates_all_their_tokens_and_no_others(api: Api, by: str) -> None:
    user, neighbour = await api.new_user(roles="guest"), await api.new_user()
    pairs, other = [await log_in(api, user) for _ in range(3)], await log_in(api, neighbour)
    pairs[0] = await refresh_pair(api, pairs[0])
    caller = api if by == "an admin" else replace(api, token=pairs[1]["access_token"])

    await revoke(caller, user)

    assert [(False, False)] * 3 == [await in_force(api, pair) for pair in pairs]
    assert [401] * 3 == [(await post_with_token(api, pair["refresh_token"], LOGOUT)).status for pair in pairs]
    assert (True, True) == await in_force(api, other)
    assert 200 == (await api.get("/")).status


@pytest.mark.parametrize("roles", ["auditor", "customer", "guest", "auditor,customer,guest"])
async def test_only_admins_can_revoke_the_tokens_of_another(api: Api, roles: str) -> None:
    """The response does not reveal whether the user exists."""
    caller, user = await api.as_new_user(roles), await api.new_user()
    pair = await log_in(api, user)

    for user_id in (user["id"], NOBODY):
        assert_forbidden(await caller.post(REVOKE_USER, {"user_id": user_id}))

    assert (True, True) == await in_force(api, pair)


async def test_revoking_the_tokens_of_an_unknown_user_is_an_error(api: Api) -> None:
    gone = await api.new_user()
    await api.delete(f"/v1/users/{gone['id']}")

    for user_id in (NOBODY, gone["id"]):
        assert_problem(
            await api.post(REVOKE_USER, {"user_id": user_id}),
            404,
            "user_not_found",
            "resource_not_found",
            f"user not found: {user_id}",
            detail={"user_id": user_id},
            reason="must be an existing user",
        )


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, ["/user_id"]),
        ({"user_id": None}, ["/user_id"]),
        ({"user_id": 1}, ["/user_id"]),
        ({"user_id": "me"}, ["/user_id"]),
        ({"user_id": NOBODY, "username": "admin"}, ["/username"]),
    ],
)
async def test_a_body_without_a_user_is_refused(api: Api, body: dict[str, Any], pointers: list[str]) -> None:
    refused = await api.post(REVOKE_USER, body)

    assert (422, pointers) == (refused.status, refused.pointers)
    assert {("validation_error", "validation_error")} == {
        (entry["code"], entry["kind"]) for entry in refused.body["errors"]
    }


async def test_a_body_that_is_not_json_is_refused(api: Api) -> None:
    answers = [
        await api.post(REVOKE_USER, data=b"{", headers={"Content-Type": "application/json"}),
        await api.post(REVOKE_USER, data=b"user_id=1", headers={"Content-Type": "application/x-www-form-urlencoded"}),
    ]

    assert [400, 415] == [answer.status for answer in answers]


@pytest.mark.parametrize("path", [REVOKE_USER, REVOKE_ALL])
async def test_a_login_in_the_same_second_as_a_revocation_works(api: Api, clock: Clock, path: str) -> None:
    """Lesson 26."""
    user = await api.new_user()
    before = await log_in(api, user)

    await api.post(path, {"user_id": user["id"]})
    after = await log_in(api, user)

    assert [clock.now] * 2 == [claims_of(pair["access_token"])["iat"] for pair in (before, after)]
    assert (False, False) == await in_force(api, before)
    assert (True, True) == await in_force(api, after)


async def test_a_revocation_repeated_with_its_key_spares_later_logins(api: Api, connection: Connection) -> None:
    """Lesson 4."""
    user = await api.new_user()
    body, key = {"user_id": user["id"]}, {"Idempotency-Key": "one"}
    first = await api.post(REVOKE_USER, body, headers=key)
    pair = await log_in(api, user)

    again = await api.post(REVOKE_USER, body, headers=key)

    assert [(200, "")] * 2 == [(answer.status, answer.body) for answer in (first, again)]
    assert [None, "true"] == [answer.headers.get("Idempotent-Replayed") for answer in (first, again)]
    assert 1 == len(await event_positions(connection, "UserTokensRevoked", user["id"]))
    assert (True, True) == await in_force(api, pair)


async def test_a_key_of_a_revocation_belongs_to_one_user_and_one_caller(api: Api) -> None:
    one, other = await api.new_user(), await api.new_user()
    pair, key = await log_in(api, other), {"Idempotency-Key": "one"}
    await api.post(REVOKE_USER, {"user_id": one["id"]}, headers=key)

    refused = await api.post(REVOKE_USER, {"user_id": other["id"]}, headers=key)

    assert (422, ["idempotency_key_reused"]) == (refused.status, refused.codes)
    assert await is_accepted(api, pair)
    own = replace(api, token=pair["access_token"])
    assert 200 == (await own.post(REVOKE_USER, {"user_id": other["id"]}, headers=key)).status
    assert not await is_accepted(api, pair)


async def test_revoking_all_tokens_includes_the_callers(api: Api) -> None:
    pairs = [await log_in(api, user) for user in (None, await api.new_user(), await api.new_user(roles="auditor"))]

    answer = await api.post(REVOKE_ALL)

    assert (200, "") == (answer.status, answer.body)
    assert_wrong_credentials(await api.get("/v1/users"))
    assert [(False, False)] * 3 == [await in_force(api, pair) for pair in pairs]
    assert (True, True) == await in_force(api, await log_in(api))


@pytest.mark.parametrize("roles", ["auditor", "customer", "guest"])
async def test_only_admins_can_revoke_all_tokens(api: Api, connection: Connection, roles: str) -> None:
    caller = await api.as_new_user(roles)

    assert_forbidden(await caller.post(REVOKE_ALL))

    assert (200, []) == ((await api.get("/")).status, await event_positions(connection, "AllTokensRevoked"))


@pytest.mark.parametrize("cutoffs", list(itertools.product(["user", "all"], repeat=2)), ids="-".join)
async def test_of_two_cutoffs_both_are_honoured(api: Api, cutoffs: tuple[str, str]) -> None:
    """Lesson 26."""
    user = await api.new_user()
    pairs = [await log_in(api, user)]

    for cutoff in cutoffs:
        admin = await api.logged_in("admin", ADMIN_PASSWORD)
        answer = await admin.post(REVOKE_USER if cutoff == "user" else REVOKE_ALL, {"user_id": user["id"]})
        assert 200 == answer.status
        pairs.append(await log_in(api, user))

    assert [False, False, True] == [await is_accepted(api, pair) for pair in pairs]
    assert [False, False, True] == [await can_refresh(api, pair) for pair in pairs]


@pytest.mark.parametrize("cutoff", ["UserTokensRevoked", "AllTokensRevoked"])
async def test_a_concurrent_login_and_cutoff_follow_the_order_of_the_log(
    serve: Serve, settings: Settings, connection: Connection, clock: Clock, cutoff: str
) -> None:
    """Lesson 26: only the order in the log decides; the tokens' clock stands still."""
    api = await serve(settings)
    user = await api.new_user()
    early = await log_in(api, user)
    logins = [asyncio.create_task(log_in(api, user)) for _ in range(32)]

    while not all(login.done() for login in logins):
        if cutoff == "UserTokensRevoked":
            await revoke(api, user)
        else:
            admin = await api.logged_in("admin", ADMIN_PASSWORD)
            assert 200 == (await admin.post(REVOKE_ALL)).status
    pairs = [early, *(login.result() for login in logins), await log_in(api, user)]

    last = (await event_positions(connection, cutoff))[-1]
    issued = [claims_of(pair["access_token"]) for pair in pairs]
    expected = [claims["pos"] > last for claims in issued]
    assert {clock.now} == {claims["iat"] for claims in issued}
    assert (False, True) == (expected[0], expected[-1])
    assert expected == [await is_accepted(api, pair) for pair in pairs]
    assert expected == [await can_refresh(api, pair) for pair in pairs]
