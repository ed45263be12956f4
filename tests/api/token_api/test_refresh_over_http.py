"""Refresh tokens are exchanged once, and a retry with its key gets the same pair within the grace period."""

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from ledger.settings import Settings
from tests.support.controls import Api, Clock
from tests.support.token_api import (
    CLEANUP,
    LEEWAY,
    LOGOUT,
    NOT_ENFORCED,
    REFRESH,
    REVOKE_ALL,
    REVOKE_USER,
    SESSIONS,
    Connection,
    Serve,
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
    session_of,
)

TRANSFER, KEY = "/v1/transactions/transfer", "refresh-1"


async def test_a_refresh_returns_the_next_pair_of_the_session(api: Api) -> None:
    first = await log_in(api, await api.new_user())

    second = await refresh_pair(api, first)

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
    pair = await log_in(api)

    answer = await replace(api, token=pair["refresh_token"]).post(REFRESH, {"refresh_token": "another"})

    assert 200 == answer.status


async def test_a_refresh_invalidates_the_old_pair_immediately(strict: Api) -> None:
    first = await log_in(strict)

    second = await refresh_pair(strict, first)

    assert not await is_accepted(strict, first)
    assert_wrong_credentials(await post_with_token(strict, first["refresh_token"], LOGOUT))
    assert await is_accepted(strict, second)
    assert_wrong_credentials(await post_with_token(strict, first["refresh_token"], REFRESH))


async def test_a_refresh_does_not_affect_other_sessions(api: Api) -> None:
    user = await api.new_user()
    one, other = await log_in(api, user), await log_in(api, user)

    await refresh_pair(api, one)

    assert (True, True) == await in_force(api, other)


async def test_a_refresh_returns_the_current_roles(api: Api) -> None:
    user = await api.new_user(roles="guest")
    pair = await log_in(api, user)
    await api.put(f"/v1/users/{user['id']}", {**user, "roles": "guest,auditor"})

    after = await refresh_pair(api, pair)

    assert ["guest,auditor"] * 2 == [claims_of(after[name])["roles"] for name in ("access_token", "refresh_token")]
    assert 200 == (await replace(api, token=after["access_token"]).get("/v1/accounts")).status


async def test_an_access_token_cannot_be_refreshed(api: Api) -> None:
    """Lesson 21."""
    pair = await log_in(api)

    assert_wrong_credentials(await post_with_token(api, pair["access_token"], REFRESH))
    assert (True, True) == await in_force(api, pair)


async def test_a_refresh_token_is_not_an_access_token(api: Api, connection: Connection) -> None:
    """Lesson 21: neither in reads nor in commands."""
    pair = await log_in(api)
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
async def test_refresh_and_logout_need_a_token(api: Api, path: str, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}

    assert_wrong_credentials(await api.nobody.post(path, headers=headers))


@pytest.mark.parametrize(
    ("seconds_after_its_end", "expected"), [(-1, True), (0, True), (LEEWAY - 1, True), (LEEWAY, False)]
)
async def test_a_refresh_token_is_accepted_until_its_expiry_plus_leeway(
    serve: Serve, settings: Settings, clock: Clock, seconds_after_its_end: int, expected: bool
) -> None:
    api = await serve(settings.model_copy(update={"jwt_expire_refresh_token_seconds": 100}))
    pair = await log_in(api)

    clock.now += 100 + seconds_after_its_end

    assert expected is await can_refresh(api, pair)


async def test_a_refresh_does_not_extend_the_session(serve: Serve, settings: Settings, clock: Clock) -> None:
    """Tokens expire with the session at the latest, and the leeway allows no further refresh."""
    api = await serve(settings.model_copy(update={"ledger_session_seconds": 100}))
    start, pair = clock.now, await log_in(api)
    assert (100, 100) == (pair["expires_in"], claims_of(pair["refresh_token"])["exp"] - start)

    for seconds in (60, 99):
        clock.now = start + seconds
        pair = await refresh_pair(api, pair)
        claims = [claims_of(pair[name]) for name in ("access_token", "refresh_token")]
        assert [start + 100] * 2 == [token["exp"] for token in claims]
        assert (100 - seconds, start + 100) == (pair["expires_in"], claims[1]["pex"])

    clock.now = start + 100
    assert (True, False) == await in_force(api, pair)
    clock.now = start + 100 + LEEWAY
    assert not await is_accepted(api, pair)


