"""A token that is not valid is refused before the body says anything: not even its size or its form is judged."""

import asyncio
import time
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from ledger.identity.keyring import load_keyring
from ledger.identity.tokens import TokenType, create_signer
from ledger.settings import Settings
from tests.support.controls import PASSWORD, Api, Serve
from tests.support.token_api import LOGOUT, NOT_ENFORCED, claims_of, log_in, post_with_token
from web.auth import SMALL_BODY_BYTES
from web.routes import ROUTES
from web.routes.route import Route

WITH_BODY = [route for route in ROUTES if route.access.roles is not None and route.operation.request_model is not None]
NAMES = [f"{route.method} {route.path}" for route in WITH_BODY]
JSON = {"Content-Type": "application/json"}
WRONG = ["authentication_wrong_credentials"]
BODIES: dict[str, tuple[bytes, dict[str, str]]] = {
    "malformed": (b"{", JSON),
    "empty": (b"{}", JSON),
    "unknown member": (b'{"unknown": 1}', JSON),
    "no JSON": (b"<a/>", {"Content-Type": "text/xml"}),
    "too large": (b" " * 900_000, JSON),
    "with a key": (b"{}", {**JSON, "Idempotency-Key": "a key"}),
    "with a bad key": (b"{}", {**JSON, "Idempotency-Key": "two words"}),
}


def path_of(route: Route, user_id: str) -> str:
    return "/v1" + route.path.replace("{id}", user_id).replace("{name}", "accounts")


async def end_tokens(api: Api, settings: Settings) -> dict[str, str]:
    """Return access tokens of admins by the reason for which they are no longer valid."""
    revoked, left, gone, expired = [await api.new_user(roles="admin") for _ in range(4)]
    pairs = [await log_in(api, user) for user in (revoked, left, gone, expired)]
    await api.post("/v1/auth/revoke-user", {"user_id": revoked["id"]})
    assert 200 == (await post_with_token(api, pairs[1]["refresh_token"], LOGOUT)).status
    assert 200 == (await api.patch(f"/v1/users/{gone['id']}", {"active": False})).status
    signer = create_signer(settings, load_keyring(settings))
    claims = signer.verify(pairs[3]["access_token"], TokenType.ACCESS).claims
    ends = int(time.time()) - 3600
    names = ("revoked", "logged out", "deactivated")
    tokens = {name: pair["access_token"] for name, pair in zip(names, pairs, strict=False)}
    return {**tokens, "expired": signer.sign(msgspec.structs.replace(claims, iat=ends - 60, exp=ends))}


def test_most_routes_that_change_something_have_a_body() -> None:
    assert {"POST /transactions/transfer", "PATCH /users/{id}", "POST /users/me/password"} < {*NAMES}


@pytest.mark.parametrize("route", WITH_BODY, ids=NAMES)
async def test_a_dead_token_learns_nothing_from_its_body(api: Api, settings: Settings, route: Route) -> None:
    user = await api.new_user()
    tokens = await end_tokens(api, settings)
    found: dict[tuple[str, str], Any] = {}

    for reason, token in tokens.items():
        for name, (body, headers) in BODIES.items():
            caller = replace(api, token=token)
            answer = await caller.call(route.method, path_of(route, user["id"]), data=body, headers=headers)
            found[reason, name] = answer.status, answer.codes

    assert dict.fromkeys(found, (401, WRONG)) == found
    valid = await api.call(route.method, path_of(route, user["id"]), data=b"{", headers=JSON)
    assert 400 == valid.status


@pytest.mark.parametrize("length", [f"Content-Length: {SMALL_BODY_BYTES + 1}", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("route", WITH_BODY, ids=NAMES)
async def test_a_large_body_is_not_even_awaited(api: Api, route: Route, length: str) -> None:
    """Without the body, a service that read it first would have nothing to answer."""
    pair = await log_in(api, await api.new_user(roles="admin"))
    await post_with_token(api, pair["refresh_token"], LOGOUT)
    url, path = api.client.make_url("/"), path_of(route, claims_of(pair["access_token"])["sub"])
    head = (
        f"{route.method} {path} HTTP/1.1\r\nHost: ledger\r\n{length}\r\n"
        f"Content-Type: application/json\r\nAuthorization: Bearer {pair['access_token']}\r\n\r\n"
    )

    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(head.encode())
    async with asyncio.timeout(5):  # half of the time for a body
        status = await reader.readline()
    writer.close()

    assert b"401" in status


async def test_without_revocation_a_deactivated_user_learns_nothing_either(serve: Serve, settings: Settings) -> None:
    api = await serve(settings.model_copy(update=NOT_ENFORCED))
    user = await api.new_user()
    pair = await log_in(api, user)
    assert 200 == (await api.patch(f"/v1/users/{user['id']}", {"active": False, "password": PASSWORD})).status

    transfers = replace(api, token=pair["access_token"])
    answers = [
        await transfers.call("POST", "/v1/transactions/transfer", data=body, headers=headers)
        for body, headers in BODIES.values()
    ]

    assert [401] * len(BODIES) == [answer.status for answer in answers]
