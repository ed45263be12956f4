"""The access matrix: every route, with every role, for own, other users' and unknown resources."""

import base64
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

import asyncpg
import msgspec
import pytest

from ledger.identity.keyring import load_keyring
from ledger.identity.tokens import Signer, TokenType, create_signer
from ledger.settings import Settings
from tests.support.controls import ADMIN_PASSWORD, PASSWORD, Api, Response, new_id, transfer_body, user_body
from tests.support.processes import until
from web.routes import ROUTES, UNVERSIONED, VERSIONS
from web.routes.route import Route

Serve = Callable[[Settings], Awaitable[Api]]
Connection: TypeAlias = "asyncpg.Connection[Any]"

PUBLIC, ACCESS, REFRESH = "public", "access token", "refresh token"
SECRET = "a machine's secret"  # `tests/attacks/test_machines.py` has it
ROLES = ("guest", "customer", "auditor", "admin")  # in this order: an admin's requests can affect all others


class Statuses(NamedTuple):
    """The status of the response for each role."""

    admin: int
    auditor: int
    customer: int
    guest: int


class Row(NamedTuple):
    """The token that a route needs, and its statuses for own, other users' and unknown resources.

    `others` is None if the route concerns no owned resource. An unknown resource gets the status of another user's,
    unless that is a success: then it gets `missing`.
    """

    token: str
    own: Statuses
    others: Statuses | None = None
    missing: int = 404


ALL = Statuses(200, 200, 200, 200)
ADMINS = Statuses(200, 403, 403, 403)
ADMINS_CREATE = Statuses(201, 403, 403, 403)
AUDITORS_TOO = Statuses(200, 200, 403, 403)
NOT_GUESTS = Statuses(200, 200, 200, 403)
READERS_OF_OTHERS = Statuses(200, 200, 404, 403)
UNSEALED_OWN = Statuses(409, 409, 409, 403)  # authorized, but there is no sealing key
UNSEALED_OTHERS = Statuses(409, 409, 404, 403)
PAYING = Row(ACCESS, Statuses(200, 403, 200, 403), Statuses(200, 403, 422, 403), missing=422)
DENIALS = {403, 404, 422}
WEBHOOK = {"url": "https://127.0.0.1:9/hooks", "topics": ["PeriodClosed"]}
CLIENT = {"name": "a machine", "roles": "admin", "scope": "accounts:read"}

