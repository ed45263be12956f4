"""Every answer that is not a success has one format, whoever gives it: the ledger, the framework or the parser."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import asyncpg
import pytest
import structlog
from pydantic import SecretStr

from ledger.environment.variables import SettingsError
from ledger.settings import Settings
from tests.support.controls import ADMIN_PASSWORD, NOBODY, PASSWORD, Answer, Api, Serve, a_user, new_id
from tests.support.processes import DEADLINE_SECONDS
from web.http.catalogue import CATALOGUE

RFC3339 = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Server": "ledger",
}
JSON = {"Content-Type": "application/json"}
NO_TOKEN = "The request has no single `Authorization` header with a bearer token."


def assert_is_problem(answer: Answer, status: int, code: str, kind: str = "validation_error") -> None:
    """The body, the headers and the status all say the same, in the contract's format."""
    assert (status, [code]) == (answer.status, answer.codes)
    assert "application/problem+json" == answer.headers["Content-Type"].split(";")[0]
    body, (entry,) = answer.body, answer.body["errors"]
    assert {"type", "title", "status", "detail", "instance", "errors"} == body.keys()
    assert (status, entry["message"], entry["instance"]) == (body["status"], body["detail"], body["instance"])
    assert [str] * 4 == [type(body[name]) for name in ("type", "title", "detail", "instance")]
    least = {*("code", "kind", "message", "description", "help", "doc_url", "instance", "trace_id", "timestamp")}
    assert least <= entry.keys() <= least | {"detail", "reason"}
    assert kind == entry["kind"]
    assert answer.headers["X-Request-Id"] == entry["trace_id"]
    assert re.fullmatch(RFC3339, entry["timestamp"])
    assert None not in entry.values()


async def sent(api: Api, request: bytes) -> Answer:
    """What comes back for these bytes on a connection of their own."""
    reader, writer = await asyncio.open_connection(api.client.server.host, api.client.server.port)
    try:
        writer.write(request)
        await writer.drain()
        async with asyncio.timeout(DEADLINE_SECONDS):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            lines = head.strip().split("\r\n")
            headers = {name.title(): value for name, value in (line.split(": ", 1) for line in lines[1:])}
            text = (await reader.readexactly(int(headers["Content-Length"]))).decode()
    finally:
        writer.close()
    body = json.loads(text) if "json" in headers["Content-Type"] else text
    return Answer(int(lines[0].split(" ")[1]), body, headers)


def head(line: str, **headers: str) -> bytes:
    """The head of a request, of this request line."""
    fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in {"Host": "ledger", **headers}.items())
    return f"{line}\r\n{fields}\r\n".encode("latin-1")


# The format


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
async def test_a_client_that_takes_json_and_no_problems_gets_the_same_body_as_json(
    api: Api, accept: str | None, expected: str
) -> None:
    headers = {} if accept is None else {"Accept": accept}
    skipped = ["Accept"] if accept is None else []

    refused = await api.get(f"/v1/users/{NOBODY}", headers=headers, skip_auto_headers=skipped)
    unparsed = await sent(api, head("GET /v1/health HTTP/1.1", Expect="a-miracle", **headers))

    assert [expected] * 2 == [answer.headers["Content-Type"] for answer in (refused, unparsed)]
    assert (404, f"user not found: {NOBODY}") == (refused.body["status"], refused.body["detail"])
    assert unparsed.status == unparsed.body["status"]


async def test_a_status_has_the_phrase_of_rfc_9110_on_the_wire(api: Api) -> None:
    fields = {"Content_Type": "application/json", "Content_Length": "2"}

    assert b"HTTP/1.1 422 Unprocessable Content\r\n" == await status_line(
        api, head("POST /v1/auth/login HTTP/1.1", **fields) + b"[]"
    )


