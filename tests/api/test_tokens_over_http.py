"""Tokens over HTTP: refreshing, logging out, revoking, and that what is dead is dead everywhere at once."""

import asyncio
import base64
import itertools
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
import pytest
from pydantic import SecretStr

from ledger import runtime
from ledger.settings import Settings
from ledger.store.pool import connect
from tests.integration.write.test_committer import Line
from tests.support.controls import ADMIN_PASSWORD, CATALOGUED, NOBODY, PASSWORD, Answer, Api, Clock

Serve = Callable[[Settings], Awaitable[Api]]
Connection: TypeAlias = "asyncpg.Connection[Any]"
Pair = dict[str, Any]

LOGIN = "/v1/auth/login"
REFRESH = "/v1/auth/refresh"
LOGOUT = "/v1/auth/logout"
REVOKE_USER = "/v1/auth/revoke-user"
REVOKE_ALL = "/v1/auth/revoke-all"
CLEANUP = "/v1/auth/cleanup"
SESSIONS = "/v1/auth/sessions"
TRANSFER = "/v1/transactions/transfer"

LEEWAY = 60
RFC3339 = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
NO_GRACE = {"ledger_refresh_grace_seconds": 0}
NOT_ENFORCED = {"jwt_enable_revoked_tokens": False}


@pytest.fixture
async def strict(serve: Serve, settings: Settings) -> Api:
    """A service that forgives no retry of a refresh."""
    return await serve(settings.model_copy(update=NO_GRACE))


@pytest.fixture
async def lax(serve: Serve, settings: Settings) -> Api:
    """A service with `JWT_ENABLE_REVOKED_TOKENS=false`."""
    return await serve(settings.model_copy(update=NOT_ENFORCED))


async def logged_in(api: Api, user: dict[str, Any] | None = None) -> Pair:
    """The pair of tokens of a new session, of the first admin if of nobody else."""
    names = {"username": user["username"] if user else "admin", "password": PASSWORD if user else ADMIN_PASSWORD}
    answer = await api.nobody.post(LOGIN, names)
    assert 200 == answer.status, answer
    return dict(answer.body)


async def presented(api: Api, token: str, path: str) -> Answer:
    return await replace(api, token=token).post(path)


async def refreshed(api: Api, pair: Pair) -> Pair:
    answer = await presented(api, pair["refresh_token"], REFRESH)
    assert 200 == answer.status, answer
    return dict(answer.body)


async def passes(api: Api, pair: Pair) -> bool:
    """Whether the access token lets its bearer in."""
    answer = await replace(api, token=pair["access_token"]).get("/")
    assert answer.status in {200, 401}
    return answer.status == 200


async def refreshes(api: Api, pair: Pair) -> bool:
    """Whether the refresh token gives new tokens."""
    answer = await presented(api, pair["refresh_token"], REFRESH)
    assert answer.status in {200, 401}
    return answer.status == 200


async def in_force(api: Api, pair: Pair) -> tuple[bool, bool]:
    """Whether the access token passes, and then whether the refresh token does."""
    return await passes(api, pair), await refreshes(api, pair)


async def revoke(api: Api, user: dict[str, Any]) -> None:
    answer = await api.post(REVOKE_USER, {"user_id": user["id"]})
    assert (200, "") == (answer.status, answer.body)


async def listed(api: Api, path: str = SESSIONS) -> list[str]:
    """The ids of the sessions of a list."""
    answer = await api.get(path)
    assert 200 == answer.status, answer
    return [session["id"] for session in answer.body]


async def recorded(connection: Connection, topic: str, stream_id: str | UUID | None = None) -> list[int]:
    """The positions of the events of a kind."""
    query = "SELECT position FROM events WHERE topic = $1 AND ($2::uuid IS NULL OR stream_id = $2) ORDER BY position"
    return [row[0] for row in await connection.fetch(query, topic, stream_id)]


async def events(connection: Connection) -> int:
    return int(await connection.fetchval("SELECT count(*) FROM stored_events"))


def claims_of(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))


def session_of(pair: Pair) -> str:
    return str(claims_of(pair["access_token"])["sid"])


def assert_problem(answer: Answer, status: int, code: str, kind: str, message: str, **members: Any) -> None:
    """The one entry of the contract's error body, and the members around it."""
    (entry,) = answer.body["errors"]
    entry = {member: value for member, value in entry.items() if member not in CATALOGUED}
    trace_id, timestamp, instance = entry["trace_id"], entry["timestamp"], entry["instance"]
    expected = {"code": code, "kind": kind, "message": message, **members}
    assert {**expected, "instance": instance, "trace_id": trace_id, "timestamp": timestamp} == entry
    assert (status, status, instance) == (answer.status, answer.body["status"], answer.body["instance"])
    assert {"type", "title", "status", "detail", "instance", "errors"} == answer.body.keys()
    assert "application/problem+json" == answer.headers["Content-Type"].partition(";")[0]
    assert trace_id == answer.headers["X-Request-Id"]
    assert re.fullmatch(RFC3339, timestamp)


def assert_wrong_credentials(answer: Answer) -> None:
    assert_problem(answer, 401, "authentication_wrong_credentials", "authentication_error", "wrong credentials")
    assert "Bearer" == answer.headers["WWW-Authenticate"]


def assert_forbidden(answer: Answer) -> None:
    assert_problem(answer, 403, "authentication_forbidden", "authentication_error", "forbidden")


# Refreshing


async def test_a_refresh_gives_the_next_pair_of_the_session(api: Api) -> None:
    first = await logged_in(api, await api.new_user())

    second = await refreshed(api, first)

    assert {"access_token", "refresh_token", "token_type", "expires_in"} == second.keys()
    assert ("Bearer", 3600) == (second["token_type"], second["expires_in"])
    before, access, refresh = (
        claims_of(token) for token in (first["access_token"], second["access_token"], second["refresh_token"])
    )
    assert (before["sub"], before["sid"], "customer") == (access["sub"], access["sid"], access["roles"])
    assert (0, 1, access["jti"], access["exp"]) == (access["typ"], refresh["typ"], refresh["prf"], refresh["pex"])
    assert before["jti"] not in {access["jti"], refresh["jti"]}
    assert before["pos"] < access["pos"] == refresh["pos"]
    assert (True, True) == await in_force(api, second)


async def test_a_refresh_needs_no_body_and_ignores_one(api: Api) -> None:
    pair = await logged_in(api)

    answer = await replace(api, token=pair["refresh_token"]).post(REFRESH, {"refresh_token": "another"})

    assert 200 == answer.status


