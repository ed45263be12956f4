"""A broker for each test, and the settings of a ledger that publishes to it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ledger.settings import Settings
from tests.support.brokers import BROKERS, Broker, running_broker
from tests.support.nats import NatsServer, running_nats

collect_ignore = [] if "kafka" in BROKERS else ["test_kafka.py"]  # where Java or Maven is not installed


@pytest.fixture
async def nats_server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    async with running_nats(tmp_path / "nats") as server:
        yield server


@pytest.fixture
def to_nats(settings: Settings, nats_server: NatsServer) -> Settings:
    """Return the settings of the test's ledger, with which it publishes to NATS."""
    return settings.model_copy(update=nats_server.settings)


@pytest.fixture(params=BROKERS)
def broker_name(request: pytest.FixtureRequest) -> str:
    """Return the name of each broker in turn; that of Kafka is absent where it cannot run."""
    return str(request.param)


@pytest.fixture
async def broker(broker_name: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Broker]:
    base = tmp_path_factory.getbasetemp()
    async with running_broker(broker_name, tmp_path / "broker", base.parent) as running:
        yield running


@pytest.fixture
def publishing(settings: Settings, broker: Broker) -> Settings:
    """Return the settings of the test's ledger, with which it publishes to the broker."""
    return settings.model_copy(update=broker.settings)