# Auditors read everything and change nothing. A resource that the caller may not see is unknown (404). A visible
# resource, or an action that the role never has, is forbidden (403).
TABLE = {
    ("GET", "/"): Row(ACCESS, ALL),
    ("GET", "/.well-known/jwks.json"): Row(PUBLIC, ALL),
    ("GET", "/.well-known/ledger-seal.json"): Row(PUBLIC, ALL),
    ("GET", "/openapi.json"): Row(PUBLIC, ALL),
    ("GET", "/asyncapi.json"): Row(PUBLIC, ALL),
    ("GET", "/docs"): Row(PUBLIC, ALL),
    ("GET", "/docs/{name}"): Row(PUBLIC, ALL),
    ("GET", "/errors"): Row(PUBLIC, ALL),
    ("GET", "/errors/{code}"): Row(PUBLIC, ALL),
    ("GET", "/metrics"): Row(ACCESS, AUDITORS_TOO),
    ("GET", "/health"): Row(PUBLIC, ALL),
    ("GET", "/livez"): Row(PUBLIC, ALL),
    ("GET", "/readyz"): Row(PUBLIC, ALL),
    ("GET", "/version"): Row(PUBLIC, ALL),
    ("POST", "/auth/login"): Row(PUBLIC, ALL),
    ("POST", "/auth/token"): Row(SECRET, Statuses(400, 400, 400, 400)),
    ("GET", "/clients"): Row(ACCESS, ADMINS),
    ("POST", "/clients"): Row(ACCESS, ADMINS_CREATE),
    ("GET", "/clients/{id}"): Row(ACCESS, ADMINS),
    ("PATCH", "/clients/{id}"): Row(ACCESS, ADMINS),
    ("DELETE", "/clients/{id}"): Row(ACCESS, ADMINS),
    ("POST", "/clients/{id}/secrets"): Row(ACCESS, ADMINS),
    ("POST", "/auth/refresh"): Row(REFRESH, ALL),
    ("POST", "/auth/logout"): Row(REFRESH, ALL),
    ("POST", "/auth/revoke-user"): Row(ACCESS, ALL, ADMINS),
    ("POST", "/auth/revoke-all"): Row(ACCESS, ADMINS),
    ("POST", "/auth/cleanup"): Row(ACCESS, ADMINS),
    ("GET", "/auth/sessions"): Row(ACCESS, ALL, ADMINS, missing=200),  # an unknown user has no sessions
    ("DELETE", "/auth/sessions/{id}"): Row(ACCESS, ALL, Statuses(200, 404, 404, 404)),
    ("GET", "/monitors"): Row(ACCESS, ADMINS),
    ("POST", "/monitors"): Row(ACCESS, ADMINS_CREATE, ADMINS_CREATE),
    ("GET", "/monitors/{id}"): Row(ACCESS, ADMINS),
    ("DELETE", "/monitors/{id}"): Row(ACCESS, ADMINS),
    ("GET", "/webhooks"): Row(ACCESS, ADMINS),
    ("POST", "/webhooks"): Row(ACCESS, ADMINS_CREATE),
    ("GET", "/webhooks/{id}"): Row(ACCESS, ADMINS),
    ("PATCH", "/webhooks/{id}"): Row(ACCESS, ADMINS),
    ("DELETE", "/webhooks/{id}"): Row(ACCESS, ADMINS),
    ("POST", "/webhooks/{id}/rotate-secret"): Row(ACCESS, ADMINS),
    ("POST", "/webhooks/{id}/disable"): Row(ACCESS, ADMINS),
    ("POST", "/webhooks/{id}/enable"): Row(ACCESS, ADMINS),
    ("POST", "/webhooks/{id}/redeliver"): Row(ACCESS, ADMINS),
    ("POST", "/webhooks/{id}/test"): Row(ACCESS, ADMINS),
    ("GET", "/webhooks/{id}/deliveries"): Row(ACCESS, ADMINS),
    ("GET", "/webhooks/{id}/progress"): Row(ACCESS, ADMINS),
    ("GET", "/audit/actors/{id}"): Row(ACCESS, AUDITORS_TOO, AUDITORS_TOO),
    ("GET", "/audit/commands/{id}"): Row(ACCESS, AUDITORS_TOO, AUDITORS_TOO),
    ("GET", "/audit/verify"): Row(ACCESS, AUDITORS_TOO),
    ("POST", "/audit/verify"): Row(ACCESS, Statuses(202, 202, 403, 403)),
    ("POST", "/audit/verify/cancel"): Row(ACCESS, Statuses(409, 409, 403, 403)),  # none runs
    ("GET", "/projections"): Row(ACCESS, AUDITORS_TOO),
    ("GET", "/projections/{name}"): Row(ACCESS, AUDITORS_TOO),
    ("POST", "/projections/{name}/rebuild"): Row(ACCESS, Statuses(202, 403, 403, 403)),
    ("POST", "/projections/{name}/rebuild/swap"): Row(ACCESS, Statuses(409, 403, 403, 403)),  # none was compared
    ("POST", "/projections/{name}/rebuild/cancel"): Row(ACCESS, Statuses(409, 403, 403, 403)),
    ("GET", "/users"): Row(ACCESS, AUDITORS_TOO),
    ("POST", "/users"): Row(ACCESS, ADMINS_CREATE),
    ("GET", "/users/{id}"): Row(ACCESS, ALL, Statuses(200, 200, 404, 404)),
    ("PUT", "/users/{id}"): Row(ACCESS, ADMINS, ADMINS),
    ("PATCH", "/users/{id}"): Row(ACCESS, ADMINS, ADMINS),
    ("DELETE", "/users/{id}"): Row(ACCESS, ADMINS, ADMINS),
    ("POST", "/users/me/password"): Row(ACCESS, ALL),
    ("POST", "/users/me/totp/enrol"): Row(ACCESS, ALL),
    ("POST", "/users/me/totp/confirm"): Row(ACCESS, Statuses(422, 422, 422, 422)),  # none was offered
    ("POST", "/users/me/totp/remove"): Row(ACCESS, Statuses(422, 422, 422, 422)),
    ("GET", "/users/{id}/totp"): Row(ACCESS, ALL, Statuses(200, 200, 404, 404)),
    ("DELETE", "/users/{id}/totp"): Row(ACCESS, Statuses(404, 403, 403, 403)),  # there is none
    ("GET", "/accounts"): Row(ACCESS, NOT_GUESTS),
    ("POST", "/accounts"): Row(ACCESS, ADMINS_CREATE, ADMINS_CREATE),
    ("GET", "/accounts/{id}"): Row(ACCESS, NOT_GUESTS, READERS_OF_OTHERS),
    ("PUT", "/accounts/{id}"): Row(ACCESS, ADMINS, ADMINS),
    ("PATCH", "/accounts/{id}"): Row(ACCESS, ADMINS, ADMINS),
    ("DELETE", "/accounts/{id}"): Row(ACCESS, ADMINS, ADMINS),
    ("POST", "/accounts/{id}/reopen"): Row(ACCESS, ADMINS, ADMINS),
    ("GET", "/accounts/{id}/proof"): Row(ACCESS, UNSEALED_OWN, UNSEALED_OTHERS),
    ("GET", "/accounts/{id}/entries"): Row(ACCESS, NOT_GUESTS, READERS_OF_OTHERS),
    ("GET", "/accounts/{id}/statement"): Row(ACCESS, NOT_GUESTS, READERS_OF_OTHERS),
    ("GET", "/accounts/{id}/balance-series"): Row(ACCESS, NOT_GUESTS, READERS_OF_OTHERS),
    ("GET", "/accounts/{id}/events"): Row(ACCESS, NOT_GUESTS, READERS_OF_OTHERS),
    ("GET", "/accounts/{id}/reconciliation"): Row(ACCESS, AUDITORS_TOO, AUDITORS_TOO),
    ("POST", "/accounts/{id}/reconciliation"): Row(ACCESS, ADMINS, ADMINS),
    ("POST", "/accounts/{id}/reconciliation/undo"): Row(ACCESS, Statuses(404, 403, 403, 403)),  # there is none
    ("GET", "/assets"): Row(ACCESS, NOT_GUESTS),
    ("POST", "/assets"): Row(ACCESS, ADMINS_CREATE),
    ("GET", "/assets/{code}"): Row(ACCESS, NOT_GUESTS),
    ("GET", "/events"): Row(ACCESS, AUDITORS_TOO),
    ("GET", "/ledger/trial-balance"): Row(ACCESS, AUDITORS_TOO),
    ("GET", "/ledger/balances"): Row(ACCESS, AUDITORS_TOO),
    ("GET", "/ledger/reports/trial-balance"): Row(ACCESS, AUDITORS_TOO),
    ("GET", "/ledger/reports/balance-sheet"): Row(ACCESS, AUDITORS_TOO),
    ("GET", "/ledger/reports/income-statement"): Row(ACCESS, AUDITORS_TOO),
    ("GET", "/ledger/flows"): Row(ACCESS, AUDITORS_TOO),
    ("GET", "/ledger/status"): Row(ACCESS, AUDITORS_TOO),
    ("GET", "/periods"): Row(ACCESS, AUDITORS_TOO),
    ("GET", "/periods/proof"): Row(ACCESS, Statuses(404, 404, 403, 403)),
    ("POST", "/periods/close"): Row(ACCESS, ADMINS),
    ("POST", "/periods/reopen"): Row(ACCESS, Statuses(422, 403, 403, 403)),
    ("GET", "/transactions"): Row(ACCESS, NOT_GUESTS),
    ("POST", "/transactions"): PAYING,
    ("POST", "/transactions/batch"): PAYING,
    ("POST", "/transactions/transfer"): PAYING,
    ("POST", "/transactions/hold"): PAYING,
    ("POST", "/transactions/{id}/capture"): Row(ACCESS, ADMINS, ADMINS),
    ("POST", "/transactions/{id}/void"): Row(ACCESS, ADMINS, ADMINS),
    ("POST", "/transactions/{id}/reverse"): Row(ACCESS, ADMINS, ADMINS),
    ("GET", "/transactions/{id}"): Row(ACCESS, NOT_GUESTS, READERS_OF_OTHERS),
    ("PATCH", "/transactions/{id}"): Row(ACCESS, ADMINS, ADMINS),
    ("GET", "/transactions/{id}/amendments"): Row(ACCESS, NOT_GUESTS, READERS_OF_OTHERS),
    ("GET", "/transactions/{id}/proof"): Row(ACCESS, UNSEALED_OWN, UNSEALED_OTHERS),
}


