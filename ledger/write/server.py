"""The writer's end: takes commands from the web workers of this host, and returns their outcomes.

A worker that does not read its outcomes loses its connection, so it cannot hold up the others. It then sends what has
no outcome again, over a new one.
"""

import asyncio
import socket
from contextlib import AsyncExitStack

import structlog

from ledger.concurrency.tasks import running
from ledger.errors import DatabaseError, LedgerError, OutcomeUnknownError, OverloadedError, Refused
from ledger.write.committer import Committer
from ledger.write.frames import (
    Status,
    Submitted,
    TooLargeError,
    decode_command,
    decode_origin,
    encode_response,
    encode_status,
)
from ledger.write.group import OutcomeOrError
from ledger.write.link import Link, accept
from ledger.write.pending import Pending

STATUS_SECONDS = 1.0
BUFFER_BYTES = 8 << 20  # of outcomes that a worker has not read

log = structlog.get_logger(__name__)


class Received(Pending):
    """A command of a worker."""

    __slots__ = ("link", "number")

    def __init__(self, link: Link, submitted: Submitted) -> None:
        super().__init__(
            submitted.command, decode_origin(submitted), weight=submitted.weight, deadline=submitted.deadline
        )
        self.link = link
        self.number = submitted.number
        if submitted.resent:
            self.sent = True
            self.lose()

    def deliver(self, outcome: OutcomeOrError) -> None:
        """Send the outcome to the worker."""
        try:
            self.link.send(encode_response(self.number, outcome, revoked=self.revoked))
        except (TooLargeError, TypeError, ValueError):
            log.exception("an outcome cannot be sent", command=self.command.name)
            unknown = OutcomeUnknownError(self.command.resource_id)
            self.link.send(encode_response(self.number, unknown, revoked=self.revoked))


class Server:
    """Executes the commands of workers, which connect through `accepting`, with a committer."""

    def __init__(self, committer: Committer, accepting: socket.socket, *, frame_bytes: int) -> None:
        self._committer = committer
        self._accepting = accepting
        self._frame_bytes = frame_bytes
        self.links: set[Link] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._unused = asyncio.Event()
        self._tasks = AsyncExitStack()
        self._loop = asyncio.get_running_loop()

    async def start(self) -> None:
        """Begin to accept connections."""
        self._loop.add_reader(self._accepting, self._accept)
        self._accept()
        await self._tasks.enter_async_context(running(self._keep_reporting()))

    async def close(self) -> None:
        """Send the outcomes that wait, and end all connections."""
        self._loop.remove_reader(self._accepting)
        await self._tasks.aclose()
        await asyncio.gather(*(link.close() for link in self.links))

    async def wait_until_unused(self) -> None:
        """Return once no worker is connected."""
        while self.links:
            self._unused.clear()
            await self._unused.wait()

    def _accept(self) -> None:
        while (connection := accept(self._accepting)) is not None:
            link = Link(self._receive, self._lose, frame_bytes=self._frame_bytes, buffer_bytes=BUFFER_BYTES)
            self.links.add(link)
            opening = self._loop.create_task(self._open(link, connection))
            self._opening.add(opening)
            opening.add_done_callback(self._opening.discard)

    async def _open(self, link: Link, connection: socket.socket) -> None:
        await self._loop.create_unix_connection(lambda: link, sock=connection)
        link.send(self._encode_status())

    def _lose(self, link: Link) -> None:
        self.links.discard(link)
        self._unused.set()

    def _receive(self, link: Link, payload: memoryview) -> None:
        submitted = decode_command(payload)
        pending = Received(link, submitted)
        if submitted.resent and self._redirect(pending):
            return
        try:
            if pending.deadline <= self._loop.time():
                raise DatabaseError("the command came too late")
            self._committer.enqueue(pending)
        except OverloadedError as error:
            # An earlier attempt may have been executed.
            pending.resolve(DatabaseError(str(error)) if submitted.resent else error)
        except (Refused, LedgerError) as error:
            pending.resolve(error)

    def _redirect(self, again: Received) -> bool:
        """Let a command that is still executed answer over the connection on which it came again."""
        pending = self._committer.find(again.origin.command_id)
        if not isinstance(pending, Received) or pending.origin != again.origin:
            return False
        pending.link, pending.number = again.link, again.number
        return True

    async def _keep_reporting(self) -> None:
        while True:
            await asyncio.sleep(STATUS_SECONDS)
            status = self._encode_status()
            for link in self.links:
                link.send(status)

    def _encode_status(self) -> bytes:
        health = self._committer.health
        return encode_status(Status(self._committer.waiting, health.reason, health.seconds_since_success()))