async def test_after_a_refresh_the_presented_pair_is_dead_at_once(strict: Api) -> None:
    first = await logged_in(strict)

    second = await refreshed(strict, first)

    assert not await passes(strict, first)
    assert_wrong_credentials(await presented(strict, first["refresh_token"], LOGOUT))
    assert await passes(strict, second)
    assert_wrong_credentials(await presented(strict, first["refresh_token"], REFRESH))


async def test_a_refresh_leaves_other_sessions_alone(api: Api) -> None:
    user = await api.new_user()
    one, other = await logged_in(api, user), await logged_in(api, user)

    await refreshed(api, one)

    assert (True, True) == await in_force(api, other)


async def test_a_refresh_gives_the_roles_of_now(api: Api) -> None:
    user = await api.new_user(roles="guest")
    pair = await logged_in(api, user)
    await api.put(f"/v1/users/{user['id']}", {**user, "roles": "guest,auditor"})

    after = await refreshed(api, pair)

    assert ["guest,auditor"] * 2 == [claims_of(after[name])["roles"] for name in ("access_token", "refresh_token")]
    assert 200 == (await replace(api, token=after["access_token"]).get("/v1/accounts")).status


async def test_an_access_token_refreshes_nothing(api: Api) -> None:
    """Lesson 21."""
    pair = await logged_in(api)

    assert_wrong_credentials(await presented(api, pair["access_token"], REFRESH))
    assert (True, True) == await in_force(api, pair)


async def test_a_refresh_token_is_no_access_token(api: Api, connection: Connection) -> None:
    """Lesson 21: neither where access is looked up before, nor where the transaction finds it out."""
    pair = await logged_in(api)
    source, destination = await api.new_account(balance_cents=100), await api.new_account()
    thief, before = replace(api, token=pair["refresh_token"]), await events(connection)

    answers = [
        await thief.get("/"),
        await thief.get("/v1/users"),
        await thief.get(f"/v1/accounts/{source['id']}"),
        await thief.transfer(source, destination, 1),
        await thief.transfer(source, destination, 1, headers={"Idempotency-Key": "one"}),
        await thief.post(REVOKE_USER, {"user_id": source["user_id"]}),
        await thief.post(REVOKE_ALL),
        await thief.post(CLEANUP),
        await thief.get(SESSIONS),
        await thief.delete(f"{SESSIONS}/{session_of(pair)}"),
    ]

    for answer in answers:
        assert_wrong_credentials(answer)
    assert before == await events(connection)


@pytest.mark.parametrize("path", [REFRESH, LOGOUT])
@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Bearer garbage", "Basic YWRtaW46YWRtaW4="])
async def test_without_a_token_nothing_is_refreshed_and_nobody_logged_out(
    api: Api, path: str, header: str | None
) -> None:
    headers = {} if header is None else {"Authorization": header}

    assert_wrong_credentials(await api.nobody.post(path, headers=headers))


@pytest.mark.parametrize(
    ("seconds_after_its_end", "passes"), [(-1, True), (0, True), (LEEWAY - 1, True), (LEEWAY, False)]
)
async def test_a_refresh_token_passes_until_its_end_and_the_leeway_after(
    serve: Serve, settings: Settings, clock: Clock, seconds_after_its_end: int, passes: bool
) -> None:
    api = await serve(settings.model_copy(update={"jwt_expire_refresh_token_seconds": 100}))
    pair = await logged_in(api)

    clock.now += 100 + seconds_after_its_end

    assert passes is await refreshes(api, pair)


async def test_no_refresh_makes_a_session_last_longer(serve: Serve, settings: Settings, clock: Clock) -> None:
    """Every token ends with the session at the latest, and then even the leeway of a token gives no other."""
    api = await serve(settings.model_copy(update={"ledger_session_seconds": 100}))
    start, pair = clock.now, await logged_in(api)
    assert (100, 100) == (pair["expires_in"], claims_of(pair["refresh_token"])["exp"] - start)

    for seconds in (60, 99):
        clock.now = start + seconds
        pair = await refreshed(api, pair)
        claims = [claims_of(pair[name]) for name in ("access_token", "refresh_token")]
        assert [start + 100] * 2 == [token["exp"] for token in claims]
        assert (100 - seconds, start + 100) == (pair["expires_in"], claims[1]["pex"])

    clock.now = start + 100
    assert (True, False) == await in_force(api, pair)
    clock.now = start + 100 + LEEWAY
    assert not await passes(api, pair)


@pytest.mark.parametrize("ending", ["deactivated", "deleted"])
@pytest.mark.parametrize("update", [{}, NOT_ENFORCED], ids=["enforced", "not enforced"])
async def test_a_user_who_may_not_log_in_refreshes_nothing(
    serve: Serve, settings: Settings, update: dict[str, Any], ending: str
) -> None:
    api = await serve(settings.model_copy(update=update))
    user = await api.new_user()
    pair = await logged_in(api, user)

    await shut_out(api, user, ending)

    assert_wrong_credentials(await presented(api, pair["refresh_token"], REFRESH))


async def shut_out(api: Api, user: dict[str, Any], how: str) -> None:
    path = f"/v1/users/{user['id']}"
    changes: dict[str, dict[str, Any]] = {
        "deactivated": {"active": False},
        "demoted": {"roles": "customer"},
        "given another password": {"password": "another password"},
    }
    answer = await (api.delete(path) if how == "deleted" else api.put(path, {**user, **changes[how]}))
    assert 200 == answer.status, answer


# A refresh token that comes back


async def test_a_retry_within_the_grace_gets_the_same_tokens_and_appends_nothing(
    api: Api, connection: Connection
) -> None:
    """Lesson 22: it is no other generation."""
    pair = await logged_in(api)
    first = await presented(api, pair["refresh_token"], REFRESH)
    before = await events(connection)

    retries = [await presented(api, pair["refresh_token"], REFRESH) for _ in range(3)]

    assert [(200, first.body)] * 3 == [(retry.status, retry.body) for retry in retries]
    assert before == await events(connection)
    assert (True, True) == await in_force(api, first.body)


async def test_a_retry_within_the_grace_says_what_was_said_whatever_has_changed(api: Api, clock: Clock) -> None:
    user = await api.new_user(roles="guest")
    pair = await logged_in(api, user)
    first = await refreshed(api, pair)

    await api.put(f"/v1/users/{user['id']}", {**user, "roles": "guest,auditor", "username": f"{user['username']}-2"})
    clock.now += 9

    assert first == await refreshed(api, pair)


