"""The `ledger` command, as whoever runs it meets it: real processes, their signals, and what they say and leave."""

import asyncio
import fcntl
import itertools
import os
import re
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest

from ledger import __version__, cli
from ledger.cli.welcome import Admin, prepare_admin
from ledger.environment.variables import SOURCES
from ledger.errors import DatabaseError
from ledger.identity import valkey as redis
from ledger.identity.valkey import RedisUnusableError
from ledger.runtime import open_runtime
from ledger.settings import VARIABLES, Settings
from ledger.store import pool as database
from ledger.store.pool import connect
from tests.support.controls import ADMIN_PASSWORD, NOBODY, Api, a_transfer, a_user
from tests.support.outages import a_port
from tests.support.processes import DEADLINE_SECONDS, Ledger, is_alive, ledger, processes, until

SHOWN = re.compile(r"The first admin is (\S+), with the password (\S+)")


@pytest.fixture
async def run(tmp_path: Path, data_dir: Path) -> AsyncIterator[Callable[..., Ledger]]:
    """Runs `ledger` commands; none of them, and no server that they brought along, is left in the end."""
    with ExitStack() as stack:
        numbers = itertools.count()

        def started(*arguments: str, **options: str) -> Ledger:
            return stack.enter_context(ledger(tmp_path / f"run-{next(numbers)}", *arguments, **options))

        yield started
    await until(lambda: nobody_left(data_dir))


@pytest.fixture
def alone(data_dir: Path) -> dict[str, str]:
    """Variables of a service that brings its own servers."""
    return {"LEDGER_DATA_DIR": str(data_dir), "SERVICE_PORT": "0"}


@pytest.fixture
def shared(settings: Settings) -> dict[str, str]:
    """Variables of a service on the run's servers, which start faster."""
    return {**settings.environment(), "SERVICE_PORT": "0"}


