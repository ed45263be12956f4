"""The format of errors, and requests in raw bytes, for the tests of errors."""

import asyncio
import json
import re

from tests.support.controls import Api, Response
from tests.support.processes import DEADLINE_SECONDS

RFC3339 = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"


SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Server": "ledger",
}


JSON = {"Content-Type": "application/json"}


def assert_is_problem(answer: Response, status: int, code: str, kind: str = "validation_error") -> None:
    """Assert that body, headers and status agree and follow the contract's error format."""
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


async def send_raw(api: Api, request: bytes) -> Response:
    """Send these bytes on a new connection and return the response."""
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
    return Response(int(lines[0].split(" ")[1]), body, headers)


def request_head(line: str, **headers: str) -> bytes:
    """Return the request line and headers as bytes."""
    fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in {"Host": "ledger", **headers}.items())
    return f"{line}\r\n{fields}\r\n".encode("latin-1")


async def status_line(api: Api, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(api.client.server.host, api.client.server.port)
    writer.write(request)
    async with asyncio.timeout(10):
        line = await reader.readline()
    writer.close()
    return line
