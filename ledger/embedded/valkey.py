"""One Valkey server on a unix socket, behind a password.

Its data survives a crash of the server, and all but the last second of writes survives a power cut.
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
        """Return the command that serves the folder, and reads more settings from standard input."""
        settings = SETTINGS | {"dir": str(self.folder.valkey), "unixsocket": str(self.folder.valkey_socket)}
        options = [part for name, value in settings.items() for part in (f"--{name}", value)]
        return [self.programs.valkey, "-", *options]

    def stdin(self) -> bytes:
        """Return the settings that are secret: any user of the machine can read the arguments of a program."""
        return f"requirepass {self.folder.password}\n".encode()

    async def create(self, launcher: Launcher) -> None:
        """Create the folder of its append-only file if it is missing."""
        make_private(self.folder.valkey, launcher.identity)

    def sweep(self) -> None:
        """Remove files left by a killed server. Call this only while none of ours can be running."""
        self.folder.valkey_socket.unlink(missing_ok=True)

    async def is_ready(self, _pid: int) -> bool:
        """Return whether it answers a ping. While it loads its file, it answers with an error."""
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                reader, writer = await asyncio.open_unix_connection(self.folder.valkey_socket)
                with closing(writer):
                    writer.write(f"AUTH {self.folder.password}\r\nPING\r\n".encode())
                    return [await reader.readline(), await reader.readline()] == [b"+OK\r\n", b"+PONG\r\n"]
        return False
