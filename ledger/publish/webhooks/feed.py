"""The log as all webhooks read it: the newest events are read once for all, and older ones in pages that they share.

Webhooks that have sent everything wait at the end. When new events arrive, only those that send one of them are woken.
"""

import asyncio
from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from ledger.followers.follower import CannotApplyError
from ledger.publish.webhooks.choice import Audience, Choice, LoggedEvent
from ledger.publish.webhooks.choice_index import ChoiceIndex
from ledger.store.connections import Connection, Reader
from ledger.store.reader import EVENT_TOPICS, StoredEvent, read_range

PAGE = 500  # positions of a page, and events that are read at once
KEPT_EVENTS = 10_000  # of the newest, for webhooks that are a little behind
KEPT_BYTES = 16_777_216  # of the newest events, as stored
KEPT_PAGES = 16  # of older events, for webhooks that catch up
READS_AT_ONCE = 2  # of pages
MAX_CHOICES = 1000  # whose events a run remembers: as many as there are webhooks
REMEMBERING = 16  # of the newest runs; older ones are chosen from again, by webhooks that are behind


class Chosen(NamedTuple):
    """The events of a stretch of the log that a webhook sends, and the position up to which there are no others."""

    events: Sequence[LoggedEvent]
    reached: int


class Run:
    """All events after a position, up to and including another one."""

    def __init__(self, after: int, reached: int, events: Sequence[LoggedEvent]) -> None:
        self.after = after
        self.reached = reached
        self.events = events
        self.bytes = sum(len(event.stored.state) for event in events)
        self._chosen: dict[Choice, Sequence[LoggedEvent]] = {}
        self._remembers = True

    def forget(self) -> None:
        """Remember no longer which events webhooks send: a run of few events would need more memory for that."""
        self._remembers = False
        self._chosen.clear()

    def remember(self, chosen: Mapping[Choice, Sequence[LoggedEvent]]) -> None:
        """Remember the events that webhooks with these choices send, so that none of them looks for its own."""
        if self._remembers:
            self._chosen.update(islice(chosen.items(), max(0, MAX_CHOICES - len(self._chosen))))

    async def choose(self, choice: Choice, audience: Audience, *, describes: bool = False) -> Sequence[LoggedEvent]:
        """Return the events that webhooks with this choice send; with `describes`, their accounts are known then."""
        found = self._chosen.get(choice)
        if found is None:
            if choice.needs_accounts:
                await audience.describe([event for event in self.events if event.stored.topic in choice.topics])
            found = [event for event in self.events if choice.includes(event)]
            if found:
                self.remember({choice: found})
        if describes:
            await audience.describe(found)
        return found


