"""Start one embedded PostgreSQL and Valkey for the run, and create one fresh database for each test."""

import asyncio
import faulthandler
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import hypothesis
import pytest
import structlog
from aiohttp import DummyCookieJar
from aiohttp.test_utils import TestClient
from argon2 import PasswordHasher

from ledger.embedded import Services, embedded_services
from ledger.environment.gc import collect_rarely
from ledger.identity import login_throttle, passwords, revocation_cache
from ledger.runtime import Runtime, open_runtime
from ledger.settings import Settings
from ledger.store.migrate import migrate
from ledger.store.pool import connect
from tests.support import citus
from tests.support.api_server import ApiServer, begin
from tests.support.controls import ADMIN_PASSWORD, Api, Clock, Serve, new_id
from tests.support.databases import folder_in_memory
from tests.support.processes import DEADLINE_SECONDS
from tests.support.receiver import LOOPBACK
from tests.support.sealed import Sealed, ledger_to_seal, write_key_file
from tests.support.surroundings import settle
from tests.support.traffic import execute
from tests.support.valkey import PATIENCE

settle()
hypothesis.settings.register_profile(
    "suite",
    deadline=None,  # how long an example takes depends on the machine
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    database=None,
    derandomize="LEDGER_FUZZ_SECONDS" not in os.environ,
)
hypothesis.settings.register_profile("unit", hypothesis.settings.get_profile("suite"), max_examples=10)
hypothesis.settings.load_profile("suite")

MAX_PROCESSES = 8  # they share one PostgreSQL with 200 connections, and each opens up to 25
TEMPLATE = "template_ledger"
UNSAFE = ("fsync", "full_page_writes")  # no test survives a power loss; without them, copying takes a tenth of the time


in_memory = pytest.StashKey[Path | None]()
real_stderr = pytest.StashKey[int]()  # which pytest captures during tests


def pytest_configure(config: pytest.Config) -> None:
    """Make the folder of the run's servers, in the process that starts the others; let logs have plain tracebacks."""
    # Before the service configures logging, structlog has rich render every local variable: seconds for each traceback.
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], plain])
    config.stash[real_stderr] = os.dup(2)
    if not hasattr(config, "workerinput"):
        lease = ExitStack()
        config.stash[in_memory] = lease.enter_context(folder_in_memory())
        config.add_cleanup(lease.close)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On a cluster of Citus, run only the tests that can run there."""
    if citus.URL:
        config.hook.pytest_deselected(items=[item for item in items if not citus.runs_there(item.nodeid)])
        items[:] = [item for item in items if citus.runs_there(item.nodeid)]


def pytest_collection_finish() -> None:
    """Collect garbage as rarely as a worker does: Python's default takes a sixth of the time of these tests."""
    collect_rarely()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Limit the time of a teardown, too: pytest limits that of a test only until the test fails."""
    seconds = float(item.config.getini("faulthandler_timeout"))
    if seconds:
        faulthandler.dump_traceback_later(seconds, file=item.config.stash[real_stderr], exit=True)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Pass the folder to a test process."""
    folder = node.config.stash[in_memory]
    node.workerinput["in_memory"] = folder and str(folder)


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """Start one process more than there are cores, because tests wait for a third of their time; but not too many."""
    return min((yield) + 1, MAX_PROCESSES)


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Return the run's servers, which all its processes share."""
    base = tmp_path_factory.getbasetemp()
    if (given := getattr(request.config, "workerinput", None)) is None:
        shared = request.config.stash[in_memory] or base
    else:
        shared = Path(given["in_memory"] or base.parent)
    with asyncio.Runner() as runner:
        lease = embedded_services(shared / "servers", timeout_seconds=DEADLINE_SECONDS)
        yield runner.run(lease.__aenter__())
        runner.run(lease.__aexit__(None, None, None))


async def create_once(servers: Services, name: str, source: str, fill: Callable[[str], Awaitable[None]]) -> None:
    """Create a database from another, once for all processes of the run; `fill` gets the name of the draft."""
    connection = await asyncpg.connect(servers.database_url)
    await connection.execute("SELECT pg_advisory_lock(hashtext($1))", name)
    if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", name):
        draft = f"{name}_new"
        await connection.execute(f"DROP DATABASE IF EXISTS {draft}")
        await connection.execute(f"CREATE DATABASE {draft} TEMPLATE {source}")
        await fill(draft)
        await connection.execute(f"ALTER DATABASE {draft} RENAME TO {name}")
    await connection.close()


@pytest.fixture(scope="session")
def template(servers: Services) -> str:
    """Return the name of a migrated, empty database to copy."""

    async def fill(draft: str) -> None:
        connection = await asyncpg.connect(servers.database_url)
        for setting in UNSAFE:
            await connection.execute(f"ALTER SYSTEM SET {setting} = off")
        await connection.execute("SELECT pg_reload_conf()")
        await connection.close()
        await migrate(settings_for(servers, draft))

    asyncio.run(create_once(servers, TEMPLATE, "template1", fill))
    return TEMPLATE


@pytest.fixture
async def settings(servers: Services, template: str) -> AsyncIterator[Settings]:
    """Yield the settings of the test's own database."""
    async with new_database(servers, template) as found:
        yield found


