"""The log as a live feed of server-sent events (HTML standard, section 9.2), each with its position as `id`.

A client that reconnects with the last id resumes after it. A worker polls the end of the log once for all of its feeds:
no notification can be lost, and appending costs nothing. A feed reads no further ahead than its client, disconnects a
client that does not read, and ends with the token it was opened with.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple, TypeAlias
from uuid import UUID

import asyncpg
from aiohttp import hdrs, web

from ledger.concurrency.deadline import DEADLINE, start_deadline
from ledger.errors import OverloadedError, Refused
from ledger.store import reader as event_reader
from ledger.store.connections import UNREACHABLE, Reader
from ledger.store.durable import DurableEnd
from ledger.store.reader import EventFilter, StoredEvent
from web.auth import check_again
from web.http.concurrency import ConcurrencyLimit
from web.http.event_forms import FEED
from web.http.replica import reader
from web.http.request import ACTOR, REQUEST_ID, RUNTIME
from web.http.response import Stream

HEARTBEAT_SECONDS = 15.0  # after which a feed without events sends a heartbeat
CHECK_SECONDS = 1.0  # after which an idle feed checks its token and its connection
POLL_SECONDS = 0.2  # between two polls of the end of the log
MAX_FEEDS = 32  # of a worker
MAX_FEEDS_EACH = 8  # of one caller
WAIT_SECONDS = 2.0  # for a place: the feed of a client that has left keeps its place for up to `CHECK_SECONDS`
CHUNK = 200  # events in one piece


class Shown(NamedTuple):
    """What a message of a feed has: its type, and its data in one line."""

    kind: str
    data: bytes


Show: TypeAlias = Callable[[StoredEvent], Shown | None]

HEARTBEAT = b": heartbeat\n\n"
RETRY = b"retry: 1000\n\n"  # milliseconds after which a client reconnects


class Feeds:
    """The open feeds of a worker: their limit, and the end of the log that they wait for."""

    def __init__(self) -> None:
        self.closed = False
        self._limit = ConcurrencyLimit(MAX_FEEDS, each=MAX_FEEDS_EACH, queue=MAX_FEEDS, wait_seconds=WAIT_SECONDS)
        self.log_end = 0  # of what no failover can take back
        self._grown = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def admit(self, caller: UUID, reader: Reader, durable: DurableEnd) -> AsyncIterator[None]:
        """Admit a feed for the block. Raises `OverloadedError` if there are too many, or the worker is stopping."""
        try:
            async with self._limit.admit(caller):
                if self.closed:
                    raise OverloadedError("the worker is stopping")
                if self._watching is None:
                    self._watching = asyncio.create_task(self._watch(reader, durable))
                yield
        finally:
            if self._watching is not None and self._limit.admitted == 0:
                self._watching.cancel()
                self._watching = None

    async def wait_beyond(self, position: int, seconds: float) -> None:
        """Wait until the log extends beyond a position or the feeds are closed, for at most `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.log_end <= position and not self.closed:
                    await self._grown.wait()

    def close(self) -> None:
        """End all feeds and admit no more."""
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()

    async def _watch(self, reader: Reader, durable: DurableEnd) -> None:
        DEADLINE.set(None)  # not that of the request that has opened the first feed
        while True:
            with contextlib.suppress(*UNREACHABLE, asyncpg.PostgresError):  # the feeds meet the same error
                log_end = min(await event_reader.log_end(reader), await durable.get())
                if log_end != self.log_end:
                    self.log_end = log_end
                    self._wake()
            await asyncio.sleep(POLL_SECONDS)


FEEDS = web.AppKey("FEEDS", Feeds)


def add_feeds(app: web.Application) -> None:
    """Give the application feeds that end when it begins to shut down."""
    app[FEEDS] = feeds = Feeds()

    async def close(_: web.Application) -> None:
        feeds.close()

    app.on_shutdown.append(close)


async def send_feed(request: web.Request, chosen: EventFilter, after: int, show: Show) -> Stream:
    """Send the events after a position, then new ones until the client leaves, the token ends or the worker stops.

    `show` says what the feed tells of an event; of None, it tells nothing.
    """
    stream = Stream(request[REQUEST_ID], FEED, {"Vary": "Accept"})
    caller, durable = request[ACTOR].user_id, request.app[RUNTIME].durable_end
    async with request.app[FEEDS].admit(caller, reader(request), durable), stream.open(request):
        await stream.send(RETRY)
        if request.method != hdrs.METH_HEAD:
            with contextlib.suppress(Refused):  # the client reconnects, and gets the refusal
                await _deliver(request, stream, chosen, after, show)
    return stream


async def _deliver(request: web.Request, stream: Stream, chosen: EventFilter, after: int, show: Show) -> None:
    feeds, source, clock = request.app[FEEDS], reader(request), asyncio.get_running_loop().time
    patience = request.app[RUNTIME].settings.ledger_database_patience_seconds
    sent_at = clock()
    while not feeds.closed and _is_connected(request):
        start_deadline(patience)
        stretch = await event_reader.read(source, after, limit=CHUNK, matching=chosen, upto=feeds.log_end)
        await check_again(request)  # after reading, so that no event after a revocation is sent
        if stretch.events or clock() - sent_at >= HEARTBEAT_SECONDS:
            await stream.send(b"".join(_message(event, show(event)) for event in stretch.events) or HEARTBEAT)
            sent_at = clock()
        after = stretch.reached
        if stretch.is_last:
            await feeds.wait_beyond(after, min(CHECK_SECONDS, HEARTBEAT_SECONDS))


def _message(event: StoredEvent, shown: Shown | None) -> bytes:
    if shown is None:
        return b""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.position, shown.kind.encode(), shown.data)


def _is_connected(request: web.Request) -> bool:
    return request.transport is not None and not request.transport.is_closing()
