"""One PostgreSQL on a unix socket, durable as it comes out of the box.

A cluster is used only when it is whole and of the server's major version; else it is left as it is.
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
    "min_wal_size": "1GB",  # a segment that is made anew takes 50 ms of those who wait; one that is used again, none
}


@dataclass(frozen=True, slots=True)
class PostgreSQL:
    """The database server of one data folder."""

    folder: DataFolder
    programs: Programs

    name = "postgres"
    stop_signal = signal.SIGINT  # "fast": sessions are ended, a checkpoint is written
    insist_signal = signal.SIGQUIT  # "immediate": the next start recovers from the log

    def command(self) -> list[str | Path]:
        """Name the program that serves the cluster, with its arguments."""
        listed = '"' + str(self.folder.sockets).replace('"', '""') + '"'
        settings = SETTINGS | {"unix_socket_directories": listed}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [self.programs.postgres, "-D", self.folder.cluster, *options]

    async def create(self, launcher: Launcher) -> None:
        """Make sure that there is a cluster with our database in it. A killed attempt leaves none."""
        if self._is_whole():
            return
        unfinished = self.folder.unfinished_cluster
        if unfinished.exists():
            shutil.rmtree(unfinished)
        make_private(unfinished, launcher.identity)
        await self._run(launcher, self._initdb())
        await self._run(launcher, self._single(), stdin=b"CREATE DATABASE ledger\n")
        unfinished.rename(self.folder.cluster)
        _sync_folder(self.folder.path)

    def sweep(self) -> None:
        """Remove what a killed server left. Only while it is certain that none of ours lives."""
        pid_file = self.folder.cluster / "postmaster.pid"
        if stranger := _server_in(self.folder.cluster, pid_file):
            raise EmbeddedError(
                f"{self.folder.cluster} is served by process {stranger}, which was not started from here: "
                "stop that one first"
            )
        socket = self.folder.sockets / ".s.PGSQL.5432"
        for left in (pid_file, socket, socket.with_name(f"{socket.name}.lock")):
            left.unlink(missing_ok=True)

    async def is_ready(self, pid: int) -> bool:
        """Say whether the server with this process id takes connections; it notes that in its pid file."""
        with suppress(OSError):
            lines = (self.folder.cluster / "postmaster.pid").read_text(errors="replace").split("\n")
            return lines[0] == str(pid) and [line.strip() for line in lines[7:8]] == ["ready"]
        return False

    def _initdb(self) -> list[str | Path]:
        locale = ["--locale=C", "--encoding=UTF8"]
        if major_version(self.programs.postgres) >= BUILTIN_LOCALES_SINCE:
            locale += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        rules = ["--username=ledger", "--auth=trust", "--data-checksums", "--no-instructions"]
        return [self.programs.initdb, "-D", self.folder.unfinished_cluster, *rules, *locale]

    def _single(self) -> list[str | Path]:
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
                f"no PostgreSQL cluster could be made in {self.folder.path}: {self.folder.last_lines(self.name)}"
            )

    def _is_whole(self) -> bool:
        """Say whether there is a cluster to use. EmbeddedError when there is something else."""
        cluster = self.folder.cluster
        if not os.path.lexists(cluster):  # a link into nowhere, say an unmounted disk, is something
            return False
        for part in (cluster / "PG_VERSION", cluster / "global" / "pg_control"):
            if not part.is_file():
                raise EmbeddedError(
                    f"{cluster} is not a whole PostgreSQL cluster, it has no {part.relative_to(cluster)}: "
                    "move it away to start empty, or restore it from a backup; nothing was changed"
                )
        found, ours = (cluster / "PG_VERSION").read_text().strip(), major_version(self.programs.postgres)
        if found != str(ours):
            raise EmbeddedError(
                f"{cluster} was made by PostgreSQL {found} and the server here is {ours}: run pg_upgrade on "
                "it, use the other server, or name another data folder; nothing was changed"
            )
        return True


def _server_in(cluster: Path, pid_file: Path) -> int | None:
    """Find a living server of this cluster. A pid file proves nothing; the process has to work in there."""
    with suppress(OSError, ValueError):
        pid = int(pid_file.read_text(errors="replace").split("\n", 1)[0])
        if Path(f"/proc/{pid}/cwd").samefile(cluster):
            return pid
    return None


def _sync_folder(path: Path) -> None:
    """Make a rename in this folder survive a power cut."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
