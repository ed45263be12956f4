"""A machine client does what its scopes and limits say, and nothing more: not with a stolen, old or guessed secret."""

import base64
from dataclasses import replace
from typing import Any

import pytest

from ledger.settings import Settings
from tests.support.controls import NOBODY, Api, Clock, Response, Serve, new_id, transfer_body, user_body
from tests.support.machines import ALL_SCOPES, TOKEN, as_machine, ask, machine, register
from tests.support.token_api import (
    NOT_ENFORCED,
    REVOKE_ALL,
    SESSIONS,
    Connection,
    claims_of,
    event_positions,
    events,
)
from web.http.scopes import SCOPES
from web.routes import ROUTES, UNVERSIONED, VERSIONS
from web.routes.route import Route

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
MACHINES_MAY = [route for route in (*UNVERSIONED, *ROUTES) if route.scope is not None]
OTHERS = [
    route
    for route in (*UNVERSIONED, *ROUTES)
    if route.scope is None and route.access.roles is not None and route.path not in {"/auth/refresh", "/auth/logout"}
]


# The token


async def test_a_client_gets_an_access_token_and_nothing_else(api: Api, connection: Connection) -> None:
    client = await register(api, "accounts:read transactions:write")

    answer = await ask(api, client, scope="accounts:read")

    assert {"access_token", "token_type", "expires_in", "scope"} == answer.body.keys()
    assert ("Bearer", 3600, "accounts:read") == tuple(
        answer.body[name] for name in ("token_type", "expires_in", "scope")
    )
    assert ("no-store", "no-cache") == (answer.headers["Cache-Control"], answer.headers["Pragma"])
    claims = claims_of(answer.body["access_token"])
    assert (client["id"], 0, "admin", "accounts:read") == tuple(
        claims[name] for name in ("sub", "typ", "roles", "scope")
    )
    assert 1 == len(await event_positions(connection, "ClientTokenIssued", claims["sid"]))
    token = replace(api, token=answer.body["access_token"])
    assert 401 == (await token.post("/v1/auth/refresh")).status


async def test_the_secret_may_be_in_the_form_instead(api: Api) -> None:
    client = await register(api)
    form = {"grant_type": "client_credentials", "client_id": client["id"], "client_secret": client["client_secret"]}

    answer = await api.nobody.post(TOKEN, data={**form, "anything": "else"})

    assert (200, ALL_SCOPES) == (answer.status, answer.body["scope"])


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ("scope=accounts:read", 400, "invalid_request"),
        ("grant_type=client_credentials&grant_type=client_credentials", 400, "invalid_request"),
        ("grant_type=client_credentials&client_secret=another", 400, "invalid_request"),
        (f"grant_type=client_credentials&client_id={NOBODY}", 400, "invalid_request"),
        ("grant_type", 400, "invalid_request"),
        ("grant_type=%ff", 400, "invalid_request"),
        ("&".join(f"p{number}=1" for number in range(200)), 400, "invalid_request"),
        ("grant_type=password&username=admin&password=x", 400, "unsupported_grant_type"),
        ("grant_type=client_credentials&scope=users:write", 400, "invalid_scope"),
        ("grant_type=client_credentials&scope=accounts:read++audit:read", 400, "invalid_scope"),
    ],
)
async def test_errors_are_those_of_oauth(api: Api, connection: Connection, form: str, status: int, error: str) -> None:
    """RFC 6749, section 5.2; the body is also a problem, like that of every other error."""
    client = await register(api, "accounts:read")
    basic = base64.b64encode(f"{client['id']}:{client['client_secret']}".encode()).decode()
    before = await events(connection)

    answer = await api.nobody.post(TOKEN, data=form, headers={**FORM, "Authorization": f"Basic {basic}"})

    assert (status, error, [error]) == (answer.status, answer.body["error"], answer.codes)
    assert "error_description" in answer.body
    assert ("application/json", "no-store") == (answer.headers["Content-Type"], answer.headers["Cache-Control"])
    assert before == await events(connection)


