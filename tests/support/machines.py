"""Machine clients over HTTP: an admin registers one, and it gets a token with its secret."""

import base64
from dataclasses import replace
from typing import Any

from tests.support.controls import Api, Response
from web.http.scopes import SCOPES

TOKEN = "/v1/auth/token"
ALL_SCOPES = " ".join(SCOPES)


async def register(api: Api, scope: str = ALL_SCOPES, roles: str = "admin", **members: Any) -> dict[str, Any]:
    answer = await api.post("/v1/clients", {"name": "a machine", "roles": roles, "scope": scope, **members})
    assert 201 == answer.status, answer
    return dict(answer.body)


async def ask(api: Api, client: dict[str, Any], **parameters: str) -> Response:
    """Ask for a token, with HTTP Basic."""
    basic = base64.b64encode(f"{client['id']}:{client['client_secret']}".encode()).decode()
    form = {"grant_type": "client_credentials", **parameters}
    return await api.nobody.post(TOKEN, data=form, headers={"Authorization": f"Basic {basic}"})


async def as_machine(api: Api, client: dict[str, Any], **parameters: str) -> Api:
    answer = await ask(api, client, **parameters)
    assert 200 == answer.status, answer
    return replace(api, token=answer.body["access_token"])


async def machine(api: Api, scope: str = ALL_SCOPES, roles: str = "admin", **members: Any) -> Api:
    return await as_machine(api, await register(api, scope, roles, **members))
