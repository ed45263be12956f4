"""What Kafka alone has: topics that are compacted, records that are too large, and the key that orders them."""

from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from pydantic import SecretStr

from ledger.concurrency.tasks import running
from ledger.publish.brokers import open_destinations
from ledger.publish.destination import DestinationError, Outgoing
from ledger.publish.publisher import publish
from ledger.runtime import Runtime
from ledger.settings import Settings
from ledger.values.ids import new_id
from tests.support.kafka import TOPIC, KafkaBroker
from tests.support.publishing import until_published

pytestmark = pytest.mark.parametrize("broker_name", ["kafka"])


@asynccontextmanager
async def administering(broker: KafkaBroker) -> AsyncIterator[Any]:
    admin = AIOKafkaAdminClient(bootstrap_servers=f"127.0.0.1:{broker.port}")
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


def outgoing(position: int, size: int) -> Outgoing:
    return Outgoing(position, f"x:{position}", "Topic", UUID(int=1), None, None, b"x" * size)


async def test_a_compacted_topic_is_an_error(publishing: Settings, broker: KafkaBroker) -> None:
    async with administering(broker) as admin:
        await admin.create_topics([NewTopic(TOPIC, 1, 1, topic_configs={"cleanup.policy": "compact"})])
    (destination,) = open_destinations(publishing, new_id())
    with pytest.raises(DestinationError, match="the topic ledger is compacted, which deletes events"):
        await destination.open(0)
    await destination.close()


async def test_a_page_with_a_record_that_kafka_refuses_is_not_published(
    publishing: Settings, broker: KafkaBroker
) -> None:
    async with administering(broker) as admin:
        await admin.create_topics([NewTopic(TOPIC, 3, 1, topic_configs={"max.message.bytes": "1000"})])
    (destination,) = open_destinations(publishing, new_id())
    await destination.open(0)
    with pytest.raises(DestinationError):
        await destination.publish([outgoing(1, 10), outgoing(2, 5000), outgoing(3, 10)])
    assert 0 == (await destination.open(0)).position
    await destination.publish([outgoing(1, 10)])
    assert 1 == (await destination.open(0)).position
    await destination.close()
    assert 1 == len(await broker.read())


async def test_the_key_is_the_account_and_keeps_its_events_in_one_partition(
    busy: Runtime, publishing: Settings, broker: KafkaBroker, connection: Any
) -> None:
    async with running(publish(publishing)):
        await until_published(connection, "kafka")

    partitions: dict[str, set[int]] = defaultdict(set)
    for record in await broker.read():
        assert msgspec.json.decode(record.body)["subject"] == record.key
        partitions[record.key].add(record.partition)
    assert {1} == {len(found) for found in partitions.values()}
    assert {0, 1, 2} == set[int]().union(*partitions.values())
    assert busy.settings.ledger_kafka_servers is None


async def test_nobody_answers(settings: Settings, tmp_path: Path, broker_name: str) -> None:
    nobody = {f"ledger_{broker_name}_servers": "127.0.0.1:1"}
    for changes, said in (
        (nobody, "Kafka: "),
        ({**nobody, "ledger_kafka_tls": True, "ledger_kafka_password": SecretStr("x")}, "Kafka: "),
        ({**nobody, "ledger_kafka_tls": True, "ledger_kafka_ca_file": tmp_path / "ca"}, "LEDGER_KAFKA_CA_FILE: cannot"),
    ):
        (destination,) = open_destinations(settings.model_copy(update=changes), new_id())
        with pytest.raises(DestinationError, match=said):
            await destination.open(0)
        await destination.close()
