"""A connection to NATS that can send many messages at once; the one module that uses private parts of nats-py.

The client does not reconnect by itself: the publisher opens the destination again, and asks it for the last event.
"""

import asyncio
import base64
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from nats import errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from ledger.publish.destination import DestinationError
from ledger.publish.tls import create_context

ANSWER_SECONDS = 5.0  # for a connection, and for each answer
API = "$JS.API"
SEED_BYTES = 32
ENCRYPTED = ("tls", "wss")
_JWT = re.compile(r"BEGIN NATS USER JWT-+\s+(\S+)")
_SEED = re.compile(r"BEGIN USER NKEY SEED-+\s+(\S+)")


class NatsError(DestinationError):
    """NATS cannot be reached, or has refused a request."""


class ApiError(NatsError):
    """JetStream has refused a request with this code (`err_code` in its answers)."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"JetStream: {text}")
        self.code = code


@dataclass(frozen=True)
class Access:
    """How to reach NATS. Neither the servers, whose URLs may have passwords, nor the credentials are shown."""

    servers: Sequence[str] = field(repr=False)
    credentials: str | None = field(default=None, repr=False)  # the text of a `.creds` file
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None


class _Client(Client):
    """nats-py's client, which sends no password or signature unencrypted to a server that was named with `tls://`."""

    def _connect_command(self) -> bytes:
        server = self._current_server
        if server is not None and server.uri.scheme in ENCRYPTED and not self._server_info.get("tls_required"):
            raise errors.Error("the server does not offer TLS, although its URL demands it")
        return super()._connect_command()

    async def write(self, commands: bytes) -> None:
        """Send commands of the protocol as they are, and wait while the server is slower than this process."""
        if not self.is_connected or self._transport is None:
            raise errors.ConnectionClosedError
        transport: Any = self._transport
        transport.write(commands)
        await transport.drain()

    def drop(self) -> None:
        """Close the socket at once."""
        transport: Any = self._transport
        if transport is not None:
            transport.close()


class Connection:
    """An open connection."""

    def __init__(self, client: _Client, inbox: str) -> None:
        self._client = client
        self._inbox = inbox
        self._number = 0
        self._waiting: dict[str, asyncio.Future[bytes]] = {}
        self._problem: Exception | None = None  # the last one that nothing else has raised

    @classmethod
    async def open(cls, access: Access, name: str) -> "Connection":
        """Connect to one of the servers. Raises `NatsError`."""
        client = _Client()
        connection = cls(client, "")
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await client.connect(
                    [*access.servers],
                    name=name,
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=2,
                    ping_interval=2,
                    max_outstanding_pings=2,
                    tls=create_context("NATS", access.ca_file, access.certificate_file, access.key_file),
                    error_cb=connection._note,
                    closed_cb=connection._fail,
                    **_sign(access.credentials),
                )
                connection._inbox = client.new_inbox()
                await client.subscribe(f"{connection._inbox}.*", cb=connection._answer)
                await client.flush()
        except BaseException as error:
            await connection.close()
            if isinstance(error, Exception) and not isinstance(error, DestinationError):
                raise connection.explain(error) from error
            raise
        return connection

    async def call(self, api: str, body: object = None) -> dict[str, Any]:
        """Return JetStream's answer to a request. Raises `NatsError`."""
        payload = b"" if body is None else msgspec.json.encode(body)
        answer = await self.send(
            lambda reply: b"PUB %b %b %d\r\n%b\r\n" % (f"{API}.{api}".encode(), reply, len(payload), payload)
        )
        return _decode(answer)

    async def send(self, build: Callable[[bytes], bytes]) -> bytes:
        """Send commands and return the answer to the subject that `build` gets for it. Raises `NatsError`."""
        self._number += 1
        token = str(self._number)
        answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[token] = answered
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._client.write(build(f"{self._inbox}.{token}".encode()))
                return await answered
        except (errors.Error, OSError, TimeoutError) as error:
            raise self.explain(error) from error
        finally:
            del self._waiting[token]

    async def close(self) -> None:
        """Disconnect, within a bound and without an error."""
        try:
            async with asyncio.timeout(1):
                await self._client.close()
        except Exception:  # noqa: BLE001 - nothing depends on it, and nats-py raises many kinds
            self._client.drop()

    def explain(self, error: Exception) -> NatsError:
        """Return the error with what the server has said, and without the URLs."""
        first = self._problem or error
        if isinstance(first, ConnectionResetError | BrokenPipeError | errors.UnexpectedEOF):
            reason = "the server has closed the connection: are the password or the credentials right?"
        else:
            reason = (str(first) or "no answer in time").removeprefix("nats: ")
        return NatsError(f"NATS: {reason}")

    async def _answer(self, message: Msg) -> None:
        answered = self._waiting.get(message.subject.rpartition(".")[2])
        if answered is None or answered.done():
            return
        if message.headers and message.headers.get("Status") == "503":
            answered.set_exception(NatsError("NATS: nobody answers: is JetStream enabled for this account?"))
        else:
            answered.set_result(message.data)

    async def _note(self, error: Exception) -> None:
        self._problem = error

    async def _fail(self) -> None:
        for answered in self._waiting.values():
            if not answered.done():
                answered.set_exception(errors.ConnectionClosedError())


def _decode(answer: bytes) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.json.decode(answer)
    if "error" in decoded:
        error = decoded["error"]
        raise ApiError(error.get("err_code", 0), error.get("description", "unknown error"))
    return decoded


def _sign(credentials: str | None) -> dict[str, Any]:
    """Return the options that sign the server's nonce with the key in a `.creds` file."""
    if credentials is None:
        return {}
    token, seed = _JWT.search(credentials), _SEED.search(credentials)
    if token is None or seed is None:
        raise NatsError("LEDGER_NATS_CREDENTIALS: must be the content of a .creds file, with a token and a seed")
    jwt, key = token[1], Ed25519PrivateKey.from_private_bytes(_decode_seed(seed[1]))
    return {
        "user_jwt_cb": lambda: bytearray(jwt.encode()),
        "signature_cb": lambda nonce: base64.urlsafe_b64encode(key.sign(nonce.encode())).rstrip(b"="),
    }


def _decode_seed(text: str) -> bytes:
    """Return the 32 bytes of a seed: base32 of a prefix of two bytes, the seed and a CRC of two bytes (NATS, nkeys)."""
    try:
        raw = base64.b32decode(text + "=" * (-len(text) % 8))
    except ValueError:
        raw = b""
    if len(raw) != SEED_BYTES + 4:
        raise NatsError("LEDGER_NATS_CREDENTIALS: has no valid seed of an nkey")
    return raw[2:-2]