def nobody_left(data: Path) -> bool:
    """Whether no process works for that folder: its servers hold the lock, and others name the folder."""
    try:
        with (data / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except FileNotFoundError:  # nobody came that far
        pass
    return not [process for process in processes() if str(data) in process.command]


async def call(method: str, url: str, body: Any = None, token: str | None = None) -> tuple[int, Any]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    timeout = aiohttp.ClientTimeout(DEADLINE_SECONDS)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        response = await session.request(method, url, json=body)
        return response.status, await response.json()


async def log_in(url: str, username: str, password: str) -> str:
    status, answer = await call("POST", f"{url}/v1/auth/login", {"username": username, "password": password})
    assert 200 == status, answer
    return str(answer["access_token"])


def spoken(running: Ledger) -> list[str]:
    """What was said to people: all on standard error that is not of the log."""
    return [line for line in running.lines if not line.startswith("{")]


# On its own.


async def test_the_first_start_shows_the_admins_password_which_works(
    run: Callable[..., Ledger], alone: dict[str, str]
) -> None:
    """Lesson 39: one command, and nothing was installed or started before."""
    running = run("serve", **alone)
    url = await running.url()
    ((username, password),) = await until(lambda: SHOWN.findall(running.log.read_text()))
    assert f"Read and try the API at {url}/docs" in spoken(running)
    status, _ = await call("GET", f"{url}/v1/users", token=await log_in(url, username, password))
    assert ("admin", 200) == (username, status)
    assert 1 == running.log.read_text().count(password)


async def test_the_secrets_it_makes_up_are_for_their_owners_eyes(
    run: Callable[..., Ledger], alone: dict[str, str], data_dir: Path
) -> None:
    """Lesson 31."""
    running = run("serve", **alone)
    await running.url()
    shown = await until(lambda: SHOWN.findall(running.log.read_text()))
    kept = data_dir / "admin-password"
    assert [("admin", kept.read_text().strip())] == shown
    files = [kept, data_dir / "jwt-secret", data_dir / "seal-key.pem"]
    assert [0o600] * 3 == [file.stat().st_mode & 0o777 for file in files]


async def test_a_second_start_goes_on_with_the_same_data_and_secrets_and_shows_none(
    run: Callable[..., Ledger], alone: dict[str, str], data_dir: Path
) -> None:
    first = run("serve", **alone)
    url = await first.url()
    password = (data_dir / "admin-password").read_text().strip()
    token = await log_in(url, "admin", password)
    status, user = await call("POST", f"{url}/v1/users", a_user(), token)
    assert (201, 0) == (status, await first.stop())

    second = run("serve", **alone)
    url = await second.url()
    found = await call("GET", f"{url}/v1/users/{user['id']}", token=token)
    await log_in(url, "admin", password)
    assert (200, user) == found
    assert [] == spoken(second)
    assert password not in second.log.read_text()
    (record,) = second.logged("serving")
    assert (f"{url}/docs", str(data_dir / "admin-password")) == (record["docs"], record["admin_password_file"])
    assert 0 == await second.stop()

    third = run("serve", **alone, LEDGER_LOG_FORMAT="json", TTY_COMPATIBLE="1", TERM="dumb")
    url = await third.url()
    said = await until(lambda: spoken(third)[1:] and spoken(third))
    assert [
        f"Read and try the API at {url}/docs",
        f"The first admin is admin; the password is in {data_dir / 'admin-password'}",
    ] == said


async def test_a_password_that_is_not_the_admins_is_not_pointed_to(settings: Settings, tmp_path: Path) -> None:
    """A later start says where the password is kept, as long as it still is that of the first admin."""
    embedded = settings.model_copy(update={"ledger_data_dir": tmp_path})
    file = tmp_path / "admin-password"
    file.write_text(f"{ADMIN_PASSWORD}\n")
    async with open_runtime(embedded) as runtime:
        assert Admin("admin", file, ADMIN_PASSWORD) == await prepare_admin(runtime)
        assert Admin("admin", file) == await prepare_admin(runtime)
        file.write_text("another\n")
        assert Admin("admin") == await prepare_admin(runtime)
        file.write_text(f"{ADMIN_PASSWORD}\n")
        await runtime.pool.execute("UPDATE credentials SET hash = $1", await runtime.passwords.hash("changed since"))
        assert Admin("admin") == await prepare_admin(runtime)


async def test_a_password_that_was_given_is_not_shown(run: Callable[..., Ledger], alone: dict[str, str]) -> None:
    """Lesson 31: it is no news to whoever gave it, and the log may be read by others."""
    running = run("serve", LEDGER_ADMIN_PASSWORD=ADMIN_PASSWORD, **alone)
    await log_in(await running.url(), "admin", ADMIN_PASSWORD)
    assert 0 == await running.stop()
    assert [] == spoken(running)
    assert ADMIN_PASSWORD not in running.log.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_polite_signal_stops_everything_with_status_zero(
    number: signal.Signals, run: Callable[..., Ledger], alone: dict[str, str], data_dir: Path
) -> None:
    """Lesson 38. SIGINT goes to all processes of a terminal, so it does here."""
    running = run("serve", "--workers", "2", **alone)
    await running.url()
    workers = running.workers()
    os.killpg(running.pid, number) if number is signal.SIGINT else running.send(number)
    assert (2, 0) == (len(workers), await running.status())
    assert nobody_left(data_dir)
    assert [] == [pid for pid in workers if is_alive(pid)]
    assert "Traceback" not in running.log.read_text()


async def test_a_killed_service_leaves_no_worker_and_no_server(
    run: Callable[..., Ledger], alone: dict[str, str], data_dir: Path
) -> None:
    """Lesson 38."""
    running = run("serve", "--workers", "2", **alone)
    await running.url()
    workers = running.workers()
    running.send(signal.SIGKILL)
    assert -signal.SIGKILL == await running.status()
    await until(lambda: not any(map(is_alive, workers)))
    await until(lambda: nobody_left(data_dir))


async def test_a_service_that_is_told_to_stop_while_it_starts_leaves_nothing(
    run: Callable[..., Ledger], alone: dict[str, str], data_dir: Path
) -> None:
    """Lesson 38."""
    running = run("serve", **alone)
    await until((data_dir / "pg.new").exists)
    await running.stop()
    await until(lambda: nobody_left(data_dir))


# Workers.


async def test_a_killed_worker_is_started_again(run: Callable[..., Ledger], shared: dict[str, str]) -> None:
    running = run("serve", **shared)
    url = await running.url()
    (worker,) = running.workers()
    os.kill(worker, signal.SIGKILL)
    status, _ = await call("GET", f"{url}/v1/health")
    assert 200 == status
    assert [-signal.SIGKILL] == [record["exit_code"] for record in running.logged("worker died")]
    assert [worker] != running.workers()


async def test_workers_that_keep_dying_end_the_service_with_one_line(
    run: Callable[..., Ledger], shared: dict[str, str], tmp_path: Path
) -> None:
    """Lesson 36."""
    broken = tmp_path / "broken" / "web"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text(f"__path__.append({str(Path(__file__).parents[2] / 'web')!r})\n")
    (broken / "worker.py").write_text("raise SystemExit(3)\n")
    running = run("serve", **shared, PYTHONPATH=str(broken.parent))
    assert 1 == await running.status()
    assert ["ledger: the workers keep dying; see the log above"] == spoken(running)


@asynccontextmanager
async def a_request_that_hangs(settings: Settings, url: str) -> AsyncIterator["asyncio.Task[tuple[int, Any]]"]:
    """A transfer, which can go on when this is over: until then somebody else holds its account."""
    token = await log_in(url, "admin", ADMIN_PASSWORD)
    _, user = await call("POST", f"{url}/v1/users", a_user(), token)
    body = {"user_id": user["id"], "balance_cents": 100}
    opened = [(await call("POST", f"{url}/v1/accounts", body, token))[1] for _ in range(2)]
    holder, eyes = await connect(settings, application_name="holder"), await connect(settings, application_name="eyes")
    try:
        async with holder.transaction():
            await holder.execute("SELECT FROM stream_heads FOR UPDATE")
            transfer = asyncio.create_task(
                call("POST", f"{url}/v1/transactions/transfer", a_transfer(opened[0], opened[1], 1), token)
            )
            waiting = """SELECT count(*) FROM pg_stat_activity
                         WHERE datname = current_database() AND wait_event_type = 'Lock'"""
            await until(lambda: eyes.fetchval(waiting))
            yield transfer
    finally:
        await holder.close()
        await eyes.close()


async def test_requests_in_flight_are_answered_before_the_service_stops(
    run: Callable[..., Ledger], settings: Settings, shared: dict[str, str]
) -> None:
    """Lesson 37."""
    running = run("serve", **shared)
    async with a_request_that_hangs(settings, await running.url()) as transfer:
        running.send(signal.SIGTERM)
        await until(lambda: running.logged("draining"))
    status, _ = await transfer
    assert (200, 0) == (status, await running.status())


async def test_a_worker_that_cannot_stop_does_not_outlive_a_killed_service(
    run: Callable[..., Ledger], settings: Settings, shared: dict[str, str]
) -> None:
    """Lesson 38. Here it waits for a lock, for as long as somebody else has it."""
    running = run("serve", LEDGER_SHUTDOWN_SECONDS="0.1", **shared)
    async with a_request_that_hangs(settings, await running.url()) as transfer:
        (worker,) = running.workers()
        running.send(signal.SIGKILL)
        await until(lambda: not is_alive(worker))
        with pytest.raises(aiohttp.ClientError):
            await transfer


async def test_a_service_that_drains_takes_no_new_connections(
    run: Callable[..., Ledger], settings: Settings, shared: dict[str, str]
) -> None:
    """Who is accepted and never answered waits for nothing; who is refused asks another machine."""
    running = run("serve", **shared)
    address = await running.address()
    async with a_request_that_hangs(settings, await running.url()) as transfer:
        running.send(signal.SIGTERM)
        await until(lambda: running.logged("draining"))
        await until(lambda: is_refused(address))
    assert 200 == (await transfer)[0]


def is_refused(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=DEADLINE_SECONDS).close()
    except ConnectionRefusedError:
        return True
    return False


# What is wrong is one line.

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
        ("LEDGER_DEFAULT_CURRENCY", "XXXX", {}),
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
        cli.app(["serve"])
    said = capsys.readouterr().err
    assert 2 == ended.value.code
    assert said.startswith(f"ledger: {name}: ")
    assert (1, True) == (said.count("\n"), said.endswith("\n"))
    assert value is None or value not in said
    assert "hunter2" not in said


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An environment and a working folder without any settings."""
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


async def one_line(running: Ledger) -> str:
    """What a start that failed said, which must be one line."""
    assert 1 == await running.status()
    (line,) = spoken(running)
    assert line.startswith("ledger: ")
    assert "Traceback" not in running.log.read_text()
    return line


async def test_a_port_in_use_is_one_line(run: Callable[..., Ledger], shared: dict[str, str]) -> None:
    with a_port(listening=True) as port:
        line = await one_line(run("serve", **{**shared, "SERVICE_PORT": str(port)}))
    assert f"ledger: 127.0.0.1:{port}: Address already in use; change SERVICE_PORT or SERVICE_HOST" == line


async def test_a_host_that_there_is_not_is_one_line(run: Callable[..., Ledger], shared: dict[str, str]) -> None:
    line = await one_line(run("serve", **{**shared, "SERVICE_HOST": "nowhere.invalid", "SERVICE_PORT": "0"}))
    assert re.fullmatch(r"ledger: nowhere\.invalid:0: .+; change SERVICE_PORT or SERVICE_HOST", line)


async def test_a_start_without_a_port_changes_nothing(
    run: Callable[..., Ledger], settings: Settings, shared: dict[str, str]
) -> None:
    """A second service that takes the first one's port by mistake must not migrate its database."""
    with a_port(listening=True) as port:
        running = run("serve", **{**shared, "LEDGER_SCHEMA": "untouched", "SERVICE_PORT": str(port)})
        await one_line(running)

    connection = await connect(settings)
    try:
        assert not await connection.fetchval("SELECT count(*) FROM pg_namespace WHERE nspname = 'untouched'")
    finally:
        await connection.close()


async def test_a_database_that_cannot_be_reached_is_one_line(
    run: Callable[..., Ledger], shared: dict[str, str]
) -> None:
    with a_port(listening=False) as port:
        url = f"postgresql://me:hunter2@127.0.0.1:{port}/ledger"
        line = await one_line(run("serve", **{**shared, "DATABASE_URL": url}))
    assert line.startswith("ledger: PostgreSQL cannot be reached: ")
    assert "hunter2" not in line


async def test_a_database_that_does_not_exist_is_one_line(run: Callable[..., Ledger], shared: dict[str, str]) -> None:
    url = re.sub(r"/t_\w+\?", "/nowhere?", shared["DATABASE_URL"])
    line = await one_line(run("serve", **{**shared, "DATABASE_URL": url}))
    assert 'ledger: PostgreSQL cannot be reached: database "nowhere" does not exist' == line


async def test_a_redis_that_cannot_be_reached_is_one_line(run: Callable[..., Ledger], shared: dict[str, str]) -> None:
    with a_port(listening=False) as port:
        line = await one_line(run("serve", **{**shared, "REDIS_URL": f"redis://:hunter2@127.0.0.1:{port}/0"}))
    assert line.startswith("ledger: Redis cannot be reached: ")
    assert "hunter2" not in line


async def test_a_data_folder_that_cannot_be_is_one_line(run: Callable[..., Ledger], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    line = await one_line(run("serve", LEDGER_DATA_DIR=str(tmp_path / "file"), SERVICE_PORT="0"))
    assert str(tmp_path / "file") in line


async def test_a_postgresql_that_is_too_old_is_refused(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "MIN_VERSION", 99)
    with pytest.raises(DatabaseError, match=r"^PostgreSQL \d+ is too old: version 99 or later is needed$"):
        await database.check_version(settings)


@asynccontextmanager
async def a_redis(version: str) -> AsyncIterator[str]:
    """Something that says it is a Redis of that version, and can do nothing else."""

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
            await redis.check_version(old)


async def test_a_redis_that_is_recent_enough_is_accepted(settings: Settings) -> None:
    async with a_redis("7.2.4") as url:
        recent = Settings(**{**settings.model_dump(exclude_unset=True), "redis_url": url})
        await redis.check_version(recent)


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
        cli.app(command.split())
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


# The other commands.


DIGEST = "7c44575b741f02d49c3e988ba7aa95a8fb6d90c0ef63a97236fa54bfcfbd9d51"


def rows(running: Ledger) -> list[list[str]]:
    """The rows of the table that a command printed."""
    return [re.split(r" {2,}", line.strip()) for line in running.output.read_text().splitlines()][1:]


async def assert_is_demo_user(api: Api, row: list[str]) -> None:
    username, password, user_id, account_id = row
    person = await api.logged_in(username, password)
    user, account = await person.get(f"/v1/users/{user_id}"), await person.get(f"/v1/accounts/{account_id}")
    assert (username, f"{username}@mail.com", "customer") == tuple(
        user.body[name] for name in ("username", "email", "roles")
    )
    assert (user_id, 100_00, "USD") == tuple(account.body[key] for key in ("user_id", "balance_cents", "currency"))


async def test_the_demo_makes_two_users_with_a_hundred_each(
    run: Callable[..., Ledger], shared: dict[str, str], api: Api
) -> None:
    """Lesson 31: on a configured database with random passwords."""
    running = run("demo", **shared)
    assert 0 == await running.status()
    made = rows(running)
    assert ["alice", "bob"] == [row[0] for row in made]
    for row in made:
        await assert_is_demo_user(api, row)
    assert DIGEST not in running.output.read_text()
    refused = await api.nobody.post("/v1/auth/login", {"username": "alice", "password_hash": DIGEST})
    assert 401 == refused.status


async def test_the_demo_has_the_sample_passwords_where_they_are_asked_for(
    run: Callable[..., Ledger], shared: dict[str, str], api: Api
) -> None:
    running = run("demo", "--sample-passwords", **shared)
    assert 0 == await running.status()
    for row in rows(running):
        assert DIGEST == row[1]
        await assert_is_demo_user(api, row)
        login = await api.nobody.post("/v1/auth/login", {"username": row[0], "password_hash": DIGEST})
        assert 200 == login.status


async def test_the_demo_of_the_embedded_database_has_the_sample_passwords(
    run: Callable[..., Ledger], alone: dict[str, str]
) -> None:
    """Clients of the reference service log in with them."""
    running = run("demo", **alone)
    assert 0 == await running.status()
    assert [("alice", DIGEST), ("bob", DIGEST)] == [tuple(row[:2]) for row in rows(running)]


async def test_the_demo_leaves_what_exists_as_it_is(
    run: Callable[..., Ledger], shared: dict[str, str], api: Api
) -> None:
    first = run("demo", **shared)
    assert 0 == await first.status()
    made = rows(first)
    second = run("demo", "--sample-passwords", **shared)
    assert 0 == await second.status()
    unchanged = "(unchanged: the user existed)"
    assert [[name, unchanged, *ids] for name, _, *ids in made] == rows(second)
    for row in made:
        await assert_is_demo_user(api, row)


async def test_the_demo_takes_nobodys_name(run: Callable[..., Ledger], shared: dict[str, str], api: Api) -> None:
    await api.new_user(username="bob")
    line = await one_line(run("demo", **shared))
    assert "ledger: user_already_exists: a user with this username already exists" == line


async def test_migrate_needs_the_settings_of_postgresql_alone(
    run: Callable[..., Ledger], shared: dict[str, str], tmp_path: Path
) -> None:
    """Neither a secret nor Redis, not even one of its own."""
    with a_port(listening=False) as port:
        away = f"redis://127.0.0.1:{port}/0"
        for number, more in enumerate(({}, {"REDIS_URL": away})):
            variables = {"DATABASE_URL": shared["DATABASE_URL"], "LEDGER_SCHEMA": f"fresh_{number}", **more}
            running = run("migrate", LEDGER_DATA_DIR=str(tmp_path / "unused"), **variables)
            assert 0 == await running.status(), running.lines
            assert [f"fresh_{number}"] == [record["schema"] for record in running.logged("schema migrated")]
    assert not (tmp_path / "unused").exists()


def test_the_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.app(["--version"])
    assert (0, f"ledger {__version__}\n") == (ended.value.code, capsys.readouterr().out)


async def test_an_admin_is_created_with_a_password_from_a_pipe(
    run: Callable[..., Ledger], shared: dict[str, str], api: Api
) -> None:
    running = run("admin", "create", "root", given="a password from a pipe\n", **shared)
    assert 0 == await running.status()
    root = await api.logged_in("root", "a password from a pipe")
    assert 200 == (await root.get("/v1/users")).status
    assert "a password from a pipe" not in running.log.read_text() + running.output.read_text()


async def test_an_admin_whose_name_is_taken_is_one_line(
    run: Callable[..., Ledger], shared: dict[str, str], api: Api
) -> None:
    del api  # whose first admin has the name
    line = await one_line(run("admin", "create", "Admin", given="a password from a pipe\n", **shared))
    assert "ledger: user_already_exists" in line


async def test_a_password_that_is_too_short_is_one_line(run: Callable[..., Ledger], shared: dict[str, str]) -> None:
    running = run("admin", "create", "root", given="hunter2\n", **shared)
    assert 2 == await running.status()
    assert ["ledger: a password has 8 to 1024 characters"] == running.lines


async def test_without_a_user_and_a_password_for_one_the_start_says_what_to_do(
    run: Callable[..., Ledger], shared: dict[str, str]
) -> None:
    running = run("serve", **{**shared, "LEDGER_ADMIN_PASSWORD": ""})
    await running.url()
    warnings = [record["event"] for record in running.records if record["level"] == "warning"]
    assert 1 == sum("LEDGER_ADMIN_PASSWORD" in warning for warning in warnings)
