"""Events arrive in a stream of JetStream: each once, in the order of the log, with the position as the cursor."""

from typing import Any

from ledger.concurrency.tasks import running
from ledger.events.cloud import encode_cloud_event, event_id
from ledger.events.disclosure import DISCLOSED_TOPICS
from ledger.publish.publisher import publish
from ledger.runtime import Runtime
from ledger.settings import Settings
from ledger.store import reader as event_reader
from ledger.store.identity import read_ledger_id
from ledger.store.reader import StoredEvent
from tests.support.nats import NatsServer, read_messages
from tests.support.processes import until


async def read_leaving(connection: Any) -> list[StoredEvent]:
    stretch = await event_reader.read(connection, 0, limit=10_000)
    return [stored for stored in stretch.events if stored.topic in DISCLOSED_TOPICS]


async def test_every_event_arrives_once_and_in_order(
    busy: Runtime, publishing: Settings, nats_server: NatsServer, connection: Any
) -> None:
    del busy
    ledger_id, expected = await read_ledger_id(connection), await read_leaving(connection)

    async with running(publish(publishing)):
        await until(
            lambda: connection.fetchval(
                "SELECT position >= $1 FROM followers WHERE name = 'nats'", expected[-1].position
            )
        )

    messages = await read_messages(nats_server.url)
    assert [encode_cloud_event(stored, ledger_id) for stored in expected] == [message.data for message in messages]
    assert [event_id(ledger_id, stored.position) for stored in expected] == [
        message.headers["Nats-Msg-Id"] for message in messages
    ]
    assert [*range(1, len(expected) + 1)] == [message.metadata.sequence.stream for message in messages]