@pytest.mark.parametrize(("seconds", "forgiven"), [(9, True), (10, False)])
async def test_the_grace_ends(api: Api, clock: Clock, connection: Connection, seconds: int, forgiven: bool) -> None:
    """Lessons 22 and 23: after it, a token that comes back ends the session, although the answer is a refusal."""
    first = await logged_in(api)
    second = await refreshed(api, first)

    clock.now += seconds

    assert forgiven is await refreshes(api, first)
    assert (forgiven, forgiven) == await in_force(api, second)
    assert (0 if forgiven else 1) == len(await recorded(connection, "RefreshTokenReused", session_of(first)))


async def test_without_a_grace_a_retry_ends_the_session(strict: Api, connection: Connection) -> None:
    """Lessons 22 and 23."""
    first = await logged_in(strict)
    second = await refreshed(strict, first)

    assert_wrong_credentials(await presented(strict, first["refresh_token"], REFRESH))

    assert (False, False) == await in_force(strict, second)
    assert 1 == len(await recorded(connection, "RefreshTokenReused", session_of(first)))
    outcomes = await connection.fetch(
        "SELECT outcome FROM command_log WHERE name = 'RefreshTokens' ORDER BY recorded_at"
    )
    assert ["accepted", "refused"] == [row[0] for row in outcomes][:2]


async def test_without_a_grace_a_clock_that_is_behind_forgives_nothing(strict: Api, clock: Clock) -> None:
    """Of two workers one is always behind; and a request may reach the log after another that began a second later."""
    first = await logged_in(strict)
    clock.now += 1
    second = await refreshed(strict, first)

    clock.now -= 1

    assert not await refreshes(strict, first)
    assert (False, False) == await in_force(strict, second)


async def test_only_the_last_token_but_one_is_forgiven(api: Api) -> None:
    """Lesson 22: once the next one was used as well, its client had got it, and the one before is stolen."""
    first = await logged_in(api)
    second = await refreshed(api, first)
    third = await refreshed(api, second)

    assert_wrong_credentials(await presented(api, first["refresh_token"], REFRESH))

    assert [(False, False)] * 3 == [await in_force(api, pair) for pair in (first, second, third)]


async def test_the_descendants_of_a_stolen_token_die_with_it(strict: Api, connection: Connection) -> None:
    """Lesson 22: and nothing else of its user does."""
    user = await strict.new_user()
    stolen, other = await logged_in(strict, user), await logged_in(strict, user)
    thief = await refreshed(strict, await refreshed(strict, stolen))
    assert await passes(strict, thief)

    assert_wrong_credentials(await presented(strict, stolen["refresh_token"], REFRESH))

    assert (False, False) == await in_force(strict, thief)
    assert_wrong_credentials(await presented(strict, thief["refresh_token"], LOGOUT))
    assert (True, True) == await in_force(strict, other)
    assert 1 == len(await recorded(connection, "RefreshTokenReused"))


async def test_fifty_refreshes_of_one_token_at_once_make_one_generation(
    api: Api, connection: Connection, clock: Clock
) -> None:
    """Lesson 22. All of them come within the grace, however long they take here."""
    assert clock.now
    pair = await logged_in(api)

    answers = await asyncio.gather(*(presented(api, pair["refresh_token"], REFRESH) for _ in range(50)))

    assert {200: 50} == Counter(answer.status for answer in answers)
    assert 1 == len({answer.body["refresh_token"] for answer in answers})
    assert 1 == len({answer.body["access_token"] for answer in answers})
    assert 1 == len(await recorded(connection, "TokensRotated", session_of(pair)))
    assert (True, True) == await in_force(api, answers[0].body)


async def test_without_a_grace_one_of_fifty_refreshes_at_once_wins_and_the_session_is_dead(
    strict: Api, connection: Connection, clock: Clock
) -> None:
    """Lesson 22."""
    assert clock.now
    pair = await logged_in(strict)

    answers = await asyncio.gather(*(presented(strict, pair["refresh_token"], REFRESH) for _ in range(50)))

    assert {200: 1, 401: 49} == Counter(answer.status for answer in answers)
    (winner,) = [answer.body for answer in answers if answer.status == 200]
    assert (False, False) == await in_force(strict, winner)
    happened = [
        len(await recorded(connection, topic, session_of(pair))) for topic in ("TokensRotated", "RefreshTokenReused")
    ]
    assert [1, 1] == happened


async def test_refreshes_at_two_services_at_once_make_one_generation(
    api: Api, serve: Serve, settings: Settings, connection: Connection, clock: Clock
) -> None:
    """Lesson 22: no process decides by what it remembers alone."""
    assert clock.now
    other = await serve(settings)
    pair = await logged_in(api)

    for _ in range(5):
        answers = await asyncio.gather(
            *(presented(service, pair["refresh_token"], REFRESH) for _ in range(10) for service in (api, other))
        )
        assert {200: 20} == Counter(answer.status for answer in answers)
        assert 1 == len({answer.body["refresh_token"] for answer in answers})
        pair = answers[0].body
    assert 5 == len(await recorded(connection, "TokensRotated", session_of(pair)))


# Logging out


async def test_a_logout_answers_with_nothing_and_the_pair_is_dead_at_once(api: Api) -> None:
    user = await api.new_user()
    pair, other = await logged_in(api, user), await logged_in(api, user)
    source, destination = await api.new_account(user["id"], balance_cents=100), await api.new_account()

    answer = await presented(api, pair["refresh_token"], LOGOUT)

    assert (200, "") == (answer.status, answer.body)
    assert 401 == (await replace(api, token=pair["access_token"]).transfer(source, destination, 1)).status
    assert (False, False) == await in_force(api, pair)
    assert (True, True) == await in_force(api, other)
    assert 100 == await api.balance(source)


async def test_a_second_logout_is_refused(api: Api, connection: Connection) -> None:
    pair = await logged_in(api)
    await presented(api, pair["refresh_token"], LOGOUT)
    before = await events(connection)

    assert_wrong_credentials(await presented(api, pair["refresh_token"], LOGOUT))

    assert before == await events(connection)


@pytest.mark.parametrize("update", [{}, NO_GRACE], ids=["with a grace", "without"])
async def test_a_logout_with_a_rotated_token_changes_nothing_and_its_successor_can_still_log_out(
    serve: Serve, settings: Settings, connection: Connection, update: dict[str, Any]
) -> None:
    api = await serve(settings.model_copy(update=update))
    first = await logged_in(api)
    second = await refreshed(api, first)
    before = await events(connection)

    assert_wrong_credentials(await presented(api, first["refresh_token"], LOGOUT))

    assert (before, True) == (await events(connection), await passes(api, second))
    assert 200 == (await presented(api, second["refresh_token"], LOGOUT)).status
    assert (False, False) == await in_force(api, second)


