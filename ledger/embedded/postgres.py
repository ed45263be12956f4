"""One PostgreSQL server on a unix socket, with the default durability.

A cluster is used only if it is complete and of the server's major version; otherwise it is left untouched.
"""

import asyncio
import os
import shutil
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ledger.embedded.binaries import Programs, major_version
from ledger.embedded.folder import DataFolder, EmbeddedError
from ledger.embedded.identity import make_private
from ledger.embedded.process import Launcher

BUILTIN_LOCALES_SINCE = 17
SETTINGS = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "wal_compression": "on",
    "max_wal_size": "4GB",
    "min_wal_size": "1GB",  # creating a segment stalls commits for 50 ms; recycling one does not
}


@dataclass(frozen=True, slots=True)
class PostgreSQL:
    """The database server of one data folder."""

    folder: DataFolder
    programs: Programs

    name = "postgres"
    stop_signal = signal.SIGINT  # "fast": ends sessions and writes a checkpoint
    insist_signal = signal.SIGQUIT  # "immediate": the next start recovers from the log

    def command(self) -> list[str | Path]:
        """Return the command that serves the cluster."""
        directory = '"' + str(self.folder.sockets).replace('"', '""') + '"'
        settings = SETTINGS | {"unix_socket_directories": directory}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [self.programs.postgres, "-D", self.folder.cluster, *options]

    async def create(self, launcher: Launcher) -> None:
        """Create the cluster with the ledger's database if it is missing. An interrupted attempt leaves no cluster."""
        if self._is_complete():
            return
        unfinished = self.folder.unfinished_cluster
        if unfinished.exists():
            shutil.rmtree(unfinished)
        make_private(unfinished, launcher.identity)
        await self._run(launcher, self._initdb_command())
        await self._run(launcher, self._single_user_command(), stdin=b"CREATE DATABASE ledger\n")
        unfinished.rename(self.folder.cluster)
        _sync_folder(self.folder.path)

    def stdin(self) -> bytes:
        """Return what the server reads from standard input: nothing."""
        return b""

    def sweep(self) -> None:
        """Remove files left by a killed server. Call this only while none of ours can be running."""
        pid_file = self.folder.cluster / "postmaster.pid"
        if pid := _find_server(self.folder.cluster, pid_file):
            raise EmbeddedError(
                f"{self.folder.cluster} is served by process {pid}, which this supervisor did not start: stop it first"
            )
        socket = self.folder.sockets / ".s.PGSQL.5432"
        for path in (pid_file, socket, socket.with_name(f"{socket.name}.lock")):
            path.unlink(missing_ok=True)

    async def is_ready(self, pid: int) -> bool:
        """Return whether the server with this process id accepts connections, as it writes in its pid file."""
        with suppress(OSError):
            lines = (self.folder.cluster / "postmaster.pid").read_text(errors="replace").split("\n")
            return lines[0] == str(pid) and [line.strip() for line in lines[7:8]] == ["ready"]
        return False

    def _initdb_command(self) -> list[str | Path]:
        locale = ["--locale=C", "--encoding=UTF8"]
        if major_version(self.programs.postgres) >= BUILTIN_LOCALES_SINCE:
            locale += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        rules = ["--username=ledger", "--auth=trust", "--data-checksums", "--no-instructions"]
        return [self.programs.initdb, "-D", self.folder.unfinished_cluster, *rules, *locale]

    def _single_user_command(self) -> list[str | Path]:
        options = ["-c", "exit_on_error=on"]
        return [
            self.programs.postgres,
            "--single",
            "-D",
            self.folder.unfinished_cluster,
            *options,
            "postgres",
        ]

    async def _run(self, launcher: Launcher, command: list[str | Path], *, stdin: bytes = b"") -> None:
        process = launcher.start(command, self.name, when_orphaned=signal.SIGKILL, stdin=stdin)
        try:
            await asyncio.wait({process.ended})
        finally:
            await process.stop(signal.SIGTERM, signal.SIGKILL, ask_seconds=5)
        if process.ended.result():
            raise EmbeddedError(
                f"no PostgreSQL cluster could be created in {self.folder.path}: {self.folder.last_lines(self.name)}"
            )

    def _is_complete(self) -> bool:
        """Return whether a usable cluster exists. Raises `EmbeddedError` if the path holds anything else."""
        cluster = self.folder.cluster
        if not os.path.lexists(cluster):  # a dangling link, as to an unmounted disk, does exist
            return False
        for part in (cluster / "PG_VERSION", cluster / "global" / "pg_control"):
            if not part.is_file():
                raise EmbeddedError(
                    f"{cluster} is not a complete PostgreSQL cluster: it has no {part.relative_to(cluster)}; "
                    "move it away to start empty, or restore it from a backup; nothing was changed"
                )
        found, ours = (cluster / "PG_VERSION").read_text().strip(), major_version(self.programs.postgres)
        if found != str(ours):
            raise EmbeddedError(
                f"{cluster} was created by PostgreSQL {found} and the server here is {ours}: run pg_upgrade on "
                "it, use the other server, or name another data folder; nothing was changed"
            )
        return True


def _find_server(cluster: Path, pid_file: Path) -> int | None:
    """Return the process id of a running server of this cluster. A stale pid file may name any process, so check it."""
    with suppress(OSError, ValueError):
        pid = int(pid_file.read_text(errors="replace").split("\n", 1)[0])
        if Path(f"/proc/{pid}/cwd").samefile(cluster):
            return pid
    return None


def _sync_folder(path: Path) -> None:
    """Sync a folder, so that a rename in it survives a power cut."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
