"""Log in, refresh and log out, for the tests of tokens over HTTP."""

import base64
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg

from ledger.settings import Settings
from tests.support.controls import ADMIN_PASSWORD, CATALOGUED, PASSWORD, Api, Response

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


LEEWAY = 60


RFC3339 = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"


NO_GRACE = {"ledger_refresh_grace_seconds": 0}


NOT_ENFORCED = {"jwt_enable_revoked_tokens": False}


async def log_in(api: Api, user: dict[str, Any] | None = None) -> Pair:
    """Log in as this user, or as the first admin; return the pair of tokens."""
    names = {"username": user["username"] if user else "admin", "password": PASSWORD if user else ADMIN_PASSWORD}
    answer = await api.nobody.post(LOGIN, names)
    assert 200 == answer.status, answer
    return dict(answer.body)


async def post_with_token(api: Api, token: str, path: str, key: str | None = None) -> Response:
    """Send a request without a body; `key` is its `Idempotency-Key`."""
    headers = {} if key is None else {"Idempotency-Key": key}
    return await replace(api, token=token).post(path, headers=headers)


async def refresh_pair(api: Api, pair: Pair, key: str | None = None) -> Pair:
    answer = await post_with_token(api, pair["refresh_token"], REFRESH, key)
    assert 200 == answer.status, answer
    return dict(answer.body)


async def is_accepted(api: Api, pair: Pair) -> bool:
    """Return whether the access token is accepted."""
    answer = await replace(api, token=pair["access_token"]).get("/")
    assert answer.status in {200, 401}
    return answer.status == 200


async def can_refresh(api: Api, pair: Pair, key: str | None = None) -> bool:
    """Return whether the refresh token can be exchanged."""
    answer = await post_with_token(api, pair["refresh_token"], REFRESH, key)
    assert answer.status in {200, 401}
    return answer.status == 200


async def in_force(api: Api, pair: Pair) -> tuple[bool, bool]:
    """Return whether the access token is accepted, and then whether the refresh token is."""
    return await is_accepted(api, pair), await can_refresh(api, pair)


async def revoke(api: Api, user: dict[str, Any]) -> None:
    answer = await api.post(REVOKE_USER, {"user_id": user["id"]})
    assert (200, "") == (answer.status, answer.body)


async def event_positions(connection: Connection, topic: str, stream_id: str | UUID | None = None) -> list[int]:
    """Return the positions of the events of this topic."""
    query = "SELECT position FROM events WHERE topic = $1 AND ($2::uuid IS NULL OR stream_id = $2) ORDER BY position"
    return [row[0] for row in await connection.fetch(query, topic, stream_id)]


async def events(connection: Connection) -> int:
    return int(await connection.fetchval("SELECT count(*) FROM stored_events"))


def claims_of(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))


def session_of(pair: Pair) -> str:
    return str(claims_of(pair["access_token"])["sid"])


def assert_problem(answer: Response, status: int, code: str, kind: str, message: str, **members: Any) -> None:
    """Assert that the body is a problem with this single error."""
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


def assert_wrong_credentials(answer: Response) -> None:
    assert_problem(answer, 401, "authentication_wrong_credentials", "authentication_error", "wrong credentials")
    assert "Bearer" == answer.headers["WWW-Authenticate"]


def assert_forbidden(answer: Response) -> None:
    assert_problem(answer, 403, "authentication_forbidden", "authentication_error", "forbidden")


async def remove_access(api: Api, user: dict[str, Any], how: str) -> None:
    path = f"/v1/users/{user['id']}"
    changes: dict[str, dict[str, Any]] = {
        "deactivated": {"active": False},
        "demoted": {"roles": "customer"},
        "given another password": {"password": "another password"},
    }
    answer = await (api.delete(path) if how == "deleted" else api.put(path, {**user, **changes[how]}))
    assert 200 == answer.status, answer