async def test_an_access_token_logs_nobody_out(api: Api) -> None:
    """Lesson 21."""
    pair = await logged_in(api)

    assert_wrong_credentials(await presented(api, pair["access_token"], LOGOUT))

    assert (True, True) == await in_force(api, pair)


async def test_of_many_logouts_at_once_one_ends_the_session(api: Api, connection: Connection) -> None:
    pair = await logged_in(api)

    answers = await asyncio.gather(*(presented(api, pair["refresh_token"], LOGOUT) for _ in range(10)))

    assert {200: 1, 401: 9} == Counter(answer.status for answer in answers)
    assert 1 == len(await recorded(connection, "SessionRevoked", session_of(pair)))


async def test_a_token_that_is_revoked_at_one_service_is_dead_at_the_other_at_once(
    api: Api, serve: Serve, settings: Settings
) -> None:
    other, user = await serve(settings), await api.new_user()

    for _ in range(5):
        pair = await logged_in(api, user)
        assert await passes(other, pair)
        await presented(api, pair["refresh_token"], LOGOUT)
        assert not await passes(other, pair)


async def test_an_access_token_that_lives_longer_than_its_refresh_token_is_dead_after_the_end_of_the_session(
    serve: Serve, settings: Settings, clock: Clock
) -> None:
    """Lesson 24: a revocation is remembered for as long as any token that it concerns."""
    lifetimes = {"jwt_expire_refresh_token_seconds": 10, "jwt_validation_leeway_seconds": 0}
    clock.now -= 1000
    api = await serve(settings.model_copy(update=lifetimes))
    pair = await logged_in(api)
    clock.now += 1000
    assert await passes(api, pair)

    await api.delete(f"{SESSIONS}/{session_of(pair)}")

    assert not await passes(api, pair)


# While revocation is not enforced


@pytest.mark.parametrize("path", [LOGOUT, CLEANUP])
async def test_without_enforcement_there_is_no_logout_and_no_cleanup(lax: Api, path: str) -> None:
    pair = await logged_in(lax)

    refused = await presented(lax, pair["refresh_token" if path == LOGOUT else "access_token"], path)

    assert_problem(
        refused,
        400,
        "authentication_revoked_tokens_inactive",
        "authentication_error",
        "use of revoked tokens is inactive",
    )
    assert_wrong_credentials(await lax.nobody.post(path))
    assert (True, True) == await in_force(lax, pair)


async def test_without_enforcement_revoked_tokens_pass(lax: Api) -> None:
    user = await lax.new_user()
    first = await logged_in(lax, user)
    source, destination = await lax.new_account(user["id"], balance_cents=100), await lax.new_account()
    second = await refreshed(lax, first)
    await revoke(lax, user)
    assert 200 == (await lax.post(REVOKE_ALL)).status

    for pair in (first, second):
        caller = replace(lax, token=pair["access_token"])
        assert 200 == (await caller.transfer(source, destination, 1)).status
        assert (True, True) == await in_force(lax, pair)


@pytest.mark.parametrize("how", ["deactivated", "deleted", "demoted"])
async def test_without_enforcement_a_user_loses_access_all_the_same(lax: Api, how: str) -> None:
    """Lesson 27."""
    user = await lax.new_user(roles="admin,customer")
    caller = replace(lax, token=(await logged_in(lax, user))["access_token"])
    source, destination = await lax.new_account(balance_cents=100), await lax.new_account()
    assert 200 == (await caller.transfer(source, destination, 1)).status

    await shut_out(lax, user, how)

    for answer in (
        await caller.transfer(source, destination, 1),
        await caller.transfer(source, destination, 1, headers={"Idempotency-Key": "one"}),
        await caller.get("/"),
        await caller.get("/v1/users"),
    ):
        assert_wrong_credentials(answer)
    assert 99 == await lax.balance(source)


async def test_without_enforcement_a_refresh_after_a_demotion_gives_the_roles_of_now(lax: Api) -> None:
    user = await lax.new_user(roles="admin,customer")
    pair = await logged_in(lax, user)
    await shut_out(lax, user, "demoted")

    after = await refreshed(lax, pair)

    assert "customer" == claims_of(after["access_token"])["roles"]
    assert 403 == (await replace(lax, token=after["access_token"]).get("/v1/users")).status


# Revoking all tokens of a user


@pytest.mark.parametrize("by", ["the user", "an admin"])
async def test_revoking_a_users_tokens_kills_them_all_and_nobody_elses(api: Api, by: str) -> None:
    user, neighbour = await api.new_user(roles="guest"), await api.new_user()
    pairs, other = [await logged_in(api, user) for _ in range(3)], await logged_in(api, neighbour)
    pairs[0] = await refreshed(api, pairs[0])
    caller = api if by == "an admin" else replace(api, token=pairs[1]["access_token"])

    await revoke(caller, user)

    assert [(False, False)] * 3 == [await in_force(api, pair) for pair in pairs]
    assert [401] * 3 == [(await presented(api, pair["refresh_token"], LOGOUT)).status for pair in pairs]
    assert (True, True) == await in_force(api, other)
    assert 200 == (await api.get("/")).status


@pytest.mark.parametrize("roles", ["auditor", "customer", "guest", "auditor,customer,guest"])
async def test_nobody_but_an_admin_revokes_the_tokens_of_another(api: Api, roles: str) -> None:
    """Whether there is such a user, they do not learn."""
    caller, user = await api.as_new_user(roles), await api.new_user()
    pair = await logged_in(api, user)

    for user_id in (user["id"], NOBODY):
        assert_forbidden(await caller.post(REVOKE_USER, {"user_id": user_id}))

    assert (True, True) == await in_force(api, pair)


async def test_revoking_the_tokens_of_a_user_who_is_not_there_says_so(api: Api) -> None:
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
async def test_a_body_that_names_no_user_is_refused(api: Api, body: dict[str, Any], pointers: list[str]) -> None:
    refused = await api.post(REVOKE_USER, body)

    assert (422, pointers) == (refused.status, refused.pointers)
    assert {("validation_error", "validation_error")} == {
        (entry["code"], entry["kind"]) for entry in refused.body["errors"]
    }


async def test_a_body_that_is_no_json_is_refused(api: Api) -> None:
    answers = [
        await api.post(REVOKE_USER, data=b"{", headers={"Content-Type": "application/json"}),
        await api.post(REVOKE_USER, data=b"user_id=1", headers={"Content-Type": "application/x-www-form-urlencoded"}),
    ]

    assert [400, 415] == [answer.status for answer in answers]