async def test_a_wrong_secret_an_unknown_client_and_no_authentication_look_the_same(
    api: Api, connection: Connection
) -> None:
    client = await register(api)
    before = await events(connection)
    wrong = [
        {**client, "client_secret": client["client_secret"] + "x"},
        {**client, "client_secret": ""},
        {**client, "id": str(new_id())},
        {**client, "id": "no id"},
        {**client, "id": api.user_id or str(new_id())},
    ]
    answers = [await ask(api, one) for one in wrong]
    answers.append(await api.nobody.post(TOKEN, data={"grant_type": "client_credentials"}))
    bearer = {"Authorization": f"Bearer {api.token}"}
    answers.append(await api.nobody.post(TOKEN, data={"grant_type": "client_credentials"}, headers=bearer))

    for answer in answers:
        assert (401, "invalid_client") == (answer.status, answer.body["error"])
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")
    assert before == await events(connection)


# The secret


async def test_a_secret_is_shown_once_and_stored_nowhere(api: Api, connection: Connection) -> None:
    key = {"Idempotency-Key": "one"}
    body = {"name": "a machine", "roles": "admin", "scope": "accounts:read"}
    first = await api.post("/v1/clients", body, headers=key)
    again = await api.post("/v1/clients", body, headers=key)
    shown = (await api.get(f"/v1/clients/{first.body['id']}")).body
    listed = (await api.get("/v1/clients")).body

    secret = first.body.pop("client_secret")
    assert (first.body, "true") == (again.body, again.headers["Idempotent-Replayed"])
    assert [shown] == [one for one in listed if one["id"] == shown["id"]] == [first.body]
    for table in ("stored_events", "command_log", "clients", "stream_heads"):
        rows = await connection.fetch(f"SELECT row_to_json({table})::text AS row FROM {table}")
        assert not any(secret in row["row"] or secret.encode().hex() in row["row"] for row in rows), table


async def test_secrets_overlap_while_they_rotate(api: Api, clock: Clock) -> None:
    first = await register(api)
    one = await as_machine(api, first)
    path = f"/v1/clients/{first['id']}/secrets"
    second = (await api.post(path, {"overlap_seconds": 100})).body

    assert [200, 200] == [(await ask(api, client)).status for client in (first, second)]
    assert [None, True] == [secret["expires_at"] and True for secret in second["secrets"]]
    assert 200 == (await one.get("/v1/accounts")).status

    clock.now += 101
    assert [401, 200] == [(await ask(api, client)).status for client in (first, second)]

    third = (await api.post(path)).body
    assert [401, 200, 200] == [(await ask(api, client)).status for client in (first, second, third)]
    await api.post(path)
    assert [401, 200] == [(await ask(api, client)).status for client in (second, third)]


async def test_a_rotation_without_overlap_ends_the_secret_and_the_tokens_of_a_thief(api: Api) -> None:
    stolen = await register(api)
    thief = await as_machine(api, stolen)

    newer = (await api.post(f"/v1/clients/{stolen['id']}/secrets", {"overlap_seconds": 0})).body

    assert (401, 401) == ((await thief.get("/v1/accounts")).status, (await ask(api, stolen)).status)
    assert 200 == (await (await as_machine(api, newer)).get("/v1/accounts")).status


# Scopes


def path_of(route: Route, resource: str) -> str:
    prefix = "" if route in UNVERSIONED else f"/{VERSIONS[0]}"
    return prefix + route.path.replace("{id}", resource).replace("{name}", "accounts").replace("{code}", "EUR")


@pytest.mark.parametrize("route", OTHERS, ids=lambda route: f"{route.method} {route.path}")
async def test_a_route_without_a_scope_admits_no_machine(api: Api, connection: Connection, route: Route) -> None:
    as_client = await machine(api)
    before = await events(connection)

    answer = await as_client.call(route.method, path_of(route, str(new_id())))

    assert (403, ["authentication_forbidden"]) == (answer.status, answer.codes)
    assert before == await events(connection)


