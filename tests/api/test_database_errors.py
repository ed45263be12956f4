"""Without the database the service returns errors that reveal nothing about it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import asyncpg
import pytest
from pydantic import SecretStr

from ledger.settings import Settings
from tests.support.controls import ADMIN_PASSWORD, NOBODY, Api, Response, Serve, user_body
from tests.support.problems import assert_is_problem


class Gate:
    """A socket between the service and PostgreSQL that can be shut."""

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
    """Serve through the gate, with a short timeout for when it is shut."""
    url = urlsplit(settings.database_dsn())._replace(query=f"host={quote(str(gate.path.parent), safe='')}&port=5432")
    return await serve(
        settings.model_copy(update={"database_url": SecretStr(url.geturl()), "ledger_database_patience_seconds": 0.1})
    )


def calls_of(api: Api) -> list[tuple[str, str, Any]]:
    """Return requests of each kind: a read, a command, a login, and one that checks only the caller."""
    return [
        ("GET", "/", None),
        ("GET", "/v1/users", None),
        ("GET", f"/v1/accounts/{NOBODY}", None),
        ("POST", "/v1/users", user_body()),
        ("POST", "/v1/accounts", {"user_id": api.user_id or NOBODY}),
        ("POST", "/v1/auth/login", {"username": "admin", "password": ADMIN_PASSWORD}),
    ]


def assert_is_database_error(answer: Response, *unspeakable: str) -> None:
    assert_is_problem(answer, 503, "database_error", "database_error")
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    spoken = json.dumps(answer.body).lower()
    words = ["postgres", "asyncpg", "traceback", "socket", "connection", "terminat", "sql", *unspeakable]
    assert [] == [word for word in words if word.lower() in spoken]


async def test_without_the_database_every_request_fails_and_reveals_nothing(
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


async def test_the_service_recovers_once_the_database_is_back(gated: Api, gate: Gate) -> None:
    """Lesson 25, for PostgreSQL: nothing stays broken."""
    await gate.shut()
    lost = await gated.post("/v1/users", user_body())
    await gate.open()

    read, made = await gated.get("/v1/users"), await gated.post("/v1/users", user_body())

    assert (503, 200, 201) == (lost.status, read.status, made.status)


async def test_a_token_is_not_refused_while_the_database_is_away(gated: Api, gate: Gate) -> None:
    await gate.shut()

    known, unknown = await gated.get("/"), await gated.nobody.get("/")

    await gate.open()
    assert (503, 401) == (known.status, unknown.status)


async def test_a_dropped_database_counts_as_unavailable(serve: Serve, settings: Settings) -> None:
    api = await serve(settings.model_copy(update={"ledger_database_patience_seconds": 0.1}))
    name = urlsplit(settings.database_dsn()).path.strip("/")
    connection = await asyncpg.connect(settings.database_dsn().replace(f"/{name}?", "/ledger?"))
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    answers = [await api.call(method, path, body) for method, path, body in calls_of(api)]

    await connection.execute(f"CREATE DATABASE {name}")  # for the fixture to drop
    await connection.close()
    for answer in answers:
        assert_is_database_error(answer, name)
