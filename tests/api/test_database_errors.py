"""Without the database the service returns errors that reveal nothing about it."""

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from ledger.settings import Settings
from tests.support.controls import ADMIN_PASSWORD, NOBODY, Api, Response, Serve, user_body
from tests.support.problems import assert_is_problem
from tests.support.proxy import Proxy


@pytest.fixture
async def proxy(settings: Settings) -> AsyncIterator[Proxy]:
    async with Proxy.to_database(settings) as proxy:
        yield proxy


@pytest.fixture
async def proxied(serve: Serve, settings: Settings, proxy: Proxy) -> Api:
    """Serve with the database behind the proxy, and a short timeout for when it is away."""
    return await serve(proxy.database_settings(settings).model_copy(update={"ledger_database_patience_seconds": 0.5}))


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
    proxied: Api, proxy: Proxy, settings: Settings
) -> None:
    proxy.refuse()

    answers = [await proxied.call(method, path, body) for method, path, body in calls_of(proxied)]

    proxy.heal()
    for answer in answers:
        assert_is_database_error(
            answer, "{}:{}".format(*proxy.address), urlsplit(settings.database_dsn()).path.strip("/")
        )


async def test_the_service_is_healthy_without_the_database(proxied: Api, proxy: Proxy) -> None:
    proxy.refuse()

    answer = await proxied.get("/v1/health")

    proxy.heal()
    assert 200 == answer.status


async def test_the_service_recovers_once_the_database_is_back(proxied: Api, proxy: Proxy) -> None:
    """Lesson 25, for PostgreSQL: nothing stays broken."""
    proxy.refuse()
    lost = await proxied.post("/v1/users", user_body())
    proxy.heal()

    read, made = await proxied.get("/v1/users"), await proxied.post("/v1/users", user_body())

    assert (503, 200, 201) == (lost.status, read.status, made.status)


async def test_a_token_is_not_refused_while_the_database_is_away(proxied: Api, proxy: Proxy) -> None:
    proxy.refuse()

    known, unknown = await proxied.get("/"), await proxied.nobody.get("/")

    proxy.heal()
    assert (503, 401) == (known.status, unknown.status)


async def test_a_dropped_database_counts_as_unavailable(serve: Serve, settings: Settings) -> None:
    api = await serve(settings.model_copy(update={"ledger_database_patience_seconds": 0.5}))
    name = urlsplit(settings.database_dsn()).path.strip("/")
    connection = await asyncpg.connect(settings.database_dsn().replace(f"/{name}?", "/ledger?"))
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    answers = [await api.call(method, path, body) for method, path, body in calls_of(api)]

    await connection.execute(f"CREATE DATABASE {name}")  # for the fixture to drop
    await connection.close()
    for answer in answers:
        assert_is_database_error(answer, name)