async def test_every_scope_admits_to_its_routes_and_no_others(api: Api, connection: Connection) -> None:
    client = await register(api)
    account = await api.new_account()
    for scope in SCOPES:
        as_client = await as_machine(api, client, scope=scope)
        before = await events(connection)
        for route in MACHINES_MAY:
            if route.method != "GET" and route.scope == scope:
                continue
            answer = await as_client.call(route.method, path_of(route, account["id"]))
            assert (answer.status == 403) == (route.scope not in {scope, "*"}), (scope, route, answer)
        assert before == await events(connection)
    assert {*SCOPES, "*"} == {route.scope for route in MACHINES_MAY}


@pytest.mark.parametrize("roles", ["auditor", "customer", "guest"])
async def test_a_scope_gives_no_more_than_the_roles(api: Api, roles: str) -> None:
    account = await api.new_account(balance_cents=5)
    limits: dict[str, Any] = {"account_ids": [account["id"]]}
    as_client = await as_machine(api, await register(api, ALL_SCOPES, roles, **({} if roles == "auditor" else limits)))

    assert 403 == (await as_client.post("/v1/users", user_body())).status
    assert 403 == (await as_client.post("/v1/accounts", {"user_id": account["user_id"]})).status
    assert (403 if roles == "guest" else 200) == (await as_client.get(f"/v1/accounts/{account['id']}")).status
    paid = await as_client.transfer(account, await api.new_account(), 1)
    assert (200 if roles == "customer" else 403) == paid.status


async def test_an_auditor_and_customer_without_limits_owns_nothing_to_pay_from(api: Api) -> None:
    account = await api.new_account(balance_cents=5)
    as_client = await machine(api, roles="auditor,customer")

    answer = await as_client.transfer(account, await api.new_account(), 1)

    assert (422, ["transfer_source_account_not_found"]) == (answer.status, answer.codes)
    refused = await api.post("/v1/clients", {"name": "a", "roles": "customer", "scope": "accounts:read"})
    assert (422, ["/account_ids"]) == (refused.status, refused.pointers)


# Limits


@pytest.mark.parametrize("limit", ["account_ids", "user_ids"])
@pytest.mark.parametrize("roles", ["admin", "customer", "auditor,customer"])
async def test_limits_hold_at_every_door(api: Api, roles: str, limit: str) -> None:
    own, other = await api.new_account(balance_cents=50), await api.new_account(balance_cents=50)
    ids = [own["id"] if limit == "account_ids" else own["user_id"]]
    as_client = await as_machine(api, await register(api, ALL_SCOPES, roles, **{limit: ids}))
    hidden = (await api.transfer(other, await api.new_account(), 1)).body["id"]

    assert [own["id"]] == [account["id"] for account in (await as_client.get("/v1/accounts")).body]
    at = f"/v1/accounts?at_position={2**40}"
    assert [own["id"]] == [account["id"] for account in (await as_client.get(at)).body]
    for tail in ("", "/entries", "/events", "/proof", "?at_version=1"):
        mine, theirs = [await as_client.get(f"/v1/accounts/{one['id']}{tail}") for one in (own, other)]
        assert (tail, mine.status, 404) == (tail, 409 if tail == "/proof" else 200, theirs.status)
    paid = await as_client.transfer(own, other, 2)
    entry = {
        "postings": [{"account_id": own["id"], "amount_cents": -1}, {"account_id": other["id"], "amount_cents": 1}]
    }
    stolen = {
        "postings": [{"account_id": other["id"], "amount_cents": -1}, {"account_id": own["id"], "amount_cents": 1}]
    }
    assert [200, 200] == [paid.status, (await as_client.post("/v1/transactions", entry)).status]
    assert 200 == (await as_client.post("/v1/transactions/hold", transfer_body(own, other, 1))).status
    for path, body in (
        ("transfer", transfer_body(other, own, 1)),
        ("hold", transfer_body(other, own, 1)),
        ("batch", {"atomic": True, "items": [transfer_body(other, own, 1)]}),
    ):
        refused = await as_client.post(f"/v1/transactions/{path}", body)
        assert (path, 422, ["transfer_source_account_not_found"]) == (path, refused.status, refused.codes)
    refused = await as_client.post("/v1/transactions", stolen)
    assert (422, ["transfer_source_account_not_found"]) == (refused.status, refused.codes)
    items = [transfer_body(other, own, 1), transfer_body(own, other, 1)]
    batch = await as_client.post("/v1/transactions/batch", {"atomic": False, "items": items})
    assert [422, 200] == [item["status"] for item in batch.body["results"]]
    listed = (await as_client.get("/v1/transactions")).body
    assert hidden not in {one["id"] for one in listed}
    assert len(listed) == 5  # the opening balance, two transfers, an entry and a hold
    assert {own["id"]} == {leg["account_id"] for one in listed for leg in one.get("postings", ())}
    for tail in ("", "/proof"):
        assert 404 == (await as_client.get(f"/v1/transactions/{hidden}{tail}")).status
    assert 200 == (await as_client.get(f"/v1/transactions/{paid.body['id']}")).status


