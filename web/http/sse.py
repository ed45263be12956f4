"""The log as a live feed: server-sent events (HTML standard, section 9.2), one an event, `id` its position.

A reader who comes back with the last id goes on after it. A worker looks for news once for all of its feeds, by asking
the log where it ends: there is no notification to lose, and appending costs nothing. A feed reads no further than its
reader does, drops one who does not read, and ends with the token it was opened with.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
import msgspec
from aiohttp import hdrs, web

from ledger.errors import OverloadedError, Refused
from ledger.store import reader as stored
from ledger.store.connections import Pool
from ledger.store.pool import UNREACHABLE
from ledger.store.reader import Chosen, StoredEvent
from web.auth import check_again
from web.http.json import format_times
from web.http.negotiation import accept_of, is_named
from web.http.replica import reader
from web.http.request import REQUEST_ID
from web.http.response import Stream

CONTENT_TYPE = "text/event-stream"
HEARTBEAT_SECONDS = 15.0  # after which a feed without events shows that it lives
CHECK_SECONDS = 1.0  # after which an idle feed looks whether its token is in force, and its reader there
POLL_SECONDS = 0.2  # after which a worker asks the log for news
MAX_FEEDS = 32  # of a worker
CHUNK = 200  # events in one piece

HEARTBEAT = b": heartbeat\n\n"
RETRY = b"retry: 1000\n\n"  # milliseconds after which a reader comes back


class Feeds:
    """All feeds of one worker, and what they wait for."""

    def __init__(self) -> None:
        self.closed = False
        self._open = 0
        self._head = 0
        self._news = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None

    @contextmanager
    def admitted(self, pool: Pool) -> Iterator[None]:
        """A place for one more feed. Raises `OverloadedError` if there is none."""
        if self.closed or self._open >= MAX_FEEDS:
            raise OverloadedError("no place for another feed")
        self._open += 1
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch(pool))
        try:
            yield
        finally:
            self._open -= 1
            if self._open == 0:
                self._watching.cancel()
                self._watching = None

    async def wait_beyond(self, position: int, seconds: float) -> None:
        """Wait until the log goes beyond a position, the feeds are closed, or so many seconds have passed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._head <= position and not self.closed:
                    await self._news.wait()

    def close(self) -> None:
        """End all feeds, and admit no more."""
        self.closed = True
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def _watch(self, pool: Pool) -> None:
        while True:
            with contextlib.suppress(*UNREACHABLE, asyncpg.PostgresError):  # who has news to send meets it as well
                head = await stored.log_end(pool)
                if head != self._head:
                    self._head = head
                    self._tell()
            await asyncio.sleep(POLL_SECONDS)


FEEDS = web.AppKey("FEEDS", Feeds)


def add_feeds(app: web.Application) -> None:
    """Let the application have feeds, which end when it begins to shut down."""
    app[FEEDS] = feeds = Feeds()

    async def close(_: web.Application) -> None:
        feeds.close()

    app.on_shutdown.append(close)


def wants_feed(request: web.Request) -> bool:
    """Return whether the client asks for a feed instead of a page."""
    return is_named(accept_of(request), CONTENT_TYPE)


async def feed(request: web.Request, chosen: Chosen, after: int) -> Stream:
    """The events wanted after a position, and then those that come, until the client, the token or the service ends."""
    stream = Stream(request[REQUEST_ID], CONTENT_TYPE)
    with request.app[FEEDS].admitted(reader(request)):
        async with stream.open(request):
            await stream.send(RETRY)
            if request.method != hdrs.METH_HEAD:
                with contextlib.suppress(Refused):  # it comes back, and is told
                    await _deliver(request, stream, chosen, after)
    return stream


async def _deliver(request: web.Request, stream: Stream, chosen: Chosen, after: int) -> None:
    feeds, pool, clock = request.app[FEEDS], reader(request), asyncio.get_running_loop().time
    sent_at = clock()
    while not feeds.closed and _is_connected(request):
        stretch = await stored.read(pool, after, limit=CHUNK, chosen=chosen)
        await check_again(request)  # after the reading: nothing is sent that happened after a revocation
        if stretch.events or clock() - sent_at >= HEARTBEAT_SECONDS:
            await stream.send(b"".join(map(_message, stretch.events)) or HEARTBEAT)
            sent_at = clock()
        after = stretch.reached
        if stretch.is_last:
            await feeds.wait_beyond(after, min(CHECK_SECONDS, HEARTBEAT_SECONDS))


def _message(event: StoredEvent) -> bytes:
    data = msgspec.json.encode(format_times(event.body()))
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.position, event.topic.encode(), data)


def _is_connected(request: web.Request) -> bool:
    return request.transport is not None and not request.transport.is_closing()
