"""No path leads to a folder or to a file that is not published, and no route echoes a request."""

import asyncio
import re

import pytest

from tests.support.controls import NOBODY, Api
from web.handlers.docs import ASSETS
from web.openapi import path_of
from web.routes import ROUTES, UNVERSIONED

FOLDERS = ["/docs/", "/docs/.", "/docs//", "/v1", "/v1/", "/errors/", "/.well-known", "/.well-known/", "//", "/web/"]
OUTSIDE = [
    *(
        f"/docs/{up}{name}"
        for up in ("../", "%2e%2e/", "..%2f", "%2e%2e%2f", "..%5c")
        for name in ("app.py", "__init__.py")
    ),
    *(
        "/docs/../../pyproject.toml",
        "/docs//etc/passwd",
        "/docs/%2fetc%2fpasswd",
        "/docs/index.html",
        "/docs/icon.svg%00.js",
    ),
    *("/.env", "/.git/HEAD", "/docs/.git/HEAD", "/errors/../app.py", "/.ledger/admin-password"),
]


async def request_raw(api: Api, method: str, path: str) -> tuple[int, str]:
    """Send a path as it is, which clients would normalise; return the status and the body."""
    server = api.client.server
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: ledger\r\nConnection: close\r\nX-Canary: hunter2\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    return int(answer.split(" ", 2)[1]), answer.partition("\r\n\r\n")[2]


@pytest.mark.parametrize("path", [*FOLDERS, *OUTSIDE])
async def test_no_folder_is_listed_and_no_other_file_is_served(api: Api, path: str) -> None:
    status, body = await request_raw(api, "GET", path)

    assert status in {401, 404}, body
    others = [name for name in ASSETS if name not in path]  # an error names the path
    assert not [text for text in (*others, "<svg", "import ", "root:", "[project]") if text in body]


async def test_no_route_answers_trace(api: Api) -> None:
    paths = {re.sub(r"\{\w+\}", NOBODY, path_of(route)) for route in (*UNVERSIONED, *ROUTES)}
    assert len(paths) > 40

    answers = {path: await request_raw(api, "TRACE", path) for path in sorted(paths)}

    assert {405} == {status for status, _ in answers.values()}
    assert not [path for path, (_, body) in answers.items() if "hunter2" in body]
