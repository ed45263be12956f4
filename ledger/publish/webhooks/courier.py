"""Sends the events of one webhook, in order, and tries those that fail again until they are delivered."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

import structlog

from ledger.events.webhooks import Reason
from ledger.publish.webhooks import backoff
from ledger.publish.webhooks.choice import LoggedEvent
from ledger.publish.webhooks.clock import Clock
from ledger.publish.webhooks.cursors import Cursor, Delivery, Kind, Pending
from ledger.publish.webhooks.feed import Feed, Reading
from ledger.publish.webhooks.journal import Journal
from ledger.publish.webhooks.outgoing import Outgoing
from ledger.publish.webhooks.sender import Answer, Sender
from ledger.publish.webhooks.signature import message_id
from ledger.store.connections import Reader
from ledger.store.log_pages import read_at
from ledger.values.ids import IdSequence

MAX_PENDING = 100  # events of a webhook in the order `account` that wait at once; then it reads no more
AT_ONCE = 8  # requests of a webhook in the order `account`
EARLY_FAILURES = 3  # of an event, after which its retries wait for those of all webhooks
RETRIES_AT_ONCE = 2  # such retries of a webhook
PAUSE_SECONDS = 1.0  # after an error that is not the endpoint's

log = structlog.get_logger(__name__)


class Observer(Protocol):
    """Counts deliveries."""

    def count(self, *, delivered: bool, age_seconds: float | None) -> None:
        """Note an attempt, and how long before the event was recorded; None for an event that was sent again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What all couriers share. `disable` is called for a webhook that must send no more."""

    ledger_id: UUID
    reader: Reader
    feed: Feed
    sender: Sender
    journal: Journal
    clock: Clock
    observer: Observer
    retries: asyncio.Semaphore
    disable: Callable[[UUID, Reason, int | None], Awaitable[None]]


class DisabledError(Exception):
    """The webhook was disabled, so its courier ends."""


class Courier:
    """Sends the events of one webhook from its cursor on, until it is cancelled or the webhook is disabled."""

    def __init__(self, means: Means, outgoing: Outgoing, cursor: Cursor) -> None:
        self.outgoing = outgoing
        self.cursor = cursor
        self._means = means
        self._by_account = outgoing.webhook.settings.order == "account"
        self._reading = Reading(means.feed, outgoing.choice, describes=self._by_account)
        self._last: dict[UUID, asyncio.Task[None]] = {}  # by account, the task of its last event
        self._free = asyncio.Event()
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._retries = asyncio.Semaphore(RETRIES_AT_ONCE)
        self._ids = IdSequence()  # of deliveries, which are listed by their ids

    @property
    def id(self) -> UUID:
        """The id of the webhook."""
        return self.outgoing.webhook.id

    def take_cursor(self) -> Cursor:
        """Return the cursor as it is to be written: past what the webhook does not send."""
        self.cursor.position = self._reading.place(self.cursor.position)
        return self.cursor

    async def run(self) -> None:
        """Send events. Errors that are not the endpoint's, such as those of PostgreSQL, are logged, and it goes on."""
        is_disabled = False
        while not is_disabled:
            try:
                async with asyncio.TaskGroup() as group:
                    await self._send_all(group)
            except* DisabledError:
                is_disabled = True
            except* Exception:
                log.exception("a webhook cannot go on now", webhook_id=str(self.id))
                await asyncio.sleep(PAUSE_SECONDS)
            self._last.clear()

    async def _send_all(self, group: asyncio.TaskGroup) -> None:
        await self._resume(group)
        while True:
            chosen = await self._reading.next(self.cursor.position)
            for event in chosen.events:
                await self._begin(group, event)
            self.cursor.position = max(self.cursor.position, chosen.reached)

    async def _resume(self, group: asyncio.TaskGroup) -> None:
        """Send what was pending when the cursor was written, or when an error came."""
        pending = {one.position: one for one in self.cursor.pending}
        events = [LoggedEvent(stored) for stored in await read_at(self._means.reader, [*pending])]
        await self._means.feed.audience.describe(events)
        self.cursor.pending = [pending[event.position] for event in events]
        for event in events:
            if not self.outgoing.choice.includes(event):  # the webhook sends something else now
                self._finish(pending[event.position])
            elif self._by_account:
                self._spawn(group, event, pending[event.position])
            else:
                await self._deliver(event, pending[event.position])

    async def _begin(self, group: asyncio.TaskGroup, event: LoggedEvent) -> None:
        while len(self.cursor.pending) >= MAX_PENDING:
            self._free.clear()
            await self._free.wait()
        pending = Pending(event.position)
        self.cursor.pending.append(pending)
        self.cursor.position = event.position
        if self._by_account:
            self._spawn(group, event, pending)
        else:
            await self._deliver(event, pending)

    def _spawn(self, group: asyncio.TaskGroup, event: LoggedEvent, pending: Pending) -> None:
        """Send an event once those before it that are about one of its accounts are delivered."""
        keys = event.accounts or (event.stored.stream_id,)
        before = {self._last[key] for key in keys if key in self._last}
        task = group.create_task(self._deliver_after(before, event, pending))
        self._last.update(dict.fromkeys(keys, task))
        task.add_done_callback(lambda done: self._forget(keys, done))

    def _forget(self, keys: Sequence[UUID], done: "asyncio.Task[None]") -> None:
        for key in keys:
            if self._last.get(key) is done:
                del self._last[key]

    async def _deliver_after(self, before: "set[asyncio.Task[None]]", event: LoggedEvent, pending: Pending) -> None:
        if before:
            await asyncio.wait(before)
        await self._deliver(event, pending)

    async def _deliver(self, event: LoggedEvent, pending: Pending) -> None:
        """Send an event until the endpoint accepts it. Raises `DisabledError`."""
        means = self._means
        while True:
            if pending.failures:
                await means.clock.sleep_until(backoff.due_at(pending.next_attempt_at, means.clock.time()))
            async with self._take_turn(pending.failures):
                answer = await self._attempt(event, "event", pending.failures + 1)
            if answer.is_success:
                self._finish(pending)
                return
            now = means.clock.time()
            pending.failures += 1
            pending.failed_since = min(pending.failed_since or now, now)
            pending.next_attempt_at = now + backoff.delay_after(pending.failures, means.clock.draw())
            if answer.is_gone or backoff.is_over(pending.failed_since, now):
                await self._disable("gone" if answer.is_gone else "failing", pending)
            means.journal.move(self.id, self.take_cursor)

    @asynccontextmanager
    async def _take_turn(self, failures: int) -> AsyncIterator[None]:
        """Wait until a request may be sent. One dead endpoint never takes all turns that retries share."""
        if failures <= EARLY_FAILURES:
            async with self._turns:
                yield
        else:
            async with self._retries, self._means.retries:
                yield

    async def _disable(self, reason: Reason, pending: Pending) -> None:
        await self._means.disable(self.id, reason, pending.position)
        for one in self.cursor.pending:
            one.reset()
        self._means.journal.move(self.id, self.take_cursor)
        raise DisabledError

    def _finish(self, pending: Pending) -> None:
        self.cursor.pending.remove(pending)
        self._free.set()
        self._means.journal.move(self.id, self.take_cursor)

    async def redeliver(self, requests: Sequence[tuple[int, int]]) -> None:
        """Send events once more, each once; a request is its own position and that of the event."""
        for requested, position in requests:
            events = [LoggedEvent(stored) for stored in await read_at(self._means.reader, [position])]
            await self._means.feed.audience.describe(events)
            for event in events:
                if self.outgoing.choice.includes(event):
                    await self._attempt(event, "redelivery", 1)
            self.cursor.redelivered_upto = requested
            self._means.journal.move(self.id, self.take_cursor)

    async def _attempt(self, event: LoggedEvent, kind: Kind, attempt: int) -> Answer:
        """Send an event once, and note the result."""
        means, stored = self._means, event.stored
        now, delivery_id = means.clock.time(), self._ids.next()
        body, message = event.encode(means.ledger_id), message_id(self.id, stored.position)
        answer = await self.outgoing.send(means.sender, message, now, body)
        means.journal.add(
            Delivery(
                self.id, delivery_id, kind, stored.position, stored.topic, attempt,
                *(answer.status, answer.error, answer.beginning, answer.milliseconds),
                datetime.fromtimestamp(now, UTC),
            )
        )  # fmt: skip
        age = means.clock.time() - stored.recorded_at.timestamp()
        means.observer.count(delivered=answer.is_success, age_seconds=age if kind == "event" else None)
        return answer