async def status_line(api: Api, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(api.client.server.host, api.client.server.port)
    writer.write(request)
    async with asyncio.timeout(10):
        line = await reader.readline()
    writer.close()
    return line


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
async def test_a_request_without_a_token_is_told_so_and_one_with_a_bad_token_not_what_is_wrong(
    api: Api, method: str, path: str, headers: dict[str, str], description: str
) -> None:
    answer = await api.nobody.call(method, path, headers=headers)

    assert_is_problem(answer, 401, "authentication_wrong_credentials", "authentication_error")
    assert ("wrong credentials", description) == (answer.body["detail"], answer.body["errors"][0]["description"])


@pytest.mark.parametrize("body", [b"", b" \r\n\t"])
async def test_a_body_that_is_missing_is_asked_for(api: Api, body: bytes) -> None:
    for path in ("/v1/auth/login", "/v1/transactions/batch"):
        answer = await api.post(path, data=body, headers=JSON)
        assert_is_problem(answer, 400, "malformed_request")
        assert "a JSON body is required" == answer.body["detail"]


async def test_many_errors_share_one_id_and_the_status_of_the_first(api: Api) -> None:
    answer = await api.post("/v1/users", {})

    assert (422, 422) == (answer.status, answer.body["status"])
    assert ["/username", "/email"] == answer.pointers
    assert {answer.headers["X-Request-Id"]} == {entry["trace_id"] for entry in answer.body["errors"]}


async def test_the_id_of_a_request_is_the_one_in_the_log(api: Api) -> None:
    with structlog.testing.capture_logs() as lines:
        answer = await api.get(f"/v1/users/{NOBODY}")

    (line,) = [line for line in lines if line["event"] == "request"]
    assert answer.body["errors"][0]["trace_id"] == line["request_id"]
    assert ("GET", f"/v1/users/{NOBODY}", 404) == (line["method"], line["path"], line["status"])


async def test_a_success_has_an_id_too_each_its_own(api: Api) -> None:
    ids = {(await api.get("/v1/health")).headers["X-Request-Id"] for _ in range(3)}

    assert 3 == len(ids)


@pytest.mark.parametrize("given", ["a", "trace-1.2_3", "A" * 64])
async def test_a_plain_request_id_of_the_client_is_kept(api: Api, given: str) -> None:
    answer = await api.get("/v1/nowhere", headers={"X-Request-Id": given})

    assert (given, given) == (answer.headers["X-Request-Id"], answer.body["errors"][0]["trace_id"])


@pytest.mark.parametrize("given", ["", "A" * 65, "two words", 'quo"te', "<script>", "ünicode", "a\tb"])
async def test_any_other_request_id_is_replaced(api: Api, given: str) -> None:
    """Lesson 31: what a client sends does not end up in the log as it came."""
    answer = await api.get("/v1/nowhere", headers={"X-Request-Id": given})

    assert given != answer.headers["X-Request-Id"]
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-Id"])
    assert_is_problem(answer, 404, "resource_not_found", "resource_not_found")


# What the framework refuses


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
async def test_another_method_is_not_allowed_and_the_answer_says_which_are(
    api: Api, method: str, path: str, allowed: str
) -> None:
    """Lesson 32."""
    answer = await api.call(method, path)

    if method == "HEAD":
        assert (405, "application/problem+json") == (answer.status, answer.headers["Content-Type"])
    else:
        assert_is_problem(answer, 405, "method_not_allowed")
    assert allowed.split(",") == sorted(answer.headers["Allow"].split(","))


async def test_a_body_at_the_limit_is_read_and_one_beyond_it_is_not(serve: Serve, settings: Settings) -> None:
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

    answer = await sent(api, head("POST /v1/users HTTP/1.1", **typed) + b"{}")

    assert_is_problem(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "media_type",
    [
        "application/json; charset=utf8",  # what the reference's own clients send
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
    body = json.dumps(a_user(username="zoë"), ensure_ascii=False)

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
async def test_an_unknown_version_is_told_on_every_route_and_to_everyone(
    api: Api, method: str, path: str, version: str
) -> None:
    answer = await api.nobody.call(method, path)

    assert_is_problem(answer, 400, "api_version_error")
    assert f"unknown version: {version}" == answer.body["errors"][0]["message"]


# What is hardly HTTP


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"garbage\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /v1/health HTTP/9\r\nHost: ledger\r\n\r\n",
        b"GET /v1/health HTTP/1.1\r\nno colon here\r\n\r\n",
        b"GET /v1/health HTTP/1.1\r\nHost: ledger\r\nX-Huge: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET /v1/" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: ledger\r\n\r\n",
        b"POST /v1/auth/login HTTP/1.1\r\nHost: ledger\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/auth/login HTTP/1.1\r\nHost: ledger\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /v1/auth/login HTTP/1.1\r\nHost: ledger\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    ids=["garbage", "tls", "version", "colon", "header", "path", "length", "lengths", "smuggling", "http2"],
)
async def test_what_is_not_http_is_answered_in_the_format_and_not_quoted(api: Api, request_bytes: bytes) -> None:
    """Lesson 32."""
    answer = await sent(api, request_bytes)

    assert_is_problem(answer, 400, "malformed_request")
    assert SECURITY_HEADERS.items() <= answer.headers.items()
    assert (200, "aaaaaaaa" in str(answer.body)) == ((await api.get("/v1/health")).status, False)


async def test_a_chunk_that_is_none_is_answered_in_the_format(api: Api) -> None:
    """Lesson 32."""
    start = head("POST /v1/auth/login HTTP/1.1", Content_Type="application/json", Transfer_Encoding="chunked")

    assert_is_problem(await sent(api, start + b"1\r\n{\r\nnonsense\r\n"), 400, "malformed_request")


async def test_a_chunk_that_is_none_is_answered_in_the_format_when_the_body_is_read_already(
    serve: Serve, settings: Settings
) -> None:
    """Lesson 32: a broken body is the client's fault, not the service's."""
    api = await serve(settings.model_copy(update={"ledger_body_timeout_seconds": 0.5}), logs_in=False)
    reader, writer = await asyncio.open_connection(api.client.server.host, api.client.server.port)
    writer.write(
        head("POST /v1/auth/login HTTP/1.1", Content_Type="application/json", Transfer_Encoding="chunked")
        + b"1\r\n{\r\n"
    )
    await writer.drain()
    assert 200 == (await api.get("/v1/health")).status  # by now, the handler waits for the rest

    writer.write(b"nonsense\r\n")
    async with asyncio.timeout(DEADLINE_SECONDS):
        status_line = await reader.readline()
    writer.close()

    assert int(status_line.split(b" ")[1]) in {400, 408}


@pytest.mark.parametrize("line", ["OPTIONS * HTTP/1.1", "GET http://ledger HTTP/1.1", "CONNECT ledger:443 HTTP/1.1"])
async def test_a_target_without_a_path_is_answered_in_the_format(api: Api, line: str) -> None:
    """Lesson 32: such a target is no path to split at its slashes."""
    answer = await sent(api, head(line))

    assert answer.status in {400, 401, 404, 405}
    assert_is_problem(answer, answer.status, answer.codes[0], answer.body["errors"][0]["kind"])


@pytest.mark.parametrize("path", ["/v1/auth/login", "/nowhere"])
async def test_an_expectation_nobody_knows_is_answered_in_the_format(api: Api, path: str) -> None:
    """Lesson 32: the framework looks at `Expect` before any layer of the application does."""
    fields = {"Expect": "a-miracle", "Content_Type": "application/json", "Content_Length": "2"}

    answer = await sent(api, head(f"POST {path} HTTP/1.1", **fields) + b"{}")

    assert 400 <= answer.status < 500
    assert_is_problem(answer, answer.status, answer.codes[0], answer.body["errors"][0]["kind"])
    assert SECURITY_HEADERS.items() <= answer.headers.items()


# What takes too long


async def test_a_body_that_does_not_arrive_is_not_waited_for(serve: Serve, settings: Settings) -> None:
    """Lesson 34."""
    api = await serve(settings.model_copy(update={"ledger_body_timeout_seconds": 0.2}), logs_in=False)

    answer = await sent(
        api, head("POST /v1/auth/login HTTP/1.1", Content_Type="application/json", Content_Length="20") + b'{"use'
    )

    assert_is_problem(answer, 408, "request_timeout")


async def test_a_body_that_trickles_in_is_not_waited_for(serve: Serve, settings: Settings) -> None:
    """Lesson 34: each byte is in time, all of them together are not."""
    api = await serve(settings.model_copy(update={"ledger_body_timeout_seconds": 0.3}), logs_in=False)
    reader, writer = await asyncio.open_connection(api.client.server.host, api.client.server.port)
    writer.write(head("POST /v1/auth/login HTTP/1.1", Content_Type="application/json", Content_Length="100000"))

    async def trickle() -> None:
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.05)  # the client's pace: the test itself waits for the answer

    trickling = asyncio.create_task(trickle())
    async with asyncio.timeout(DEADLINE_SECONDS):
        status_line = await reader.readline()
    trickling.cancel()
    with suppress(asyncio.CancelledError, ConnectionError):
        await trickling
    writer.close()

    assert b"HTTP/1.1 408 Request Timeout\r\n" == status_line


async def test_a_connection_that_has_nothing_to_say_is_closed(serve: Serve, settings: Settings) -> None:
    """Lesson 34."""
    api = await serve(settings.model_copy(update={"ledger_keepalive_seconds": 0.2}), logs_in=False)
    reader, writer = await asyncio.open_connection(api.client.server.host, api.client.server.port)

    writer.write(head("GET /v1/health HTTP/1.1"))
    async with asyncio.timeout(DEADLINE_SECONDS):
        everything = await reader.read()
    writer.close()

    assert everything.endswith(b'{"status":"healthy"}')


@pytest.mark.parametrize("start", [b"", b"GET /v1/health HTTP/1.1\r\nHost: led"])
async def test_a_connection_that_never_makes_a_request_is_closed(
    serve: Serve, settings: Settings, start: bytes
) -> None:
    """Lesson 34: nobody can hold connections for ever by saying nothing, or half of it."""
    impatient = {"ledger_keepalive_seconds": 0.2, "ledger_body_timeout_seconds": 0.2}
    api = await serve(settings.model_copy(update=impatient), logs_in=False)
    reader, writer = await asyncio.open_connection(api.client.server.host, api.client.server.port)

    writer.write(start)
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await reader.read()
    finally:
        writer.close()


# When the database is gone


class Gate:
    """A socket between the service and PostgreSQL, which can be shut."""

    def __init__(self, path: Path, target: str) -> None:
        self.path, self.target = path, target
        self.server: asyncio.Server | None = None
        self.writers: list[asyncio.StreamWriter] = []
        self.pumps: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        self.server = await asyncio.start_unix_server(self._connected, self.path)

    async def shut(self) -> None:
        assert self.server is not None
        self.server.close()
        self.path.unlink(missing_ok=True)
        for writer in self.writers:
            writer.transport.abort()
        for pump in list(self.pumps):
            with suppress(ConnectionError):
                await pump
        self.writers.clear()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward, back = await asyncio.open_unix_connection(self.target)
        self.writers += [writer, back]
        for source, sink in ((reader, back), (onward, writer)):
            pump = asyncio.create_task(self._pump(source, sink))
            self.pumps.add(pump)
            pump.add_done_callback(self.pumps.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65_536):
                sink.write(data)
                await sink.drain()
        sink.close()


@pytest.fixture
async def gate(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gate]:
    (folder,) = parse_qs(urlsplit(settings.database_dsn()).query)["host"]
    gate = Gate(tmp_path_factory.mktemp("g") / ".s.PGSQL.5432", f"{folder}/.s.PGSQL.5432")
    await gate.open()
    yield gate
    await gate.shut()


@pytest.fixture
async def gated(serve: Serve, settings: Settings, gate: Gate) -> Api:
    """The service, which reaches its database through the gate and gives up soon when it is shut."""
    url = urlsplit(settings.database_dsn())._replace(query=f"host={quote(str(gate.path.parent), safe='')}&port=5432")
    return await serve(
        settings.model_copy(update={"database_url": SecretStr(url.geturl()), "ledger_database_patience_seconds": 0.1})
    )


def calls_of(api: Api) -> list[tuple[str, str, Any]]:
    """Something of each kind: a read, a command, a login, and what is only about the caller."""
    return [
        ("GET", "/", None),
        ("GET", "/v1/users", None),
        ("GET", f"/v1/accounts/{NOBODY}", None),
        ("POST", "/v1/users", a_user()),
        ("POST", "/v1/accounts", {"user_id": api.user_id or NOBODY}),
        ("POST", "/v1/auth/login", {"username": "admin", "password": ADMIN_PASSWORD}),
    ]


def assert_is_database_error(answer: Answer, *unspeakable: str) -> None:
    assert_is_problem(answer, 503, "database_error", "database_error")
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    spoken = json.dumps(answer.body).lower()
    words = ["postgres", "asyncpg", "traceback", "socket", "connection", "terminat", "sql", *unspeakable]
    assert [] == [word for word in words if word.lower() in spoken]


async def test_without_the_database_nothing_works_and_nothing_is_told_about_it(
    gated: Api, gate: Gate, settings: Settings
) -> None:
    await gate.shut()

    answers = [await gated.call(method, path, body) for method, path, body in calls_of(gated)]

    await gate.open()
    for answer in answers:
        assert_is_database_error(answer, str(gate.path), urlsplit(settings.database_dsn()).path.strip("/"))


async def test_the_service_is_healthy_without_the_database(gated: Api, gate: Gate) -> None:
    await gate.shut()

    answer = await gated.get("/v1/health")

    await gate.open()
    assert 200 == answer.status


async def test_the_service_works_again_once_the_database_is_back(gated: Api, gate: Gate) -> None:
    """Lesson 25, for PostgreSQL: nothing stays broken."""
    await gate.shut()
    lost = await gated.post("/v1/users", a_user())
    await gate.open()

    read, made = await gated.get("/v1/users"), await gated.post("/v1/users", a_user())

    assert (503, 200, 201) == (lost.status, read.status, made.status)


async def test_a_token_is_not_refused_because_the_database_is_gone(gated: Api, gate: Gate) -> None:
    await gate.shut()

    known, unknown = await gated.get("/"), await gated.nobody.get("/")

    await gate.open()
    assert (503, 401) == (known.status, unknown.status)


async def test_a_database_that_was_dropped_is_one_that_is_gone(serve: Serve, settings: Settings) -> None:
    api = await serve(settings.model_copy(update={"ledger_database_patience_seconds": 0.1}))
    name = urlsplit(settings.database_dsn()).path.strip("/")
    connection = await asyncpg.connect(settings.database_dsn().replace(f"/{name}?", "/ledger?"))
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    answers = [await api.call(method, path, body) for method, path, body in calls_of(api)]

    await connection.execute(f"CREATE DATABASE {name}")  # for the fixture to drop
    await connection.close()
    for answer in answers:
        assert_is_database_error(answer, name)


# What every answer carries


async def test_every_answer_has_the_security_headers(api: Api) -> None:
    answers = [
        await api.get("/"),
        await api.get("/v1/health"),
        await api.get("/v1/nowhere"),
        await api.get("/v9/health"),
        await api.nobody.get("/v1/users"),
        await api.call("PATCH", "/v1/users"),
        await api.post("/v1/users", data=b"{", headers=JSON),
        await api.post("/v1/users", a_user()),
        await api.post("/v1/users", data=b" " * 70_000, headers=JSON),
        await api.call("OPTIONS", "/v1/users"),
        await sent(api, b"garbage\r\n\r\n"),
    ]

    assert [200, 200, 404, 400, 401, 405, 400, 201, 413, 204, 400] == [answer.status for answer in answers]
    for answer in answers:
        assert SECURITY_HEADERS.items() <= {name: answer.headers[name] for name in SECURITY_HEADERS}.items()
        assert answer.headers["X-Request-Id"]


# Other origins

ORIGIN = "https://app.example"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}


