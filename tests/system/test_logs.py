"""The service logs one line for each request, with the id in the response, and never a secret."""

import asyncio
import io
import json
import logging
import re
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import asyncpg
import pytest
import structlog

from ledger.service import logging as logs
from ledger.settings import Settings
from tests.support.controls import ADMIN_PASSWORD, NOBODY, Api, user_body
from tests.support.processes import DEADLINE_SECONDS, ROOT, until

Serve = Callable[[Settings], Awaitable[Api]]

JSON = {"Content-Type": "application/json"}


class Captured(io.TextIOWrapper):
    """Captured standard error."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)

    @property
    def text(self) -> str:
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]

    @property
    def requests(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == "request"]


@pytest.fixture
def stderr() -> Iterator[Captured]:
    """Return the standard error of the log, and restore the root logger afterwards."""
    root = logging.getLogger()
    handlers, level, configuration = root.handlers[:], root.level, structlog.get_config()
    yield Captured()
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**configuration)


def configure(settings: Settings, stderr: Captured, *, log_format: str = "json", log_level: str = "debug") -> None:
    """Configure the log as a worker does, at the lowest level, and cache no logger beyond the test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", stderr)
        logs.configure(settings.model_copy(update={"log_level": log_level, "ledger_log_format": log_format}))
    structlog.configure(cache_logger_on_first_use=False)


@pytest.fixture
async def logged(api: Api, settings: Settings, stderr: Captured) -> Api:
    """Return the API, and capture its log from now on."""
    configure(settings, stderr)
    return api


async def traffic(api: Api) -> list[str]:
    """Send a request of each kind, and return the secrets in them."""
    secrets = ["the right password", "the wrong password", "the next password", "the digest of one", "a salt"]
    right, wrong, following, digest, salt = secrets
    body = user_body(password=right, password_salt=salt, roles="admin")
    user = (await api.post("/v1/users", body, headers={"Idempotency-Key": "a-key"})).body
    path = f"/v1/users/{user['id']}"
    login = {"username": body["username"], "password": right}
    pair = (await api.nobody.post("/v1/auth/login", login)).body
    await api.nobody.post("/v1/auth/login", {**login, "password": wrong})
    await api.nobody.post("/v1/auth/login", {"username": NOBODY, "password_hash": digest})
    await api.nobody.post("/v1/auth/login", {**login, "password_hash": digest})
    await api.nobody.post("/v1/auth/login", {**login, "code": wrong})
    await api.nobody.post("/v1/auth/login", data=json.dumps(login)[:-1], headers=JSON)
    await api.put(path, {**user, "password": following})
    await api.post("/v1/users", {**body, "password": "short"})
    await api.post("/v1/users", {**body, "id": None, "password": None, "password_hash": digest})
    for token in (pair["access_token"], pair["refresh_token"], "made-up-token", f"{pair['access_token']}x"):
        await api.nobody.get("/v1/users", headers={"Authorization": f"Bearer {token}"})
    await api.nobody.get(f"/v1/nowhere?access_token={pair['access_token']}&password={right}")
    await api.get(f"/v1/users?limit={wrong.replace(' ', '+')}", headers={"Cookie": f"session={salt}"})
    alice, bob = await api.new_account(balance_cents=5), await api.new_account()
    await api.transfer(alice, bob, 5)
    await api.transfer(alice, bob, 5)
    await api.call("PATCH", "/v1/users")
    await api.get("/v9/health")
    await api.delete(path)
    return [*secrets, *(pair[name] for name in ("access_token", "refresh_token")), "made-up-token"]


def signatures(secrets: list[str]) -> list[str]:
    """Return the parts of tokens that alone would be enough for a forger."""
    return [secret.rsplit(".", 1)[1] for secret in secrets if secret.startswith("ey")]


async def hidden(api: Api, settings: Settings, connection: "asyncpg.Connection[Any]") -> list[str]:
    """Return the secrets that no client sent."""
    assert settings.jwt_secret is not None
    assert api.token is not None
    hashes = [row["hash"] for row in await connection.fetch("SELECT hash FROM credentials")]
    return [
        ADMIN_PASSWORD,
        api.token,
        settings.jwt_secret.get_secret_value(),
        settings.database_dsn(),
        "argon2",
        *hashes,
    ]


async def test_every_request_is_one_line_with_its_id_its_path_and_its_status(logged: Api, stderr: Captured) -> None:
    answers = [
        await logged.get("/v1/health"),
        await logged.get("/v1/nowhere?limit=1"),
        await logged.nobody.get("/v1/users"),
        await logged.post("/v1/users", {}),
        await logged.call("PATCH", "/v2/users"),
        await logged.get("/v9/health"),
        await logged.post("/v1/users", data=b" " * 70_000, headers=JSON),
    ]

    assert [
        ("GET", "/v1/health", 200),
        ("GET", "/v1/nowhere", 404),
        ("GET", "/v1/users", 401),
        ("POST", "/v1/users", 422),
        ("PATCH", "/v2/users", 405),
        ("GET", "/v9/health", 400),
        ("POST", "/v1/users", 413),
    ] == [(line["method"], line["path"], line["status"]) for line in stderr.requests]
    assert [answer.headers["X-Request-Id"] for answer in answers] == [line["request_id"] for line in stderr.requests]


