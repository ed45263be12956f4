"""HEAD is GET without a body, OPTIONS lists the methods, and 201 has the location and version of the new resource."""

import asyncio
from typing import Any

import pytest
import structlog

from tests.support.controls import NOBODY, Api, Response, new_id, transfer_body, user_body
from tests.support.processes import DEADLINE_SECONDS
from web.http import pagination
from web.openapi import path_of
from web.routes import ROUTES, UNVERSIONED

EVERY = (*UNVERSIONED, *ROUTES)
PATHS = sorted({path_of(route) for route in EVERY})
EVENT_STREAM = {"Accept": "text/event-stream"}


def concrete(path: str, resource_id: str) -> str:
    return path.replace("{id}", resource_id).replace("{name}", "style.css").replace("{code}", "overloaded")


def comparable(answer: Response, *changing: str) -> dict[str, str]:
    """Return the headers that do not differ from response to response."""
    own = {name.lower() for name in ("Date", "X-Request-Id", *changing)}
    return {name: value for name, value in answer.headers.items() if name.lower() not in own}


# The content of these changes with time.
WITH_TIME = {"/metrics", "/readyz", "/accounts/{id}/statement", "/projections", "/projections/{name}", "/ledger/status"}


@pytest.fixture
async def ids(api: Api) -> dict[str, str]:
    """Return an id of a resource for each first segment of a path."""
    source, sink = await api.new_account(balance_cents=10), await api.new_account()
    paid = await api.transfer(source, sink, 1)
    return {"users": source["user_id"], "accounts": source["id"], "transactions": paid.body["id"]}


# HEAD


async def test_head_has_the_headers_of_get_and_no_body(api: Api, ids: dict[str, str]) -> None:
    """RFC 9110, section 9.3.2. A body would break the client's next response."""
    for route in EVERY:
        if route.method == "GET":
            path = concrete(path_of(route), ids.get(route.path.split("/")[1], NOBODY))

            got, asked = await api.get(path), await api.call("HEAD", path)

            changing = "Content-Length" if route.path in WITH_TIME else ""
            assert (got.status, comparable(got, changing)) == (asked.status, comparable(asked, changing)), path
            assert not asked.body


async def test_head_of_a_version_that_the_client_has_is_not_modified(api: Api, ids: dict[str, str]) -> None:
    path = f"/v1/accounts/{ids['accounts']}"
    tag = (await api.call("HEAD", path)).headers["ETag"]

    known = await api.call("HEAD", path, headers={"If-None-Match": tag})

    assert (304, tag) == (known.status, known.headers["ETag"])


async def test_head_is_refused_like_get(api: Api) -> None:
    paths = [f"/v1/users/{NOBODY}", "/v1/nowhere", "/v9/users", "/v1/users?limit=0"]
    guest = await api.as_new_user("guest")

    assert [404, 404, 400, 422] == [(await api.call("HEAD", path)).status for path in paths]
    assert 401 == (await api.nobody.call("HEAD", "/v1/users")).status
    assert 403 == (await guest.call("HEAD", "/v1/users")).status


async def test_head_of_a_feed_is_its_headers_and_ends(api: Api) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        answer = await api.call("HEAD", "/v1/events", headers=EVENT_STREAM)

    assert (200, "text/event-stream") == (answer.status, answer.headers["Content-Type"])


async def test_head_of_a_large_list_is_its_headers(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pagination, "SMALL", 2)
    for _ in range(3):
        await api.new_user()

    got, asked = await api.get("/v1/users"), await api.call("HEAD", "/v1/users")

    assert 4 == len(got.body)
    assert comparable(got) == comparable(asked)
    assert 200 == (await api.get("/v1/health")).status


async def test_head_is_counted_and_logged_as_head(api: Api) -> None:
    with structlog.testing.capture_logs() as lines:
        await api.call("HEAD", "/v1/health")
    metrics = (await api.get("/metrics")).body

    assert [("HEAD", "/v1/health", 200)] == [
        (line["method"], line["path"], line["status"]) for line in lines if line["event"] == "request"
    ]
    assert 'ledger_http_requests_total{method="HEAD",route="/health",status="200"} 1.0' in metrics


# OPTIONS


async def test_options_lists_the_methods_of_a_path(api: Api) -> None:
    """RFC 9110, section 9.3.7."""
    for path in PATHS:
        methods = {method for route in EVERY if path_of(route) == path for method in route.methods}

        answer = await api.nobody.call("OPTIONS", concrete(path, str(new_id())))

        assert (204, "") == (answer.status, answer.body), path
        assert sorted({*methods, "OPTIONS"}) == answer.headers["Allow"].split(",")
        assert "Content-Length" not in answer.headers


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/nowhere", 404, "resource_not_found"),
        ("/v9/users", 400, "api_version_error"),
        ("/v9/nowhere", 400, "api_version_error"),
        ("/docs/a/b", 404, "resource_not_found"),
    ],
)
async def test_options_of_an_unknown_path_is_an_error(api: Api, path: str, status: int, code: str) -> None:
    answer = await api.nobody.call("OPTIONS", path)

    assert (status, [code]) == (answer.status, answer.codes)


# Created resources


async def create(api: Api, path: str, **headers: str) -> Response:
    user_id = (await api.new_user())["id"]
    bodies: dict[str, dict[str, Any]] = {
        "users": user_body(),
        "accounts": {"user_id": user_id, "balance_cents": 5, "overdraft_limit_cents": 7, "frozen": "debits"},
    }
    answer = await api.post(path, bodies[path.rpartition("/")[2]], headers=headers)
    assert 201 == answer.status, answer
    return answer


@pytest.mark.parametrize("path", ["/v1/users", "/v1/accounts", "/v2/users", "/v2/accounts"])
async def test_a_creation_returns_location_and_version(api: Api, path: str) -> None:
    """RFC 9110, section 15.3.2."""
    created = await create(api, path)
    read = await api.get(created.headers["Location"])

    assert f"{path}/{created.body['id']}" == created.headers["Location"]
    assert (created.body, created.headers["ETag"]) == (read.body, read.headers["ETag"])


async def test_the_version_of_a_creation_works_as_a_precondition(api: Api) -> None:
    for path in ("/v1/users", "/v1/accounts"):
        created = await create(api, path)
        body = {**created.body, "frozen": "none"} if path == "/v1/accounts" else {**created.body, "active": False}
        condition = {"If-Match": created.headers["ETag"]}

        assert 200 == (await api.put(created.headers["Location"], body, headers=condition)).status
        assert 412 == (await api.put(created.headers["Location"], created.body, headers=condition)).status


@pytest.mark.parametrize("path", ["/v1/users", "/v1/accounts"])
async def test_a_replayed_creation_gets_the_first_response(api: Api, path: str) -> None:
    """Also after others have changed the resource."""
    key = {"Idempotency-Key": "create"}
    owner = (await api.new_user())["id"]
    body = user_body() if path == "/v1/users" else {"user_id": owner, "balance_cents": 5}
    first = await api.post(path, body, headers=key)
    if path == "/v1/users":
        await api.new_account(first.body["id"])  # appends an event to its owner
    else:
        await api.post("/v1/transactions/transfer", transfer_body(first.body, await api.new_account(), 1))

    again = await api.post(path, body, headers=key)

    assert first.body == again.body
    for name in ("Location", "ETag", "Ledger-Position"):
        assert first.headers[name] == again.headers[name]
    assert first.headers["ETag"] != (await api.get(first.headers["Location"])).headers["ETag"]