@pytest.mark.parametrize("ending", ["deactivated", "deleted"])
@pytest.mark.parametrize("update", [{}, NOT_ENFORCED], ids=["enforced", "not enforced"])
async def test_a_user_who_cannot_log_in_cannot_refresh(
    serve: Serve, settings: Settings, update: dict[str, Any], ending: str
) -> None:
    api = await serve(settings.model_copy(update=update))
    user = await api.new_user()
    pair = await log_in(api, user)

    await remove_access(api, user, ending)

    assert_wrong_credentials(await post_with_token(api, pair["refresh_token"], REFRESH))


async def test_a_retry_with_its_key_gets_the_same_tokens_within_the_grace_and_is_recorded(
    api: Api, connection: Connection
) -> None:
    """Lesson 22: a retry does not start a new generation."""
    pair = await log_in(api)
    first = await post_with_token(api, pair["refresh_token"], REFRESH, KEY)
    before = await events(connection)

    retries = [await post_with_token(api, pair["refresh_token"], REFRESH, KEY) for _ in range(3)]

    assert [(200, first.body)] * 3 == [(retry.status, retry.body) for retry in retries]
    assert [None, *["true"] * 3] == [retry.headers.get("Idempotent-Replayed") for retry in (first, *retries)]
    assert first.headers["Ledger-Position"] == retries[0].headers["Ledger-Position"]
    assert before + 3 == await events(connection)
    assert 3 == len(await event_positions(connection, "PairReissued", session_of(pair)))
    assert (True, True) == await in_force(api, first.body)


@pytest.mark.parametrize("keys", [(None, None), (KEY, None), (None, KEY), (KEY, "another")], ids=str)
async def test_a_retry_without_the_key_of_the_first_request_ends_the_session(
    api: Api, connection: Connection, keys: tuple[str | None, str | None]
) -> None:
    """Lesson 59."""
    first = await log_in(api)
    second = await refresh_pair(api, first, keys[0])

    assert_wrong_credentials(await post_with_token(api, first["refresh_token"], REFRESH, keys[1]))

    assert (False, False) == await in_force(api, second)
    assert 1 == len(await event_positions(connection, "RefreshTokenReused", session_of(first)))


async def test_a_key_is_good_for_the_next_refresh_too(api: Api) -> None:
    """A client that sends a constant key gets a new pair each time."""
    pairs = [await log_in(api)]
    for _ in range(3):
        pairs.append(await refresh_pair(api, pairs[-1], KEY))

    assert 4 == len({pair["refresh_token"] for pair in pairs})
    assert pairs[3] == await refresh_pair(api, pairs[2], KEY)
    assert (True, True) == await in_force(api, pairs[3])


async def test_a_retry_within_the_grace_gets_the_first_response_despite_changes(api: Api, clock: Clock) -> None:
    user = await api.new_user(roles="guest")
    pair = await log_in(api, user)
    first = await refresh_pair(api, pair, KEY)

    await api.put(f"/v1/users/{user['id']}", {**user, "roles": "guest,auditor", "username": f"{user['username']}-2"})
    clock.now += 9

    assert first == await refresh_pair(api, pair, KEY)


@pytest.mark.parametrize(("seconds", "forgiven"), [(9, True), (10, False)])
async def test_the_grace_ends(api: Api, clock: Clock, connection: Connection, seconds: int, forgiven: bool) -> None:
    """Lessons 22 and 23: afterwards, reuse ends the session although the response is an error."""
    first = await log_in(api)
    second = await refresh_pair(api, first, KEY)

    clock.now += seconds

    assert forgiven is await can_refresh(api, first, KEY)
    assert (forgiven, forgiven) == await in_force(api, second)
    assert (0 if forgiven else 1) == len(await event_positions(connection, "RefreshTokenReused", session_of(first)))


async def test_without_a_grace_a_retry_ends_the_session(strict: Api, connection: Connection) -> None:
    """Lessons 22 and 23."""
    first = await log_in(strict)
    second = await refresh_pair(strict, first, KEY)

    assert_wrong_credentials(await post_with_token(strict, first["refresh_token"], REFRESH, KEY))

    assert (False, False) == await in_force(strict, second)
    assert 1 == len(await event_positions(connection, "RefreshTokenReused", session_of(first)))
    outcomes = await connection.fetch(
        "SELECT outcome FROM command_log WHERE name = 'RefreshTokens' ORDER BY recorded_at"
    )
    assert ["accepted", "refused"] == [row[0] for row in outcomes][:2]


