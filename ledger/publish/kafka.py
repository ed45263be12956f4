"""Publishes to one topic of Kafka: a transaction for each page, and as key the account, or else the stream.

The transaction also commits the position, as the offset of a consumer group that nobody joins: that is the cursor. A
publisher that opens the topic fences all earlier ones (`transactional.id`). Consumers read with `read_committed`.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from ledger.publish.destination import Cursor, DestinationError, Outgoing

ANSWER_SECONDS = 15.0
HEADERS = [("content-type", b"application/cloudevents+json")]


class Kafka:
    """A topic of a ledger's events. `access` has the options that reach the servers."""

    name = "kafka"

    def __init__(self, access: Mapping[str, Any], ledger_id: object, topic: NewTopic) -> None:
        self._access = access
        self._id = f"ledger-{ledger_id}"
        self._topic = topic
        self._cursor = TopicPartition(topic.name, 0)
        self._position = 0
        self._clients: list[Any] = []

    async def open(self, reported: int) -> Cursor:
        """Create or check the topic, fence other publishers, and return the cursor."""
        await self.close()
        async with _explain():
            await self._ensure_topic()
            producer = AIOKafkaProducer(transactional_id=self._id, acks="all", **self._access)
            consumer = AIOKafkaConsumer(group_id=self._id, enable_auto_commit=False, **self._access)
            for client in (producer, consumer):
                self._clients.append(client)
                await client.start()
            self._position = await consumer.committed(self._cursor) or reported
        return Cursor(self._position)

    async def publish(self, events: Sequence[Outgoing]) -> None:
        """Append events and move the cursor, in one transaction."""
        async with _explain(), self._clients[0].transaction():
            for event in events:
                key = str(event.account_id or event.stream_id).encode()
                await self._clients[0].send(self._topic.name, event.body, key=key, headers=HEADERS)
            await self._clients[0].send_offsets_to_transaction({self._cursor: events[-1].position}, self._id)
        self._position = events[-1].position

    async def is_current(self) -> bool:
        """Return whether the cursor is still the one that this publisher knows."""
        async with _explain():
            return await self._clients[1].committed(self._cursor) in {None, self._position}

    async def start_again(self, after: int) -> None:
        """Move the cursor, and delete all records."""
        producer, consumer = self._clients
        async with _explain(), self._administer() as admin:
            async with producer.transaction():
                await producer.send_offsets_to_transaction({self._cursor: after}, self._id)
            partitions = [
                TopicPartition(self._topic.name, one) for one in await producer.partitions_for(self._topic.name)
            ]
            ends = await consumer.end_offsets(partitions)
            await admin.delete_records({partition: RecordsToDelete(end) for partition, end in ends.items()})

    async def close(self) -> None:
        """Disconnect."""
        clients, self._clients = self._clients, []
        for client in clients:
            await asyncio.wait((asyncio.ensure_future(client.stop()),), timeout=1)

    async def _ensure_topic(self) -> None:
        async with self._administer() as admin:
            if self._topic.name not in await admin.list_topics():
                await admin.create_topics([self._topic])
            answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, self._topic.name)])
            policies = {entry[0]: entry[1] for entry in answers[0].resources[0][4]}
            if "compact" in policies["cleanup.policy"]:
                raise DestinationError(f"Kafka: the topic {self._topic.name} is compacted, which deletes events")

    @asynccontextmanager
    async def _administer(self) -> AsyncIterator[Any]:
        admin = AIOKafkaAdminClient(**self._access)
        try:
            await admin.start()
            yield admin
        finally:
            await admin.close()


@asynccontextmanager
async def _explain() -> AsyncIterator[None]:
    """Bound a call, and raise its errors as `DestinationError`."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            yield
    except (KafkaError, OSError, TimeoutError) as error:
        raise DestinationError(f"Kafka: {str(error) or type(error).__name__}") from error
