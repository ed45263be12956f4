"""A thief with a long-lived session changes nothing sensitive where the operator requires a recent login."""

from dataclasses import replace
from typing import Any

import pytest

from ledger.settings import Settings
from tests.support.controls import ADMIN_PASSWORD, NOBODY, PASSWORD, Api, Response, Serve
from tests.support.machines import machine
from tests.support.token_api import REVOKE_ALL, SESSIONS, Connection, log_in, refresh_pair
from web.routes import ROUTES
from web.routes.route import Route

LIMIT_SECONDS = 600
TOO_OLD = ["login_too_old"]
SENSITIVE = [route for route in ROUTES if route.is_sensitive]
NAMES = [f"{route.method} {route.path}" for route in SENSITIVE]
# Changes that need the password itself, give nobody more than the caller has, or send nothing anywhere else.
OTHERS = {
    "POST /auth/login",
    "POST /auth/token",
    "POST /auth/refresh",
    "POST /auth/logout",
    "POST /auth/cleanup",
    "POST /users/me/password",
    "POST /users/me/totp/enrol",
    "POST /users/me/totp/confirm",
    "POST /users/me/totp/remove",
    "DELETE /webhooks/{id}",
    "POST /webhooks/{id}/disable",
    "POST /webhooks/{id}/enable",
    "POST /webhooks/{id}/redeliver",
    "POST /webhooks/{id}/test",
}
AGE = "UPDATE sessions SET created_at = created_at - make_interval(secs => $1)"


@pytest.fixture
async def admin(serve: Serve, settings: Settings) -> Api:
    return await serve(settings.model_copy(update={"ledger_reauthenticate_seconds": LIMIT_SECONDS}))


async def send(api: Api, route: Route) -> Response:
    """Send a request that changes nothing, whatever the caller may do."""
    return await api.call(route.method, "/v1" + route.path.replace("{id}", NOBODY), {})


def test_every_change_of_users_clients_sessions_and_webhooks_is_sensitive_or_named_here() -> None:
    changes = {
        f"{route.method} {route.path}"
        for route in ROUTES
        if route.method != "GET" and route.path.split("/")[1] in {"users", "clients", "auth", "webhooks"}
    }
    assert changes - OTHERS == {*NAMES}
    assert changes >= OTHERS


@pytest.mark.parametrize("route", SENSITIVE, ids=NAMES)
async def test_a_sensitive_change_needs_a_recent_login(admin: Api, connection: Connection, route: Route) -> None:
    pair = await log_in(admin)
    young = await send(replace(admin, token=pair["access_token"]), route)
    pair = await log_in(admin)
    await connection.execute(AGE, LIMIT_SECONDS - 60.0)
    almost = await send(replace(admin, token=pair["access_token"]), route)
    pair = await log_in(admin)
    await connection.execute(AGE, LIMIT_SECONDS + 1.0)

    refused = await send(replace(admin, token=pair["access_token"]), route)
    newer = await refresh_pair(admin, pair)
    refreshed = await send(replace(admin, token=newer["access_token"]), route)
    again = await send(await admin.logged_in("admin", ADMIN_PASSWORD), route)

    assert [(403, TOO_OLD)] * 2 == [(answer.status, answer.codes) for answer in (refused, refreshed)]
    assert {403} & {answer.status for answer in (young, almost, again)} == set()


async def test_other_requests_of_an_old_session_go_on(admin: Api, connection: Connection) -> None:
    account = await admin.new_account(balance_cents=5)
    other = await admin.new_account()
    await connection.execute(AGE, LIMIT_SECONDS + 1.0)

    assert 200 == (await admin.transfer(account, other, 1)).status
    assert 200 == (await admin.get(SESSIONS)).status


async def test_the_old_session_of_a_user_cannot_end_the_others(admin: Api, connection: Connection) -> None:
    alice = await admin.new_user()
    stolen, present = await log_in(admin, alice), await log_in(admin, alice)
    thief = replace(admin, token=stolen["access_token"])
    sessions = (await thief.get(SESSIONS)).body
    await connection.execute(AGE, LIMIT_SECONDS + 1.0)

    answers = [await thief.delete(f"{SESSIONS}/{session['id']}") for session in sessions]
    refused = await thief.post("/v1/auth/revoke-user", {"user_id": alice["id"]})

    assert [TOO_OLD] * 3 == [answer.codes for answer in (*answers, refused)]
    owner = await admin.logged_in(alice["username"], PASSWORD)
    assert 200 == (await owner.post("/v1/auth/revoke-user", {"user_id": alice["id"]})).status
    assert 401 == (await replace(admin, token=present["access_token"]).get("/")).status


async def test_the_token_of_a_machine_ages_as_well(admin: Api, connection: Connection) -> None:
    api = await machine(admin)
    body: dict[str, Any] = {"active": False}
    user = await admin.new_user()
    assert 200 == (await api.patch(f"/v1/users/{user['id']}", body)).status

    await connection.execute(AGE, LIMIT_SECONDS + 1.0)

    assert TOO_OLD == (await api.patch(f"/v1/users/{user['id']}", body)).codes


async def test_by_default_no_session_is_too_old(api: Api, connection: Connection) -> None:
    await connection.execute(AGE, 300 * 86_400.0)

    assert 200 == (await api.post(REVOKE_ALL)).status