def key(route: Route) -> tuple[str, str]:
    return route.method, route.path


EVERY = (*UNVERSIONED, *ROUTES)
NAMES = [f"{route.method} {route.path}" for route in EVERY]
GUARDED = [route for route in EVERY if key(route) not in TABLE or TABLE[key(route)].token in {ACCESS, REFRESH}]
OPEN = [route for route in EVERY if key(route) in TABLE and TABLE[key(route)].token == PUBLIC]


def row_of(route: Route) -> Row:
    row = TABLE.get(key(route))
    assert row is not None, f"{route.method} {route.path} is not in the table of {__file__}: add its access rules"
    return row


def test_every_route_is_in_the_table() -> None:
    """Lesson 62."""
    for route in EVERY:
        row_of(route)


def test_every_row_of_the_table_is_a_route() -> None:
    assert set() == TABLE.keys() - {key(route) for route in EVERY}


class Party(NamedTuple):
    """A user with a session."""

    user: dict[str, Any]
    access_token: str
    refresh_token: str


async def party(api: Api, roles: str) -> Party:
    user = await api.new_user(roles=roles)
    tokens = await login(api, user)
    return Party(user, tokens["access_token"], tokens["refresh_token"])


async def login(api: Api, user: dict[str, Any]) -> dict[str, Any]:
    answer = await api.nobody.post("/v1/auth/login", {"username": user["username"], "password": PASSWORD})
    assert 200 == answer.status
    return dict(answer.body)


