"""Connections between web workers and the writer process of a host.

A worker opens a connection by making a pair of sockets and sending one of them to the writer over a datagram socket,
which the parent process created and keeps. So there is no path in the file system to protect or to clean up, and a
connection that a worker opens while the writer restarts waits in that socket.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import cast

import structlog

from ledger.write.frames import GREETING, LENGTH_BYTES, FrameSplitter, TooLargeError

MAX_GREETING_BYTES = 256
CLOSE_SECONDS = 1.0  # for the peer to read what was sent last

log = structlog.get_logger(__name__)


def create_exchange() -> tuple[socket.socket, socket.socket]:
    """Return the socket over which workers send connections, and the one from which the writer takes them."""
    dialing, accepting = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for end in (dialing, accepting):
        end.setblocking(False)
    return dialing, accepting


def dial(dialing: socket.socket) -> socket.socket:
    """Send the writer one end of a new connection, and return the other. Raises `OSError` if too many wait already."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with theirs:
        try:
            socket.send_fds(dialing, [GREETING], [theirs.fileno()])
        except OSError:
            ours.close()
            raise
    ours.setblocking(False)
    return ours


def accept(accepting: socket.socket) -> socket.socket | None:
    """Return the next connection; None if no connection waits. One of another version of this program is closed."""
    while True:
        try:
            greeting, descriptors, _, _ = socket.recv_fds(accepting, MAX_GREETING_BYTES, 1)
        except BlockingIOError:
            return None
        connections = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        if greeting == GREETING and len(connections) == 1:
            connections[0].setblocking(False)
            return connections[0]
        log.error("a worker of another version was refused: restart the service")
        for connection in connections:
            connection.close()


class Link(asyncio.Protocol):
    """One end of a connection. It writes the frames of one turn of the event loop at once.

    `receive` is called with the payload of each frame, `lost` once when the connection has ended. If the peer does not
    read and more than `buffer_bytes` wait for it, the connection is dropped.
    """

    def __init__(
        self,
        receive: Callable[["Link", memoryview], None],
        lost: Callable[["Link"], None],
        *,
        frame_bytes: int,
        buffer_bytes: int,
    ) -> None:
        self._receive = receive
        self._lost = lost
        self._frame_bytes = frame_bytes
        self._buffer_bytes = buffer_bytes
        self._splitter = FrameSplitter(frame_bytes)
        self._outgoing: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    @property
    def buffered_bytes(self) -> int:
        """Number of bytes that the peer has not read, as far as this process knows."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - the reason makes no difference
        """Report the end."""
        self._transport = None
        self._ended.set()
        self._lost(self)

    def data_received(self, data: bytes) -> None:
        """Receive frames. One that is too large, or that cannot be read, ends the connection."""
        try:
            for payload in self._splitter.split(data):
                self._receive(self, payload)
        except (TooLargeError, ValueError):
            log.exception("connection dropped: invalid frame")
            self.drop()

    def send(self, payload: bytes) -> None:
        """Send a frame at the end of this turn of the event loop. Raises `TooLargeError`."""
        if len(payload) > self._frame_bytes:
            raise TooLargeError(f"a frame of {len(payload)} bytes")
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing += (len(payload).to_bytes(LENGTH_BYTES), payload)

    def drop(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        """Send what waits, and end the connection."""
        self._flush()
        if self._transport is not None:
            self._transport.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), CLOSE_SECONDS)

    def _flush(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        if not outgoing or self._transport is None or self._transport.is_closing():
            return
        self._transport.write(b"".join(outgoing))
        if self.buffered_bytes > self._buffer_bytes:
            log.warning("connection dropped: the other process does not read")
            self.drop()
