"""A thief with a stolen pair of tokens, or with a known `Idempotency-Key`, is discovered at the next refresh."""

from collections.abc import Awaitable, Callable

import pytest

from tests.support.controls import Api, Clock
from tests.support.token_api import (
    LOGOUT,
    REFRESH,
    REVOKE_USER,
    SESSIONS,
    Connection,
    Pair,
    assert_wrong_credentials,
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

KEY = "refresh-1"  # keys are no secrets: clients use constants and counters, and proxies log them


async def assert_discovered(api: Api, connection: Connection, pairs: list[Pair]) -> None:
    """Assert that none of these pairs of a session is in force, and that one event says why."""
    assert [False] * len(pairs) == [await is_accepted(api, pair) for pair in pairs]
    for pair in pairs:
        assert_wrong_credentials(await post_with_token(api, pair["refresh_token"], REFRESH))
    assert 1 == len(await event_positions(connection, "RefreshTokenReused", session_of(pairs[0])))


@pytest.mark.parametrize("key", [KEY, None], ids=["the victim sends a key", "and without"])
async def test_a_thief_who_polls_and_refreshes_after_the_victim_is_discovered(
    api: Api, connection: Connection, key: str | None
) -> None:
    """Lesson 59: the thief sees by a 401 that the victim has refreshed, and presents the stolen token at once."""
    stolen = await log_in(api)
    newer = await refresh_pair(api, stolen, key)
    assert not await is_accepted(api, stolen)

    assert_wrong_credentials(await post_with_token(api, stolen["refresh_token"], REFRESH))

    await assert_discovered(api, connection, [newer, stolen])


@pytest.mark.parametrize("key", [KEY, None], ids=["the victim sends a key", "and without"])
async def test_a_thief_who_refreshes_before_the_victim_is_discovered(
    api: Api, connection: Connection, key: str | None
) -> None:
    """Lesson 59."""
    stolen = await log_in(api)
    thiefs = await refresh_pair(api, stolen, "thief")
    thiefs = await refresh_pair(api, thiefs, "thief")

    assert_wrong_credentials(await post_with_token(api, stolen["refresh_token"], REFRESH, key))

    await assert_discovered(api, connection, [thiefs, stolen])


async def test_a_thief_who_also_knows_the_key_leaves_an_event_and_is_discovered_at_the_next_refresh(
    api: Api, connection: Connection
) -> None:
    """Lesson 59."""
    stolen = await log_in(api)
    victims = await refresh_pair(api, stolen, KEY)
    thiefs = await refresh_pair(api, stolen, KEY)
    assert victims == thiefs
    assert 1 == len(await event_positions(connection, "PairReissued", session_of(stolen)))

    victims = await refresh_pair(api, victims, "refresh-2")
    assert_wrong_credentials(await post_with_token(api, thiefs["refresh_token"], REFRESH, KEY))

    await assert_discovered(api, connection, [victims, thiefs])


async def test_a_rotated_token_under_its_key_gets_nothing_after_the_grace(
    api: Api, connection: Connection, clock: Clock
) -> None:
    """Lesson 58."""
    first = await log_in(api)
    second = await refresh_pair(api, first, KEY)
    clock.now += 12

    assert_wrong_credentials(await post_with_token(api, first["refresh_token"], REFRESH, KEY))

    await assert_discovered(api, connection, [second, first])


async def test_a_refresh_under_the_key_of_another_session_answers_for_its_own(api: Api) -> None:
    """Lesson 58."""
    user = await api.new_user()
    first, other = await log_in(api, user), await log_in(api, user)
    second = await refresh_pair(api, first, KEY)

    answer = await post_with_token(api, other["refresh_token"], REFRESH, KEY)

    assert (200, session_of(other)) == (answer.status, session_of(answer.body))
    assert "Idempotent-Replayed" not in answer.headers
    assert not await is_accepted(api, other)
    assert (True, True) == await in_force(api, second)


async def log_out(api: Api, user: Pair, pair: Pair) -> None:
    assert user
    assert 200 == (await post_with_token(api, pair["refresh_token"], LOGOUT)).status


async def end_session(api: Api, user: Pair, pair: Pair) -> None:
    assert user
    assert 200 == (await api.delete(f"{SESSIONS}/{session_of(pair)}")).status


async def cut_off(api: Api, user: Pair, pair: Pair) -> None:
    assert pair
    assert 200 == (await api.post(REVOKE_USER, {"user_id": user["id"]})).status


async def deactivate(api: Api, user: Pair, pair: Pair) -> None:
    assert pair
    await remove_access(api, user, "deactivated")


async def delete(api: Api, user: Pair, pair: Pair) -> None:
    assert pair
    await remove_access(api, user, "deleted")


@pytest.mark.parametrize("end", [log_out, end_session, cut_off, deactivate, delete])
async def test_a_dead_token_under_a_known_key_gets_nothing(
    api: Api, connection: Connection, end: Callable[[Api, Pair, Pair], Awaitable[None]]
) -> None:
    """Lesson 58: neither its own key nor that of another session."""
    user = await api.new_user()
    first, other = await log_in(api, user), await log_in(api, user)
    second = await refresh_pair(api, first, KEY)
    await refresh_pair(api, other, "refresh-2")
    await end(api, user, second)
    before = await events(connection)

    for key in (KEY, "refresh-2"):
        for pair in (first, second):
            assert_wrong_credentials(await post_with_token(api, pair["refresh_token"], REFRESH, key))

    assert before == await events(connection)


async def test_a_key_of_a_logout_is_refused_with_another_token(api: Api, connection: Connection) -> None:
    """Lesson 58: it must not say that a session has ended which goes on."""
    user = await api.new_user()
    one, other = await log_in(api, user), await log_in(api, user)
    first = await post_with_token(api, one["refresh_token"], LOGOUT, KEY)
    before = await events(connection)

    refused = await post_with_token(api, other["refresh_token"], LOGOUT, KEY)
    again = await post_with_token(api, one["refresh_token"], LOGOUT, KEY)

    assert (200, 422, ["idempotency_key_reused"]) == (first.status, refused.status, refused.codes)
    assert (200, "true", before) == (again.status, again.headers["Idempotent-Replayed"], await events(connection))
    assert (True, True) == await in_force(api, other)


async def test_a_key_of_another_command_is_no_key_of_a_refresh(api: Api) -> None:
    """Lesson 58."""
    user = await api.new_user()
    pair, other = await log_in(api, user), await log_in(api, user)
    await post_with_token(api, other["refresh_token"], LOGOUT, KEY)

    newer = await refresh_pair(api, pair, KEY)

    assert session_of(pair) == session_of(newer)
    refused = await post_with_token(api, newer["refresh_token"], LOGOUT, KEY)
    assert (422, ["idempotency_key_reused"]) == (refused.status, refused.codes)
    assert (True, True) == await in_force(api, newer)