async def test_a_limited_client_cannot_call_what_accounts_do_not_limit(api: Api, connection: Connection) -> None:
    """Neither the whole log and its feed, nor commands on any account."""
    account = await api.new_account(balance_cents=5)
    as_client = await machine(api, account_ids=[account["id"]])
    held = (await as_client.post("/v1/transactions/hold", transfer_body(account, await api.new_account(), 1))).body[
        "id"
    ]
    before = await events(connection)
    for route in MACHINES_MAY:
        if not route.access.owned:
            resource = held if route.path.startswith("/transactions") else account["id"]
            for headers in ({}, {"Accept": "text/event-stream"}):
                answer = await as_client.call(route.method, path_of(route, resource), headers=headers)
                assert (route.path, 403) == (route.path, answer.status)
    assert before == await events(connection)


async def test_a_limit_follows_the_owner_of_an_account(api: Api) -> None:
    account, heir = await api.new_account(balance_cents=5), await api.new_user()
    as_client = await machine(api, roles="customer", user_ids=[account["user_id"]])
    path = f"/v1/accounts/{account['id']}"
    assert 200 == (await as_client.get(path)).status

    await api.patch(path, {"user_id": heir["id"]})

    assert 404 == (await as_client.get(path)).status
    assert 422 == (await as_client.transfer(account, await api.new_account(), 1)).status


async def test_a_stream_of_lines_holds_the_limits(api: Api) -> None:
    own, other = await api.new_account(balance_cents=50), await api.new_account(balance_cents=50)
    as_client = await machine(api, roles="customer", account_ids=[own["id"]])
    lines = "\n".join(
        f'{{"source_account_id":"{source["id"]}","destination_account_id":"{target["id"]}","amount_cents":1}}'
        for source, target in ((own, other), (other, own))
    )
    answer = await as_client.call(
        "POST", "/v1/transactions/batch", data=lines, headers={"Content-Type": "application/jsonl"}
    )
    assert 200 == answer.status
    assert (49, 51) == (await api.balance(own), await api.balance(other))


# The end of tokens


async def delete(api: Api, client: dict[str, Any], _: Api) -> Response:
    return await api.delete(f"/v1/clients/{client['id']}")


async def narrow(api: Api, client: dict[str, Any], _: Api) -> Response:
    return await api.patch(f"/v1/clients/{client['id']}", {"scope": "ledger:read"})


async def limit(api: Api, client: dict[str, Any], _: Api) -> Response:
    return await api.patch(f"/v1/clients/{client['id']}", {"account_ids": []})