async def test_without_a_grace_a_clock_that_is_behind_forgives_nothing(strict: Api, clock: Clock) -> None:
    """Clocks of workers differ, and a request can reach the log after another that started a second later."""
    first = await log_in(strict)
    clock.now += 1
    second = await refresh_pair(strict, first, KEY)

    clock.now -= 1

    assert not await can_refresh(strict, first, KEY)
    assert (False, False) == await in_force(strict, second)


async def test_the_grace_covers_only_the_last_token_but_one(api: Api) -> None:
    """Lesson 22: use of the next token proves that the client received it, so an older one is stolen."""
    first = await log_in(api)
    second = await refresh_pair(api, first, KEY)
    third = await refresh_pair(api, second, KEY)

    assert_wrong_credentials(await post_with_token(api, first["refresh_token"], REFRESH, KEY))

    assert [(False, False)] * 3 == [await in_force(api, pair) for pair in (first, second, third)]


async def test_reuse_revokes_all_descendants_of_a_stolen_token(strict: Api, connection: Connection) -> None:
    """Lesson 22: other sessions of the user stay valid."""
    user = await strict.new_user()
    stolen, other = await log_in(strict, user), await log_in(strict, user)
    thief = await refresh_pair(strict, await refresh_pair(strict, stolen))
    assert await is_accepted(strict, thief)

    assert_wrong_credentials(await post_with_token(strict, stolen["refresh_token"], REFRESH))

    assert (False, False) == await in_force(strict, thief)
    assert_wrong_credentials(await post_with_token(strict, thief["refresh_token"], LOGOUT))
    assert (True, True) == await in_force(strict, other)
    assert 1 == len(await event_positions(connection, "RefreshTokenReused"))


async def test_fifty_concurrent_refreshes_of_one_token_create_one_generation(
    api: Api, connection: Connection, clock: Clock
) -> None:
    """Lesson 22. The stopped clock keeps all of them within the grace."""
    assert clock.now
    pair = await log_in(api)

    answers = await asyncio.gather(*(post_with_token(api, pair["refresh_token"], REFRESH, KEY) for _ in range(50)))

    assert {200: 50} == Counter(answer.status for answer in answers)
    assert 1 == len({answer.body["refresh_token"] for answer in answers})
    assert 1 == len({answer.body["access_token"] for answer in answers})
    assert 1 == len(await event_positions(connection, "TokensRotated", session_of(pair)))
    assert (True, True) == await in_force(api, answers[0].body)


async def test_without_a_grace_one_of_fifty_concurrent_refreshes_wins_and_the_session_ends(
    strict: Api, connection: Connection, clock: Clock
) -> None:
    """Lesson 22."""
    assert clock.now
    pair = await log_in(strict)

    answers = await asyncio.gather(*(post_with_token(strict, pair["refresh_token"], REFRESH, KEY) for _ in range(50)))

    assert {200: 1, 401: 49} == Counter(answer.status for answer in answers)
    (winner,) = [answer.body for answer in answers if answer.status == 200]
    assert (False, False) == await in_force(strict, winner)
    happened = [
        len(await event_positions(connection, topic, session_of(pair)))
        for topic in ("TokensRotated", "RefreshTokenReused")
    ]
    assert [1, 1] == happened


async def test_concurrent_refreshes_at_two_services_create_one_generation(
    api: Api, serve: Serve, settings: Settings, connection: Connection, clock: Clock
) -> None:
    """Lesson 22: no process decides from its own memory alone."""
    assert clock.now
    other = await serve(settings)
    pair = await log_in(api)

    for _ in range(5):
        answers = await asyncio.gather(
            *(
                post_with_token(service, pair["refresh_token"], REFRESH, KEY)
                for _ in range(10)
                for service in (api, other)
            )
        )
        assert {200: 20} == Counter(answer.status for answer in answers)
        assert 1 == len({answer.body["refresh_token"] for answer in answers})
        pair = answers[0].body
    assert 5 == len(await event_positions(connection, "TokensRotated", session_of(pair)))
