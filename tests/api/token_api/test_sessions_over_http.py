"""Users list and end their sessions; a broken connection loses none."""

import asyncio
import itertools
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from ledger import runtime
from ledger.settings import Settings
from ledger.store.pool import connect
from tests.support.controls import ADMIN_PASSWORD, NOBODY, Api, Clock, Response
from tests.support.proxy import Direction, Proxy
from tests.support.token_api import (
    LOGOUT,
    REFRESH,
    REVOKE_ALL,
    REVOKE_USER,
    RFC3339,
    SESSIONS,
    Connection,
    Serve,
    assert_forbidden,
    assert_problem,
    claims_of,
    event_positions,
    in_force,
    is_accepted,
    log_in,
    post_with_token,
    refresh_pair,
    revoke,
    session_of,
)


async def list_sessions(api: Api, path: str = SESSIONS) -> list[str]:
    """Return the ids of the listed sessions."""
    answer = await api.get(path)
    assert 200 == answer.status, answer
    return [session["id"] for session in answer.body]


async def test_users_list_their_own_sessions_newest_first(api: Api) -> None:
    user, neighbour = await api.new_user(roles="guest"), await api.new_user()
    pairs = [await log_in(api, user) for _ in range(3)]
    await log_in(api, neighbour)

    answer = await replace(api, token=pairs[0]["access_token"]).get(SESSIONS)

    assert 200 == answer.status
    assert [session_of(pair) for pair in reversed(pairs)] == [session["id"] for session in answer.body]
    assert {user["id"]} == {session["user_id"] for session in answer.body}
    for session in answer.body:
        assert {"id", "user_id", "created_at", "refreshed_at", "expires_at", "address", "agent"} == session.keys()
        assert all(re.fullmatch(RFC3339, session[name]) for name in ("created_at", "refreshed_at", "expires_at"))
        assert session["created_at"] == session["refreshed_at"] < session["expires_at"]


async def test_a_session_shows_when_it_was_refreshed(api: Api) -> None:
    user = await api.new_user()
    pair = await refresh_pair(api, await log_in(api, user))

    (session,) = (await replace(api, token=pair["access_token"]).get(SESSIONS)).body

    assert session["created_at"] < session["refreshed_at"] < session["expires_at"]


async def test_an_admin_can_list_the_sessions_of_any_user(api: Api) -> None:
    user = await api.new_user()
    pairs = [await log_in(api, user) for _ in range(2)]

    assert [session_of(pair) for pair in reversed(pairs)] == await list_sessions(
        api, f"{SESSIONS}?user_id={user['id']}"
    )
    assert not {session_of(pair) for pair in pairs} & {*await list_sessions(api)}


@pytest.mark.parametrize("roles", ["auditor", "customer", "guest"])
async def test_only_admins_can_list_the_sessions_of_another(api: Api, roles: str) -> None:
    """Lesson 35."""
    caller, user = await api.as_new_user(roles), await api.new_user()
    await log_in(api, user)

    for user_id in (user["id"], NOBODY):
        assert_forbidden(await caller.get(f"{SESSIONS}?user_id={user_id}"))
    assert 1 == len(await list_sessions(caller, f"{SESSIONS}?user_id={caller.user_id}"))


@pytest.mark.parametrize("user_id", ["", "me", "1"])
async def test_sessions_of_a_malformed_user_id_are_refused(api: Api, user_id: str) -> None:
    refused = await api.get(f"{SESSIONS}?user_id={user_id}")

    assert (422, ["query user_id"]) == (refused.status, refused.parameters)


async def test_sessions_are_paged(serve: Serve, settings: Settings) -> None:
    api = await serve(settings)
    user = await api.new_user()
    expected = [session_of(pair) for pair in reversed([await log_in(api, user) for _ in range(5)])]

    found, path = [], f"{SESSIONS}?user_id={user['id']}&limit=2"
    while path:
        answer = await api.get(path)
        found.append([session["id"] for session in answer.body])
        link = re.fullmatch(r'<([^>]+)>; rel="next"', answer.headers.get("Link", ""))
        path = link[1] if link else ""

    assert [expected[:2], expected[2:4], expected[4:]] == found


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "cursor=", "cursor=x"])
async def test_an_invalid_page_of_sessions_is_refused(api: Api, query: str) -> None:
    refused = await api.get(f"{SESSIONS}?{query}")

    assert (422, [f"query {query.partition('=')[0]}"]) == (refused.status, refused.parameters)


