"""Wherever a request takes the id of an account, it takes the account's code."""

import asyncio
from typing import Any

import msgspec
import pytest

from tests.support.controls import NOBODY, Api, Response, new_id
from web.response_fields import ACCOUNT_REF
from web.routes import ROUTES
from web.routes.route import Route

Body = dict[str, Any]

SOURCE, DESTINATION, UNKNOWN = "assets:bank:main", "income:sales", "assets:bank:none"
TRANSFER = {"source_account_id": SOURCE, "destination_account_id": DESTINATION, "amount_cents": 3}
CLIENT = {"name": "reports", "roles": "auditor", "scope": "accounts:read"}
# A body for each route whose body names accounts.
BODIES: dict[str, Body] = {
    "/transactions/transfer": TRANSFER,
    "/transactions/hold": TRANSFER,
    "/transactions/batch": {"atomic": True, "items": [TRANSFER, TRANSFER]},
    "/transactions": {
        "postings": [{"account_id": SOURCE, "amount_cents": -3}, {"account_id": DESTINATION, "amount_cents": 3}]
    },
    "/transactions/{id}/reverse": {"destination_account_id": SOURCE},
    "/monitors": {"account_id": SOURCE, "condition": "balance_cents", "operator": "<", "amount_cents": 5},
    "/clients": {**CLIENT, "account_ids": [SOURCE]},
    "/clients/{id}": {"account_ids": [SOURCE, DESTINATION]},
}


def names_accounts(route: Route) -> bool:
    model = route.operation.request_model
    return model is not None and ACCOUNT_REF["x-component"] in str(model.model_json_schema())


WITH_BODIES = [route for route in ROUTES if names_accounts(route)]
OF_ACCOUNTS = [route for route in ROUTES if route.path.startswith("/accounts/{id}")]
BY_QUERY = [
    pytest.param(route, parameter.name, id=f"{route.path}-{parameter.name}")
    for route in ROUTES
    for parameter in route.operation.parameters
    if parameter.schema is ACCOUNT_REF
]


@pytest.fixture
async def accounts(api: Api) -> dict[str, str]:
    source, destination = (
        await api.new_account(balance_cents=100, code=SOURCE),
        await api.new_account(balance_cents=100, code=DESTINATION),
    )
    return {SOURCE: source["id"], DESTINATION: destination["id"], UNKNOWN: NOBODY}


def replace(body: Any, names: dict[str, str]) -> Any:
    """Return a body with other texts in place of those that have one."""
    text = msgspec.json.encode(body).decode()
    for old, new in names.items():
        text = text.replace(old, new)
    return msgspec.json.decode(text)


async def path_of(api: Api, route: Route) -> str:
    path = f"/v1{route.path}"
    if "transactions/{id}" in path:  # of an account that is closed, so the money can go elsewhere
        closed = await api.new_account(balance_cents=3)
        paid = await api.transfer(closed, {"id": DESTINATION}, 3)
        await api.delete(f"/v1/accounts/{closed['id']}")
        return path.replace("{id}", paid.body["id"])
    if "clients/{id}" in path:
        return path.replace("{id}", (await api.post("/v1/clients", CLIENT)).body["id"])
    return path


def strip(body: Any) -> Any:
    """Return a body without what differs from request to request."""
    if isinstance(body, list):
        return [strip(one) for one in body]
    if not isinstance(body, dict):
        return body
    changing = {
        "id",
        "reverses",
        "created_at",
        "updated_at",
        "expires_at",
        "trace_id",
        "timestamp",
        "secrets",
        "client_secret",
        "instance",
        "to_time",
    }
    return {name: strip(value) for name, value in body.items() if name not in changing}


def test_each_route_whose_body_names_accounts_has_a_body_here() -> None:
    assert BODIES.keys() == {route.path for route in WITH_BODIES}