async def test_a_line_says_who_called_and_how_long_it_took(logged: Api, stderr: Captured) -> None:
    caller = await logged.as_new_user("guest")
    await caller.get("/")
    await caller.get("/v1/users")

    allowed, forbidden = stderr.requests[-2:]

    assert [caller.user_id, caller.user_id] == [allowed["user_id"], forbidden["user_id"]]
    assert [True, True] == [line["milliseconds"] >= 0 for line in (allowed, forbidden)]
    assert "info" == allowed["level"]


async def test_a_request_that_is_not_http_is_logged(logged: Api, stderr: Captured) -> None:
    """Lesson 32: the response has an id, which must be in the log."""
    reader, writer = await asyncio.open_connection(logged.client.server.host, logged.client.server.port)
    writer.write(b"garbage\r\n\r\n")
    async with asyncio.timeout(DEADLINE_SECONDS):
        answer = (await reader.readuntil(b"\r\n\r\n")).decode()
    writer.close()

    (line,) = stderr.requests
    assert (400, True) == (line["status"], f"X-Request-Id: {line['request_id']}\r\n" in answer)
    assert "garbage" not in stderr.text


async def test_no_line_has_a_secret(
    logged: Api,
    settings: Settings,
    connection: "asyncpg.Connection[Any]",
    stderr: Captured,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Lesson 31."""
    caplog.set_level(logging.DEBUG)

    secrets = await traffic(logged)
    secrets += [*signatures(secrets), *await hidden(logged, settings, connection)]

    assert [] == [secret for secret in secrets if secret in stderr.text or secret in caplog.text]
    assert {200, 201, 400, 401, 404, 405, 422} <= {line["status"] for line in stderr.requests}


@pytest.mark.parametrize("log_format", ["json", "console"])
async def test_no_traceback_has_a_secret(
    api: Api,
    settings: Settings,
    connection: "asyncpg.Connection[Any]",
    stderr: Captured,
    caplog: pytest.LogCaptureFixture,
    log_format: str,
) -> None:
    """Lesson 31: tracebacks of failures below the handlers show no variables."""
    caplog.set_level(logging.DEBUG)
    configure(settings, stderr, log_format=log_format)
    body = user_body(password="the right password")
    known = await hidden(api, settings, connection)
    await connection.execute("ALTER TABLE credentials RENAME TO elsewhere")

    login = await api.nobody.post("/v1/auth/login", {"username": "admin", "password": "the wrong password"})
    created = await api.post("/v1/users", body)

    await connection.execute("ALTER TABLE elsewhere RENAME TO credentials")
    assert (500, 503) == (login.status, created.status)
    assert "Traceback" in stderr.text
    secrets = [*known, "the right password", "the wrong password"]
    assert [] == [secret for secret in secrets if secret in stderr.text or secret in caplog.text]


async def test_a_fault_is_logged_with_the_id_in_the_response(
    logged: Api, connection: "asyncpg.Connection[Any]", stderr: Captured
) -> None:
    await connection.execute("ALTER TABLE accounts RENAME TO elsewhere")

    answer = await logged.get("/v1/accounts")

    (fault,) = [line for line in stderr.lines if line["event"] == "request failed"]
    assert (500, "error") == (answer.status, fault["level"])
    assert answer.body["errors"][0]["trace_id"] == fault["request_id"]
    assert "UndefinedTableError" in fault["exception"]


async def test_a_refusal_is_not_logged_as_a_fault(logged: Api, stderr: Captured) -> None:
    await logged.get(f"/v1/users/{NOBODY}")
    await logged.transfer(NOBODY, NOBODY, 1)

    assert ["info", "info"] == [line["level"] for line in stderr.lines]


async def test_a_client_that_disconnects_is_not_a_fault_of_the_database(logged: Api, stderr: Captured) -> None:
    _, writer = await asyncio.open_connection(logged.client.server.host, logged.client.server.port)
    writer.write(
        b"POST /v1/auth/login HTTP/1.1\r\nHost: ledger\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{"
    )
    await writer.drain()
    await logged.get("/v1/health")  # now the handler waits for the rest
    writer.transport.abort()
    with suppress(ConnectionError):
        await writer.wait_closed()

    await until(lambda: len(stderr.requests) == 2)
    assert [("request", "info")] * 2 == [(line["event"], line["level"]) for line in stderr.lines]
    assert ("/v1/auth/login", True) == (stderr.requests[1]["path"], stderr.requests[1]["status"] < 500)


@pytest.mark.parametrize("path", ["/v1/%0Aforged=1", "/v1/%1B%5B2J", "/v1/%22%2C%22status%22%3A200"])
async def test_a_path_cannot_forge_a_line(logged: Api, stderr: Captured, path: str) -> None:
    """Lesson 31."""
    await logged.get(path)

    (line,) = stderr.lines
    assert 404 == line["status"]
    assert "\x1b" not in stderr.text


async def test_the_level_is_a_setting(
    api: Api, settings: Settings, connection: "asyncpg.Connection[Any]", stderr: Captured
) -> None:
    configure(settings, stderr, log_level="warning")
    await connection.execute("ALTER TABLE accounts RENAME TO elsewhere")

    await api.get("/v1/health")
    await api.get("/v1/accounts")

    assert ["request failed"] == [line["event"] for line in stderr.lines]


async def test_request_lines_are_those_of_the_access_log(
    api: Api, settings: Settings, connection: "asyncpg.Connection[Any]", stderr: Captured
) -> None:
    """Its level silences them and nothing else."""
    configure(settings, stderr)
    await api.get("/v1/health")
    assert ["aiohttp.access"] == [line["logger"] for line in stderr.lines]

    configure(settings, stderr, log_level="info,aiohttp.access=warning")
    await connection.execute("ALTER TABLE accounts RENAME TO elsewhere")
    await api.get("/v1/health")
    await api.get("/v1/accounts")

    assert [("aiohttp.access", "request"), ("web.app", "request failed")] == [
        (line["logger"], line["event"]) for line in stderr.lines
    ]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_each_module_has_its_level(settings: Settings, stderr: Captured, log_format: str) -> None:
    configure(settings, stderr, log_format=log_format, log_level="warning,ledger.write.committer=debug,ledger.cli=off")
    for module in ("ledger.write.committer", "ledger.store.log", "ledger.cli.seals"):
        logger = structlog.get_logger(module)
        for level in ("debug", "info", "warning", "error"):
            getattr(logger, level)(f"{level} of {module}")

    said = re.findall(r"(\w+) of ([\w.]+\w)", stderr.text)

    assert [
        *((level, "ledger.write.committer") for level in ("debug", "info", "warning", "error")),
        *((level, "ledger.store.log") for level in ("warning", "error")),
    ] == said


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_loggers_of_the_standard_library_share_output_and_levels(
    settings: Settings, stderr: Captured, log_format: str, foreign: list[logging.Logger]
) -> None:
    configure(settings, stderr, log_format=log_format, log_level="info,tests.quiet=error,tests.loud=trace")
    for logger in foreign:
        for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.CRITICAL):
            logger.log(level, "%s of %s", logging.getLevelName(level), logger.name)

    said = re.findall(r"([A-Z]+) of ([\w.]+\w)", stderr.text)

    assert [
        ("CRITICAL", "tests.quiet.below"),
        *((level, "tests.loud") for level in ("DEBUG", "INFO", "WARNING", "CRITICAL")),
        *((level, "tests.usual") for level in ("INFO", "WARNING", "CRITICAL")),
    ] == said


@pytest.fixture
def foreign() -> Iterator[list[logging.Logger]]:
    """Return a function that creates loggers as libraries do, and reset their levels afterwards."""
    yield [logging.getLogger(f"tests.{name}") for name in ("quiet.below", "loud", "usual")]
    for name in ("tests.quiet", "tests.loud", "alembic", "alembic.runtime"):
        logging.getLogger(name).setLevel(logging.NOTSET)


@pytest.mark.parametrize(
    ("log_level", "is_shown"),
    [("info", False), ("debug", True), ("info,alembic=info", True), ("info,alembic.runtime=info", True)],
)
def test_debug_lines_of_a_library_are_shown_on_request(
    settings: Settings, stderr: Captured, log_level: str, *, is_shown: bool, foreign: list[logging.Logger]
) -> None:
    del foreign
    configure(settings, stderr, log_level=log_level)
    logging.getLogger("alembic.runtime.plugins").info("setup plugin")
    logging.getLogger("alembic.runtime.plugins").warning("of importance")
    assert [*(["setup plugin"] * is_shown), "of importance"] == [line["event"] for line in stderr.lines]


def test_a_record_of_the_standard_library_is_a_line_with_its_traceback(settings: Settings, stderr: Captured) -> None:
    configure(settings, stderr)
    logging.getLogger("asyncio").error("a task failed\nin two lines", exc_info=ZeroDivisionError("by nothing"))

    (line,) = stderr.lines
    assert ("asyncio", "error", "a task failed\nin two lines") == (line["logger"], line["level"], line["event"])
    assert "ZeroDivisionError: by nothing" in line["exception"]


def test_lines_of_threads_do_not_mix(settings: Settings, stderr: Captured) -> None:
    """Migrations run in a thread."""
    configure(settings, stderr)

    def write(number: int) -> None:
        for _ in range(100):
            logging.getLogger("threads").info("line of %s", number)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, range(4)))

    assert {f"line of {number}": 100 for number in range(4)} == Counter(line["event"] for line in stderr.lines)


def test_every_logger_knows_its_module() -> None:
    """Otherwise its level could not be set, and its lines would not name their source."""
    relays = ROOT / "ledger/service/logging.py"  # it forwards the lines of other libraries under their names
    sources = {path for name in ("ledger", "web") for path in (ROOT / name).rglob("*.py")} - {relays}
    for path in sources:
        module = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
        names = set(re.findall(r"get_logger\((.*?)\)", path.read_text()))
        assert names <= {"__name__", "ACCESS", f'"{module}"'}, path  # `__name__` of a process is `__main__`
