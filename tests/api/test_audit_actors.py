"""The audit of actors: commands of a user, session or token, executed or refused, newest first."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from ledger.settings import Settings
from tests.support.controls import NOBODY, PASSWORD, Api, Clock, Response, new_id, user_body

Serve = Callable[[Settings], Awaitable[Api]]

MEMBERS = {
    "command_id",
    "name",
    "user_id",
    "session_id",
    "jti",
    "request_id",
    "outcome",
    "result",
    "recorded_at",
}


@dataclass(frozen=True)
class Session:
    """A user's session, with one of its pairs of tokens."""

    api: Api
    access: str
    refresh: str

    @property
    def id(self) -> str:
        return str(claims_of(self.access)["sid"])

    @property
    def jti(self) -> str:
        return str(claims_of(self.access)["jti"])

    @property
    def refresh_jti(self) -> str:
        return str(claims_of(self.refresh)["jti"])

    @property
    def caller(self) -> Api:
        return replace(self.api, token=self.access)

    async def post(self, path: str) -> Response:
        """Send a request with the refresh token."""
        return await replace(self.api, token=self.refresh).post(path)

    async def refreshed(self) -> "Session":
        answer = await self.post("/v1/auth/refresh")
        assert 200 == answer.status
        return Session(self.api, answer.body["access_token"], answer.body["refresh_token"])


