"""PostgreSQL servers of a test's own, which it can pause, kill, start again, copy into a standby and promote.

A server listens on a Unix socket only; who needs TCP puts a `Proxy` in front of it. So no port is ever fixed or raced
for. The real `initdb` and `pg_basebackup` make the clusters.
"""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self

import asyncpg

from ledger.embedded.binaries import find_programs
from ledger.embedded.folder import DataFolder
from ledger.embedded.identity import choose_identity, make_private
from ledger.embedded.postgres import PostgreSQL
from ledger.embedded.process import Launcher, Process
from tests.support.processes import processes, until
from tests.support.proxy import Proxy

STOP_SECONDS = 30
SMALL_LOG = {"max_wal_size": "256MB", "min_wal_size": "64MB"}  # for clusters of a few thousand transactions


class Cluster:
    """One PostgreSQL server and its data folder."""

    def __init__(self, launcher: Launcher) -> None:
        self.launcher = launcher
        self.server = PostgreSQL(launcher.folder, find_programs())
        self._process: Process | None = None
        self._settings: dict[str, str] = {}

    @classmethod
    @asynccontextmanager
    async def launch(
        cls, folder: Path, *, log: Path | None = None, segment_bytes: int | None = None, **settings: str
    ) -> AsyncIterator[Self]:
        """Create a cluster with an empty database `ledger` and start it; nothing of it runs in the end.

        Its write-ahead log may be in another folder, `log`, and have segments of another size.
        """
        async with cls._in(folder) as cluster:
            await cluster.server.create(cluster.launcher)
            if segment_bytes is not None:
                await cluster.run(
                    *(find_programs().postgres.with_name("pg_resetwal"), f"--wal-segsize={segment_bytes // 1024**2}"),
                    cluster.launcher.folder.cluster,
                )
            if log is not None:
                _move_log(cluster.launcher.folder.cluster / "pg_wal", log)
            await cluster.start(**settings)
            yield cluster

    @classmethod
    @asynccontextmanager
    async def launch_standby(
        cls, primary: "Cluster", folder: Path, link: Proxy, **settings: str
    ) -> AsyncIterator[Self]:
        """Copy the primary, and start the copy as a standby that receives the log through the link."""
        async with cls._in(folder) as cluster:
            await cluster.run(
                *(find_programs().postgres.with_name("pg_basebackup"), "-D", cluster.launcher.folder.cluster),
                *("-R", "--checkpoint=fast", "--wal-method=stream", "-d", primary.url),
            )
            host, port = link.address
            source = f"host={host} port={port} user=ledger sslmode=disable application_name=standby"
            await cluster.start(primary_conninfo=source, **settings)
            yield cluster

    @property
    def url(self) -> str:
        """Where the server listens, as a URL of its database."""
        return self.launcher.folder.database_url

    @property
    def socket(self) -> Path:
        return self.launcher.folder.sockets / ".s.PGSQL.5432"

    @property
    def log(self) -> str:
        """What the server has written to its log."""
        return self.launcher.folder.log(self.server.name).read_text(errors="replace")

    async def start(self, **settings: str) -> None:
        """Start the server, and return when it takes connections. Without settings it gets those of the last start."""
        self._settings = {**SMALL_LOG, **settings} if settings or not self._settings else self._settings
        self.server.sweep()
        make_private(self.launcher.folder.sockets, self.launcher.identity)
        options = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        command = [*self.server.command(), *options]
        self._process = self.launcher.start(command, self.server.name, when_orphaned=signal.SIGQUIT)
        await until(self._is_ready)

    async def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """Stop the server: SIGINT is the fast shutdown, SIGQUIT the immediate one, SIGTERM waits for clients."""
        process, self._process = self._process, None
        if process is not None:
            await process.stop(number, signal.SIGQUIT, ask_seconds=STOP_SECONDS)

    async def kill(self) -> None:
        """Kill the server with all its processes, as a machine does that loses its power."""
        process, self._process = self._process, None
        assert process is not None
        self._signal(process, signal.SIGSTOP)  # it can start no others now
        self._signal(process, signal.SIGKILL)
        await asyncio.wait({process.ended})

    async def kill_postmaster(self) -> None:
        """Kill the first of its processes only; the others notice and end."""
        process, self._process = self._process, None
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        await asyncio.wait({process.ended})

    def pause(self) -> None:
        assert self._process is not None
        self._signal(self._process, signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._signal(self._process, signal.SIGCONT)

    def pids(self) -> list[int]:
        """List the server's processes, the first one first."""
        assert self._process is not None
        return self._family(self._process)

    async def promote(self) -> None:
        """Make a standby the primary."""
        assert await self.value("SELECT pg_promote()")

    async def value(self, query: str, *arguments: Any) -> Any:
        """Return the first value of a query, on a connection of its own."""
        connection = await asyncpg.connect(self.url)
        try:
            return await connection.fetchval(query, *arguments)
        finally:
            await connection.close()

    async def terminate_backends(self) -> int:
        """End all sessions of clients, and return how many there were; replication goes on."""
        query = """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                   WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"""
        return int(await self.value(query))

    async def configure(self, **settings: str) -> None:
        """Change settings of the running server, as far as it can change them without a restart."""
        for name, value in settings.items():
            await self.value(f"ALTER SYSTEM SET {name} = '{value}'")
        await self.value("SELECT pg_reload_conf()")

    async def until_value(self, query: str) -> Any:
        """Return the first value of a query as soon as it is true."""
        return await until(lambda: self.value(query))

    @asynccontextmanager
    async def proxy(self) -> AsyncIterator[Proxy]:
        """Run a proxy in front of this server."""
        async with Proxy.to_socket(self.socket) as proxy:
            yield proxy

    @classmethod
    @asynccontextmanager
    async def _in(cls, folder: Path) -> AsyncIterator[Self]:
        data = DataFolder.prepare(folder)
        identity = choose_identity(data, find_programs())
        lock = os.open(data.lock, os.O_RDWR | os.O_CREAT, 0o600)
        cluster = cls(Launcher(data, identity, lock))
        async with AsyncExitStack() as stack:
            stack.callback(os.close, lock)
            stack.push_async_callback(cluster._end)
            yield cluster

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None and not process.ended.done():
            self._signal(process, signal.SIGCONT)
            await process.stop(signal.SIGQUIT, signal.SIGKILL, ask_seconds=STOP_SECONDS)

    async def run(self, *command: str | Path) -> None:
        """Run a program to its end as the user that the server runs as."""
        process = self.launcher.start(command, "commands", when_orphaned=signal.SIGKILL)
        await asyncio.wait({process.ended})
        assert 0 == process.ended.result(), self.launcher.folder.last_lines("commands")

    async def _is_ready(self) -> bool:
        assert self._process is not None
        assert not self._process.ended.done(), self.log
        return await self.server.is_ready(self._process.pid)

    def _signal(self, process: Process, number: signal.Signals) -> None:
        for pid in self._family(process):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _family(self, process: Process) -> list[int]:
        return [process.pid, *(row.pid for row in processes() if row.parent == process.pid)]


def _move_log(log: Path, place: Path) -> None:
    shutil.move(log, place)
    log.symlink_to(place)
