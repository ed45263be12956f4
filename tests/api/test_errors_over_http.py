"""All errors have one format."""

import json
import re
from collections.abc import AsyncIterator

import pytest
import structlog

from ledger.settings import Settings
from tests.support.controls import NOBODY, Api, Serve, user_body
from tests.support.problems import JSON, assert_is_problem, request_head, send_raw, status_line
from web.http.catalogue import CATALOGUE

NO_TOKEN = "The request has no single `Authorization` header with a bearer token."


async def test_an_error_has_all_members_of_the_format_and_no_absent_one(api: Api) -> None:
    with_all = await api.get(f"/v1/users/{NOBODY}")
    with_least = await api.nobody.get("/v1/users")

    assert_is_problem(with_all, 404, "user_not_found", "resource_not_found")
    assert_is_problem(with_least, 401, "authentication_wrong_credentials", "authentication_error")
    least = {*("code", "kind", "message", "description", "help", "doc_url", "instance", "trace_id", "timestamp")}
    assert least | {"detail", "reason"} == with_all.body["errors"][0].keys()
    assert least == with_least.body["errors"][0].keys()
    assert {
        "type": "/errors/user_not_found",
        "title": "User not found",
        "status": 404,
        "detail": f"user not found: {NOBODY}",
        "instance": f"/v1/users/{NOBODY}",
    }.items() <= with_all.body.items()


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, "application/problem+json"),
        ("*/*", "application/problem+json"),
        ("application/*", "application/problem+json"),
        ("application/json, text/plain, */*", "application/problem+json"),
        ("application/problem+json, application/json", "application/problem+json"),
        ("text/html", "application/problem+json"),
        ("application/json", "application/json"),
        ("Application/JSON; charset=utf-8", "application/json"),
        ("application/json, application/problem+json;q=0", "application/json"),
        ("application/json;q=0", "application/problem+json"),
    ],
)
async def test_a_client_that_accepts_only_json_gets_the_problem_as_json(
    api: Api, accept: str | None, expected: str
) -> None:
    headers = {} if accept is None else {"Accept": accept}
    skipped = ["Accept"] if accept is None else []

    refused = await api.get(f"/v1/users/{NOBODY}", headers=headers, skip_auto_headers=skipped)
    unparsed = await send_raw(api, request_head("GET /v1/health HTTP/1.1", Expect="a-miracle", **headers))

    assert [expected] * 2 == [answer.headers["Content-Type"] for answer in (refused, unparsed)]
    assert (404, f"user not found: {NOBODY}") == (refused.body["status"], refused.body["detail"])
    assert unparsed.status == unparsed.body["status"]


async def test_a_status_has_the_phrase_of_rfc_9110_on_the_wire(api: Api) -> None:
    fields = {"Content_Type": "application/json", "Content_Length": "2"}

    assert b"HTTP/1.1 422 Unprocessable Content\r\n" == await status_line(
        api, request_head("POST /v1/auth/login HTTP/1.1", **fields) + b"[]"
    )


@pytest.mark.parametrize(
    ("headers", "description"),
    [
        ({}, "The request has no `Authorization` header."),
        ({"Authorization": ""}, NO_TOKEN),
        ({"Authorization": "Bearer"}, NO_TOKEN),
        ({"Authorization": "Basic YWRtaW46cGFzc3dvcmQ="}, NO_TOKEN),
        ({"Authorization": "Bearer x"}, CATALOGUE["authentication_wrong_credentials"].description),
    ],
)
@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/accounts"), ("POST", "/v1/auth/logout")])
async def test_a_missing_token_is_named_and_an_invalid_one_is_not_explained(
    api: Api, method: str, path: str, headers: dict[str, str], description: str
) -> None:
    answer = await api.nobody.call(method, path, headers=headers)

    assert_is_problem(answer, 401, "authentication_wrong_credentials", "authentication_error")
    assert ("wrong credentials", description) == (answer.body["detail"], answer.body["errors"][0]["description"])


@pytest.mark.parametrize("body", [b"", b" \r\n\t"])
async def test_a_missing_body_is_reported(api: Api, body: bytes) -> None:
    for path in ("/v1/auth/login", "/v1/transactions/batch"):
        answer = await api.post(path, data=body, headers=JSON)
        assert_is_problem(answer, 400, "malformed_request")
        assert "a JSON body is required" == answer.body["detail"]