def bearer(row: Row, caller: Party) -> str:
    return caller.refresh_token if row.token == REFRESH else caller.access_token


async def resource_of(api: Api, route: Route, user: dict[str, Any]) -> str:  # noqa: PLR0911 - one case per kind
    """Create a resource of the route's kind for a user; return its id, or the user's id if there is no such kind."""
    match route.path:
        case "/auth/sessions/{id}":
            return session_of(await login(api, user))
        case "/audit/commands/{id}":
            return str((await api.get(f"/v1/events?stream={user['id']}")).body[0]["command_id"])
        case "/audit/verify":  # one verification runs at a time
            await until(lambda: has_verified(api))
            return str(user["id"])
        case path if path.startswith("/accounts/{id}"):
            return str((await api.new_account(user["id"]))["id"])
        case path if path.startswith(("/clients/{id}", "/webhooks/{id}")):
            kind = path.split("/")[1]
            created = await api.post(f"/v1/{kind}", CLIENT if kind == "clients" else WEBHOOK)
            return str(created.body["id"])
        case "/transactions/{id}/capture" | "/transactions/{id}/void":
            source, destination = await api.new_account(user["id"], balance_cents=100), await api.new_account()
            held = await api.post("/v1/transactions/hold", transfer_body(source, destination, 1))
            return str(held.body["id"])
        case path if path.startswith("/monitors"):
            account_id = str((await api.new_account(user["id"]))["id"])
            monitor = await api.post("/v1/monitors", monitor_body(account_id))
            return account_id if path == "/monitors" else str(monitor.body["id"])
        case "/transactions" | "/transactions/transfer" | "/transactions/hold" | "/transactions/batch":
            return str((await api.new_account(user["id"], balance_cents=100))["id"])
        case path if path.startswith("/transactions/{id}"):
            source, destination = await api.new_account(user["id"], balance_cents=100), await api.new_account()
            return str((await api.transfer(source, destination, 1)).body["id"])
        case _:
            return str(user["id"])