async def demote(api: Api, client: dict[str, Any], _: Api) -> Response:
    return await api.patch(f"/v1/clients/{client['id']}", {"roles": "auditor"})


async def end_session(api: Api, _: dict[str, Any], as_client: Api) -> Response:
    return await api.delete(f"{SESSIONS}/{claims_of(as_client.token or '')['sid']}")


CHANGES = pytest.mark.parametrize("change", [delete, narrow, limit, demote, end_session])


@CHANGES
async def test_a_change_of_what_a_client_may_do_ends_its_tokens(api: Api, change: Any) -> None:
    client = await register(api)
    as_client = await as_machine(api, client)
    source, target = await api.new_account(balance_cents=5), await api.new_account()
    assert 200 == (await as_client.transfer(source, target, 1)).status

    assert 200 == (await change(api, client, as_client)).status

    assert 401 == (await as_client.transfer(source, target, 1)).status
    assert 401 == (await as_client.get("/v1/accounts")).status
    assert (change is delete) == ((await ask(api, client)).status == 401)


async def test_a_new_name_ends_no_token(api: Api) -> None:
    client = await register(api)
    as_client = await as_machine(api, client)
    first = await api.patch(f"/v1/clients/{client['id']}", {"name": "another"})

    assert (200, "another") == (first.status, first.body["name"])
    assert 200 == (await as_client.get("/v1/accounts")).status
    stale = await api.patch(f"/v1/clients/{client['id']}", {"name": "a third"}, headers={"If-Match": '"1"'})
    assert 412 == stale.status


async def test_a_cut_off_of_all_tokens_ends_those_of_machines(api: Api) -> None:
    as_client = await machine(api)

    assert 200 == (await api.post(REVOKE_ALL)).status

    assert 401 == (await as_client.get("/v1/accounts")).status


@pytest.mark.parametrize("change", [delete, narrow, limit])
async def test_without_enforced_revocation_scopes_and_limits_hold_at_once(
    serve: Serve, settings: Settings, change: Any
) -> None:
    api = await serve(settings.model_copy(update=NOT_ENFORCED))
    client = await register(api)
    as_client = await as_machine(api, client)
    source, target = await api.new_account(balance_cents=5), await api.new_account()
    assert 200 == (await as_client.transfer(source, target, 1)).status

    assert 200 == (await change(api, client, as_client)).status

    expected = {delete: 401, narrow: 403, limit: 422}[change]
    assert expected == (await as_client.transfer(source, target, 1)).status


async def test_the_id_of_a_revoked_client_stays_taken(api: Api) -> None:
    client = await register(api)
    await delete(api, client, api)

    body = {"id": client["id"], "name": "another", "roles": "admin", "scope": "accounts:read"}
    again = await api.post("/v1/clients", body)

    assert (409, ["client_already_exists"]) == (again.status, again.codes)
    assert 404 == (await api.get(f"/v1/clients/{client['id']}")).status
    assert 404 == (await api.patch(f"/v1/clients/{client['id']}", {"name": "x"})).status
    assert 404 == (await api.post(f"/v1/clients/{client['id']}/secrets")).status


# Audit


async def test_the_audit_shows_what_a_client_did_also_after_its_end(api: Api) -> None:
    client = await register(api)
    as_client = await as_machine(api, client)
    claims = claims_of(as_client.token or "")
    await as_client.transfer(await api.new_account(balance_cents=5), await api.new_account(), 1)
    await delete(api, client, api)

    for actor in (client["id"], claims["sid"]):
        commands = (await api.get(f"/v1/audit/actors/{actor}")).body
        assert ["TransferMoney", "IssueClientToken"] == [command["name"] for command in commands]
        assert {client["id"]} == {command["user_id"] for command in commands}
    (sent,) = [
        one for one in (await api.get(f"/v1/audit/actors/{claims['jti']}")).body if one["name"] == "TransferMoney"
    ]
    assert claims["jti"] == sent["jti"]
