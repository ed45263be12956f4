"""The topic of Kafka that a ledger publishes to: created if there is none, otherwise checked, never changed."""

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from ledger.publish.destination import DestinationError


async def ensure_topic(admin: AIOKafkaAdminClient, topic: NewTopic) -> None:
    """Create the topic, or check it. Raises `DestinationError` if it would lose events."""
    if topic.name not in await admin.list_topics():
        await admin.create_topics([topic])
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name)])
    policies = {entry[0]: entry[1] for entry in answers[0].resources[0][4]}
    if "compact" in policies["cleanup.policy"]:
        raise DestinationError(f"Kafka: the topic {topic.name} is compacted, which deletes events")
