"""Real NATS servers of a test's own, which it can kill, pause, restart and put behind a proxy."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig
from pydantic import SecretStr

from tests.support.ports import choose_ports
from tests.support.processes import until

UNACKNOWLEDGED = ConsumerConfig(ack_policy=AckPolicy.NONE)  # or JetStream stops after a thousand messages
CLUSTERED = """
    server_name: n{0}
    cluster: {{ name: test, listen: "127.0.0.1:{1}", routes: [{2}] }}
"""
CONNECT_SECONDS, CLOSE_SECONDS = 5, 2
PROGRAM = Path(sys.executable).with_name("nats-server")


class NatsServer:
    """One server with JetStream, on a port that it chooses at the first start and keeps."""

    def __init__(self, folder: Path, config: str = "") -> None:
        self._folder = folder
        self._config = config
        self._process: asyncio.subprocess.Process | None = None
        self.port = -1

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of a ledger that publishes to it."""
        return {"ledger_nats_url": SecretStr(self.url)}

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        return (self._folder / "server.log").read_text(errors="replace")

    async def start(self) -> None:
        """Start the server, and return when it takes connections."""
        self._folder.mkdir(parents=True, exist_ok=True)
        ports = self._folder / "ports"
        shutil.rmtree(ports, ignore_errors=True)
        ports.mkdir()
        file = self._folder / "server.conf"
        file.write_text(f"""
            listen: 127.0.0.1:{self.port}
            ports_file_dir: "{ports}"
            log_file: "{self._folder / "server.log"}"
            jetstream: {{ store_dir: "{self._folder / "store"}", sync_interval: "1s" }}
            {self._config}
        """)
        self._process = await asyncio.create_subprocess_exec(PROGRAM, "-c", file, stdin=asyncio.subprocess.DEVNULL)
        self.port = await until(lambda: self._read_port(ports))

    async def read_bodies(self) -> list[bytes]:
        """Return what was published, in order."""
        return [message.data for message in await read_messages(self.url)]

    async def kill(self) -> None:
        """Kill the server as a crash does."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        await self._end(signal.SIGTERM)

    def pause(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    async def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.send_signal(number)
            await process.wait()

    def _read_port(self, folder: Path) -> int | None:
        assert self._process is not None
        assert self._process.returncode is None, self.log
        for file in folder.glob("*.ports"):
            with suppress(msgspec.DecodeError):
                found = msgspec.json.decode(file.read_bytes())
                (url,) = found["nats"]
                return int(url.rpartition(":")[2])
        return None


@asynccontextmanager
async def running_nats(folder: Path, config: str = "") -> AsyncIterator[NatsServer]:
    """Run a server; nothing of it runs in the end."""
    server = NatsServer(folder, config)
    try:
        await server.start()
        yield server
    finally:
        await server.kill()


@asynccontextmanager
async def running_cluster(folder: Path, size: int = 3) -> AsyncIterator[list[NatsServer]]:
    """Run a cluster of servers, which elect a leader for each stream."""
    ports = choose_ports(size)
    routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports)
    async with AsyncExitStack() as stack:
        servers = [
            NatsServer(folder / f"n{number}", CLUSTERED.format(number, port, routes))
            for number, port in enumerate(ports)
        ]
        for server in servers:
            stack.push_async_callback(server.kill)
            await server.start()
        yield servers


@asynccontextmanager
async def jetstream(url: str) -> AsyncIterator[JetStreamContext]:
    """Connect as a consumer does, and disconnect even from a server that does not answer."""
    client = Client()
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await client.connect(url, allow_reconnect=False, max_reconnect_attempts=1, error_cb=_ignore)
        yield client.jetstream()
    finally:
        transport: Any = client._transport  # noqa: SLF001 - a paused server would keep it open
        with suppress(Exception):
            async with asyncio.timeout(CLOSE_SECONDS):
                await client.close()
        if transport is not None:
            transport.close()


async def _ignore(_: Exception) -> None:
    """Keep the errors that are part of a test out of the log."""


async def read_messages(url: str, stream: str = "ledger", subject: str = ">") -> list[Any]:
    """Return all messages of a stream, in order, or those of a subject."""
    found: list[Any] = []
    async with jetstream(url) as js:
        count = (await js.stream_info(stream)).state.messages
        if count:
            consumer = await js.pull_subscribe(subject, stream=stream, config=UNACKNOWLEDGED)
            while (await consumer.consumer_info()).num_pending:
                found += await consumer.fetch(batch=1000, timeout=10)
    return found