def claims_of(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


async def session_of(api: Api, user: dict[str, Any]) -> Session:
    answer = await api.nobody.post("/v1/auth/login", {"username": user["username"], "password": PASSWORD})
    assert 200 == answer.status
    return Session(api, answer.body["access_token"], answer.body["refresh_token"])


async def list_commands(api: Api, actor_id: object, query: str = "") -> list[dict[str, Any]]:
    answer = await api.get(f"/v1/audit/actors/{actor_id}{query}")
    assert 200 == answer.status, answer
    commands: list[dict[str, Any]] = answer.body
    return commands


async def pages(api: Api, path: str) -> list[list[dict[str, Any]]]:
    """Return all pages, following the links."""
    found = []
    following: str | None = path
    while following is not None:
        answer = await api.get(following)
        assert 200 == answer.status, answer
        found.append(answer.body)
        link = answer.headers.get("Link")
        assert link is None or link.endswith('>; rel="next"')
        following = None if link is None else link.removeprefix("<").removesuffix('>; rel="next"')
    return found


def ids(commands: list[dict[str, Any]]) -> list[str]:
    return [command["command_id"] for command in commands]


def summaries(commands: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(command["name"], command["outcome"]) for command in commands]


# What is recorded


async def test_executed_and_refused_commands_of_a_user_are_listed_newest_first(api: Api) -> None:
    user = await api.new_user()
    session = await session_of(api, user)
    source, destination = await api.new_account(user["id"], 100), await api.new_account()

    answers = [await session.caller.transfer(source, destination, amount) for amount in (60, 60)]
    refused, accepted, login = await list_commands(api, user["id"])

    assert [200, 422] == [answer.status for answer in answers]
    assert [("TransferMoney", "refused"), ("TransferMoney", "accepted"), ("StartSession", "accepted")] == summaries(
        [refused, accepted, login]
    )
    assert ["transfer_insufficient_funds"] == [refusal["code"] for refusal in refused["result"]]
    assert answers[0].body["id"] == accepted["result"]["id"]


async def test_a_command_names_its_user_token_and_request(api: Api) -> None:
    """Lesson 32: the request id that the client received identifies the command."""
    user = await api.new_user()
    session = await session_of(api, user)
    source, destination = await api.new_account(user["id"], 100), await api.new_account()

    answer = await session.caller.transfer(source, destination, 1)
    command = (await list_commands(api, user["id"]))[0]

    assert MEMBERS == command.keys()
    assert (user["id"], session.id, session.jti) == (command["user_id"], command["session_id"], command["jti"])
    assert answer.headers["X-Request-Id"] == command["request_id"]
    assert answer.body["created_at"] == command["recorded_at"]


async def test_a_session_and_a_token_have_their_own_commands_only(api: Api) -> None:
    user = await api.new_user()
    one, other = [await session_of(api, user) for _ in range(2)]
    source, destination = await api.new_account(user["id"], 100), await api.new_account()

    done = [
        (await session.caller.transfer(source, destination, amount)).headers["X-Request-Id"]
        for session, amount in [(one, 1), (other, 2), (one, 1000)]
    ]
    by_one, by_other = await list_commands(api, one.id), await list_commands(api, other.id)
    by_token = await list_commands(api, one.jti)

    assert [done[2], done[0]] == [command["request_id"] for command in by_token]
    assert [("TransferMoney", "refused"), ("TransferMoney", "accepted"), ("StartSession", "accepted")] == summaries(
        by_one
    )
    assert [("TransferMoney", "accepted"), ("StartSession", "accepted")] == summaries(by_other)
    assert {one.id} == {command["session_id"] for command in by_one}
    assert {one.jti} == {command["jti"] for command in by_token}
    assert sorted(ids(await list_commands(api, user["id"]))) == sorted(ids([*by_one, *by_other]))


async def test_commands_before_a_refresh_belong_to_the_session_and_not_to_the_next_token(api: Api) -> None:
    user = await api.new_user()
    first = await session_of(api, user)
    source, destination = await api.new_account(user["id"], 100), await api.new_account()
    await first.caller.transfer(source, destination, 1)

    second = await first.refreshed()
    await second.caller.transfer(source, destination, 2)

    assert first.id == second.id
    assert [("TransferMoney", "accepted")] == summaries(await list_commands(api, first.jti))
    assert [("TransferMoney", "accepted")] == summaries(await list_commands(api, second.jti))
    assert [("RefreshTokens", "accepted")] == summaries(await list_commands(api, first.refresh_jti))
    assert ["TransferMoney", "RefreshTokens", "TransferMoney", "StartSession"] == [
        command["name"] for command in await list_commands(api, first.id)
    ]


async def test_login_refreshes_and_the_reuse_that_ended_a_session_are_listed(serve: Serve, settings: Settings) -> None:
    """Lesson 23: the refused refresh is recorded."""
    api = await serve(settings.model_copy(update={"ledger_refresh_grace_seconds": 0}))
    first = await session_of(api, await api.new_user())
    second = await first.refreshed()

    reused, logout = await first.post("/v1/auth/refresh"), await second.post("/v1/auth/logout")

    assert (401, 401) == (reused.status, logout.status)
    life = await list_commands(api, first.id)
    assert [
        ("LogOut", "refused"),
        ("RefreshTokens", "refused"),
        ("RefreshTokens", "accepted"),
        ("StartSession", "accepted"),
    ] == summaries(life)
    assert [second.refresh_jti, first.refresh_jti, first.refresh_jti, None] == [command["jti"] for command in life]
    assert ["authentication_wrong_credentials"] == [refusal["code"] for refusal in life[1]["result"]]
    assert reused.headers["X-Request-Id"] == life[1]["request_id"]


async def test_a_logout_is_listed(api: Api) -> None:
    session = await session_of(api, await api.new_user())

    assert 200 == (await session.post("/v1/auth/logout")).status

    assert [("LogOut", "accepted"), ("StartSession", "accepted")] == summaries(await list_commands(api, session.id))


async def test_commands_of_others_about_a_user_are_not_listed(api: Api) -> None:
    user = await api.new_user()

    await api.post("/v1/auth/revoke-user", {"user_id": user["id"]})
    await api.put(f"/v1/users/{user['id']}", {**user, "active": False})

    assert [] == await list_commands(api, user["id"])
    admin = await list_commands(api, claims_of(str(api.token))["sub"])
    assert ["UpdateUser", "RevokeUserTokens", "CreateUser", "StartSession"] == [command["name"] for command in admin]


async def test_a_request_repeated_under_its_key_is_one_command(api: Api) -> None:
    user = await api.new_user()
    session = await session_of(api, user)
    source, destination = await api.new_account(user["id"], 100), await api.new_account()

    for _ in range(2):
        await session.caller.transfer(source, destination, 1, headers={"Idempotency-Key": "once"})

    assert [("TransferMoney", "accepted")] == summaries(await list_commands(api, session.jti))


async def test_commands_of_a_deleted_user_stay_listed(api: Api) -> None:
    user = await api.new_user()
    session = await session_of(api, user)
    await session.caller.post("/v1/auth/revoke-user", {"user_id": user["id"]})

    assert 200 == (await api.delete(f"/v1/users/{user['id']}")).status

    did = [("RevokeUserTokens", "accepted"), ("StartSession", "accepted")]
    assert [did, did, did[:1]] == [
        summaries(await list_commands(api, some)) for some in (user["id"], session.id, session.jti)
    ]


async def test_commands_of_a_purged_token_are_found_by_its_session(
    serve: Serve, settings: Settings, clock: Clock
) -> None:
    brief = {"jwt_expire_access_token_seconds": 1, "jwt_expire_refresh_token_seconds": 1}
    quick = settings.model_copy(update={**brief, "jwt_validation_leeway_seconds": 0})
    api = await serve(settings)
    hasty = replace(await serve(quick), token=api.token)
    session = await session_of(hasty, await api.new_user())
    assert 200 == (await session.caller.delete(f"/v1/auth/sessions/{session.id}")).status

    clock.now += 10
    assert {"deleted_tokens": 2} == (await hasty.post("/v1/auth/cleanup")).body
    ended, started = await list_commands(api, session.id)
    assert [("EndSession", "accepted"), ("StartSession", "accepted")] == summaries([ended, started])
    assert [session.jti, None] == [ended["jti"], started["jti"]]


# Pages


async def busy(api: Api, count: int) -> Session:
    """Return a session that has sent `count` concurrent commands, many with the same time."""
    user = await api.new_user()
    session = await session_of(api, user)
    source, destination = await api.new_account(user["id"], count // 2), await api.new_account()
    await asyncio.gather(*(session.caller.transfer(source, destination, 1) for _ in range(count)))
    return session


@pytest.mark.parametrize("limit", [1, 7, 41, 200])
async def test_pages_lose_nothing_and_repeat_nothing(api: Api, limit: int) -> None:
    """Lesson 36. Commands of one commit group share a time, and a page can end between them."""
    session = await busy(api, 40)
    whole = await list_commands(api, session.id)

    found = await pages(api, f"/v1/audit/actors/{session.id}?limit={limit}")

    assert 41 == len(set(ids(whole)))
    assert len({command["recorded_at"] for command in whole}) < 41
    assert [whole[start : start + limit] for start in range(0, 41, limit)] == found
    assert sorted(whole, key=lambda command: (command["recorded_at"], UUID(command["command_id"]))) == whole[::-1]
    assert {"accepted": 21, "refused": 20} == {
        outcome: sum(command["outcome"] == outcome for command in whole) for outcome in ("accepted", "refused")
    }


async def test_new_commands_do_not_change_the_following_pages(api: Api) -> None:
    session = await busy(api, 8)
    before = await list_commands(api, session.id)
    first = await api.get(f"/v1/audit/actors/{session.id}?limit=4")

    await session.caller.transfer(NOBODY, NOBODY, 1)
    link = first.headers["Link"].removeprefix("<").removesuffix('>; rel="next"')

    assert before == first.body + [command for page in await pages(api, link) for command in page]


async def test_the_last_page_has_no_link(api: Api) -> None:
    session = await session_of(api, await api.new_user())

    answers = [await api.get(f"/v1/audit/actors/{session.id}{query}") for query in ("", "?limit=1", "?limit=200")]

    assert [1, 1, 1] == [len(answer.body) for answer in answers]
    assert not any("Link" in answer.headers for answer in answers)


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "1.0", "many", ""])
async def test_a_page_has_1_to_1000_commands(api: Api, limit: str) -> None:
    """Lesson 36."""
    actor = claims_of(str(api.token))["sub"]

    refused = await api.get(f"/v1/audit/actors/{actor}", params={"limit": limit})

    assert (422, ["query limit"]) == (refused.status, refused.parameters)