@pytest.mark.parametrize("path", [REVOKE_USER, REVOKE_ALL])
async def test_a_login_in_the_same_second_as_a_revocation_works(api: Api, clock: Clock, path: str) -> None:
    """Lesson 26."""
    user = await api.new_user()
    before = await logged_in(api, user)

    await api.post(path, {"user_id": user["id"]})
    after = await logged_in(api, user)

    assert [clock.now] * 2 == [claims_of(pair["access_token"])["iat"] for pair in (before, after)]
    assert (False, False) == await in_force(api, before)
    assert (True, True) == await in_force(api, after)


async def test_a_revocation_sent_again_with_its_key_spares_the_logins_since(api: Api, connection: Connection) -> None:
    """Lesson 4."""
    user = await api.new_user()
    body, key = {"user_id": user["id"]}, {"Idempotency-Key": "one"}
    first = await api.post(REVOKE_USER, body, headers=key)
    pair = await logged_in(api, user)

    again = await api.post(REVOKE_USER, body, headers=key)

    assert [(200, "")] * 2 == [(answer.status, answer.body) for answer in (first, again)]
    assert [None, "true"] == [answer.headers.get("Idempotent-Replayed") for answer in (first, again)]
    assert 1 == len(await recorded(connection, "UserTokensRevoked", user["id"]))
    assert (True, True) == await in_force(api, pair)


async def test_a_key_of_a_revocation_belongs_to_one_user_and_one_caller(api: Api) -> None:
    one, other = await api.new_user(), await api.new_user()
    pair, key = await logged_in(api, other), {"Idempotency-Key": "one"}
    await api.post(REVOKE_USER, {"user_id": one["id"]}, headers=key)

    refused = await api.post(REVOKE_USER, {"user_id": other["id"]}, headers=key)

    assert (422, ["idempotency_key_reused"]) == (refused.status, refused.codes)
    assert await passes(api, pair)
    own = replace(api, token=pair["access_token"])
    assert 200 == (await own.post(REVOKE_USER, {"user_id": other["id"]}, headers=key)).status
    assert not await passes(api, pair)


# Revoking all tokens there are


async def test_revoking_all_tokens_kills_everybodys_the_callers_too(api: Api) -> None:
    pairs = [await logged_in(api, user) for user in (None, await api.new_user(), await api.new_user(roles="auditor"))]

    answer = await api.post(REVOKE_ALL)

    assert (200, "") == (answer.status, answer.body)
    assert_wrong_credentials(await api.get("/v1/users"))
    assert [(False, False)] * 3 == [await in_force(api, pair) for pair in pairs]
    assert (True, True) == await in_force(api, await logged_in(api))


@pytest.mark.parametrize("roles", ["auditor", "customer", "guest"])
async def test_nobody_but_an_admin_revokes_all_tokens(api: Api, connection: Connection, roles: str) -> None:
    caller = await api.as_new_user(roles)

    assert_forbidden(await caller.post(REVOKE_ALL))

    assert (200, []) == ((await api.get("/")).status, await recorded(connection, "AllTokensRevoked"))


@pytest.mark.parametrize("cutoffs", list(itertools.product(["user", "all"], repeat=2)), ids="-".join)
async def test_of_two_cutoffs_both_are_honoured(api: Api, cutoffs: tuple[str, str]) -> None:
    """Lesson 26."""
    user = await api.new_user()
    pairs = [await logged_in(api, user)]

    for cutoff in cutoffs:
        admin = await api.logged_in("admin", ADMIN_PASSWORD)
        answer = await admin.post(REVOKE_USER if cutoff == "user" else REVOKE_ALL, {"user_id": user["id"]})
        assert 200 == answer.status
        pairs.append(await logged_in(api, user))

    assert [False, False, True] == [await passes(api, pair) for pair in pairs]
    assert [False, False, True] == [await refreshes(api, pair) for pair in pairs]


@pytest.mark.parametrize("cutoff", ["UserTokensRevoked", "AllTokensRevoked"])
async def test_a_login_and_a_cutoff_at_once_follow_the_order_of_the_log(
    serve: Serve, settings: Settings, connection: Connection, clock: Clock, cutoff: str
) -> None:
    """Lesson 26: not even a millisecond decides. All this happens in one second of the tokens' time."""
    api = await serve(settings)
    user = await api.new_user()
    early = await logged_in(api, user)
    logins = [asyncio.create_task(logged_in(api, user)) for _ in range(32)]

    while not all(login.done() for login in logins):
        if cutoff == "UserTokensRevoked":
            await revoke(api, user)
        else:
            admin = await api.logged_in("admin", ADMIN_PASSWORD)
            assert 200 == (await admin.post(REVOKE_ALL)).status
    pairs = [early, *(login.result() for login in logins), await logged_in(api, user)]

    last = (await recorded(connection, cutoff))[-1]
    issued = [claims_of(pair["access_token"]) for pair in pairs]
    expected = [claims["pos"] > last for claims in issued]
    assert {clock.now} == {claims["iat"] for claims in issued}
    assert (False, True) == (expected[0], expected[-1])
    assert expected == [await passes(api, pair) for pair in pairs]
    assert expected == [await refreshes(api, pair) for pair in pairs]


# Forgetting


@pytest.fixture
async def short(serve: Serve, settings: Settings, clock: Clock) -> Api:
    """A service whose access tokens live for 100 seconds, and its refresh tokens for 200; for both the clock stands."""
    assert (True, LEEWAY) == (clock.now > 0, settings.jwt_validation_leeway_seconds)
    lifetimes = {"jwt_expire_access_token_seconds": 100, "jwt_expire_refresh_token_seconds": 200}
    return await serve(settings.model_copy(update=lifetimes))


async def cleaned_up(api: Api) -> int:
    """How many tokens an admin, who has just logged in, makes the service forget."""
    answer = await (await api.logged_in("admin", ADMIN_PASSWORD)).post(CLEANUP)
    assert (200, ["deleted_tokens"]) == (answer.status, list(answer.body)), answer
    return int(answer.body["deleted_tokens"])


