"""A wrong setting or an unreachable server is one line."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import jwt
import pytest

from ledger import cli
from ledger.environment.variables import SOURCES
from ledger.errors import DatabaseError, RedisUnusableError
from ledger.identity import valkey
from ledger.settings import VARIABLES, Settings
from ledger.store import pool
from ledger.store.pool import connect
from tests.support.controls import ADMIN_PASSWORD, NOBODY
from tests.support.outages import reserved_port
from tests.support.processes import Ledger
from tests.support.serving import log_in, startup_error

SECRET = "a-secret-of-the-tests-that-is-long-enough"


HERE = {"DATABASE_URL": "postgresql://someone@localhost/ledger", "JWT_SECRET": SECRET}


@pytest.mark.parametrize(
    ("name", "value", "others"),
    [
        ("JWT_SECRET", "short-and-secret", {}),
        ("JWT_SECRET", None, {"DATABASE_URL": HERE["DATABASE_URL"]}),
        ("JWT_SECRET", None, {"POSTGRES_HOST": "db", "POSTGRES_USER": "me", "POSTGRES_DB": "ledger"}),
        ("POSTGRES_USER", None, {"POSTGRES_HOST": "db", "POSTGRES_DB": "ledger", "JWT_SECRET": SECRET}),
        ("POSTGRES_DB", None, {"POSTGRES_HOST": "db", "POSTGRES_USER": "me", "JWT_SECRET": SECRET}),
        ("POSTGRES_PORT", "70000", {}),
        ("POSTGRES_CONNECTION_POOL", "0", {}),
        ("DATABASE_URL", "mysql://me:hunter2@db/ledger", {"JWT_SECRET": SECRET}),
        ("REDIS_URL", "http://me:hunter2@redis", {}),
        ("SERVICE_PORT", "abc", {}),
        ("SERVICE_PORT", "65536", {}),
        ("LOG_LEVEL", "loud", {}),
        ("LOG_LEVEL", "info,ledger", {}),
        ("LEDGER_LOG_FORMAT", "xml", {}),
        ("LEDGER_SEAL_KEY_FILE", "no-such-file.pem", {}),
        ("LEDGER_JWT_KEY_FILE", "no-such-file.pem", {}),
        ("LEDGER_DEFAULT_CURRENCY", "XXXX.", {}),
        ("LEDGER_DEFAULT_CURRENCY", "usd", {}),
        ("LEDGER_SCHEMA", 'public"; DROP', {}),
        ("LEDGER_CORS_ORIGINS", "* https://app.example", {}),
        ("LEDGER_ADMIN_PASSWORD", "hunter2", {}),
        ("LEDGER_QUEUE_LIMIT", "-1", {}),
        ("JWT_EXPIRE_ACCESS_TOKEN_SECONDS", "1.5h", {}),
        ("JWT_ENABLE_REVOKED_TOKENS", "perhaps", {}),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it_and_never_its_value(
    name: str,
    value: str | None,
    others: dict[str, str],
    clean: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Lesson 31."""
    for variable, setting in {**others, **({name: value} if value else {})}.items():
        clean.setenv(variable, setting)
    with pytest.raises(SystemExit) as ended:
        cli.root()(["serve"])
    said = capsys.readouterr().err
    assert 2 == ended.value.code
    assert said.startswith(f"ledger: {name}: ")
    assert (1, True) == (said.count("\n"), said.endswith("\n"))
    assert value is None or value not in said
    assert "hunter2" not in said


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Return a monkeypatch, in an environment and a working folder without settings."""
    for name in VARIABLES | SOURCES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return monkeypatch


async def test_a_wrong_setting_ends_the_process_with_status_two(run: Callable[..., Ledger]) -> None:
    running = run("serve", SERVICE_PORT="abc")
    assert 2 == await running.status()
    assert (1, "") == (len(running.lines), running.output.read_text())


async def test_settings_are_also_read_from_a_file(clean: pytest.MonkeyPatch, tmp_path: Path) -> None:
    del clean
    (tmp_path / ".env").write_text("SERVICE_PORT=1234\n")
    assert 1234 == Settings.load().service_port


async def test_a_port_in_use_is_one_line(run: Callable[..., Ledger], shared: dict[str, str]) -> None:
    with reserved_port(listening=True) as port:
        line = await startup_error(run("serve", **{**shared, "SERVICE_PORT": str(port)}))
    assert f"ledger: 127.0.0.1:{port}: Address already in use; change SERVICE_PORT or SERVICE_HOST" == line


async def test_an_unknown_host_is_one_line(run: Callable[..., Ledger], shared: dict[str, str]) -> None:
    line = await startup_error(run("serve", **{**shared, "SERVICE_HOST": "nowhere.invalid", "SERVICE_PORT": "0"}))
    assert re.fullmatch(r"ledger: nowhere\.invalid:0: .+; change SERVICE_PORT or SERVICE_HOST", line)


async def test_a_start_without_a_port_changes_nothing(
    run: Callable[..., Ledger], settings: Settings, shared: dict[str, str]
) -> None:
    """A second service that is given the first one's port by mistake must not migrate its database."""
    with reserved_port(listening=True) as port:
        running = run("serve", **{**shared, "LEDGER_SCHEMA": "untouched", "SERVICE_PORT": str(port)})
        await startup_error(running)

    connection = await connect(settings)
    try:
        assert not await connection.fetchval("SELECT count(*) FROM pg_namespace WHERE nspname = 'untouched'")
    finally:
        await connection.close()