async def test_only_sessions_in_force_are_listed(strict: Api, clock: Clock) -> None:
    user = await strict.new_user()
    mine = f"{SESSIONS}?user_id={user['id']}"
    clock.now -= 7_776_000 + 1
    await log_in(strict, user)
    clock.now += 7_776_000 + 1
    assert [] == await list_sessions(strict, mine)  # it has expired

    left, ended, stolen, kept = [await log_in(strict, user) for _ in range(4)]
    assert 4 == len(await list_sessions(strict, mine))
    await post_with_token(strict, left["refresh_token"], LOGOUT)
    await strict.delete(f"{SESSIONS}/{session_of(ended)}")
    await refresh_pair(strict, stolen)
    await post_with_token(strict, stolen["refresh_token"], REFRESH)
    assert [session_of(kept)] == await list_sessions(strict, mine)

    kept = await refresh_pair(strict, kept)
    assert [session_of(kept)] == await list_sessions(strict, mine)
    await revoke(strict, user)
    assert [] == await list_sessions(strict, mine)
    after = await log_in(strict, user)
    assert [session_of(after)] == await list_sessions(strict, mine)
    await strict.post(REVOKE_ALL)
    assert [] == await list_sessions(await strict.logged_in("admin", ADMIN_PASSWORD), mine)


async def test_users_can_end_one_of_their_own_sessions(api: Api) -> None:
    user = await api.new_user(roles="guest")
    one, other = await log_in(api, user), await log_in(api, user)

    answer = await replace(api, token=other["access_token"]).delete(f"{SESSIONS}/{session_of(one)}")

    assert (200, "") == (answer.status, answer.body)
    assert (False, False) == await in_force(api, one)
    assert (True, True) == await in_force(api, other)


async def test_users_can_end_their_current_session(api: Api) -> None:
    pair = await log_in(api, await api.new_user())

    answer = await replace(api, token=pair["access_token"]).delete(f"{SESSIONS}/{session_of(pair)}")

    assert 200 == answer.status
    assert (False, False) == await in_force(api, pair)


async def test_an_admin_can_end_the_session_of_another(api: Api) -> None:
    user = await api.new_user()
    one, other = await log_in(api, user), await log_in(api, user)

    assert 200 == (await api.delete(f"{SESSIONS}/{session_of(one)}")).status

    assert (False, False) == await in_force(api, one)
    assert (True, True) == await in_force(api, other)


async def test_ending_a_session_twice_changes_nothing_more(api: Api, connection: Connection) -> None:
    pair = await log_in(api, await api.new_user())
    path = f"{SESSIONS}/{session_of(pair)}"

    answers = [await api.delete(path) for _ in range(2)]

    assert [(200, "")] * 2 == [(answer.status, answer.body) for answer in answers]
    assert 1 == len(await event_positions(connection, "SessionRevoked", session_of(pair)))


@pytest.mark.parametrize("roles", ["admin", "auditor", "customer", "guest"])
async def test_an_unknown_session_is_not_found(api: Api, roles: str) -> None:
    caller, user = await api.as_new_user(roles), await api.new_user()

    for session_id in (NOBODY, user["id"]):  # the second is an id of another kind
        assert_problem(
            await caller.delete(f"{SESSIONS}/{session_id}"),
            404,
            "resource_not_found",
            "resource_not_found",
            f"session not found: {session_id}",
            detail={"session_id": session_id},
        )


@pytest.mark.parametrize("roles", ["auditor", "customer", "guest"])
async def test_the_session_of_another_looks_unknown(api: Api, roles: str) -> None:
    """Lesson 35."""
    caller, pair = await api.as_new_user(roles), await log_in(api, await api.new_user())
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


async def test_a_malformed_session_id_is_refused(api: Api) -> None:
    refused = await api.delete(f"{SESSIONS}/mine")

    assert (422, ["path id"]) == (refused.status, refused.parameters)


