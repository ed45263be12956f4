"""An endpoint of webhooks as a process of its own, which a test can kill and pause; a file keeps what it accepted.

The process is this module as a program: its arguments are the port, the file and the secrets of the webhooks.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
from aiohttp import web
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.support.ports import choose_ports
from tests.support.processes import ROOT, until


class Accepted(msgspec.Struct):
    """A request that the endpoint has accepted: its path, its `webhook-id` and its body."""

    path: str
    id: str
    body: msgspec.Raw


class Endpoint:
    """The process and its file. It answers 401 to a request that is not signed with one of the secrets."""

    def __init__(self, folder: Path) -> None:
        self.secrets: list[str] = []
        (self.port,) = choose_ports(1)
        self._file = folder / "accepted.jsonl"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the process, and return when it takes connections."""
        command = (sys.executable, "-m", __name__, str(self.port), str(self._file), *self.secrets)
        self._process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=asyncio.subprocess.DEVNULL)
        await until(self._is_listening)

    async def kill(self) -> None:
        """Kill the process as a crash does."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def pause(self) -> None:
        """Stop the process, which keeps its connections."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._send(signal.SIGCONT)

    def read(self) -> list[Accepted]:
        """Return what was accepted, in order. The last line may be one that a killed process had not finished."""
        lines = self._file.read_bytes().split(b"\n")[:-1] if self._file.exists() else []
        return [msgspec.json.decode(line, type=Accepted) for line in lines]

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    async def _is_listening(self) -> bool:
        assert self._process is not None
        assert self._process.returncode is None
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except ConnectionRefusedError:
            return False
        writer.close()
        return True


@asynccontextmanager
async def running_endpoint(folder: Path) -> AsyncIterator[Endpoint]:
    """Yield an endpoint that is yet to be started; nothing of it runs in the end."""
    endpoint = Endpoint(folder)
    try:
        yield endpoint
    finally:
        await endpoint.kill()


def _serve(port: int, file: Path, secrets: Sequence[str]) -> None:
    webhooks = [Webhook(secret) for secret in secrets]
    output = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    async def take(request: web.Request) -> web.Response:
        body = await request.read()
        if not any(_is_signed(webhook, body, request) for webhook in webhooks):
            return web.Response(status=401)
        one = Accepted(request.path, request.headers["webhook-id"], msgspec.Raw(body))
        os.write(output, msgspec.json.encode(one) + b"\n")
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/{path}", take)
    listener = socket.create_server(("127.0.0.1", port))
    web.run_app(app, sock=listener, print=None, access_log=None)


def _is_signed(webhook: Webhook, body: bytes, request: web.Request) -> bool:
    try:
        webhook.verify(body, dict(request.headers))
    except WebhookVerificationError:
        return False
    return True


if __name__ == "__main__":
    _serve(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