@pytest.mark.parametrize("route", WITH_BODIES, ids=lambda route: route.path)
async def test_a_body_names_accounts_by_code_as_by_id(api: Api, accounts: dict[str, str], route: Route) -> None:
    body, method = BODIES[route.path], route.method
    by_id = await api.call(method, await path_of(api, route), replace(body, accounts))
    in_capitals = replace(body, {SOURCE: SOURCE.upper()})
    by_code = await api.call(method, await path_of(api, route), in_capitals)
    assert by_id.status in {200, 201}
    assert (by_id.status, strip(by_id.body)) == (by_code.status, strip(by_code.body))


@pytest.mark.parametrize("route", WITH_BODIES, ids=lambda route: route.path)
async def test_an_unknown_code_is_refused(api: Api, accounts: dict[str, str], route: Route) -> None:
    body = replace(BODIES[route.path], {SOURCE: UNKNOWN})
    refused = await api.call(route.method, await path_of(api, route), body)
    assert refused.status in {404, 422}
    details = [error["detail"] for error in refused.body["errors"]]
    assert any(UNKNOWN in detail.values() for detail in details)
    if route.path.startswith("/transactions"):
        by_id = await api.call(route.method, await path_of(api, route), replace(body, accounts))
        expected = replace(strip(by_id.body), {NOBODY: UNKNOWN})
        assert expected == strip(refused.body) | {"detail": expected["detail"], "errors": expected["errors"]}
        assert by_id.codes == refused.codes


@pytest.mark.parametrize("route", OF_ACCOUNTS, ids=lambda route: f"{route.method} {route.path}")
async def test_a_path_names_an_account_by_code_as_by_id(api: Api, accounts: dict[str, str], route: Route) -> None:
    async def call(account: str) -> Response:
        path = f"/v1{route.path}".replace("{id}", account)
        response = await api.call(route.method, path, None if route.method in {"GET", "DELETE"} else {})
        return response._replace(body=replace(response.body, {SOURCE: accounts[SOURCE]}))

    by_id, by_code = await call(accounts[SOURCE]), await call(SOURCE)
    assert (by_id.status, strip(by_id.body)) == (by_code.status, strip(by_code.body))
    missing, unknown = await call(NOBODY), await call(UNKNOWN)
    assert (404, ["resource_not_found"]) == (missing.status, missing.codes)
    assert (404, ["resource_not_found"]) == (unknown.status, unknown.codes)
    assert unknown.body["errors"][0]["detail"] == {"account_id": UNKNOWN}
    assert 422 == (await call("not%20a%20code")).status


@pytest.mark.parametrize(("route", "name"), BY_QUERY)
async def test_a_parameter_names_an_account_by_code_as_by_id(
    api: Api, accounts: dict[str, str], route: Route, name: str
) -> None:
    await api.post("/v1/transactions/transfer", TRANSFER)
    path = f"/v1{route.path}?{name}="
    by_id = await api.get(path + accounts[SOURCE])
    assert by_id.body
    assert by_id.body == (await api.get(path + SOURCE)).body
    assert [] == (await api.get(path + UNKNOWN)).body


def test_parameters_are_found() -> None:
    assert BY_QUERY
    assert len(OF_ACCOUNTS) > 6


async def test_a_customer_learns_nothing_of_the_codes_of_others(api: Api, accounts: dict[str, str]) -> None:
    customer = await api.as_new_user("customer")
    own = (await api.new_account(customer.user_id, 100, code="mine"))["code"]
    taken, free = SOURCE, "assets:bank:free"

    async def ask(code: str) -> list[Any]:
        paying = {"source_account_id": code, "destination_account_id": own, "amount_cents": 1}
        postings = [{"account_id": code, "amount_cents": -1}, {"account_id": own, "amount_cents": 1}]
        responses = [
            *[
                await customer.get(f"/v1/accounts/{code}{rest}")
                for rest in ("", "/entries", "/events", "?at_version=1")
            ],
            await customer.get(f"/v1/transactions?account_id={code}"),
            await customer.post("/v1/transactions/transfer", paying),
            await customer.post("/v1/transactions/hold", paying),
            await customer.post("/v1/transactions", {"postings": postings}),
            await customer.post("/v1/transactions/batch", {"atomic": False, "items": [paying]}),
        ]
        lines = await customer.call(
            "POST",
            "/v1/transactions/batch",
            data=msgspec.json.encode(paying) + b"\n",
            headers={"Content-Type": "application/jsonl"},
        )
        stream = msgspec.json.decode(lines.body)
        bodies = [(response.status, strip(response.body)) for response in responses]
        return [*replace([*bodies, (lines.status, strip(stream))], {code: "CODE"})]

    of_taken, of_free = await ask(taken), await ask(free)
    for first, second in zip(of_taken, of_free, strict=True):
        text = msgspec.json.encode(first).decode().replace(taken, "CODE")
        assert text == msgspec.json.encode(second).decode().replace(free, "CODE")
        assert accounts[SOURCE] not in text


