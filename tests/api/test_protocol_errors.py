"""Malformed HTTP and slow clients get errors in the usual format."""

import asyncio
from contextlib import suppress

import pytest

from ledger.settings import Settings
from tests.support.controls import Api, Serve
from tests.support.problems import SECURITY_HEADERS, assert_is_problem, request_head, send_raw
from tests.support.processes import DEADLINE_SECONDS


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
async def test_malformed_http_gets_a_problem_that_does_not_quote_it(api: Api, request_bytes: bytes) -> None:
    """Lesson 32."""
    answer = await send_raw(api, request_bytes)

    assert_is_problem(answer, 400, "malformed_request")
    assert SECURITY_HEADERS.items() <= answer.headers.items()
    assert (200, "aaaaaaaa" in str(answer.body)) == ((await api.get("/v1/health")).status, False)


@pytest.mark.parametrize("line", [b"GET /v1/health", b"GET /v1/health HTTP/0.9", b"GET /v1/health HTTP/2.0"])
async def test_other_versions_of_http_are_refused(api: Api, line: bytes) -> None:
    """A response of HTTP/0.9 has no status, so a cache or a proxy takes any body for the resource."""
    reader, writer = await asyncio.open_connection(api.client.server.host, api.client.server.port)
    writer.write(line + b"\r\n\r\n")
    async with asyncio.timeout(DEADLINE_SECONDS):
        answer = await reader.read()
    writer.close()

    assert b" 400 " in answer.splitlines()[0]
    assert b"healthy" not in answer


async def test_a_malformed_chunk_gets_a_problem(api: Api) -> None:
    """Lesson 32."""
    start = request_head("POST /v1/auth/login HTTP/1.1", Content_Type="application/json", Transfer_Encoding="chunked")

    assert_is_problem(await send_raw(api, start + b"1\r\n{\r\nnonsense\r\n"), 400, "malformed_request")


async def test_a_malformed_chunk_gets_a_problem_while_the_body_is_being_read(serve: Serve, settings: Settings) -> None:
    """Lesson 32: a broken body is the client's fault, not the service's."""
    api = await serve(settings.model_copy(update={"ledger_body_timeout_seconds": 0.5}), logs_in=False)
    reader, writer = await asyncio.open_connection(api.client.server.host, api.client.server.port)
    writer.write(
        request_head("POST /v1/auth/login HTTP/1.1", Content_Type="application/json", Transfer_Encoding="chunked")
        + b"1\r\n{\r\n"
    )
    await writer.drain()
    assert 200 == (await api.get("/v1/health")).status  # by now, the handler is waiting for the rest

    writer.write(b"nonsense\r\n")
    async with asyncio.timeout(DEADLINE_SECONDS):
        status_line = await reader.readline()
    writer.close()

    assert int(status_line.split(b" ")[1]) in {400, 408}


@pytest.mark.parametrize("line", ["OPTIONS * HTTP/1.1", "GET http://ledger HTTP/1.1", "CONNECT ledger:443 HTTP/1.1"])
async def test_a_target_without_a_path_gets_a_problem(api: Api, line: str) -> None:
    """Lesson 32: such a target has no path segments."""
    answer = await send_raw(api, request_head(line))

    assert answer.status in {400, 401, 404, 405}
    assert_is_problem(answer, answer.status, answer.codes[0], answer.body["errors"][0]["kind"])


@pytest.mark.parametrize("path", ["/v1/auth/login", "/nowhere"])
async def test_an_unknown_expectation_gets_a_problem(api: Api, path: str) -> None:
    """Lesson 32: the framework checks `Expect` before the application runs."""
    fields = {"Expect": "a-miracle", "Content_Type": "application/json", "Content_Length": "2"}

    answer = await send_raw(api, request_head(f"POST {path} HTTP/1.1", **fields) + b"{}")

    assert 400 <= answer.status < 500
    assert_is_problem(answer, answer.status, answer.codes[0], answer.body["errors"][0]["kind"])
    assert SECURITY_HEADERS.items() <= answer.headers.items()


async def test_a_body_that_does_not_arrive_times_out(serve: Serve, settings: Settings) -> None:
    """Lesson 34."""
    api = await serve(settings.model_copy(update={"ledger_body_timeout_seconds": 0.2}), logs_in=False)

    answer = await send_raw(
        api,
        request_head("POST /v1/auth/login HTTP/1.1", Content_Type="application/json", Content_Length="20") + b'{"use',
    )

    assert_is_problem(answer, 408, "request_timeout")


async def test_a_body_that_trickles_in_times_out(serve: Serve, settings: Settings) -> None:
    """Lesson 34: each byte is in time, but the whole body is not."""
    api = await serve(settings.model_copy(update={"ledger_body_timeout_seconds": 0.3}), logs_in=False)
    reader, writer = await asyncio.open_connection(api.client.server.host, api.client.server.port)
    writer.write(request_head("POST /v1/auth/login HTTP/1.1", Content_Type="application/json", Content_Length="100000"))

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


async def test_an_idle_connection_is_closed(serve: Serve, settings: Settings) -> None:
    """Lesson 34."""
    api = await serve(settings.model_copy(update={"ledger_keepalive_seconds": 0.2}), logs_in=False)
    reader, writer = await asyncio.open_connection(api.client.server.host, api.client.server.port)

    writer.write(request_head("GET /v1/health HTTP/1.1"))
    async with asyncio.timeout(DEADLINE_SECONDS):
        everything = await reader.read()
    writer.close()

    assert everything.endswith(b'{"status":"healthy"}')


@pytest.mark.parametrize("start", [b"", b"GET /v1/health HTTP/1.1\r\nHost: led"])
async def test_a_connection_that_never_makes_a_request_is_closed(
    serve: Serve, settings: Settings, start: bytes
) -> None:
    """Lesson 34: silent or unfinished requests cannot keep connections open."""
    impatient = {"ledger_keepalive_seconds": 0.2, "ledger_body_timeout_seconds": 0.2}
    api = await serve(settings.model_copy(update=impatient), logs_in=False)
    reader, writer = await asyncio.open_connection(api.client.server.host, api.client.server.port)

    writer.write(start)
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await reader.read()
    finally:
        writer.close()