async def has_verified(api: Api) -> bool:
    """Return whether no verification runs."""
    last = (await api.get("/v1/audit/verify")).body["last"]
    return last is None or last["state"] != "running"


def session_of(tokens: dict[str, Any]) -> str:
    payload = tokens["access_token"].split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["sid"])


def monitor_body(account_id: str) -> dict[str, Any]:
    return {"account_id": account_id, "condition": "balance_cents", "operator": "<", "amount_cents": 5}


class Request(NamedTuple):
    """A valid request to a route about a resource."""

    method: str
    path: str
    body: dict[str, Any] | None


def request_for(route: Route, version: str, resource: str, sink: str, *, own: bool = False) -> Request:
    """Build a valid request; `sink` is the destination account. `own` leaves out what defaults to the caller."""
    path = route.path if route in UNVERSIONED else f"/{version}{route.path}"
    bodies: dict[tuple[str, str], dict[str, Any]] = {
        ("POST", "/auth/login"): {"username": "admin", "password": ADMIN_PASSWORD},
        ("POST", "/auth/revoke-user"): {"user_id": resource},
        ("POST", "/users"): user_body(),
        ("PUT", "/users/{id}"): {**user_body(), "password": None},
        ("PATCH", "/users/{id}"): {"email": user_body()["email"]},
        ("POST", "/clients"): CLIENT,
        ("PATCH", "/clients/{id}"): {"name": "another"},
        ("POST", "/users/me/password"): {"current_password": PASSWORD, "password": "a second password of theirs"},
        ("POST", "/users/me/totp/enrol"): {"current_password": PASSWORD},
        ("POST", "/users/me/totp/confirm"): {"otp": "123456"},
        ("POST", "/users/me/totp/remove"): {"current_password": PASSWORD, "otp": "123456"},
        ("POST", "/accounts"): {"user_id": resource},
        ("POST", "/assets"): {"code": f"A{new_id().int % 10**15}", "name": "another", "digits": 2},
        ("PUT", "/accounts/{id}"): {"balance_cents": 5},
        ("PATCH", "/accounts/{id}"): {"overdraft_limit_cents": 5},
        ("POST", "/accounts/{id}/reconciliation"): {"lines": [{"day": "2026-05-01", "amount_cents": -5}]},
        ("POST", "/accounts/{id}/reconciliation/undo"): {"source": "may.xml"},
        ("POST", "/monitors"): monitor_body(resource),
        ("POST", "/webhooks"): WEBHOOK,
        ("PATCH", "/webhooks/{id}"): {"topics": ["MoneyTransferred"]},
        ("POST", "/webhooks/{id}/redeliver"): {"from_position": 1},
        ("PATCH", "/transactions/{id}"): {"description": "rent"},
        ("POST", "/periods/close"): {"through": "2020-12-31"},
        ("POST", "/transactions/transfer"): transfer_body(resource, sink, 1),
        ("POST", "/transactions/batch"): {"atomic": True, "items": [transfer_body(resource, sink, 1)]},
        ("POST", "/transactions/hold"): transfer_body(resource, sink, 1),
        ("POST", "/transactions"): {
            "postings": [{"account_id": resource, "amount_cents": -1}, {"account_id": sink, "amount_cents": 1}]
        },
    }
    query = f"?user_id={resource}" if key(route) == ("GET", "/auth/sessions") and not own else ""
    code = "EUR" if route.path.startswith("/assets") else "validation_error"
    named = "accounts" if route.path.startswith("/projections") else "main.js"
    for name, value in (("{id}", resource), ("{name}", named), ("{code}", code)):
        path = path.replace(name, value)
    return Request(route.method, path + query, bodies.get(key(route)))


