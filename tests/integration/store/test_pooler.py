"""Behind PgBouncer: a session for each client works as it is, and a session that clients share is refused."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from pydantic import SecretStr

from ledger.errors import DatabaseError
from ledger.runtime import open_runtime
from ledger.settings import Settings
from ledger.store.pool import check_server, connect
from tests.support.outages import reserved_port
from tests.support.processes import until
from tests.support.proxy import Proxy

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
needs_pgbouncer = pytest.mark.skipif(PGBOUNCER is None, reason="needs pgbouncer (Debian: apt install pgbouncer)")

CONFIGURATION = """
[databases]
* = host=127.0.0.1 port={server_port} user=ledger
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = 20
server_round_robin = {round_robin}
logfile = {log}
"""


@asynccontextmanager
async def a_pgbouncer(settings: Settings, folder: Path, mode: str, round_robin: int = 0) -> AsyncIterator[Settings]:
    """Run PgBouncer in front of the test's database; yield the settings of a service behind it."""
    assert PGBOUNCER is not None
    with reserved_port(listening=False) as port:
        pass
    file = folder / "pgbouncer.ini"
    user = ["--user", "nobody"] if os.getuid() == 0 else []  # it does not run as root
    async with Proxy.to_database(settings) as proxy:
        values = {"server_port": proxy.address[1], "port": port, "mode": mode, "round_robin": round_robin}
        await asyncio.to_thread(write_configuration, file, CONFIGURATION.format(**values, log=folder / "log"))
        command = (PGBOUNCER, "--quiet", *user, str(file))
        process = await asyncio.create_subprocess_exec(*command, stdin=subprocess.DEVNULL)
        try:
            url = proxy.database_url(settings).replace(f":{proxy.address[1]}/", f":{port}/")
            behind = settings.model_copy(update={"database_url": SecretStr(url)})
            await until(lambda: answers(behind))
            yield behind
        finally:
            process.terminate()
            await process.wait()


def write_configuration(file: Path, text: str) -> None:
    file.write_text(text)
    file.chmod(0o644)
    file.parent.chmod(0o777)


async def answers(settings: Settings) -> bool:
    try:
        connection = await asyncpg.connect(settings.database_dsn())
    except OSError:
        return False
    await connection.close()
    return True


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pgbouncer")
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o755)
    return folder


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
    async with a_pgbouncer(settings, folder, mode, round_robin) as behind:
        for _ in range(3):
            with pytest.raises(DatabaseError, match="pool_mode = session"):
                await check_server(behind)


async def test_postgresql_itself_gives_each_client_a_session(settings: Settings) -> None:
    await check_server(settings)
