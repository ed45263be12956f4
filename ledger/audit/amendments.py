"""What a transaction said at first, and after each amendment, from its events."""

from typing import Any
from uuid import UUID

from ledger.events import decode_event
from ledger.events.amendments import AMENDABLE, TransactionAmended
from ledger.events.transactions import TransactionEvent, TransactionScheduled
from ledger.store import reader as event_reader
from ledger.store.connections import Reader
from ledger.store.reader import EventFilter

CHUNK = 500  # events that are read at once
MAX_TEXTS = 1000  # the first, and the newest


async def read_texts(reader: Reader, transaction_id: UUID) -> list[dict[str, Any]]:
    """Return the texts of a transaction, oldest first; of very many, the first and the newest."""
    texts: list[dict[str, Any]] = []
    after, is_last = 0, False
    while not is_last:
        chosen = EventFilter(stream_id=transaction_id)
        stretch = await event_reader.read(reader, after, limit=CHUNK, matching=chosen)
        for stored in stretch.events:
            event = decode_event(stored.topic, stored.state)
            if isinstance(event, TransactionEvent) and (stored.version == 1 or isinstance(event, TransactionAmended)):
                source = event.planned if isinstance(event, TransactionScheduled) else event
                said = {name: getattr(source, name, None) for name in AMENDABLE}
                given = {name: value for name, value in said.items() if value}
                texts.append({"version": stored.version, **given, "created_at": stored.recorded_at})
        del texts[1 : max(1, len(texts) - MAX_TEXTS + 1)]
        after, is_last = stretch.reached, stretch.is_last
    return texts
