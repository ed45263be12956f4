"""The couriers of all webhooks that are enabled: started, replaced when their webhook changes, and ended."""

import asyncio
from collections.abc import Mapping, Sequence
from uuid import UUID

from ledger.events.webhooks import WebhookRewound
from ledger.projections.webhooks import ActiveWebhook
from ledger.publish.webhooks import cursors
from ledger.publish.webhooks.courier import Courier, Means
from ledger.publish.webhooks.cursors import Cursor, Pending
from ledger.publish.webhooks.outgoing import Outgoing
from ledger.store.connections import Connection
from ledger.store.log_pages import read_at

_REWOUND = WebhookRewound.TOPIC


class Fleet:
    """The couriers of this process, each with the task that runs it, and the tasks that send events once more."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._couriers: dict[UUID, Courier] = {}
        self._tasks: dict[UUID, asyncio.Task[None]] = {}
        self._redelivering: dict[UUID, asyncio.Task[None]] = {}

    def __bool__(self) -> bool:
        """Return whether there is any."""
        return bool(self._couriers)

    async def replace(self, connection: Connection, outgoing: Mapping[UUID, Outgoing]) -> None:
        """End the couriers of webhooks that have changed, and start those that are missing."""
        changed = [one for one in self._couriers if self._has_changed(one, outgoing.get(one))]
        for webhook_id in changed:
            self._means.journal.move(webhook_id, self._couriers[webhook_id].take_cursor)
        await self._end(changed)
        self._means.feed.retain(one.choice for one in outgoing.values())
        new = [one for webhook_id, one in outgoing.items() if webhook_id not in self._couriers]
        if new:
            await self._means.journal.flush(connection)
            known = await cursors.read_cursors(connection, [one.webhook.id for one in new])
            restarts = [one.webhook.started_by for one in new if one.webhook.id in known]
            rewinds = {event.position for event in await read_at(connection, restarts) if event.topic == _REWOUND}
            for one in new:
                webhook = one.webhook
                self._start(one, _place(webhook, known.get(webhook.id), rewinds=webhook.started_by in rewinds))

    def has_redelivered(self) -> bool:
        """Return whether a courier is done with sending events once more, so that there may be further requests."""
        done = [webhook_id for webhook_id, task in self._redelivering.items() if task.done()]
        for webhook_id in done:
            del self._redelivering[webhook_id]
        return bool(done)

    def redelivered(self) -> dict[UUID, int]:
        """Return up to which request each webhook has sent events once more; one that is doing so is left out."""
        return {
            webhook_id: courier.cursor.redelivered_upto
            for webhook_id, courier in self._couriers.items()
            if webhook_id not in self._redelivering
        }

    def redeliver(self, webhook_id: UUID, requests: Sequence[tuple[int, int]]) -> None:
        """Let a courier send events once more, beside the others."""
        self._redelivering[webhook_id] = asyncio.create_task(self._couriers[webhook_id].redeliver(requests))

    def save(self) -> None:
        """Write all cursors, because webhooks that send nothing move as well."""
        for webhook_id, courier in self._couriers.items():
            self._means.journal.move(webhook_id, courier.take_cursor)

    def cancel(self) -> list["asyncio.Task[None]"]:
        """Cancel all couriers, and return the tasks that end now. What they were sending is sent again."""
        ending = [*self._tasks.values(), *self._redelivering.values()]
        for task in ending:
            task.cancel()
        self._couriers.clear()
        self._tasks.clear()
        self._redelivering.clear()
        return ending

    def _has_changed(self, webhook_id: UUID, outgoing: Outgoing | None) -> bool:
        return outgoing != self._couriers[webhook_id].outgoing or self._tasks[webhook_id].done()

    async def _end(self, webhook_ids: Sequence[UUID]) -> None:
        ending = []
        for webhook_id in webhook_ids:
            del self._couriers[webhook_id]
            ending.append(self._tasks.pop(webhook_id))
            if webhook_id in self._redelivering:
                ending.append(self._redelivering.pop(webhook_id))
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    def _start(self, outgoing: Outgoing, cursor: Cursor) -> None:
        webhook = outgoing.webhook
        for pending in cursor.pending:
            if pending.failed_since is not None and pending.failed_since < webhook.changed_at.timestamp():
                pending.reset()  # a webhook that was changed or enabled since tries at once, for three days again
        courier = Courier(self._means, outgoing, cursor)
        self._couriers[webhook.id] = courier
        self._tasks[webhook.id] = asyncio.create_task(courier.run())
        self._means.journal.move(webhook.id, courier.take_cursor)


def _place(webhook: ActiveWebhook, known: Cursor | None, *, rewinds: bool) -> Cursor:
    """Return the cursor that a webhook continues from.

    One that goes back still has to send what it has not delivered before its new place.
    """
    if known is None:
        return Cursor(webhook.id, webhook.started_by, webhook.starts_after, [], webhook.started_by)
    if known.started_by == webhook.started_by:
        return known
    after, pending = webhook.starts_after, list[Pending]()
    if rewinds:
        after = min(after, known.position)
        pending = [one for one in known.pending if one.position <= after]
    return Cursor(webhook.id, webhook.started_by, after, pending, known.redelivered_upto)