async def test_a_cleanup_forgets_each_revoked_token_once_it_ended_longer_ago_than_the_leeway(
    short: Api, clock: Clock, connection: Connection
) -> None:
    """Lesson 24. Access and refresh tokens are counted apart; those that nobody revoked are not counted at all."""
    start, user = clock.now, await short.new_user()
    revoked, _ = await logged_in(short, user), await logged_in(short, await short.new_user())
    await presented(short, revoked["refresh_token"], LOGOUT)

    found = []
    for seconds in (0, 100, 100 + LEEWAY, 101 + LEEWAY, 200 + LEEWAY, 201 + LEEWAY):
        clock.now = start + seconds
        found.append([await cleaned_up(short), await cleaned_up(short)])

    assert [[0, 0], [0, 0], [0, 0], [1, 0], [0, 0], [1, 0]] == found
    assert 2 == len(await recorded(connection, "RevokedTokensForgotten"))  # where nothing is forgotten nothing happens


async def test_a_cleanup_counts_all_that_was_revoked_in_whatever_way(short: Api, clock: Clock) -> None:
    start, users = clock.now, [await short.new_user() for _ in range(5)]
    pairs = [await logged_in(short, user) for user in users]
    await presented(short, pairs[0]["refresh_token"], LOGOUT)  # 2 tokens
    await presented(short, (await refreshed(short, pairs[1]))["refresh_token"], LOGOUT)  # 4
    await revoke(short, users[2])  # 2
    await short.delete(f"{SESSIONS}/{session_of(pairs[3])}")  # 2
    await refreshed(short, pairs[4])  # 2, and 2 that live

    clock.now = start + 201 + LEEWAY

    assert [12, 0] == [await cleaned_up(short), await cleaned_up(short)]


async def test_a_revoked_token_does_not_come_back_to_life_when_it_is_forgotten(short: Api, clock: Clock) -> None:
    """Lesson 24: until the end of the leeway an ended token passes, but not this one."""
    start, user = clock.now, await short.new_user()
    revoked, other = await logged_in(short, user), await logged_in(short, user)
    await presented(short, revoked["refresh_token"], LOGOUT)

    found = []
    for seconds in (100 + LEEWAY - 1, 100 + LEEWAY):
        clock.now = start + seconds
        found.append((await cleaned_up(short), await passes(short, revoked), await passes(short, other)))
    for seconds in (200 + LEEWAY - 1, 200 + LEEWAY, 201 + LEEWAY):
        clock.now = start + seconds
        assert 0 <= await cleaned_up(short) <= 2
        assert not await refreshes(short, revoked)

    assert [(0, False, True), (0, False, False)] == found


async def test_a_session_that_was_revoked_stays_dead_when_its_first_tokens_are_forgotten(
    short: Api, clock: Clock
) -> None:
    """Lesson 24: the pair before is forgotten, the one in force is not."""
    first = await logged_in(short)
    clock.now += 150
    second = await refreshed(short, first)
    await presented(short, second["refresh_token"], LOGOUT)

    clock.now += 201 + LEEWAY - 150

    assert 2 == await cleaned_up(short)
    assert (False, False) == await in_force(short, second)


async def test_cleanups_at_once_count_no_token_twice(short: Api, clock: Clock) -> None:
    users = [await short.new_user() for _ in range(5)]
    for user in users:
        await presented(short, (await logged_in(short, user))["refresh_token"], LOGOUT)
    clock.now += 201 + LEEWAY
    admin = await short.logged_in("admin", ADMIN_PASSWORD)

    answers = await asyncio.gather(*(admin.post(CLEANUP) for _ in range(4)))

    assert [200] * 4 == [answer.status for answer in answers]
    assert 10 == sum(answer.body["deleted_tokens"] for answer in answers)


async def test_a_cleanup_sent_again_with_its_key_is_told_the_same(short: Api, clock: Clock) -> None:
    await presented(short, (await logged_in(short))["refresh_token"], LOGOUT)
    clock.now += 201 + LEEWAY
    admin, key = await short.logged_in("admin", ADMIN_PASSWORD), {"Idempotency-Key": "one"}

    answers = [await admin.post(CLEANUP, headers=key) for _ in range(2)]

    assert [(200, {"deleted_tokens": 2})] * 2 == [(answer.status, answer.body) for answer in answers]


@pytest.mark.parametrize("roles", ["auditor", "customer", "guest"])
async def test_nobody_but_an_admin_cleans_up(api: Api, roles: str) -> None:
    assert_forbidden(await (await api.as_new_user(roles)).post(CLEANUP))


# What happens to a user


@pytest.mark.parametrize("how", ["deactivated", "deleted", "demoted", "given another password"])
async def test_a_user_who_lost_something_is_logged_out_everywhere_at_the_next_request(api: Api, how: str) -> None:
    """Lesson 27: reading or writing, whichever comes first in a session."""
    user = await api.new_user(roles="admin,customer")
    source, destination = await api.new_account(balance_cents=100), await api.new_account()
    pairs = [await logged_in(api, user) for _ in range(4)]
    callers = [replace(api, token=pair["access_token"]) for pair in pairs]
    assert [200] * 4 == [(await caller.transfer(source, destination, 1)).status for caller in callers]

    await shut_out(api, user, how)

    assert_wrong_credentials(await callers[0].transfer(source, destination, 1))
    assert_wrong_credentials(await callers[1].transfer(source, destination, 1, headers={"Idempotency-Key": "one"}))
    assert_wrong_credentials(await callers[2].get(f"/v1/accounts/{source['id']}"))
    assert_wrong_credentials(await presented(api, pairs[3]["refresh_token"], REFRESH))
    assert [(False, False)] * 4 == [await in_force(api, pair) for pair in pairs]
    assert 96 == await api.balance(source)


async def test_a_user_who_is_active_again_needs_new_tokens(api: Api) -> None:
    """Lesson 27."""
    user = await api.new_user()
    before = await logged_in(api, user)

    await shut_out(api, user, "deactivated")
    await api.put(f"/v1/users/{user['id']}", {**user, "active": True})

    assert (False, False) == await in_force(api, before)
    assert (True, True) == await in_force(api, await logged_in(api, user))


async def test_roles_that_were_lost_and_given_again_need_new_tokens(api: Api) -> None:
    user = await api.new_user(roles="admin,customer")
    before = await logged_in(api, user)

    await shut_out(api, user, "demoted")
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
async def test_a_user_who_lost_nothing_stays_logged_in(api: Api, change: dict[str, Any]) -> None:
    user = await api.new_user()
    pair = await logged_in(api, user)
    source, destination = await api.new_account(user["id"], balance_cents=100), await api.new_account()

    changed = await api.put(f"/v1/users/{user['id']}", {**user, **change})

    assert 200 == changed.status
    assert 200 == (await replace(api, token=pair["access_token"]).transfer(source, destination, 1)).status
    assert (True, True) == await in_force(api, pair)


# The list of sessions


