"""Runs a courier for each webhook that is enabled, in the one process that leads, and keeps their cursors.

It is a follower of the log. The leader's lock belongs to the connection that also writes the cursors: a process that
has lost the lock has lost the connection, so it cannot write an old cursor over a newer one.
"""

import asyncio
import contextlib
from typing import get_args
from uuid import UUID

import structlog

from ledger.commands.webhooks import DisableWebhook
from ledger.concurrency.signal import Signal
from ledger.errors import LedgerError, Refused
from ledger.events import TOPICS
from ledger.events.clients import ClientEvent
from ledger.events.webhooks import Reason, Webhook, WebhookEvent
from ledger.followers.follower import Follower, FollowerProgress
from ledger.identity.secret_box import SecretBox
from ledger.projections import webhooks
from ledger.publish.webhooks import cursors, registry
from ledger.publish.webhooks.clock import Clock
from ledger.publish.webhooks.courier import Means, Observer
from ledger.publish.webhooks.feed import Feed
from ledger.publish.webhooks.fleet import Fleet
from ledger.publish.webhooks.journal import Journal
from ledger.publish.webhooks.sender import Sender
from ledger.store.connections import Connection, Pool
from ledger.store.durable import DurableEnd
from ledger.store.heads import read_heads
from ledger.values.ids import new_id
from ledger.write.group import Origin
from ledger.write.writer import Writer

NAME = "deliveries"
PAUSE_BETWEEN_READS_SECONDS = 0.005  # at most: commits of that time are read together
POLL_SECONDS = 0.1  # between two looks at the log, because other hosts write as well
IDLE_SECONDS = 1.0  # between two looks for a webhook, while there is none
FLUSH_SECONDS = 0.1  # between two writes of cursors; what was sent since the last one is sent again after a crash
SAVE_SECONDS = 10.0  # between two writes of the cursors of webhooks that send nothing
CLEAN_SECONDS = 60.0  # between two looks for what deleted webhooks have left behind
STOP_SECONDS = 1.0  # for the last write
RETRIES_AT_ONCE = 64  # so that endpoints that fail take no part of what healthy ones need
PAUSE_SECONDS = 1.0  # before a command is tried again

_CHANGING = frozenset(TOPICS[kind] for kind in (*get_args(WebhookEvent), *get_args(ClientEvent)))

log = structlog.get_logger(__name__)