def shared(answer: Answer) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("Access-Control")}


@pytest.fixture
async def open_api(serve: Serve, settings: Settings) -> Api:
    """The API, open to two other origins."""
    return await serve(settings.model_copy(update={"ledger_cors_origins": f"{ORIGIN} http://localhost:3000"}))


async def test_no_other_origin_reads_anything_unless_the_settings_name_it(api: Api, open_api: Api) -> None:
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
    assert [{}] * 7 == [shared(answer) for answer in answers]


@pytest.mark.parametrize("origin", [ORIGIN, "http://localhost:3000"])
async def test_an_origin_that_the_settings_name_reads_answers(open_api: Api, origin: str) -> None:
    answer = await open_api.get("/v1/health", headers={"Origin": origin})

    assert (200, origin, "Origin") == (
        answer.status,
        answer.headers["Access-Control-Allow-Origin"],
        answer.headers["Vary"],
    )
    known = {"X-Request-Id", "Idempotent-Replayed", "RateLimit", "RateLimit-Policy", "Retry-After"}
    assert known | {"ETag", "Ledger-Position", "Link", "Location"} == set(
        answer.headers["Access-Control-Expose-Headers"].split(", ")
    )
    assert "Access-Control-Allow-Credentials" not in answer.headers


async def test_it_reads_errors_too(open_api: Api) -> None:
    refused = await open_api.nobody.get("/v1/users", headers={"Origin": ORIGIN})
    unknown = await open_api.get("/v1/nowhere", headers={"Origin": ORIGIN})

    assert [(401, ORIGIN), (404, ORIGIN)] == [
        (answer.status, answer.headers["Access-Control-Allow-Origin"]) for answer in (refused, unknown)
    ]