@pytest.fixture
async def elsewhere(servers: Services, template: str) -> AsyncIterator[Settings]:
    """Yield the settings of a second ledger."""
    async with new_database(servers, template) as found:
        yield found


@asynccontextmanager
async def new_database(servers: Services, template: str) -> AsyncIterator[Settings]:
    """Yield the settings of a new ledger. PostgreSQL copies a template only while nobody is connected to it."""
    if citus.URL:
        async with citus.lend_schema() as schema:
            yield settings_for(servers, "", **citus.settings(schema))
        return
    name = f"t_{new_id().hex}"
    connection = await asyncpg.connect(servers.database_url)
    await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    settings = settings_for(servers, name)
    own = await connect(settings)
    await own.execute("UPDATE ledger_identity SET id = gen_random_uuid()")  # the copy still has the template's id
    await own.close()
    yield settings
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


def settings_for(servers: Services, database: str, **overrides: Any) -> Settings:
    unthrottled = {"ledger_login_attempts_per_account": 100_000, "ledger_login_attempts_per_address": 100_000}
    defaults = {"database_url": servers.database_url.replace("/ledger?", f"/{database}?"), **unthrottled}
    return Settings(
        **{**defaults, "ledger_webhook_allow": LOOPBACK, **overrides},
        redis_url=f"{servers.redis_url}&{PATIENCE}",
        jwt_secret="a-secret-of-the-tests-that-is-long-enough",
        ledger_admin_password=ADMIN_PASSWORD,
    )


@pytest.fixture
async def connection(settings: Settings) -> AsyncIterator["asyncpg.Connection[Any]"]:
    """Yield the test's own connection, in the ledger's schema."""
    opened = await connect(settings, application_name="test")
    yield opened
    await opened.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for a slow Redis on a busy machine instead of falling back to PostgreSQL and logging that.

    Tests of a slow Redis slow it down themselves.
    """
    for name in ("TIMEOUT_SECONDS", "FILL_SECONDS", "FRESH_SECONDS"):
        monkeypatch.setattr(revocation_cache, name, DEADLINE_SECONDS)
    monkeypatch.setattr(login_throttle, "TIMEOUT_SECONDS", DEADLINE_SECONDS)


@pytest.fixture(scope="session", autouse=True)
def quick_passwords() -> Iterator[PasswordHasher]:
    """Hash with the cheapest parameters of argon2, because most tests log in. Yields the service's hasher."""
    safe = passwords._HASHER  # noqa: SLF001 - to restore it
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        yield safe


@pytest.fixture
def safe_passwords(quick_passwords: PasswordHasher, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash passwords as the service does."""
    monkeypatch.setattr(passwords, "_HASHER", quick_passwords)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Stop the time that tokens use, until the test advances it."""
    stopped = Clock()
    monkeypatch.setattr("web.handlers.auth.time", stopped)
    monkeypatch.setattr("web.handlers.clients.time", stopped)
    monkeypatch.setattr("web.handlers.client_tokens.time", stopped)
    monkeypatch.setattr("ledger.identity.tokens.time", stopped)
    return stopped


@pytest.fixture
def code_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Stop the time that one-time codes are checked with, until the test advances it."""
    stopped = Clock()
    monkeypatch.setattr("web.handlers.codes.time", stopped)
    monkeypatch.setattr("web.handlers.second_factors.time", stopped)
    return stopped


@pytest.fixture
async def runtime(settings: Settings, patient: None) -> AsyncIterator[Runtime]:
    """Open the ledger without HTTP."""
    del patient
    async with open_runtime(settings) as opened:
        yield opened


@pytest.fixture
async def busy(runtime: Runtime) -> Runtime:
    """Return a ledger whose log has every kind of event."""
    await execute(runtime)
    return runtime


@pytest.fixture
async def serve(
    settings: Settings,  # whose database must outlive the service
    patient: None,
    aiohttp_client: Callable[..., Awaitable[TestClient[Any, Any]]],
) -> Serve:
    """Serve the API over real HTTP; the client is the first admin, unless `logs_in` is False."""
    del settings, patient

    async def start(settings: Settings, *, logs_in: bool = True, **options: Any) -> Api:
        client = await aiohttp_client(ApiServer(settings, **options), cookie_jar=DummyCookieJar())
        api = await begin(client)
        return await api.logged_in("admin", ADMIN_PASSWORD) if logs_in else api

    return start


@pytest.fixture
async def api(serve: Callable[[Settings], Awaitable[Api]], settings: Settings) -> Api:
    """Return the API as its first admin."""
    return await serve(settings)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """Return the file of a new sealing key."""
    return write_key_file(tmp_path / "seal-key.pem")


@pytest.fixture
async def unsealed(settings: Settings, runtime: Runtime, connection: Any, key_file: Path) -> AsyncIterator[Sealed]:
    """Yield a ledger with some history and no seals."""
    async with ledger_to_seal(settings, runtime, connection, key_file) as found:
        yield found


@pytest.fixture
async def sealed(unsealed: Sealed) -> Sealed:
    """Return the same ledger, sealed."""
    await unsealed.seal()
    return unsealed


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Return the test's own data folder."""
    return tmp_path / "data"
