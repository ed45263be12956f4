"""Publishes to one topic of Kafka: a transaction for each page, and as key the stream, such as the account.

The transaction also commits the position, as the offset of a consumer group that nobody joins: that is the cursor. A
publisher that opens the topic fences all earlier ones (`transactional.id`). Consumers read with `read_committed`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError

from ledger.publish.destination import Cursor, DestinationError, Outgoing
from ledger.publish.topics import ensure_topic

ANSWER_SECONDS, CLOSE_SECONDS, RETRY_SECONDS = 15.0, 5.0, 0.1
HEADERS = [("content-type", b"application/cloudevents+json")]


class Kafka:
    """A topic of a ledger's events. `access` returns the options that reach the servers."""

    name = "kafka"

    def __init__(self, access: Callable[[], Mapping[str, Any]], ledger_id: object, topic: NewTopic) -> None:
        self._access, self._topic, self._id = access, topic, f"ledger-{ledger_id}"
        self._cursor, self._position = TopicPartition(topic.name, 0), 0
        self._admin: Any = None
        self._producer: Any = None

    async def open(self, reported: int) -> Cursor:
        """Create or check the topic, fence other publishers, and return the cursor."""
        await self.close()
        async with _explain():
            access = self._access()
            self._admin = AIOKafkaAdminClient(**access)
            self._producer = AIOKafkaProducer(transactional_id=self._id, acks="all", **access)
            await self._admin.start()
            await self._producer.start()
            await ensure_topic(self._admin, self._topic)
            found = await self._read_cursor()
        self._position = reported if found is None else found
        return Cursor(self._position)

    async def publish(self, events: Sequence[Outgoing]) -> None:
        """Append events and move the cursor, in one transaction."""
        async with _explain(), self._producer.transaction():
            keyed = [(str(event.stream_id).encode(), event.body) for event in events]
            sent = [await self._producer.send(self._topic.name, body, key, headers=HEADERS) for key, body in keyed]
            await asyncio.gather(*sent)
            await self._producer.send_offsets_to_transaction({self._cursor: events[-1].position}, self._id)
        self._position = events[-1].position

    async def is_current(self) -> bool:
        """Return whether the cursor is still the one that this publisher knows."""
        async with _explain():
            return await self._read_cursor() in {None, self._position}

    async def start_again(self, after: int) -> None:
        """Move the cursor, and delete all records. If another publisher has opened the topic, nothing changes."""
        async with _explain():
            numbers = await self._producer.partitions_for(self._topic.name)
            async with AIOKafkaConsumer(**self._access()) as consumer:
                ends = await consumer.end_offsets([TopicPartition(self._topic.name, one) for one in numbers])
            async with self._producer.transaction():
                await self._producer.send_offsets_to_transaction({self._cursor: after}, self._id)
            await self._admin.delete_records({partition: RecordsToDelete(end) for partition, end in ends.items()})

    async def close(self) -> None:
        """Disconnect."""
        if self._admin is not None:
            closing, self._admin = (self._admin.close(), self._producer.stop()), None
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.gather(*closing, return_exceptions=True), CLOSE_SECONDS)

    async def _read_cursor(self) -> int | None:
        """Return the cursor, or None if there is none."""
        while True:
            with suppress(
                GroupCoordinatorNotAvailableError
            ):  # Kafka creates its topic of offsets when it is asked first
                found = await self._admin.list_consumer_group_offsets(self._id, partitions=[self._cursor])
                if self._cursor in found:  # a server that does not know yet leaves it out
                    return found[self._cursor].offset if found[self._cursor].offset >= 0 else None
            await asyncio.sleep(RETRY_SECONDS)


@asynccontextmanager
async def _explain() -> AsyncIterator[None]:
    """Bound a call, and raise its errors as `DestinationError`."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            yield
    except (KafkaError, OSError, TimeoutError) as error:
        raise DestinationError(f"Kafka: {str(error) or type(error).__name__}") from error
