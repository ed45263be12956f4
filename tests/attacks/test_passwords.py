"""Passwords that attackers try first are refused, and users are not left with a password that others know."""

from dataclasses import replace
from typing import Any

import pytest

from ledger.identity.common_passwords import read_common_passwords
from ledger.settings import Settings
from tests.support.controls import NOBODY, PASSWORD, Api, Response, Serve, user_body
from tests.support.token_api import (
    NOT_ENFORCED,
    SESSIONS,
    Connection,
    Pair,
    can_refresh,
    claims_of,
    in_force,
    is_accepted,
    log_in,
    refresh_pair,
    session_of,
)

OWN_PASSWORD = "/v1/users/me/password"
ANOTHER = "another password of theirs"
COMMON = [
    "password",
    "12345678",
    "Password1",
    "PASSWORD",
    "qwertyuiop",
    " iloveyou ",
    "".join(chr(ord(letter) + 0xFEE0) for letter in "password"),  # full width
    "aaaaaaaa",
    "zzzzzzzzzzzz",
]
NAMES = ["eve-of-may", "Eve-Of-May", "eveofmay", "eve-of-may1", "eve.m@example.com", "123-eve-of-may"]
SERVICE = ["ledger12", "My-Ledger", "LEDGER!!"]


async def change(api: Api, user: dict[str, Any], password: str) -> Response:
    return await api.patch(f"/v1/users/{user['id']}", {"password": password})


async def change_own(api: Api, pair: Pair, current: str, new: str = ANOTHER, **options: Any) -> Response:
    body = {"current_password": current, "password": new}
    return await replace(api, token=pair["access_token"]).post(OWN_PASSWORD, body, **options)


@pytest.mark.parametrize("password", [*COMMON, *NAMES, *SERVICE, " " * 8, "\u2003" * 8])
async def test_no_door_accepts_a_password_that_is_tried_first(api: Api, password: str) -> None:
    names = {"username": "eve-of-may", "email": "eve.m@example.com"}
    refused = await api.post("/v1/users", user_body(**names, password=password))
    eve = await api.new_user(**names)
    pair = await log_in(api, eve)

    for answer in (
        refused,
        await change(api, eve, password),
        await api.put(f"/v1/users/{eve['id']}", {**eve, "password": password}),
        await change_own(api, pair, PASSWORD, password),
    ):
        assert (422, ["validation_error"], ["/password"]) == (answer.status, answer.codes, answer.pointers)
    assert await is_accepted(api, pair)


@pytest.mark.parametrize(
    "password", ["horse and battery", " Ab1!" * 20, "830174562938", "ÄÖÜ straße Ǆ", "🐎🔋🐴🪫🐎🔋🐴🪫"]
)
async def test_a_password_of_any_composition_is_compared_as_it_was_sent(api: Api, password: str) -> None:
    user = await api.new_user(password=password)
    others = {password[:-1], password + " ", password.strip(), password.lower(), password.swapcase(), password[:72]}

    logins = [
        await api.nobody.post("/v1/auth/login", {"username": user["username"], "password": one})
        for one in (password, *sorted(others - {password}))
    ]

    assert [200, *[401] * (len(logins) - 1)] == [answer.status for answer in logins]


async def test_a_digest_that_the_client_made_is_no_password(api: Api) -> None:
    """Its length is not that of a password, and it may be cut short."""
    user = user_body(password_hash="f00dcafe")
    del user["password"]

    assert 201 == (await api.post("/v1/users", user)).status


def test_ten_thousand_common_passwords_are_known() -> None:
    assert len(read_common_passwords()) >= 10_000


async def test_a_user_changes_the_password_and_all_other_sessions_end(api: Api) -> None:
    alice = await api.new_user()
    stolen, present = await log_in(api, alice), await log_in(api, alice)

    changed = await change_own(api, present, PASSWORD)

    assert 200 == changed.status, changed
    assert ((False, False), False) == (await in_force(api, stolen), await is_accepted(api, present))
    assert session_of(present) == session_of(changed.body)
    assert await is_accepted(api, changed.body)
    newer = await refresh_pair(api, changed.body)
    listed = await replace(api, token=newer["access_token"]).get(SESSIONS)
    assert [session_of(present)] == [session["id"] for session in listed.body]
    await api.logged_in(alice["username"], ANOTHER)
    refused = await api.nobody.post("/v1/auth/login", {"username": alice["username"], "password": PASSWORD})
    assert 401 == refused.status


async def test_a_thief_with_a_token_cannot_change_the_password_nor_guess_it(serve: Serve, settings: Settings) -> None:
    api = await serve(settings.model_copy(update={"ledger_login_attempts_per_account": 3}))
    alice = await api.new_user()
    await log_in(api, alice)
    pair = await log_in(api, alice)

    answers = [await change_own(api, pair, f"a wrong password {number}") for number in range(5)]

    assert [422, 422, 422, 429, 429] == [answer.status for answer in answers]
    assert ["/current_password"] == answers[0].pointers
    assert "Retry-After" in answers[3].headers
    assert await is_accepted(api, pair)


async def test_without_enforcement_other_sessions_end_at_their_next_refresh(serve: Serve, settings: Settings) -> None:
    api = await serve(settings.model_copy(update=NOT_ENFORCED))
    alice = await api.new_user()
    stolen, present = await log_in(api, alice), await log_in(api, alice)

    changed = await change_own(api, present, PASSWORD)

    assert 200 == changed.status
    assert (False, True) == (await can_refresh(api, stolen), await can_refresh(api, changed.body))


async def test_a_user_sees_from_where_each_session_is_used_and_ends_one(api: Api, connection: Connection) -> None:
    alice = await api.new_user()
    login = {"username": alice["username"], "password": PASSWORD}
    opened = [
        (await api.nobody.post("/v1/auth/login", login, headers={"User-Agent": agent})).body
        for agent in ("a phone", "a thief" + "x" * 300)
    ]
    as_alice = replace(api, token=opened[0]["access_token"])

    stranger, own = (await as_alice.get(SESSIONS)).body

    assert ("127.0.0.1", "a phone") == (own["address"], own["agent"])
    assert 200 == len(stranger["agent"])
    assert 200 == (await as_alice.delete(f"{SESSIONS}/{stranger['id']}")).status
    assert [False, True] == [await is_accepted(api, pair) for pair in reversed(opened)]
    assert 404 == (await as_alice.delete(f"{SESSIONS}/{NOBODY}")).status
    admins = claims_of(api.token or "")["sid"]
    assert 404 == (await as_alice.delete(f"{SESSIONS}/{admins}")).status
    await api.post("/v1/auth/cleanup")
    kept = {str(row[0]) for row in await connection.fetch("SELECT session_id FROM session_clients")}
    assert {own["id"], admins} == kept