async def send(api: Api, request: Request, token: str | None, *, headers: dict[str, str] | None = None) -> Response:
    return await replace(api, token=token).call(request.method, request.path, request.body, headers=headers or {})


def comparable(answer: Response, resource: str) -> dict[str, Any]:
    """Return an error body without members that differ between requests and resources."""
    body: dict[str, Any] = json.loads(json.dumps(answer.body).replace(resource, "the id"))
    for entry in body["errors"]:
        del entry["trace_id"], entry["timestamp"]
    return body


async def events(connection: Connection) -> int:
    return int(await connection.fetchval("SELECT count(*) FROM stored_events"))


# Roles


@pytest.mark.parametrize("route", EVERY, ids=NAMES)
async def test_each_role_can_do_exactly_what_the_table_says(api: Api, connection: Connection, route: Route) -> None:
    """Lesson 35. Other users' and unknown resources look the same, and a refusal changes nothing."""
    row = row_of(route)
    await check(api, connection, route, row, VERSIONS[0])


@pytest.mark.parametrize("path", ["/users/{id}", "/accounts/{id}", "/transactions/transfer"])
async def test_each_role_has_the_same_access_in_the_other_version(api: Api, connection: Connection, path: str) -> None:
    for route in ROUTES:
        if route.path == path and route.method in {"GET", "POST"}:
            await check(api, connection, route, row_of(route), VERSIONS[1])


async def check(api: Api, connection: Connection, route: Route, row: Row, version: str) -> None:
    sink, other = (await api.new_account())["id"], await api.new_user()
    expected, found = {}, {}
    for role in ROLES:
        caller = await party(api, role)
        own, others = getattr(row.own, role), getattr(row.others, role, None)
        hidden: dict[str, Any] = {}
        if others is not None:
            cases = {"nobody's": others if others in DENIALS else row.missing, "another's": others, "own": own}
        else:
            cases = {"own": own}
        for whose, status in cases.items():
            users = {"another's": other, "own": caller.user}
            resource = str(new_id()) if whose == "nobody's" else await resource_of(api, route, users[whose])
            request = request_for(route, version, resource, sink, own=whose == "own")
            before = await events(connection)
            answer = await send(api, request, bearer(row, caller))
            expected[role, whose], found[role, whose] = status, answer.status
            if answer.status >= 300:
                assert before == await events(connection), (role, whose)
                hidden[whose] = comparable(answer, resource)
        if others in DENIALS:
            assert hidden.get("nobody's") == hidden.get("another's"), role
    assert expected == found


async def test_a_user_with_several_roles_has_the_access_of_each(api: Api) -> None:
    caller = await party(api, "guest,customer,auditor")
    own, other = await api.new_account(caller.user["id"], balance_cents=5), await api.new_account(balance_cents=5)
    as_caller = replace(api, token=caller.access_token)

    assert 200 == (await as_caller.get(f"/v1/accounts/{other['id']}")).status
    assert 200 == (await as_caller.transfer(own, other, 1)).status
    assert 422 == (await as_caller.transfer(other, own, 1)).status
    assert 403 == (await as_caller.post("/v1/users", user_body())).status


