"""A consumer of JetStream that reads while faults happen, and notes what it received at each sequence."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import nats
from nats import errors
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import Error as JetStreamError

from ledger.concurrency.tasks import running

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
        async with asyncio.timeout(5):
            client = await nats.connect(self._url, allow_reconnect=False, max_reconnect_attempts=1, error_cb=_ignore)
        try:
            start = max(self.received, default=0) + 1
            config = ConsumerConfig(
                ack_policy=AckPolicy.NONE, deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=start
            )
            consumer = await client.jetstream().pull_subscribe("", stream="ledger", config=config)
            while True:
                for message in await consumer.fetch(BATCH, timeout=2):
                    self.received[message.metadata.sequence.stream] = message.data
        finally:
            async with asyncio.timeout(2):
                await client.close()


@asynccontextmanager
async def consuming(url: str) -> AsyncIterator[Consumer]:
    """Let a consumer read for the length of the context."""
    consumer = Consumer(url)
    async with running(consumer.follow()):
        yield consumer


async def _ignore(_: Exception) -> None:
    """Keep the errors that are part of the test out of the log."""