# Access


@pytest.mark.parametrize(("roles", "status"), [("admin", 200), ("auditor", 200), ("customer", 403), ("guest", 403)])
async def test_only_admins_and_auditors_can_read_commands(api: Api, roles: str, status: int) -> None:
    """Lesson 35: other roles cannot even read their own commands."""
    caller = await api.as_new_user(roles)

    answers = [await caller.get(f"/v1/audit/actors/{some}") for some in ids_of(caller)]

    assert [status] * 3 == [answer.status for answer in answers]
    assert 401 == (await api.nobody.get(f"/v1/audit/actors/{caller.user_id}")).status


def ids_of(caller: Api) -> list[str]:
    """Return the ids of the caller, the session and the token."""
    claims = claims_of(str(caller.token))
    return [str(claims[name]) for name in ("sub", "sid", "jti")]


@pytest.mark.parametrize("roles", ["customer", "guest"])
async def test_unauthorized_callers_do_not_learn_who_exists(api: Api, roles: str) -> None:
    caller = await api.as_new_user(roles)

    answers = [await caller.get(f"/v1/audit/actors/{some}") for some in (NOBODY, "nobody", f"{NOBODY}?cursor=x")]

    assert [(403, ["authentication_forbidden"])] * 3 == [(answer.status, answer.codes) for answer in answers]


