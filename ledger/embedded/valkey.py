"""One Valkey on a unix socket.

What it was told survives its death, and all but the last second of that survives a power cut.
"""

import asyncio
import signal
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from ledger.embedded.binaries import Programs
from ledger.embedded.folder import DataFolder
from ledger.embedded.identity import make_private
from ledger.embedded.process import Launcher

ANSWER_SECONDS = 1
SETTINGS = {
    "port": "0",
    "unixsocketperm": "700",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": "",
    "daemonize": "no",
}


@dataclass(frozen=True, slots=True)
class Valkey:
    """The Redis server of one data folder."""

    folder: DataFolder
    programs: Programs

    name = "valkey"
    stop_signal = signal.SIGTERM
    insist_signal = signal.SIGKILL

    def command(self) -> list[str | Path]:
        """Name the program that serves the folder, with its arguments."""
        settings = SETTINGS | {"dir": str(self.folder.valkey), "unixsocket": str(self.folder.valkey_socket)}
        options = [part for name, value in settings.items() for part in (f"--{name}", value)]
        return [self.programs.valkey, *options]

    async def create(self, launcher: Launcher) -> None:
        """Make sure that there is a folder for its file."""
        make_private(self.folder.valkey, launcher.identity)

    def sweep(self) -> None:
        """Remove what a killed server left. Only while it is certain that none of ours lives."""
        self.folder.valkey_socket.unlink(missing_ok=True)

    async def is_ready(self, _pid: int) -> bool:
        """Say whether it answers; while it reads its file it does so with an error."""
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                reader, writer = await asyncio.open_unix_connection(self.folder.valkey_socket)
                with closing(writer):
                    writer.write(b"PING\r\n")
                    return await reader.readline() == b"+PONG\r\n"
        return False