async def test_everybody_sees_their_own_sessions_newest_first(api: Api) -> None:
    user, neighbour = await api.new_user(roles="guest"), await api.new_user()
    pairs = [await logged_in(api, user) for _ in range(3)]
    await logged_in(api, neighbour)

    answer = await replace(api, token=pairs[0]["access_token"]).get(SESSIONS)

    assert 200 == answer.status
    assert [session_of(pair) for pair in reversed(pairs)] == [session["id"] for session in answer.body]
    assert {user["id"]} == {session["user_id"] for session in answer.body}
    for session in answer.body:
        assert {"id", "user_id", "created_at", "refreshed_at", "expires_at"} == session.keys()
        assert all(re.fullmatch(RFC3339, session[name]) for name in ("created_at", "refreshed_at", "expires_at"))
        assert session["created_at"] == session["refreshed_at"] < session["expires_at"]


async def test_a_session_says_when_it_was_refreshed(api: Api) -> None:
    user = await api.new_user()
    pair = await refreshed(api, await logged_in(api, user))

    (session,) = (await replace(api, token=pair["access_token"]).get(SESSIONS)).body

    assert session["created_at"] < session["refreshed_at"] < session["expires_at"]


async def test_an_admin_sees_the_sessions_of_any_user(api: Api) -> None:
    user = await api.new_user()
    pairs = [await logged_in(api, user) for _ in range(2)]

    assert [session_of(pair) for pair in reversed(pairs)] == await listed(api, f"{SESSIONS}?user_id={user['id']}")
    assert not {session_of(pair) for pair in pairs} & {*await listed(api)}


@pytest.mark.parametrize("roles", ["auditor", "customer", "guest"])
async def test_nobody_else_sees_the_sessions_of_another(api: Api, roles: str) -> None:
    """Lesson 35."""
    caller, user = await api.as_new_user(roles), await api.new_user()
    await logged_in(api, user)

    for user_id in (user["id"], NOBODY):
        assert_forbidden(await caller.get(f"{SESSIONS}?user_id={user_id}"))
    assert 1 == len(await listed(caller, f"{SESSIONS}?user_id={caller.user_id}"))


@pytest.mark.parametrize("user_id", ["", "me", "1"])
async def test_sessions_of_a_user_whose_id_is_none_are_refused(api: Api, user_id: str) -> None:
    refused = await api.get(f"{SESSIONS}?user_id={user_id}")

    assert (422, ["query user_id"]) == (refused.status, refused.parameters)


async def test_sessions_come_in_pages(serve: Serve, settings: Settings) -> None:
    api = await serve(settings)
    user = await api.new_user()
    expected = [session_of(pair) for pair in reversed([await logged_in(api, user) for _ in range(5)])]

    found, path = [], f"{SESSIONS}?user_id={user['id']}&limit=2"
    while path:
        answer = await api.get(path)
        found.append([session["id"] for session in answer.body])
        link = re.fullmatch(r'<([^>]+)>; rel="next"', answer.headers.get("Link", ""))
        path = link[1] if link else ""

    assert [expected[:2], expected[2:4], expected[4:]] == found


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "cursor=", "cursor=x"])
async def test_a_page_of_sessions_that_there_cannot_be_is_refused(api: Api, query: str) -> None:
    refused = await api.get(f"{SESSIONS}?{query}")

    assert (422, [f"query {query.partition('=')[0]}"]) == (refused.status, refused.parameters)


async def test_only_sessions_in_force_are_listed(strict: Api, clock: Clock) -> None:
    user = await strict.new_user()
    mine = f"{SESSIONS}?user_id={user['id']}"
    clock.now -= 7_776_000 + 1
    await logged_in(strict, user)
    clock.now += 7_776_000 + 1
    assert [] == await listed(strict, mine)  # it has expired

    left, ended, stolen, kept = [await logged_in(strict, user) for _ in range(4)]
    assert 4 == len(await listed(strict, mine))
    await presented(strict, left["refresh_token"], LOGOUT)
    await strict.delete(f"{SESSIONS}/{session_of(ended)}")
    await refreshed(strict, stolen)
    await presented(strict, stolen["refresh_token"], REFRESH)
    assert [session_of(kept)] == await listed(strict, mine)

    kept = await refreshed(strict, kept)
    assert [session_of(kept)] == await listed(strict, mine)
    await revoke(strict, user)
    assert [] == await listed(strict, mine)
    after = await logged_in(strict, user)
    assert [session_of(after)] == await listed(strict, mine)
    await strict.post(REVOKE_ALL)
    assert [] == await listed(await strict.logged_in("admin", ADMIN_PASSWORD), mine)


# Ending one session


async def test_everybody_can_end_one_of_their_own_sessions(api: Api) -> None:
    user = await api.new_user(roles="guest")
    one, other = await logged_in(api, user), await logged_in(api, user)

    answer = await replace(api, token=other["access_token"]).delete(f"{SESSIONS}/{session_of(one)}")

    assert (200, "") == (answer.status, answer.body)
    assert (False, False) == await in_force(api, one)
    assert (True, True) == await in_force(api, other)


async def test_everybody_can_end_the_session_they_are_in(api: Api) -> None:
    pair = await logged_in(api, await api.new_user())

    answer = await replace(api, token=pair["access_token"]).delete(f"{SESSIONS}/{session_of(pair)}")

    assert 200 == answer.status
    assert (False, False) == await in_force(api, pair)


async def test_an_admin_can_end_the_session_of_another(api: Api) -> None:
    user = await api.new_user()
    one, other = await logged_in(api, user), await logged_in(api, user)

    assert 200 == (await api.delete(f"{SESSIONS}/{session_of(one)}")).status

    assert (False, False) == await in_force(api, one)
    assert (True, True) == await in_force(api, other)


async def test_ending_a_session_twice_changes_nothing_more(api: Api, connection: Connection) -> None:
    pair = await logged_in(api, await api.new_user())
    path = f"{SESSIONS}/{session_of(pair)}"

    answers = [await api.delete(path) for _ in range(2)]

    assert [(200, "")] * 2 == [(answer.status, answer.body) for answer in answers]
    assert 1 == len(await recorded(connection, "SessionRevoked", session_of(pair)))


@pytest.mark.parametrize("roles", ["admin", "auditor", "customer", "guest"])
async def test_a_session_that_is_not_there_is_not_found(api: Api, roles: str) -> None:
    caller, user = await api.as_new_user(roles), await api.new_user()

    for session_id in (NOBODY, user["id"]):  # an id of something else is no session's, either
        assert_problem(
            await caller.delete(f"{SESSIONS}/{session_id}"),
            404,
            "resource_not_found",
            "resource_not_found",
            f"session not found: {session_id}",
            detail={"session_id": session_id},
        )