async def test_many_errors_share_one_id_and_the_status_of_the_first(api: Api) -> None:
    answer = await api.post("/v1/users", {})

    assert (422, 422) == (answer.status, answer.body["status"])
    assert ["/username", "/email"] == answer.pointers
    assert {answer.headers["X-Request-Id"]} == {entry["trace_id"] for entry in answer.body["errors"]}


async def test_the_request_id_is_in_the_log(api: Api) -> None:
    with structlog.testing.capture_logs() as lines:
        answer = await api.get(f"/v1/users/{NOBODY}")

    (line,) = [line for line in lines if line["event"] == "request"]
    assert answer.body["errors"][0]["trace_id"] == line["request_id"]
    assert ("GET", f"/v1/users/{NOBODY}", 404) == (line["method"], line["path"], line["status"])


async def test_every_successful_response_has_its_own_request_id(api: Api) -> None:
    ids = {(await api.get("/v1/health")).headers["X-Request-Id"] for _ in range(3)}

    assert 3 == len(ids)


@pytest.mark.parametrize("given", ["a", "trace-1.2_3", "A" * 64])
async def test_a_request_id_of_the_client_is_logged_beside_that_of_the_service(api: Api, given: str) -> None:
    """Lesson 31: it identifies nothing, because any client can send that of another."""
    with structlog.testing.capture_logs() as lines:
        answers = [await api.get("/v1/nowhere", headers={"X-Request-Id": given}) for _ in range(2)]

    requests = [line for line in lines if line["event"] == "request"]
    assert [given, given] == [line["client_request_id"] for line in requests]
    own = [answer.headers["X-Request-Id"] for answer in answers]
    assert own == [line["request_id"] for line in requests]
    assert own == [answer.body["errors"][0]["trace_id"] for answer in answers]
    assert 3 == len({given, *own})


@pytest.mark.parametrize("given", ["", "A" * 65, "two words", 'quo"te', "<script>", "ünicode", "a\tb"])
async def test_any_other_request_id_of_the_client_is_ignored(api: Api, given: str) -> None:
    """Lesson 31: untrusted text is not logged unchanged."""
    with structlog.testing.capture_logs() as lines:
        answer = await api.get("/v1/nowhere", headers={"X-Request-Id": given})

    assert not any("client_request_id" in line for line in lines)

    assert given != answer.headers["X-Request-Id"]
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-Id"])
    assert_is_problem(answer, 404, "resource_not_found", "resource_not_found")


@pytest.mark.parametrize(
    "path", ["/nowhere", "/v1", "/v1/", "/v2/nowhere", "/v1/users/", "/v1/health/", "/v1/%00/x", "/v1/users/a/b"]
)
async def test_an_unknown_route_is_not_found(api: Api, path: str) -> None:
    """Lesson 32."""
    assert_is_problem(await api.get(path), 404, "resource_not_found", "resource_not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/", "GET,HEAD,OPTIONS"),
        ("DELETE", "/v1/health", "GET,HEAD,OPTIONS"),
        ("GET", "/v1/auth/login", "OPTIONS,POST"),
        ("HEAD", "/v1/auth/login", "OPTIONS,POST"),
        ("PATCH", "/v1/users", "GET,HEAD,OPTIONS,POST"),
        ("TRACE", "/v1/accounts", "GET,HEAD,OPTIONS,POST"),
        ("GET", "/v1/transactions/transfer", "OPTIONS,POST"),
    ],
)
async def test_an_unsupported_method_is_refused_with_the_allowed_ones(
    api: Api, method: str, path: str, allowed: str
) -> None:
    """Lesson 32."""
    answer = await api.call(method, path)

    if method == "HEAD":
        assert (405, "application/problem+json") == (answer.status, answer.headers["Content-Type"])
    else:
        assert_is_problem(answer, 405, "method_not_allowed")
    assert allowed.split(",") == sorted(answer.headers["Allow"].split(","))


