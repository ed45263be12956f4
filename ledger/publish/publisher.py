"""The follower that publishes to one destination."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import NamedTuple
from uuid import UUID

import msgspec
import structlog

from ledger.concurrency.tasks import running
from ledger.followers.follower import CannotApplyError, Follower, FollowerProgress, follow, read_positions, register
from ledger.publish.brokers import open_destinations
from ledger.publish.destination import Cursor, Destination, DestinationError
from ledger.publish.source import Source
from ledger.settings import Settings
from ledger.store import reader as event_reader
from ledger.store.connections import UNREACHABLE, Connection, Pool, Reader
from ledger.store.durable import DurableEnd
from ledger.store.identity import read_ledger_id
from ledger.store.pool import connect, open_pool

PAGE_EVENTS = 1000
PAUSE_SECONDS = 0.05  # between two looks at the log, so that under load a page has events of many commits
RETRY_SECONDS = 1.0  # after an error of the broker
CHECK_SECONDS = 2.0  # between two looks at a broker to which nothing is published
PAUSED_SECONDS = "30s"  # after which PostgreSQL ends the session of a publisher that is paused or cut off
PROOF_SECONDS = 5.0
_IDENTIFYING = ("id", "subject", "streamversion", "time")

log = structlog.get_logger(__name__)


class Watch(NamedTuple):
    """Called with the name of a broker: with the number of events that it has stored, and after each failure."""

    stored: Callable[[str, int], None] = lambda _, __: None
    failed: Callable[[str], None] = lambda _: None


NOBODY = Watch()


async def publish(settings: Settings, watch: Watch = NOBODY) -> None:
    """Publish to every broker of the settings until cancelled."""
    pool = await open_pool(settings)
    try:
        ledger_id = await _read_ledger_id(pool)
        end = DurableEnd(pool)
        async with AsyncExitStack() as stack:
            for destination in open_destinations(settings, ledger_id):
                stack.push_async_callback(destination.close)
                publisher = Publisher(destination, Source(pool, end, ledger_id), pool, watch)
                following = follow(publisher.follower(), lambda: connect(settings, idle_session_timeout=PAUSED_SECONDS))
                await stack.enter_async_context(running(following))
            await asyncio.Event().wait()
    finally:
        pool.terminate()


async def _read_ledger_id(pool: Pool) -> UUID:
    while True:
        try:
            return await read_ledger_id(pool)
        except UNREACHABLE as error:
            log.warning("waiting for PostgreSQL", error=str(error))
            await asyncio.sleep(RETRY_SECONDS)


class Publisher:
    """Publishes the log to a destination, after the last event that it has."""

    def __init__(self, destination: Destination, source: Source, reader: Reader, watch: Watch = NOBODY) -> None:
        self._destination = destination
        self._watch = watch
        self._source = source
        self._reader = reader
        self._position: int | None = None  # None: the destination is to be opened
        self._error: str | None = None
        self._leads = self._has_more = False
        self._proven_at = 0.0  # when this process last knew that it leads
        self._active_at = 0.0  # when the broker last answered

    def follower(self) -> Follower:
        """Return the task."""
        return Follower(self._destination.name, self._step, self._rest, self._begin, self._forget)

    async def _step(self, connection: Connection, leads: bool) -> FollowerProgress:
        """Publish if this process leads. All but the lock uses the pool, whose statements have deadlines."""
        self._leads = leads
        if not leads:
            return FollowerProgress(None)
        now = asyncio.get_running_loop().time()
        if now - self._proven_at >= PROOF_SECONDS:  # PostgreSQL may have ended the session, and with it the lead
            await connection.execute("SELECT")
            self._proven_at = now
        return await self.step()

    async def _begin(self, connection: Connection) -> None:
        await register(connection, self._destination.name)

    async def step(self, limit: int = PAGE_EVENTS) -> FollowerProgress:
        """Publish what leaves of the next `limit` events. An error of the broker is part of the progress."""
        try:
            if self._position is None:
                self._position = await self._open()
            await self._publish_next(self._position, limit)
        except DestinationError as error:
            await self._give_up(str(error))
        except BaseException:
            self._forget()
            raise
        else:
            self._note(None)
        return FollowerProgress(self._position, self._error)

    async def _rest(self) -> None:
        if self._error is not None or not self._leads:
            await asyncio.sleep(RETRY_SECONDS)
        elif not self._has_more:
            await asyncio.sleep(PAUSE_SECONDS)

    async def _open(self) -> int:
        """Return the position after which to publish. Raises `CannotApplyError` if the destination is ahead."""
        name = self._destination.name
        reported = next((row[1] for row in await read_positions(self._reader) if row[0] == name), 0)
        cursor = await self._destination.open(reported)
        await self._check(cursor)
        log.info("publishing", destination=name, after=cursor.position)
        return cursor.position

    async def _check(self, cursor: Cursor) -> None:
        """Check that the destination has this log, and not one that a restore or a failover has replaced."""
        end = await event_reader.log_end(self._reader)
        if cursor.position > end:
            raise CannotApplyError(
                f"{self._destination.name} has position {cursor.position}, but the log ends at {end}: was the database"
                " restored to an earlier time?"
            )
        if cursor.body is None:
            return
        stored = await self._source.find(cursor.position)
        own = None if stored is None else _identify(self._source.encode(stored))
        if own != _identify(cursor.body):
            raise CannotApplyError(
                f"{self._destination.name} has another event at position {cursor.position} than the log: was the"
                " database restored to an earlier time?",
                cursor.position,
            )

    async def _publish_next(self, after: int, limit: int) -> None:
        page, now = await self._source.read(after, limit), asyncio.get_running_loop().time()
        if page.events:
            await self._destination.publish(page.events)
            self._watch.stored(self._destination.name, len(page.events))
        elif now - self._active_at >= CHECK_SECONDS and not await self._destination.is_current():
            raise DestinationError("another process has published, or a replay was started")
        if page.events or now - self._active_at >= CHECK_SECONDS:
            self._active_at = now
        self._has_more = page.is_full
        self._position = page.reached

    async def _give_up(self, reason: str) -> None:
        self._forget()
        self._note(reason)
        self._watch.failed(self._destination.name)
        await self._destination.close()

    def _forget(self) -> None:
        self._position = None

    def _note(self, error: str | None) -> None:
        """Remember an error, and log it once."""
        if error is not None and error != self._error:
            log.warning("events cannot be published now", destination=self._destination.name, error=error)
        if error is None and self._error is not None:
            log.info("events are published again", destination=self._destination.name)
        self._error = error


def _identify(body: bytes) -> object:
    """Return what tells an event from any other of the same position; None if it is no event."""
    try:
        event = msgspec.json.decode(body)
        return [event[name] for name in _IDENTIFYING]
    except (msgspec.DecodeError, KeyError, TypeError):
        return None