async def test_a_preflight_request_is_answered_without_a_token(open_api: Api) -> None:
    answer = await open_api.nobody.call("OPTIONS", "/v1/users", headers={"Origin": ORIGIN, **PREFLIGHT})

    assert (204, "", ORIGIN) == (answer.status, answer.body, answer.headers["Access-Control-Allow-Origin"])
    assert {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} == set(
        answer.headers["Access-Control-Allow-Methods"].split(", ")
    )
    allowed = answer.headers["Access-Control-Allow-Headers"].lower().split(", ")
    assert {"authorization", "content-type", "idempotency-key"} <= set(allowed)
    assert SECURITY_HEADERS.items() <= {name: answer.headers[name] for name in SECURITY_HEADERS}.items()


async def test_any_origin_may_read_what_needs_no_credentials(serve: Serve, settings: Settings) -> None:
    """Tokens travel in a header, so `*` gives a page nothing that it has not got: credentials are never allowed."""
    api = await serve(settings.model_copy(update={"ledger_cors_origins": "*"}))
    strange = {"Origin": "https://any.example"}
    answers = [
        await api.get("/v1/health", headers=strange),
        await api.get("/v1/health"),  # the same for everybody: a cache needs no `Vary`
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
    """A page learns that a path is unknown from the request itself."""
    headers = {"Origin": ORIGIN, **PREFLIGHT}
    answers = [await open_api.nobody.call("OPTIONS", path, headers=headers) for path in ("/v1/nowhere", "/v9/users")]

    assert [204, 204] == [answer.status for answer in answers]
    assert [ORIGIN] * 2 == [answer.headers["Access-Control-Allow-Origin"] for answer in answers]


@pytest.mark.parametrize("origins", ["* https://app.example", "https://*", "https://*.example", "**", "null", "* *"])
def test_a_star_is_alone_or_an_error(origins: str) -> None:
    with pytest.raises(SettingsError, match="LEDGER_CORS_ORIGINS"):
        Settings.load(ledger_cors_origins=origins)


async def test_a_fault_is_told_to_nobody(api: Api, connection: "asyncpg.Connection[Any]") -> None:
    """Whatever PostgreSQL says of a table that is gone stays in the log."""
    await connection.execute("ALTER TABLE accounts RENAME TO elsewhere")

    answer = await api.get("/v1/accounts")

    assert_is_problem(answer, 500, "internal_error", "internal_error")
    assert [] == [word for word in ('accounts"', "relation", "select", "asyncpg") if word in str(answer.body).lower()]


async def test_names_and_secrets_are_not_told_by_a_conflict(api: Api) -> None:
    """Lesson 33: an error names the member, never its value."""
    body = a_user(id=str(new_id()))
    await api.post("/v1/users", body)

    answer = await api.post("/v1/users", {**body, "id": None})

    assert (409, False) == (answer.status, any(body[name] in str(answer.body) for name in ("username", "email")))
    assert PASSWORD not in str(answer.body)