# Without a valid token


async def invalid_headers(api: Api, settings: Settings, row: Row) -> dict[str, str | None]:
    """Return an admin's invalid Authorization headers by their flaw."""
    caller, gone = await party(api, "admin"), await party(api, "admin")
    signer, kind = (
        create_signer(settings, load_keyring(settings)),
        TokenType.REFRESH if row.token == REFRESH else TokenType.ACCESS,
    )
    claims = signer.verify(bearer(row, caller), kind).claims
    expired = msgspec.structs.replace(claims, iat=claims.iat - 10_000, exp=claims.iat - 1000)
    stranger = Signer("another-secret-that-is-long-enough", leeway_seconds=60)
    left = await replace(api, token=gone.refresh_token).post("/v1/auth/logout")
    assert 200 == left.status
    tokens = {
        "garbage": "garbage",
        "expired": signer.sign(expired),
        "of the other kind": caller.access_token if row.token == REFRESH else caller.refresh_token,
        "revoked": bearer(row, gone),
        "signed by a stranger": stranger.sign(claims),
    }
    return {"no header": None, "no token": "Bearer"} | {flaw: f"Bearer {token}" for flaw, token in tokens.items()}


@pytest.mark.parametrize("route", GUARDED, ids=[f"{route.method} {route.path}" for route in GUARDED])
async def test_without_a_valid_token_every_request_is_refused(
    api: Api, settings: Settings, connection: Connection, route: Route
) -> None:
    """Lesson 21. All flaws and all requests get the same response."""
    row, sink = row_of(route), (await api.new_account())["id"]
    resource = await resource_of(api, route, await api.new_user())
    headers = await invalid_headers(api, settings, row)
    before = await events(connection)

    for version in VERSIONS[:1] if route in UNVERSIONED else VERSIONS:
        request = request_for(route, version, resource, sink)
        for flaw, header in headers.items():
            given = {} if header is None else {"Authorization": header}
            for keyed in ({}, {"Idempotency-Key": "one"}):
                answer = await send(api, request, None, headers={**given, **keyed})
                assert (401, "Bearer") == (answer.status, answer.headers.get("WWW-Authenticate")), flaw
                assert ["authentication_wrong_credentials"] == answer.codes, flaw
                assert request.path.partition("?")[0] == answer.body["instance"], flaw
    assert before == await events(connection)


@pytest.mark.parametrize("route", OPEN, ids=[f"{route.method} {route.path}" for route in OPEN])
async def test_public_routes_ignore_tokens(api: Api, settings: Settings, route: Route) -> None:
    row = row_of(route)

    for version in VERSIONS[:1] if route in UNVERSIONED else VERSIONS:
        for header in (await invalid_headers(api, settings, row)).values():
            given = {} if header is None else {"Authorization": header}
            answer = await send(api, request_for(route, version, "", ""), None, headers=given)
            assert 200 == answer.status


async def test_unauthenticated_callers_do_not_learn_what_is_wrong_with_a_request(api: Api) -> None:
    """A malformed id, an invalid body and a wrong media type get the same response."""
    for route in GUARDED:
        prefix = "" if route in UNVERSIONED else f"/{VERSIONS[0]}"
        path = prefix + re.sub(r"{[a-z]+}", "none", route.path)
        answer = await api.nobody.call(route.method, path, data=b"{")
        assert 401 == answer.status, route


# Access by cursors, parameters and keys


async def pages(api: Api, path: str) -> list[tuple[str, list[str]]]:
    """Yield each page's path and ids."""
    found = []
    while path:
        answer = await api.get(path)
        found.append((path, [item["id"] for item in answer.body]))
        link = re.fullmatch(r'<([^>]+)>; rel="next"', answer.headers.get("Link", ""))
        path = link[1] if link else ""
    return found