class Feed:
    """Reads the log for all webhooks of this process, and never beyond what is durable."""

    def __init__(self, reader: Reader, end: int) -> None:
        self.end = end
        self.audience = Audience(reader)
        self._reader = reader
        self._runs: deque[Run] = deque()
        self._begin = end  # the runs have all events after this position
        self._count = self._bytes = 0
        self._pages: OrderedDict[int, Run] = OrderedDict()
        self._loading: dict[int, asyncio.Task[Run]] = {}
        self._turns = asyncio.Semaphore(READS_AT_ONCE)
        self._index = ChoiceIndex()  # with all that wait
        self._waiting: dict[Choice, list[asyncio.Future[Run]]] = {}

    async def read(self, connection: Connection, durable_end: int) -> Run:
        """Return the next events, up to the durable end. Raises `CannotApplyError` at one of a later version."""
        stored = await read_range(connection, self.end, durable_end, PAGE)
        reached = stored[-1].position if len(stored) == PAGE else durable_end
        return Run(self.end, reached, _to_logged(stored))

    async def append(self, run: Run) -> None:
        """Let webhooks have the next events, and wake those that send one of them."""
        self.audience.forget(run.events)
        while unknown := [event for event in run.events if self._must_describe(event)]:  # a choice may be added here
            await self.audience.describe(unknown)
        chosen = self._index.choose(run.events)
        run.remember(chosen)
        self._append(run)
        for choice in chosen:
            for arrived in self._waiting.pop(choice, ()):
                if not arrived.done():
                    arrived.set_result(run)

    def retain(self, choices: Iterable[Choice]) -> None:
        """Forget all choices but those of the webhooks that there are."""
        self._index.retain(choices)

    def wait(self, choice: Choice) -> "asyncio.Future[Run]":
        """Return the future of the next run with an event of this choice. Until it is done, there is no such event."""
        arrived: asyncio.Future[Run] = asyncio.get_running_loop().create_future()
        self._index.add(choice)
        self._waiting.setdefault(choice, []).append(arrived)
        return arrived

    def leave(self, choice: Choice, arrived: "asyncio.Future[Run]") -> None:
        """Stop waiting."""
        waiting = self._waiting.get(choice, [])
        if arrived in waiting:
            waiting.remove(arrived)
        if not waiting:
            self._waiting.pop(choice, None)

    async def find(self, after: int) -> Run:
        """Return the stretch of the log with the events after a position, which is before the end."""
        if after >= self._begin:
            return self._runs[bisect_right(self._runs, after, key=lambda run: run.after) - 1]
        number = after // PAGE
        page = self._pages.get(number)
        if page is not None and page.reached == min((number + 1) * PAGE, self._begin):
            self._pages.move_to_end(number)
            return page
        loading = self._loading.get(number)
        if loading is None:
            loading = self._loading[number] = asyncio.create_task(self._load(number))
            loading.add_done_callback(lambda task: self._finish(number, task))
        return await asyncio.shield(loading)

    def _must_describe(self, event: LoggedEvent) -> bool:
        return event.accounts is None and self._index.needs_accounts(event.stored.topic)

    async def _load(self, number: int) -> Run:
        after, upto = number * PAGE, (number + 1) * PAGE
        reached = min(upto, self._begin)
        async with self._turns:
            page = Run(after, reached, _to_logged(await read_range(self._reader, after, reached, PAGE)))
        self._pages[number] = page
        while len(self._pages) > KEPT_PAGES or sum(one.bytes for one in self._pages.values()) > KEPT_BYTES:
            self._pages.popitem(last=False)
        return page

    def _finish(self, number: int, loading: "asyncio.Task[Run]") -> None:
        del self._loading[number]
        if not loading.cancelled():
            loading.exception()  # those that wait for the page have it

    def _append(self, run: Run) -> None:
        self._runs.append(run)
        if len(self._runs) > REMEMBERING:
            self._runs[-REMEMBERING - 1].forget()
        self.end = run.reached
        self._count += len(run.events)
        self._bytes += run.bytes
        while self._runs and (self._count > KEPT_EVENTS or self._bytes > KEPT_BYTES):
            oldest = self._runs.popleft()
            self._begin = oldest.reached
            self._count -= len(oldest.events)
            self._bytes -= oldest.bytes


class Reading:
    """A webhook's place in the log, and its wait for the next event that it sends."""

    def __init__(self, feed: Feed, choice: Choice, *, describes: bool) -> None:
        self._feed = feed
        self._choice = choice
        self._describes = describes
        self._arrived: asyncio.Future[Run] | None = None

    def place(self, position: int) -> int:
        """Return up to where there is nothing left to send, if all up to a position was sent."""
        is_waiting = self._arrived is not None and not self._arrived.done()
        return max(position, self._feed.end) if is_waiting else position

    async def next(self, after: int) -> Chosen:
        """Return the next events after a position; wait for them at the end of the log."""
        if after < self._feed.end:
            run = await self._feed.find(after)
        else:
            self._arrived = self._feed.wait(self._choice)
            try:
                run = await self._arrived
            finally:
                self._feed.leave(self._choice, self._arrived)
            after = max(after, run.after)
        events = await run.choose(self._choice, self._feed.audience, describes=self._describes)
        return Chosen([event for event in events if event.position > after], max(after, run.reached))


def _to_logged(stored: Sequence[StoredEvent]) -> list[LoggedEvent]:
    for one in stored:
        if one.topic not in EVENT_TOPICS:
            raise CannotApplyError(f"unknown topic: {one.topic}", one.position)
    return [LoggedEvent(one) for one in stored]
