"""PgBouncer in front of a cluster, where it is installed. It listens on a Unix socket."""

import asyncio
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from ledger.embedded.identity import make_private
from ledger.embedded.process import Process
from tests.support.faults.cluster import Cluster
from tests.support.processes import until

PATHS = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin"
PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path=PATHS)
PORT = 6432  # the name of the socket
FILE = """[databases]
ledger = host={server} port=5432 dbname=ledger user=ledger
[pgbouncer]
listen_addr =
listen_port = {port}
unix_socket_dir = {folder}
auth_type = any
pool_mode = {mode}
default_pool_size = 40
logfile = {folder}/log
"""


class Bouncer:
    """A pooler in the mode `session` or `transaction`."""

    def __init__(self, cluster: Cluster, mode: str) -> None:
        self._cluster = cluster
        self._folder = cluster.launcher.folder.path.with_name("b")
        self._mode = mode
        self._process: Process | None = None

    @property
    def url(self) -> str:
        """Return the URL of the database behind the pooler."""
        return f"postgresql://ledger@/ledger?host={quote(str(self._folder), safe='')}&port={PORT}"

    async def start(self) -> None:
        """Start the pooler, and return when it takes connections."""
        assert PROGRAM is not None
        make_private(self._folder, self._cluster.launcher.identity)
        file = self._folder / "ini"
        server = self._cluster.socket.parent
        file.write_text(FILE.format(server=server, port=PORT, folder=self._folder, mode=self._mode))
        file.chmod(0o644)
        (self._folder / f".s.PGSQL.{PORT}").unlink(missing_ok=True)
        self._process = self._cluster.launcher.start([PROGRAM, file], "pgbouncer", when_orphaned=signal.SIGKILL)
        await until(self._answers)

    async def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            await process.stop(signal.SIGKILL, signal.SIGKILL, ask_seconds=5)

    async def _answers(self) -> bool:
        assert self._process is not None
        assert not self._process.ended.done(), self._cluster.launcher.folder.last_lines("pgbouncer")
        with suppress(OSError):
            _, writer = await asyncio.open_unix_connection(self._folder / f".s.PGSQL.{PORT}")
            writer.close()
            return True
        return False


@asynccontextmanager
async def launch_bouncer(folder: Path, mode: str) -> AsyncIterator[Bouncer]:
    """Run a pooler in front of a new cluster."""
    async with Cluster.launch(folder / "postgresql") as cluster:
        bouncer = Bouncer(cluster, mode)
        await bouncer.start()
        try:
            yield bouncer
        finally:
            await bouncer.kill()
