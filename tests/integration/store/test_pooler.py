"""Behind PgBouncer: a session for each client works as it is, and a session that clients share is refused."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import asyncpg
import pytest
from pydantic import SecretStr

from ledger.errors import DatabaseError
from ledger.runtime import open_runtime
from ledger.settings import Settings
from ledger.store.pool import check_server, connect
from tests.support.processes import until
from tests.support.proxy import Proxy

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
needs_pgbouncer = pytest.mark.skipif(PGBOUNCER is None, reason="needs pgbouncer (Debian: apt install pgbouncer)")

PORT = 6432  # the name of the socket
CONFIGURATION = """
[databases]
* = host=127.0.0.1 port={server_port} user=ledger
[pgbouncer]
listen_addr =
listen_port = {port}
unix_socket_dir = {folder}
auth_type = any
pool_mode = {mode}
default_pool_size = 20
server_round_robin = {round_robin}
logfile = {folder}/log
"""


@asynccontextmanager
async def a_pgbouncer(settings: Settings, folder: Path, mode: str, round_robin: int = 0) -> AsyncIterator[Settings]:
    """Run PgBouncer in front of the test's database; yield the settings of a service behind it."""
    assert PGBOUNCER is not None
    file = folder / "pgbouncer.ini"
    user = ["--user", "nobody"] if os.getuid() == 0 else []  # it does not run as root
    async with Proxy.to_database(settings) as proxy:
        values = {"server_port": proxy.address[1], "port": PORT, "mode": mode, "round_robin": round_robin}
        file.write_text(CONFIGURATION.format(**values, folder=folder))
        process = start(PGBOUNCER, "--quiet", *user, str(file))
        try:
            database = urlsplit(settings.database_dsn()).path
            url = f"postgresql://ledger@{database}?host={quote(str(folder), safe='')}&port={PORT}"
            behind = settings.model_copy(update={"database_url": SecretStr(url)})
            await until(lambda: answers(behind, process))
            yield behind
        finally:
            process.terminate()
            process.wait()


def start(*command: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(command, stdin=subprocess.DEVNULL)


async def answers(settings: Settings, process: "subprocess.Popen[bytes]") -> bool:
    assert process.poll() is None, "PgBouncer has ended; its reason is on standard error"
    try:
        connection = await asyncpg.connect(settings.database_dsn())
    except OSError:
        return False
    await connection.close()
    return True


@pytest.fixture
def folder() -> Iterator[Path]:
    """Yield a folder that any user can reach, unlike pytest's: as root, PgBouncer changes its user."""
    with tempfile.TemporaryDirectory(prefix="ledger-pgbouncer-") as name:
        folder = Path(name)
        folder.chmod(0o777)
        yield folder


@needs_pgbouncer
async def test_a_session_for_each_client_works(settings: Settings, folder: Path) -> None:
    async with a_pgbouncer(settings, folder, "session") as behind:
        await check_server(behind)
        async with open_runtime(behind.model_copy(update={"ledger_schema": "ledger"})) as runtime:
            assert "ledger" == await runtime.pool.fetchval("SHOW search_path")
            assert 0 == await runtime.pool.fetchval("SELECT count(*) FROM users")
        connection = await connect(behind)
        assert await connection.fetchval("SELECT pg_backend_pid()") == connection.get_server_pid()
        await connection.close()


@needs_pgbouncer
@pytest.mark.parametrize("mode", ["transaction", "statement"])
@pytest.mark.parametrize("round_robin", [0, 1])
async def test_a_session_that_clients_share_is_refused(
    settings: Settings, folder: Path, mode: str, round_robin: int
) -> None:
    """Lesson 54."""
    async with a_pgbouncer(settings, folder, mode, round_robin) as behind:
        for _ in range(3):
            with pytest.raises(DatabaseError, match="pool_mode = session"):
                await check_server(behind)


async def test_postgresql_itself_gives_each_client_a_session(settings: Settings) -> None:
    await check_server(settings)
