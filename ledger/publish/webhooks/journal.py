"""What is yet to be written: cursors that have moved, and deliveries."""

from collections import Counter, deque
from collections.abc import Callable
from uuid import UUID

from ledger.publish.webhooks import cursors
from ledger.publish.webhooks.cursors import KEPT_DELIVERIES, Cursor, Delivery
from ledger.store.connections import Connection

MAX_DELIVERIES = 20_000  # that wait to be written; older ones are dropped, because they are there to be looked at
PRUNE_EVERY = KEPT_DELIVERIES // 5  # deliveries of a webhook

TakeCursor = Callable[[], Cursor]


class Journal:
    """Collects what the deliveries of all webhooks have changed, and writes it in one statement."""

    def __init__(self, notify: Callable[[], None]) -> None:
        self._notify = notify
        self._moved: dict[UUID, TakeCursor] = {}
        self._deliveries: deque[Delivery] = deque(maxlen=MAX_DELIVERIES)
        self._written: Counter[UUID] = Counter()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not self._moved and not self._deliveries

    def move(self, webhook_id: UUID, take: TakeCursor) -> None:
        """Note that a cursor has moved; `take` returns it as it is when it is written."""
        self._moved[webhook_id] = take
        self._notify()

    def add(self, delivery: Delivery) -> None:
        """Note a delivery."""
        self._deliveries.append(delivery)
        self._notify()

    async def flush(self, connection: Connection) -> None:
        """Write what was noted. What is noted meanwhile is written the next time."""
        if self.is_empty:
            return
        moved, self._moved = self._moved, {}
        deliveries = [*self._deliveries]
        self._deliveries.clear()
        await cursors.save(connection, [take() for take in moved.values()], deliveries)
        new = {one.webhook_id for one in deliveries} - self._written.keys()  # an earlier process may have left too many
        self._written.update(one.webhook_id for one in deliveries)
        full = [*new, *(webhook_id for webhook_id, count in self._written.items() if count >= PRUNE_EVERY)]
        for webhook_id in full:
            self._written[webhook_id] = 0
        if full:
            await cursors.prune(connection, full)