async def test_a_database_that_does_not_exist_is_one_line(run: Callable[..., Ledger], shared: dict[str, str]) -> None:
    url = re.sub(r"/t_\w+\?", "/nowhere?", shared["DATABASE_URL"])
    line = await startup_error(run("serve", **{**shared, "DATABASE_URL": url}))
    assert 'ledger: PostgreSQL cannot be reached: database "nowhere" does not exist' == line


async def test_a_redis_that_a_command_needs_is_one_line(run: Callable[..., Ledger], shared: dict[str, str]) -> None:
    with reserved_port(listening=False) as port:
        redis = {"REDIS_URL": f"redis://:hunter2@127.0.0.1:{port}/0"}
        line = await startup_error(run("tokens", "mirror", "status", **{**shared, **redis}))
    assert line.startswith("ledger: Redis cannot be reached: ")
    assert "hunter2" not in line


async def test_an_impossible_data_folder_is_one_line(run: Callable[..., Ledger], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    line = await startup_error(run("serve", LEDGER_DATA_DIR=str(tmp_path / "file"), SERVICE_PORT="0"))
    assert str(tmp_path / "file") in line


async def test_a_postgresql_that_is_too_old_is_refused(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "MIN_VERSION", 99)
    with pytest.raises(DatabaseError, match=r"^PostgreSQL \d+ is too old: version 99 or later is needed$"):
        await pool.check_server(settings)


@asynccontextmanager
async def a_redis(version: str) -> AsyncIterator[str]:
    """Run a server that reports itself as a Redis of this version, and supports no other command."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while header := await reader.readline():
            words = [await _word(reader) for _ in range(int(header[1:]))]
            info = f"# Server\r\nredis_version:{version}\r\n"
            is_info = words[0].upper() == b"INFO"
            writer.write(f"${len(info)}\r\n{info}\r\n".encode() if is_info else b"-ERR unknown command\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"


async def _word(reader: asyncio.StreamReader) -> bytes:
    length = int((await reader.readline())[1:])
    return (await reader.readexactly(length + 2))[:-2]


@pytest.mark.parametrize("version", ["6.2.14", "2.8"])
async def test_a_redis_that_is_too_old_is_refused(version: str, settings: Settings) -> None:
    async with a_redis(version) as url:
        old = Settings(**{**settings.model_dump(exclude_unset=True), "redis_url": url})
        with pytest.raises(RedisUnusableError, match=f"^Redis {version} is too old: version 7 or later is needed$"):
            await valkey.check_version(old)


async def test_a_redis_that_is_recent_enough_is_accepted(settings: Settings) -> None:
    async with a_redis("7.2.4") as url:
        recent = Settings(**{**settings.model_dump(exclude_unset=True), "redis_url": url})
        await valkey.check_version(recent)


@pytest.mark.parametrize(
    "command",
    [
        *("serve", "migrate", "demo", "projections status", "projections rebuild users", "projections resume seals"),
        *("tokens mirror status", "tokens mirror rebuild", "audit trial-balance", f"audit balance {NOBODY}"),
        *("audit verify", "audit seal-status", "audit export --format csv"),
    ],
)
def test_every_command_stops_at_a_misspelt_setting(
    command: str, clean: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    clean.setenv("LEDGER_QUEUE_LIMITS", "hunter2")
    (tmp_path / ".env").write_text("JWT_SECRETS='hunter2'\n")
    with pytest.raises(SystemExit) as ended:
        cli.root()(command.split())
    assert 2 == ended.value.code
    assert (
        "ledger: JWT_SECRETS: unknown setting in .env:1; did you mean JWT_SECRET?; LEDGER_QUEUE_LIMITS: unknown setting"
        " in the environment; did you mean LEDGER_QUEUE_LIMIT?\n"
    ) == capsys.readouterr().err


async def test_a_service_on_another_file_hands_its_settings_to_its_workers(
    run: Callable[..., Ledger], shared: dict[str, str], tmp_path: Path
) -> None:
    file, issuer = tmp_path / "settings", "the$issuer"
    file.write_text("".join(f'{name}="{value}"\n' for name, value in shared.items()) + f"LEDGER_JWT_ISSUER={issuer}\n")
    running = run("serve", LEDGER_ENV_FILE=str(file))
    token = await log_in(await running.url(), "admin", ADMIN_PASSWORD)
    assert issuer == jwt.decode(token, options={"verify_signature": False})["iss"]