async def test_a_stream_of_transfers_names_accounts_by_code_and_by_id(api: Api, accounts: dict[str, str]) -> None:
    lines = [TRANSFER, replace(TRANSFER, accounts), {**TRANSFER, "source_account_id": UNKNOWN}, {}]
    response = await api.call(
        "POST",
        "/v1/transactions/batch",
        data=b"".join(msgspec.json.encode(line) + b"\n" for line in lines),
        headers={"Content-Type": "application/jsonl"},
    )
    results = [msgspec.json.decode(line) for line in response.body.splitlines()]
    assert [200, 200, 422, 422] == [result["status"] for result in results]
    assert {accounts[SOURCE]} == {result["transaction"]["source_account_id"] for result in results[:2]}
    assert UNKNOWN == results[2]["errors"][0]["detail"]["source_account_id"]


async def test_a_repeated_request_is_the_one_that_was_sent(api: Api, accounts: dict[str, str]) -> None:
    """The code may have moved since: the first response is returned all the same."""
    key = {"Idempotency-Key": "rent"}
    first = await api.post("/v1/transactions/transfer", TRANSFER, headers=key)
    await api.patch(f"/v1/accounts/{SOURCE}", {"code": None})
    await api.new_account(balance_cents=10, code=SOURCE)
    again = await api.post("/v1/transactions/transfer", TRANSFER, headers=key)
    assert first.body == again.body
    assert "true" == again.headers["Idempotent-Replayed"]
    other = await api.post("/v1/transactions/transfer", replace(TRANSFER, accounts), headers=key)
    assert ["idempotency_key_reused"] == other.codes


async def test_a_keyed_request_names_the_account_in_its_path_by_code(api: Api) -> None:
    await api.new_account(code=SOURCE)
    await api.delete(f"/v1/accounts/{SOURCE}")
    key = {"Idempotency-Key": "again"}
    first, again = [await api.post(f"/v1/accounts/{SOURCE}/reopen", {}, headers=key) for _ in range(2)]
    assert (200, "open", 200) == (first.status, first.body["status"], again.status)
    assert first.body == again.body
    other = await api.post(f"/v1/accounts/{UNKNOWN}/reopen", {}, headers=key)
    assert 404 == other.status


async def test_a_chosen_id_with_another_name_of_the_account_is_the_same_transfer(
    api: Api, accounts: dict[str, str]
) -> None:
    body = {**TRANSFER, "id": str(new_id())}
    items = [body, replace(body, accounts)]
    results = (await api.post("/v1/transactions/batch", {"atomic": False, "items": items})).body["results"]
    assert [None, True] == [result.get("replayed") for result in results]


async def test_a_code_moves_with_its_account_at_once(api: Api) -> None:
    """Codes are looked up in the read table that is written with the event."""
    first, second = await api.new_account(balance_cents=100), await api.new_account(balance_cents=100)
    other = await api.new_account()
    for account in (first, second):
        assert 200 == (await api.patch(f"/v1/accounts/{account['id']}", {"code": "till"})).status
        paid = await asyncio.gather(*(api.transfer({"id": "till"}, other, 1) for _ in range(5)))
        assert {account["id"]} == {response.body["source_account_id"] for response in paid}
        assert 200 == (await api.patch("/v1/accounts/till", {"code": None})).status