async def test_an_event_leads_to_its_command(api: Api) -> None:
    source, destination = await api.new_account(balance_cents=1), await api.new_account()
    transfer = (await api.transfer(source, destination, 1)).body
    (event,) = (await api.get(f"/v1/events?stream={transfer['id']}")).body

    found = await api.get(f"/v1/audit/commands/{event['command_id']}")
    admin = (await list_commands(api, found.body["user_id"], "?limit=1"))[0]

    assert (200, admin) == (found.status, found.body)
    assert transfer["id"] == found.body["result"]["id"]


async def test_an_unknown_command_is_not_found(api: Api) -> None:
    refused = await api.get(f"/v1/audit/commands/{NOBODY}")

    assert (404, ["resource_not_found"]) == (refused.status, refused.codes)
    assert {"command_id": NOBODY} == refused.body["errors"][0]["detail"]


async def test_an_unknown_actor_is_not_found(api: Api) -> None:
    refused = await api.get(f"/v1/audit/actors/{NOBODY}")

    assert (404, ["resource_not_found"]) == (refused.status, refused.codes)
    assert {"actor_id": NOBODY} == refused.body["errors"][0]["detail"]


async def test_an_id_that_is_not_an_actors_is_not_found(api: Api) -> None:
    """An empty list would mean an actor that did nothing."""
    source, destination = await api.new_account(balance_cents=1), await api.new_account()
    transfer = (await api.transfer(source, destination, 1)).body

    answers = [await api.get(f"/v1/audit/actors/{thing['id']}") for thing in (source, transfer)]

    assert [404, 404] == [answer.status for answer in answers]


@pytest.mark.parametrize("some", ["nobody", "1", NOBODY[:-1], NOBODY.replace("-", "", 1)])
async def test_a_malformed_id_is_refused(api: Api, some: str) -> None:
    refused = await api.get(f"/v1/audit/actors/{some}")

    assert (422, ["validation_error"], ["path id"]) == (refused.status, refused.codes, refused.parameters)


async def test_no_secret_is_listed(api: Api, connection: "asyncpg.Connection[Any]") -> None:
    """Lesson 31."""
    admin = await session_of(api, await api.new_user(roles="admin"))
    body = user_body(id=str(new_id()), password="the first password", password_salt="a pinch of salt")
    key = {"Idempotency-Key": "the-key-of-the-request"}
    user = (await admin.caller.post("/v1/users", body, headers=key)).body
    await admin.caller.post("/v1/users", body)
    await admin.caller.put(f"/v1/users/{user['id']}", {**user, "password": "the second password"})
    following = await admin.refreshed()
    hashes = [row["hash"] for row in await connection.fetch("SELECT hash FROM credentials")]

    actor = claims_of(admin.access)["sub"]
    found = json.dumps([await list_commands(api, some) for some in (actor, admin.id, admin.jti, admin.refresh_jti)])

    tokens = [admin.access, admin.refresh, following.access, following.refresh]
    signatures = [token.rsplit(".", 1)[1] for token in tokens]
    sent = ["the first password", "the second password", "a pinch of salt", "the-key-of-the-request", PASSWORD]
    assert [] == [secret for secret in [*tokens, *signatures, *sent, *hashes, "argon2"] if secret in found]
    assert {"CreateUser", "UpdateUser", "RefreshTokens", "StartSession"} <= {
        command["name"] for command in await list_commands(api, actor)
    }