async def test_no_cursor_shows_a_customer_others_accounts(api: Api) -> None:
    """Lesson 35."""
    caller = await party(api, "customer")
    as_caller = replace(api, token=caller.access_token)
    own = {(await api.new_account(caller.user["id"]))["id"] for _ in range(2)}
    for _ in range(3):
        await api.new_account()

    everything = await pages(api, "/v1/accounts?limit=1")

    assert own < {account_id for _, ids in everything for account_id in ids}
    assert own == {account["id"] for account in (await as_caller.get("/v1/accounts")).body}
    for path, _ in everything[1:]:
        seen = await as_caller.get(path.replace("limit=1", "limit=200"))
        assert (422, ["query cursor"]) == (seen.status, seen.parameters)


@pytest.mark.parametrize(("parameter", "status"), [("user_id", 200), ("owner_id", 422), ("id", 422)])
async def test_a_customer_cannot_list_what_belongs_to_another(api: Api, parameter: str, status: int) -> None:
    """Lesson 35."""
    caller, other = await party(api, "customer"), await api.new_account()

    answer = await replace(api, token=caller.access_token).get(f"/v1/accounts?{parameter}={other['user_id']}")

    assert status == answer.status
    assert status == 422 or answer.body == []


async def test_no_cursor_shows_a_user_others_sessions(api: Api) -> None:
    """Lesson 35."""
    caller, other = await party(api, "customer"), await api.new_user()
    as_caller = replace(api, token=caller.access_token)
    for _ in range(3):
        await login(api, other)

    links = [link for link, _ in await pages(api, f"/v1/auth/sessions?user_id={other['id']}&limit=1")][1:]

    assert 2 == len(links)
    for link in links:
        assert 403 == (await as_caller.get(link)).status
        seen = await as_caller.get(f"/v1/auth/sessions?cursor={link.partition('cursor=')[2]}")
        assert (422, ["query cursor"]) == (seen.status, seen.parameters)


@pytest.mark.parametrize("role", ["admin", "auditor", "customer"])
async def test_an_id_of_another_kind_is_unknown(api: Api, role: str) -> None:
    """Lesson 35: an id of another kind of stream is unknown."""
    caller = await party(api, role)
    routes = {
        kind: next(route for route in ROUTES if key(route) == ("GET", path))
        for kind, path in (
            ("user", "/users/{id}"),
            ("account", "/accounts/{id}"),
            ("transaction", "/transactions/{id}"),
        )
    }
    ids = {kind: await resource_of(api, route, caller.user) for kind, route in routes.items()}

    for kind, route in routes.items():
        nothing = str(new_id())
        missing = await send(api, request_for(route, "v1", nothing, ""), caller.access_token)
        for wrong in {*ids.values()} - {ids[kind]}:
            answer = await send(api, request_for(route, "v1", wrong, ""), caller.access_token)
            assert comparable(missing, nothing) == comparable(answer, wrong)
            assert 404 == answer.status


@pytest.mark.parametrize("role", ["auditor", "customer", "guest"])
async def test_a_key_never_replays_the_response_of_another_caller(api: Api, role: str) -> None:
    """Lesson 35: the same request and key from another caller are another request."""
    caller, sink = await party(api, role), (await api.new_account())["id"]
    keyed = (route for route in ROUTES if route.method == "POST" and not route.operation.starts_process)
    for number, route in enumerate(keyed):
        row = row_of(route)
        if row.token != ACCESS or route.path == "/auth/revoke-all" or route.path.startswith("/users/me/"):
            continue
        one = {"Idempotency-Key": f"key-{number}"}
        request = request_for(route, "v1", await resource_of(api, route, await api.new_user()), sink)
        first = await send(api, request, api.token, headers=one)
        second = await send(api, request, caller.access_token, headers=one)

        assert first.status < 300 or first.status == (row.others or row.own).admin, route
        assert getattr(row.others or row.own, role) == second.status >= 400
        assert "Idempotent-Replayed" not in second.headers