@pytest.mark.parametrize("roles", ["auditor", "customer", "guest"])
async def test_the_session_of_another_is_as_if_it_were_not_there(api: Api, roles: str) -> None:
    """Lesson 35."""
    caller, pair = await api.as_new_user(roles), await logged_in(api, await api.new_user())
    session_id = session_of(pair)

    assert_problem(
        await caller.delete(f"{SESSIONS}/{session_id}"),
        404,
        "resource_not_found",
        "resource_not_found",
        f"session not found: {session_id}",
        detail={"session_id": session_id},
    )

    assert (True, True) == await in_force(api, pair)


async def test_a_session_whose_id_is_none_is_refused(api: Api) -> None:
    refused = await api.delete(f"{SESSIONS}/mine")

    assert (422, ["path id"]) == (refused.status, refused.parameters)


# Money, and connections that break


@pytest.mark.parametrize(
    "killed_by", ["revoke-user", "revoke-all", "logout", "end of session", "refresh", "deactivated"]
)
async def test_a_revoked_token_moves_no_money_not_even_in_the_batch_that_revokes_it(
    api: Api, connection: Connection, killed_by: str
) -> None:
    """Every transfer that was made stands before the revocation in the log."""
    user = await api.new_user()
    source, destination = await api.new_account(user["id"], balance_cents=1000), await api.new_account()
    pair = await logged_in(api, user)
    caller = replace(api, token=pair["access_token"])

    async def kill() -> Answer:
        match killed_by:
            case "revoke-user":
                return await api.post(REVOKE_USER, {"user_id": user["id"]})
            case "revoke-all":
                return await api.post(REVOKE_ALL)
            case "logout":
                return await presented(api, pair["refresh_token"], LOGOUT)
            case "refresh":
                return await presented(api, pair["refresh_token"], REFRESH)
            case "end of session":
                return await api.delete(f"{SESSIONS}/{session_of(pair)}")
            case _:
                return await api.put(f"/v1/users/{user['id']}", {**user, "active": False})

    def transfers() -> list[asyncio.Task[Answer]]:
        return [asyncio.create_task(caller.transfer(source, destination, 1)) for _ in range(25)]

    before = transfers()
    await asyncio.wait(before, return_when=asyncio.FIRST_COMPLETED)
    killing, meanwhile = asyncio.create_task(kill()), transfers()
    killed = await killing
    answers = await asyncio.gather(*before, *meanwhile, caller.transfer(source, destination, 1))

    made = {UUID(answer.body["id"]) for answer in answers if answer.status == 200}
    positions = dict(await connection.fetch("SELECT stream_id, position FROM events WHERE topic = 'MoneyTransferred'"))
    topics = ["UserTokensRevoked", "AllTokensRevoked", "SessionRevoked", "TokensRotated"]
    dead_since = await connection.fetchval("SELECT min(position) FROM events WHERE topic = ANY($1)", topics)
    assert (200, {200, 401}) == (killed.status, {answer.status for answer in answers})
    assert 401 == answers[-1].status
    assert all(positions[transfer_id] < dead_since for transfer_id in made)
    assert len(made) == await connection.fetchval(
        "SELECT count(*) FROM events WHERE topic = 'MoneyTransferred' AND state->>'kind' = 'transfer'"
    )


@asynccontextmanager
async def broken_line(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Line]:
    """A line that breaks when it is told to, and that nobody but the committers is on."""
    line = Line(settings.database_dsn())
    async with line.open() as dsn:

        async def on_the_line(settings: Settings, **options: Any) -> Connection:
            is_committer = "plan_cache_mode" in options
            url = {"database_url": SecretStr(dsn)} if is_committer else {}
            return await connect(settings.model_copy(update=url), **options)

        monkeypatch.setattr(runtime, "connect", on_the_line)
        yield line


@pytest.mark.parametrize("direction", ["there", "back"])
async def test_a_login_gives_working_tokens_at_whatever_moment_the_connection_breaks(
    direction: str, serve: Serve, settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when it was only the answer to the COMMIT that got lost. Only the committer is on the line that breaks."""
    async with broken_line(settings, monkeypatch) as line:
        api = await serve(settings)
        user = await api.new_user()
        for moment in itertools.count(1):
            line.break_at(direction, moment)
            pair = await logged_in(api, user)
            line.break_at("", 0)
            assert await passes(api, pair)
            pair = await refreshed(api, pair)
            assert [session_of(pair)] == await listed(api, f"{SESSIONS}?user_id={user['id']}")
            await revoke(api, user)
            after = await logged_in(api, user)
            assert [(False, False), (True, True)] == [await in_force(api, tokens) for tokens in (pair, after)]
            await revoke(api, user)
            if line.breaks < moment:
                break
        await api.client.close()
    assert line.breaks >= 1
    assert 2 * (line.breaks + 1) == await connection.fetchval(
        "SELECT count(*) FROM events WHERE topic = 'TokensIssued' AND state->>'user_id' = $1", user["id"]
    )


@pytest.mark.parametrize("grace", [0, 10])
async def test_a_refresh_whose_connection_broke_is_no_reuse(
    grace: int, serve: Serve, settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lesson 22: what the service asks twice for reasons of its own, nobody has stolen."""
    async with broken_line(settings, monkeypatch) as line:
        api = await serve(settings.model_copy(update={"ledger_refresh_grace_seconds": grace}))
        pair = await logged_in(api)
        for moment in itertools.count(1):
            line.break_at("back", moment)
            before, pair = pair, await refreshed(api, pair)
            assert (False, True) == (await passes(api, before), await passes(api, pair))
            if line.breaks < moment:
                break
        await api.client.close()
    assert line.breaks >= 1
    assert line.breaks + 1 == len(await recorded(connection, "TokensRotated", session_of(pair)))


async def test_ids_of_tokens_and_sessions_are_all_that_is_stored_of_them(api: Api, connection: Connection) -> None:
    """Lesson 31: no token is in any table."""
    first = await logged_in(api)
    second = await refreshed(api, first)
    tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'ledger'")

    rows = [str(row) for (table,) in tables for row in await connection.fetch(f"SELECT t::text FROM {table} AS t")]
    rows += [str(row) for row in await connection.fetch("SELECT state FROM events")]

    signatures = [pair[name].split(".")[2] for pair in (first, second) for name in ("access_token", "refresh_token")]
    assert [] == [signature for signature in signatures if any(signature in row for row in rows)]
    assert any(str(claims_of(second["access_token"])["jti"]) in row for row in rows)
