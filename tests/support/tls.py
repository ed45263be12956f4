"""A TLS server in front of another server, as a PostgreSQL or Valkey with TLS is: it demands a client's certificate."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.certificates import Authority

SSL_REQUEST = bytes.fromhex("0000000804d2162f")  # of PostgreSQL's protocol, in which TLS begins within a connection
CHUNK = 65_536


@dataclass
class TlsServer:
    """A running server, and the names in the certificates of the clients that it has let in."""

    port: int
    clients: set[str] = field(default_factory=set)


@asynccontextmanager
async def tls_server(authority: Authority, socket: Path, *, is_postgresql: bool) -> AsyncIterator[TlsServer]:
    """Serve TLS on a free port, and pass on what authenticated clients send to a unix socket."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(*authority.issue("server"))
    running = TlsServer(0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            if is_postgresql:
                assert SSL_REQUEST == await reader.readexactly(len(SSL_REQUEST))
                writer.write(b"S")
                await writer.start_tls(context)
            subject = writer.get_extra_info("peercert")["subject"]
            running.clients.add(dict(name for names in subject for name in names)["commonName"])
            other_reader, other_writer = await asyncio.open_unix_connection(socket)
            await asyncio.gather(_pass_on(reader, other_writer), _pass_on(other_reader, writer))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=None if is_postgresql else context)
    running.port = server.sockets[0].getsockname()[1]
    try:
        yield running
    finally:
        server.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()
    finally:
        writer.close()
