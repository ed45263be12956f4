"""Submits the commands of a web worker to the writer process of this host.

If the writer dies, commands without an outcome are sent to the next one, marked as possibly executed: it looks each up
in the command log first. A command is executed at most once, because the log has its id.
"""

import asyncio
import math
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from uuid import UUID

import structlog

from ledger import errors
from ledger.commands.command import Command
from ledger.concurrency.tasks import running
from ledger.errors import OverloadedError, Refused
from ledger.write.frames import Status, decode_response, encode_command
from ledger.write.group import Origin, Outcome
from ledger.write.link import Link, dial
from ledger.write.pending import Awaited

TICK_SECONDS = 0.1  # between two looks at deadlines
GRACE_SECONDS = 0.4  # after a deadline, for the writer to say what it knows of the command
STATUS_SECONDS = 3.0  # after which a writer that reports nothing is away
FIRST_PAUSE_SECONDS = 0.01  # before a connection is opened again
MAX_PAUSE_SECONDS = 0.2
BUFFER_BYTES = 64 << 20  # a writer that does not read so much is lost

log = structlog.get_logger(__name__)


class RemoteHealth:
    """Whether the writer process writes, as it last reported."""

    def __init__(self) -> None:
        self.waiting = 0
        self._clock = asyncio.get_running_loop().time
        self._reason: str | None = None
        self._succeeded_at = self._reported_at = self._clock()

    @property
    def reason(self) -> str | None:
        """One or two words for operators; None while writes succeed."""
        return "no writer" if self._clock() - self._reported_at > STATUS_SECONDS else self._reason

    def seconds_since_success(self) -> float:
        """Return how long ago a write or a heartbeat last succeeded."""
        return self._clock() - self._succeeded_at

    def report(self, status: Status) -> None:
        """Take over what the writer reports."""
        self.waiting, self._reason = status.waiting, status.reason
        self._reported_at = self._clock()
        self._succeeded_at = self._reported_at - status.success_age_seconds


class RemoteWriter:
    """Sends commands to the writer over connections that it opens through `dialing`.

    At most `queue_limit` commands wait for an outcome. A command without an outcome after `patience_seconds`, or at its
    own deadline, fails: with `DatabaseError` if it was not sent, otherwise with `OutcomeUnknownError`. A command that
    revokes tokens returns after `announce`.
    """

    def __init__(
        self,
        dialing: socket.socket,
        *,
        queue_limit: int,
        patience_seconds: float,
        frame_bytes: int,
        announce: Callable[[], Awaitable[None]],
    ) -> None:
        self._dialing = dialing
        self._queue_limit = queue_limit
        self._patience_seconds = patience_seconds
        self._frame_bytes = frame_bytes
        self._announce = announce
        self._numbers = 0
        self._in_flight: dict[int, Awaited] = {}
        self._ids: set[UUID] = set()
        self.link: Link | None = None
        self._lost = asyncio.Event()
        self._idle = asyncio.Event()
        self._closing = False
        self._tasks = AsyncExitStack()
        self._loop = asyncio.get_running_loop()
        self.health = RemoteHealth()

    @property
    def waiting(self) -> int:
        """Number of commands in the writer's queue, as it last reported."""
        return self.health.waiting

    @property
    def in_flight(self) -> int:
        """Number of this worker's commands without an outcome."""
        return len(self._in_flight)

    def oldest_seconds(self) -> float:
        """Return for how long the oldest command without an outcome has been waiting; 0 if there is none."""
        deadlines = (pending.deadline for pending in self._in_flight.values())
        return max(0.0, self._patience_seconds - next(deadlines, math.inf) + self._loop.time())

    async def start(self) -> None:
        """Begin to connect to the writer."""
        await self._tasks.enter_async_context(running(self._keep_connected()))
        await self._tasks.enter_async_context(running(self._watch_deadlines()))

    async def close(self) -> None:
        """Refuse new commands, wait until those submitted before have an outcome, and disconnect."""
        self._closing = True
        if self._in_flight:
            await self._idle.wait()
        await self._tasks.aclose()
        if self.link is not None:
            await self.link.close()

    async def submit(
        self, command: Command, origin: Origin, *, weight: int = 1, deadline: float | None = None
    ) -> Outcome:
        """Execute one command. Raises `Refused`, `OverloadedError`, or another `LedgerError`."""
        if origin.command_id in self._ids:
            raise Refused(errors.idempotency_key_in_use())
        if self._closing or len(self._in_flight) >= self._queue_limit:
            raise OverloadedError("too many commands wait for the writer")
        if deadline is None:
            deadline = self._loop.time() + self._patience_seconds
        pending = Awaited(command, origin, weight=weight, deadline=deadline)
        self._numbers = number = self._numbers + 1
        if self.link is not None:
            self._send(self.link, number, pending)
        self._in_flight[number] = pending
        self._ids.add(origin.command_id)
        try:
            return await pending.future
        finally:
            if pending.revoked:
                await self._announce()

    def _send(self, link: Link, number: int, pending: Awaited) -> None:
        payload = encode_command(
            number,
            pending.command,
            pending.origin,
            weight=pending.weight,
            deadline=pending.deadline,
            resent=pending.sent,
        )
        link.send(payload)
        pending.sent = True

    async def _keep_connected(self) -> None:
        """Open a connection whenever there is none; one that ends soon is followed by a pause."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            self._lost.clear()
            began = self._loop.time()
            try:
                await self._connect()
            except OSError as error:
                log.warning("the writer cannot be reached", error=str(error))
            else:
                await self._lost.wait()
                log.warning("the connection to the writer was lost", commands=len(self._in_flight))
            pause = FIRST_PAUSE_SECONDS if self._loop.time() - began > 1 else min(2 * pause, MAX_PAUSE_SECONDS)
            await asyncio.sleep(pause)

    async def _connect(self) -> None:
        """Open a connection, and send again what has no outcome. Raises `OSError`."""
        link = Link(self._receive, self._lose, frame_bytes=self._frame_bytes, buffer_bytes=BUFFER_BYTES)
        await self._loop.create_unix_connection(lambda: link, sock=dial(self._dialing))
        self.link = link
        for number, pending in self._in_flight.items():
            self._send(link, number, pending)

    def _lose(self, _: Link) -> None:
        self.link = None
        self._lost.set()

    def _receive(self, _: Link, payload: memoryview) -> None:
        response = decode_response(payload)
        if isinstance(response, Status):
            self.health.report(response)
            return
        pending = self._take(response.number)
        if pending is not None:
            pending.revoked = response.revoked
            pending.deliver(response.to_outcome())

    def _take(self, number: int) -> Awaited | None:
        """Remove and return a command that has an outcome; None if it has had one."""
        pending = self._in_flight.pop(number, None)
        if pending is not None:
            self._ids.discard(pending.origin.command_id)
            if self._closing and not self._in_flight:
                self._idle.set()
        return pending

    async def _watch_deadlines(self) -> None:
        """Fail each command at its deadline; one that was sent a little later, because the writer knows more."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = self._loop.time()
            expired = [
                number
                for number, pending in self._in_flight.items()
                if pending.deadline + (GRACE_SECONDS if pending.sent else 0) <= now
            ]
            for number in expired:
                pending = self._take(number)
                if pending is not None:
                    pending.revoked = pending.sent  # for all that is known here
                    pending.expire()