@pytest.mark.parametrize(
    "killed_by", ["revoke-user", "revoke-all", "logout", "end of session", "refresh", "deactivated"]
)
async def test_a_revoked_token_moves_no_money_even_in_the_same_commit_group(
    api: Api, connection: Connection, killed_by: str
) -> None:
    """Every executed transfer precedes the revocation in the log."""
    user = await api.new_user()
    source, destination = await api.new_account(user["id"], balance_cents=1000), await api.new_account()
    pair = await log_in(api, user)
    caller = replace(api, token=pair["access_token"])

    async def kill() -> Response:
        match killed_by:
            case "revoke-user":
                return await api.post(REVOKE_USER, {"user_id": user["id"]})
            case "revoke-all":
                return await api.post(REVOKE_ALL)
            case "logout":
                return await post_with_token(api, pair["refresh_token"], LOGOUT)
            case "refresh":
                return await post_with_token(api, pair["refresh_token"], REFRESH)
            case "end of session":
                return await api.delete(f"{SESSIONS}/{session_of(pair)}")
            case _:
                return await api.put(f"/v1/users/{user['id']}", {**user, "active": False})

    def transfers() -> list[asyncio.Task[Response]]:
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
    assert all(positions[transaction_id] < dead_since for transaction_id in made)
    assert len(made) == await connection.fetchval(
        "SELECT count(*) FROM events WHERE topic = 'MoneyTransferred' AND state->>'kind' = 'transfer'"
    )


@asynccontextmanager
async def proxied_committer(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Proxy]:
    """Run a proxy in front of the database that committers alone use."""
    async with Proxy.to_database(settings) as proxy:

        async def connect_through_proxy(settings: Settings, **options: Any) -> Connection:
            is_committer = "plan_cache_mode" in options
            return await connect(proxy.database_settings(settings) if is_committer else settings, **options)

        monkeypatch.setattr(runtime, "connect", connect_through_proxy)
        yield proxy


@pytest.mark.parametrize("direction", Direction)
async def test_a_login_returns_working_tokens_wherever_the_connection_breaks(
    direction: Direction, serve: Serve, settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if only the response to COMMIT is lost. Only the committer uses the broken connection."""
    async with proxied_committer(settings, monkeypatch) as proxy:
        api = await serve(settings)
        user = await api.new_user()
        for chunk in itertools.count(1):
            proxy.cut_at(direction, chunk)
            pair = await log_in(api, user)
            proxy.heal()
            assert await is_accepted(api, pair)
            pair = await refresh_pair(api, pair)
            assert [session_of(pair)] == await list_sessions(api, f"{SESSIONS}?user_id={user['id']}")
            await revoke(api, user)
            after = await log_in(api, user)
            assert [(False, False), (True, True)] == [await in_force(api, tokens) for tokens in (pair, after)]
            await revoke(api, user)
            if proxy.cuts < chunk:
                break
        await api.client.close()
    assert proxy.cuts >= 1
    assert 2 * (proxy.cuts + 1) == await connection.fetchval(
        "SELECT count(*) FROM events WHERE topic = 'TokensIssued' AND state->>'user_id' = $1", user["id"]
    )


@pytest.mark.parametrize("grace", [0, 10])
async def test_a_refresh_after_a_broken_connection_is_not_reuse(
    grace: int, serve: Serve, settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lesson 22: the service's own retry is not reuse."""
    async with proxied_committer(settings, monkeypatch) as proxy:
        api = await serve(settings.model_copy(update={"ledger_refresh_grace_seconds": grace}))
        pair = await log_in(api)
        for chunk in itertools.count(1):
            proxy.cut_at(Direction.TO_CLIENT, chunk)
            before, pair = pair, await refresh_pair(api, pair)
            assert (False, True) == (await is_accepted(api, before), await is_accepted(api, pair))
            if proxy.cuts < chunk:
                break
        await api.client.close()
    assert proxy.cuts >= 1
    assert proxy.cuts + 1 == len(await event_positions(connection, "TokensRotated", session_of(pair)))


async def test_only_ids_of_tokens_and_sessions_are_stored(api: Api, connection: Connection) -> None:
    """Lesson 31: no token is in any table."""
    first = await log_in(api)
    second = await refresh_pair(api, first)
    tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'ledger'")

    rows = [str(row) for (table,) in tables for row in await connection.fetch(f"SELECT t::text FROM {table} AS t")]
    rows += [str(row) for row in await connection.fetch("SELECT state FROM events")]

    signatures = [pair[name].split(".")[2] for pair in (first, second) for name in ("access_token", "refresh_token")]
    assert [] == [signature for signature in signatures if any(signature in row for row in rows)]
    assert any(str(claims_of(second["access_token"])["jti"]) in row for row in rows)
