"""The brokers to which a ledger can publish, as tests see them; a new one is added here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from tests.support import kafka
from tests.support.kafka import running_kafka
from tests.support.nats import running_nats

BROKERS = ("nats", *(("kafka",) if kafka.IS_WANTED else ()))


class Broker(Protocol):
    """A real server of a test's own."""

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of a ledger that publishes to it."""

    async def start(self) -> None:
        """Start it again on the same data and port."""

    async def kill(self) -> None:
        """Kill it as a crash does."""

    def pause(self) -> None:
        """Stop its process."""

    def resume(self) -> None:
        """Let it run again."""

    async def read_bodies(self) -> list[bytes]:
        """Return what was published; events of one stream are in order."""


@asynccontextmanager
async def running_broker(name: str, folder: Path, shared: Path) -> AsyncIterator[Broker]:
    """Run a broker; nothing of it runs in the end. What all of a run can use is in the shared folder."""
    running = running_nats(folder) if name == "nats" else running_kafka(folder, shared)
    async with running as broker:
        yield broker
