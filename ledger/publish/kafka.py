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
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from ledger.publish.destination import Cursor, DestinationError, Outgoing

ANSWER_SECONDS, CLOSE_SECONDS = 15.0, 5.0
HEADERS = [("content-type", b"application/cloudevents+json")]


class Kafka:
    """A topic of a ledger's events. `access` returns the options that reach the servers."""

    name = "kafka"

    def __init__(self, access: Callable[[], Mapping[str, Any]], ledger_id: object, topic: NewTopic) -> None:
        self._access, self._topic, self._id = access, topic, f"ledger-{ledger_id}"
        self._cursor, self._position = TopicPartition(topic.name, 0), 0
        self._admin: Any = None
        self._producer: Any = None
        self._consumer: Any = None

    async def open(self, reported: int) -> Cursor:
        """Create or check the topic, fence other publishers, and return the cursor."""
        await self.close()
        async with _explain():
            access = self._access()
            self._admin = AIOKafkaAdminClient(**access)
            self._producer = AIOKafkaProducer(transactional_id=self._id, acks="all", **access)
            self._consumer = AIOKafkaConsumer(group_id=self._id, enable_auto_commit=False, **access)
            for client in (self._admin, self._producer, self._consumer):
                await client.start()
            await self._ensure_topic()
            found = await self._consumer.committed(self._cursor)
        self._position = reported if found is None else found
        return Cursor(self._position)

    async def publish(self, events: Sequence[Outgoing]) -> None:
        """Append events and move the cursor, in one transaction."""
        async with _explain(), self._producer.transaction():
            sent = [await self._send(str(event.stream_id).encode(), event.body) for event in events]
            await asyncio.gather(*sent)
            await self._producer.send_offsets_to_transaction({self._cursor: events[-1].position}, self._id)
        self._position = events[-1].position

    async def _send(self, key: bytes, body: bytes) -> Any:
        return await self._producer.send(self._topic.name, body, key=key, headers=HEADERS)

    async def is_current(self) -> bool:
        """Return whether the cursor is still the one that this publisher knows."""
        async with _explain():
            return await self._consumer.committed(self._cursor) in {None, self._position}

    async def start_again(self, after: int) -> None:
        """Move the cursor, and delete all records. If another publisher has opened the topic, nothing changes."""
        async with _explain():
            numbers = await self._producer.partitions_for(self._topic.name)
            ends = await self._consumer.end_offsets([TopicPartition(self._topic.name, one) for one in numbers])
            async with self._producer.transaction():
                await self._producer.send_offsets_to_transaction({self._cursor: after}, self._id)
            await self._admin.delete_records({partition: RecordsToDelete(end) for partition, end in ends.items()})

    async def close(self) -> None:
        """Disconnect."""
        if self._admin is not None:
            closing = (self._admin.close(), self._producer.stop(), self._consumer.stop())
            self._admin = None
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.gather(*closing, return_exceptions=True), CLOSE_SECONDS)

    async def _ensure_topic(self) -> None:
        if self._topic.name not in await self._admin.list_topics():
            await self._admin.create_topics([self._topic])
        answers = await self._admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, self._topic.name)])
        policies = {entry[0]: entry[1] for entry in answers[0].resources[0][4]}
        if "compact" in policies["cleanup.policy"]:
            raise DestinationError(f"Kafka: the topic {self._topic.name} is compacted, which deletes events")


@asynccontextmanager
async def _explain() -> AsyncIterator[None]:
    """Bound a call, and raise its errors as `DestinationError`."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            yield
    except (KafkaError, OSError, TimeoutError) as error:
        raise DestinationError(f"Kafka: {str(error) or type(error).__name__}") from error