class Engine:
    """Sends the events of all webhooks while this process leads."""

    def __init__(
        self,
        *,
        pool: Pool,
        durable_end: DurableEnd,
        committer: Writer,
        box: SecretBox,
        ledger_id: UUID,
        sender: Sender,
        signal: Signal,
        observer: Observer,
        clock: Clock,
    ) -> None:
        self._pool = pool
        self._durable_end = durable_end
        self._committer = committer
        self._box = box
        self._signal = signal
        self._loop = asyncio.get_running_loop()
        self._ledger_id = ledger_id
        self._sender = sender
        self._observer = observer
        self._clock = clock
        self._means: Means | None = None
        self._fleet: Fleet | None = None
        self._connection: Connection | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._disabling: dict[UUID, asyncio.Task[None]] = {}  # by webhook
        self._read_at = self._flushed_at = self._saved_at = self._cleaned_at = 0.0
        self._due: asyncio.TimerHandle | None = None

    def follower(self) -> Follower:
        """Return the task."""
        return Follower(NAME, self._step, self._rest, lost=self.stop)

    async def close(self) -> None:
        """Stop all couriers, and wait for their end."""
        self.stop()
        if self._ending:
            await asyncio.wait(self._ending)

    def stop(self) -> None:
        """Stop all couriers."""
        disabling = [*self._disabling.values()]
        for task in disabling:
            task.cancel()
        for task in (*disabling, *(() if self._fleet is None else self._fleet.cancel())):
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
        self._means = self._fleet = self._connection = self._due = None

    async def _step(self, connection: Connection, leads: bool) -> FollowerProgress:
        if not leads:
            return FollowerProgress(None)
        self._read_at = self._loop.time()
        end = await self._durable_end.get()
        if self._means is None or self._fleet is None or not self._fleet:
            means, fleet = await self._begin(connection, end)
        else:
            means, fleet = self._means, self._fleet
        if fleet.has_redelivered():
            await self._reload(connection, fleet, means.feed.end)
        while means.feed.end < end and fleet:
            run = await means.feed.read(connection, end)
            if any(event.stored.topic in _CHANGING for event in run.events):  # before what comes after it is sent
                await self._reload(connection, fleet, run.reached)
                self._cleaned_at = 0.0
            await means.feed.append(run)
            await self._flush_if_due(connection, means, fleet)
        await self._flush_if_due(connection, means, fleet)
        await self._clean_if_due(connection, means)
        return FollowerProgress(max(end, means.feed.end))

    async def _begin(self, connection: Connection, end: int) -> tuple[Means, Fleet]:
        """Look for webhooks, and read the log from its end on. Those that are behind read older events in pages."""
        if self._ending:
            await asyncio.wait(self._ending)
        self._connection, self._due = connection, None
        self._means = means = self._make_means(end)
        self._fleet = fleet = Fleet(means)
        await self._reload(connection, fleet, end)
        return means, fleet

    def _make_means(self, end: int) -> Means:
        return Means(
            ledger_id=self._ledger_id,
            reader=self._pool,
            feed=Feed(self._pool, end),
            sender=self._sender,
            journal=Journal(self._plan_flush),
            clock=self._clock,
            observer=self._observer,
            retries=asyncio.Semaphore(RETRIES_AT_ONCE),
            disable=self._disable,
        )

    async def _reload(self, connection: Connection, fleet: Fleet, durable: int) -> None:
        """Let the couriers be those of the webhooks that are enabled now, and send what was asked for again.

        A request that is not durable yet is left for later: neither need the event be that it asks for.
        """
        found = await registry.load(connection, self._box)
        await fleet.replace(connection, found.outgoing)
        for webhook_id in found.orphans:
            self._begin_to_disable(webhook_id)
        if fleet:
            requested = await webhooks.list_redeliveries(connection, fleet.redelivered(), durable)
            for webhook_id, requests in requested.items():
                fleet.redeliver(webhook_id, requests)

    async def _clean_if_due(self, connection: Connection, means: Means) -> None:
        """Delete what is kept of webhooks that were deleted."""
        now = self._loop.time()
        if now - self._cleaned_at < CLEAN_SECONDS:
            return
        self._cleaned_at = now
        await means.journal.flush(connection)
        strays = await cursors.list_strays(connection)
        if strays:
            states = await read_heads(connection, strays)
            deleted = [one for one, head in states.items() if isinstance(head.state, Webhook) and head.state.deleted]
            await cursors.delete(connection, deleted)

    async def _rest(self) -> None:
        """Wait for a commit of this process, or for what is due; on cancellation, write the cursors a last time."""
        try:
            await self._signal.wait(POLL_SECONDS if self._fleet else IDLE_SECONDS)
            await asyncio.sleep(max(0.0, self._read_at + PAUSE_BETWEEN_READS_SECONDS - self._loop.time()))
        except asyncio.CancelledError:
            connection, means, fleet = self._connection, self._means, self._fleet
            if connection is not None and means is not None and fleet is not None:
                fleet.save()
                self.stop()
                with contextlib.suppress(Exception):  # then events are sent again
                    async with asyncio.timeout(STOP_SECONDS):
                        await means.journal.flush(connection)
            raise

    def _plan_flush(self) -> None:
        """Wake the task when it may write again, unless that is planned."""
        if self._due is None:
            delay = max(0.0, self._flushed_at + FLUSH_SECONDS - self._loop.time())
            self._due = self._loop.call_later(delay, self._signal.set)

    async def _flush_if_due(self, connection: Connection, means: Means, fleet: Fleet) -> None:
        now = self._loop.time()
        if now - self._saved_at >= SAVE_SECONDS:
            self._saved_at = now
            fleet.save()
        if not means.journal.is_empty and now - self._flushed_at >= FLUSH_SECONDS:
            self._flushed_at, self._due = now, None
            await means.journal.flush(connection)

    def _begin_to_disable(self, webhook_id: UUID) -> None:
        """Disable the webhook of a client that may have none. The others do not wait for that: it needs a write."""
        if webhook_id not in self._disabling:
            task = asyncio.create_task(self._disable(webhook_id, "client_revoked", None))
            self._disabling[webhook_id] = task
            task.add_done_callback(lambda _: self._disabling.pop(webhook_id))

    async def _disable(self, webhook_id: UUID, reason: Reason, position: int | None) -> None:
        """Disable a webhook, however long the database is away."""
        log.warning("a webhook is disabled", webhook_id=str(webhook_id), reason=reason, position=position)
        command = DisableWebhook(webhook_id=webhook_id, reason=reason, failed_position=position)
        while True:
            with contextlib.suppress(Refused):  # it was deleted
                try:
                    await self._committer.submit(command, Origin(new_id()))
                except LedgerError:
                    await asyncio.sleep(PAUSE_SECONDS)
                    continue
            return
