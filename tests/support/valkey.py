"""A Valkey for one test, which can pause, kill, empty and restore it."""

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from pydantic import SecretStr
from redis.asyncio import Redis
from redis.exceptions import RedisError

from ledger.embedded.binaries import find_programs
from ledger.settings import Settings
from tests.support.processes import DEADLINE_SECONDS, until

# Part of a URL: on a busy machine, a slow server must not count as unavailable.
PATIENCE = f"socket_timeout={DEADLINE_SECONDS}&socket_connect_timeout={DEADLINE_SECONDS}"


class Valkey:
    """A server that persists every write in its folder, behind the same socket across restarts."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "s"
        self.url = f"unix://{quote(str(self.socket))}?db=0&{PATIENCE}"
        self.process: subprocess.Popen[bytes] | None = None
        self._data, self._copy, self._log = folder / "data", folder / "copy", folder / "log"
        self._data.mkdir()

    def settings(self, settings: Settings) -> Settings:
        """Return the settings of a service that uses this server."""
        return settings.model_copy(update={"redis_url": SecretStr(self.url)})

    def client(self) -> "Redis":
        return Redis.from_url(self.url, protocol=2, decode_responses=True)

    async def start(self) -> None:
        """Start the server with the data in its folder."""
        options = {"port": "0", "unixsocket": str(self.socket), "dir": str(self._data), "save": "", "appendonly": "yes"}
        command = [str(find_programs().valkey), *(part for name in options for part in (f"--{name}", options[name]))]
        with self._log.open("ab") as log:
            self.process = _spawn(command, log)
        await until(self._answers)

    def kill(self) -> None:
        """Kill the server if it runs."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()  # this also ends a paused server
            process.wait()
            self.socket.unlink(missing_ok=True)

    def pause(self) -> None:
        """Stop responding, with all connections open."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def empty(self) -> None:
        """Delete all data. The server must be stopped."""
        assert self.process is None
        shutil.rmtree(self._data)
        self._data.mkdir()

    def copy(self) -> None:
        """Copy the current data."""
        self.pause()
        shutil.copytree(self._data, self._copy)
        self.resume()

    def restore(self) -> None:
        """Restore the copied data. The server must be stopped."""
        assert self.process is None
        shutil.rmtree(self._data)
        shutil.copytree(self._copy, self._data)

    async def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self._log.read_text()
        client = self.client()
        try:
            return bool(await client.ping())
        except (RedisError, OSError):
            return False
        finally:
            await client.aclose()


def _spawn(command: list[str], log: BinaryIO) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


@contextmanager
def valkey_server(folder: Path) -> Iterator[Valkey]:
    """Yield a server that is not started yet, and kill it when the block ends."""
    valkey = Valkey(folder)
    try:
        yield valkey
    finally:
        valkey.kill()


async def keys_of(redis: "Redis", prefix: str) -> list[str]:
    """Return the names of all keys with this prefix, without it."""
    return sorted([key.decode().removeprefix(prefix) async for key in redis.scan_iter(match=f"{prefix}*", count=1000)])


async def pass_time(redis: "Redis", prefix: str, seconds: float) -> None:
    """Age every key with this prefix."""
    for name in await keys_of(redis, prefix):
        key = prefix + name
        if b"zset" == await redis.type(key):
            members: list[Any] = await redis.zrange(key, 0, -1)
            for member in members:
                await redis.zincrby(key, -seconds, member)
        await redis.pexpire(key, await redis.pttl(key) - int(seconds * 1000))
