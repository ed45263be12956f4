"""Security headers, and which origins may read responses."""

from typing import Any

import asyncpg
import pytest

from ledger.environment.variables import SettingsError
from ledger.settings import Settings
from tests.support.controls import PASSWORD, Api, Response, Serve, new_id, user_body
from tests.support.problems import JSON, SECURITY_HEADERS, assert_is_problem, send_raw


async def test_every_response_has_the_security_headers(api: Api) -> None:
    answers = [
        await api.get("/"),
        await api.get("/v1/health"),
        await api.get("/v1/nowhere"),
        await api.get("/v9/health"),
        await api.nobody.get("/v1/users"),
        await api.call("PATCH", "/v1/users"),
        await api.post("/v1/users", data=b"{", headers=JSON),
        await api.post("/v1/users", user_body()),
        await api.post("/v1/users", data=b" " * 70_000, headers=JSON),
        await api.call("OPTIONS", "/v1/users"),
        await send_raw(api, b"garbage\r\n\r\n"),
    ]

    assert [200, 200, 404, 400, 401, 405, 400, 201, 413, 204, 400] == [answer.status for answer in answers]
    for answer in answers:
        assert SECURITY_HEADERS.items() <= {name: answer.headers[name] for name in SECURITY_HEADERS}.items()
        assert answer.headers["X-Request-Id"]


ORIGIN = "https://app.example"


PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}


def shared_headers(answer: Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("Access-Control")}


@pytest.fixture
async def open_api(serve: Serve, settings: Settings) -> Api:
    """Return the API, open to two other origins."""
    return await serve(settings.model_copy(update={"ledger_cors_origins": f"{ORIGIN} http://localhost:3000"}))


async def test_no_origin_can_read_responses_unless_the_settings_name_it(api: Api, open_api: Api) -> None:
    answers = [
        await api.get("/v1/health", headers={"Origin": ORIGIN}),
        await api.call("OPTIONS", "/v1/users", headers={"Origin": ORIGIN, **PREFLIGHT}),
        await open_api.get("/v1/health"),
        await open_api.get("/v1/health", headers={"Origin": "https://evil.example"}),
        await open_api.get("/v1/health", headers={"Origin": f"{ORIGIN}.evil.example"}),
        await open_api.get("/v1/health", headers={"Origin": "null"}),
        await open_api.call("OPTIONS", "/v1/users", headers={"Origin": "https://evil.example", **PREFLIGHT}),
    ]

    assert [200, 204, 200, 200, 200, 200, 204] == [answer.status for answer in answers]
    assert [{}] * 7 == [shared_headers(answer) for answer in answers]


@pytest.mark.parametrize("origin", [ORIGIN, "http://localhost:3000"])
async def test_an_allowed_origin_can_read_responses(open_api: Api, origin: str) -> None:
    answer = await open_api.get("/v1/health", headers={"Origin": origin})

    assert (200, origin, "Origin") == (
        answer.status,
        answer.headers["Access-Control-Allow-Origin"],
        answer.headers["Vary"],
    )
    known = {"Dry-Run", "X-Request-Id", "Idempotent-Replayed", "RateLimit", "RateLimit-Policy", "Retry-After"}
    assert known | {"ETag", "Ledger-Position", "Link", "Location"} == set(
        answer.headers["Access-Control-Expose-Headers"].split(", ")
    )
    assert "Access-Control-Allow-Credentials" not in answer.headers


async def test_an_allowed_origin_can_read_errors(open_api: Api) -> None:
    refused = await open_api.nobody.get("/v1/users", headers={"Origin": ORIGIN})
    unknown = await open_api.get("/v1/nowhere", headers={"Origin": ORIGIN})

    assert [(401, ORIGIN), (404, ORIGIN)] == [
        (answer.status, answer.headers["Access-Control-Allow-Origin"]) for answer in (refused, unknown)
    ]


async def test_a_preflight_request_needs_no_token(open_api: Api) -> None:
    answer = await open_api.nobody.call("OPTIONS", "/v1/users", headers={"Origin": ORIGIN, **PREFLIGHT})

    assert (204, "", ORIGIN) == (answer.status, answer.body, answer.headers["Access-Control-Allow-Origin"])
    assert {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} == set(
        answer.headers["Access-Control-Allow-Methods"].split(", ")
    )
    allowed = answer.headers["Access-Control-Allow-Headers"].lower().split(", ")
    assert {"authorization", "content-type", "idempotency-key"} <= set(allowed)
    assert SECURITY_HEADERS.items() <= {name: answer.headers[name] for name in SECURITY_HEADERS}.items()


async def test_a_star_lets_any_origin_read_without_credentials(serve: Serve, settings: Settings) -> None:
    """`*` never allows credentials, and tokens travel in a header, so other pages gain no access."""
    api = await serve(settings.model_copy(update={"ledger_cors_origins": "*"}))
    strange = {"Origin": "https://any.example"}
    answers = [
        await api.get("/v1/health", headers=strange),
        await api.get("/v1/health"),  # the same for every origin: a cache needs no `Vary`
        await api.nobody.get("/v1/users", headers=strange),
        await api.get("/v1/nowhere", headers=strange),
        await api.nobody.call("OPTIONS", "/v1/users", headers={**strange, **PREFLIGHT}),
        await api.nobody.call("OPTIONS", "/v1/nowhere", headers={**strange, **PREFLIGHT}),
    ]

    assert [200, 200, 401, 404, 204, 204] == [answer.status for answer in answers]
    assert ["*"] * 6 == [answer.headers["Access-Control-Allow-Origin"] for answer in answers]
    assert not any("Origin" in answer.headers.getall("Vary", []) for answer in answers)
    assert not any("Access-Control-Allow-Credentials" in answer.headers for answer in answers)


async def test_a_preflight_request_is_answered_on_every_path(open_api: Api) -> None:
    """A page learns that a path is unknown from the actual request."""
    headers = {"Origin": ORIGIN, **PREFLIGHT}
    answers = [await open_api.nobody.call("OPTIONS", path, headers=headers) for path in ("/v1/nowhere", "/v9/users")]

    assert [204, 204] == [answer.status for answer in answers]
    assert [ORIGIN] * 2 == [answer.headers["Access-Control-Allow-Origin"] for answer in answers]


@pytest.mark.parametrize("origins", ["* https://app.example", "https://*", "https://*.example", "**", "null", "* *"])
def test_a_star_beside_other_origins_is_an_error(origins: str) -> None:
    with pytest.raises(SettingsError, match="LEDGER_CORS_ORIGINS"):
        Settings.load(ledger_cors_origins=origins)


async def test_a_fault_reveals_no_details(api: Api, connection: "asyncpg.Connection[Any]") -> None:
    """The error message of PostgreSQL appears only in the log."""
    await connection.execute("ALTER TABLE accounts RENAME TO elsewhere")

    answer = await api.get("/v1/accounts")

    assert_is_problem(answer, 500, "internal_error", "internal_error")
    assert [] == [word for word in ('accounts"', "relation", "select", "asyncpg") if word in str(answer.body).lower()]


async def test_a_conflict_repeats_no_names_or_secrets(api: Api) -> None:
    """Lesson 33: an error names the member, never its value."""
    body = user_body(id=str(new_id()))
    await api.post("/v1/users", body)

    answer = await api.post("/v1/users", {**body, "id": None})

    assert (409, False) == (answer.status, any(body[name] in str(answer.body) for name in ("username", "email")))
    assert PASSWORD not in str(answer.body)