async def test_a_body_at_the_limit_is_accepted_and_a_larger_one_is_not(serve: Serve, settings: Settings) -> None:
    """Lesson 36."""
    api = await serve(settings.model_copy(update={"ledger_body_limit_bytes": 1024}))

    at_limit = await api.post("/v1/users", data=b" " * 1022 + b"[]", headers=JSON)
    beyond = await api.post("/v1/users", data=b" " * 1023 + b"[]", headers=JSON)

    assert_is_problem(at_limit, 422, "validation_error")
    assert_is_problem(beyond, 413, "payload_too_large")


async def test_a_body_of_unknown_length_is_bounded_as_well(serve: Serve, settings: Settings) -> None:
    """Lesson 36."""
    api = await serve(settings.model_copy(update={"ledger_body_limit_bytes": 1024}))

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b" " * 1024

    assert_is_problem(await api.post("/v1/users", data=endless(), headers=JSON), 413, "payload_too_large")


@pytest.mark.parametrize(
    "media_type",
    [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "application/+json"],
)
async def test_another_media_type_is_refused(api: Api, media_type: str | None) -> None:
    """Lesson 32."""
    fields = {"Content_Length": "2", "Authorization": f"Bearer {api.token}"}
    typed = fields if media_type is None else {**fields, "Content_Type": media_type}

    answer = await send_raw(api, request_head("POST /v1/users HTTP/1.1", **typed) + b"{}")

    assert_is_problem(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "media_type",
    [
        "application/json; charset=utf8",  # sent by the reference's clients
        "application/json; charset=UTF-8",
        'application/json; charset="utf-8"',
        "application/json; charset=us-ascii",
        "application/json; charset=iso-8859-1",
        "application/json; charset=utf-16",
        "application/json; charset",
        "Application/JSON;CHARSET=UTF8",
        "application/vnd.api+json",
        "application/merge-patch+json; charset=utf8",
    ],
)
async def test_the_charset_of_json_has_no_meaning_and_the_bytes_are_utf_8(api: Api, media_type: str) -> None:
    """Lesson 40."""
    body = json.dumps(user_body(username="zoë"), ensure_ascii=False)

    answers = [
        await api.post("/v1/users", data=raw, headers={"Content-Type": media_type})
        for raw in (body.encode("iso-8859-1"), body.encode("utf-16"), body.encode())
    ]

    assert [400, 400, 201] == [answer.status for answer in answers]
    assert "zoë" == answers[-1].body["username"]


@pytest.mark.parametrize("body", [b"", b"{", b"{}}", b"{'a': 1}", b"\xff", b"nonsense", b"\xef\xbb\xbf{}", b"{,}"])
async def test_malformed_json_is_a_bad_request(api: Api, body: bytes) -> None:
    """Lesson 32."""
    answer = await api.post("/v1/auth/login", data=body, headers=JSON)

    assert_is_problem(answer, 400, "malformed_request")


UNKNOWN_VERSIONS = [
    ("GET", "/v9/health", "v9"),
    ("GET", "/foo/health", "foo"),
    ("GET", "/v9/version", "v9"),
    ("POST", "/v0/auth/login", "v0"),
    ("GET", "/v3/users", "v3"),
    ("POST", "/V1/users", "V1"),
    ("GET", f"/v10/users/{NOBODY}", "v10"),
    ("PUT", f"/foo/users/{NOBODY}", "foo"),
    ("DELETE", f"/v9/users/{NOBODY}", "v9"),
    ("GET", "/foo/accounts", "foo"),
    ("POST", "/v9/accounts", "v9"),
    ("GET", f"/v9/accounts/{NOBODY}", "v9"),
    ("PUT", f"/v9/accounts/{NOBODY}", "v9"),
    ("DELETE", f"/bar/accounts/{NOBODY}", "bar"),
    ("POST", "/v9/transactions/transfer", "v9"),
    ("GET", f"/v9/transactions/{NOBODY}", "v9"),
]


@pytest.mark.parametrize(("method", "path", "version"), UNKNOWN_VERSIONS)
async def test_an_unknown_version_is_reported_on_every_route_to_every_caller(
    api: Api, method: str, path: str, version: str
) -> None:
    answer = await api.nobody.call(method, path)

    assert_is_problem(answer, 400, "api_version_error")
    assert f"unknown version: {version}" == answer.body["errors"][0]["message"]
