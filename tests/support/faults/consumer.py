"""A consumer of JetStream that reads while faults happen, and notes what it received at each sequence."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats import errors
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import Error as JetStreamError

from ledger.concurrency.tasks import running
from tests.support.nats import jetstream

RETRY_SECONDS = 0.2
BATCH = 500
ERRORS = (errors.Error, JetStreamError, OSError, TimeoutError)


class Consumer:
    """Reads a stream from its beginning, and after every break from where it was."""

    def __init__(self, url: str) -> None:
        self.received: dict[int, bytes] = {}
        self._url = url

    async def follow(self) -> None:
        """Read until cancelled."""
        while True:
            try:
                await self._read()
            except ERRORS:
                await asyncio.sleep(RETRY_SECONDS)

    async def _read(self) -> None:
        async with jetstream(self._url) as js:
            config = ConsumerConfig(
                ack_policy=AckPolicy.NONE,
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=max(self.received, default=0) + 1,
            )
            consumer = await js.pull_subscribe("", stream="ledger", config=config)
            while True:
                for message in await consumer.fetch(BATCH, timeout=2):
                    self.received[message.metadata.sequence.stream] = message.data


@asynccontextmanager
async def consuming(url: str) -> AsyncIterator[Consumer]:
    """Let a consumer read for the length of the context."""
    consumer = Consumer(url)
    async with running(consumer.follow()):
        yield consumer
