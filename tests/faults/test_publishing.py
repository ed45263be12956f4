"""Events arrive in JetStream while each part of the way there is killed, paused and cut off.

In the end, the stream has every event of the surviving log, once and in order, and no other. A consumer that read
meanwhile received the same bytes.
"""

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError
from pydantic import SecretStr

from ledger.concurrency.tasks import running
from ledger.publish.publisher import publish
from ledger.settings import Settings
from ledger.store.pool import connect, open_pool
from tests.faults.conftest import Begin, SettingsOf
from tests.support.faults.batches import Batches
from tests.support.faults.cluster import Cluster
from tests.support.faults.consumer import consuming
from tests.support.faults.extent import FULL, seconds, times
from tests.support.faults.pair import launch_pair
from tests.support.faults.signals import halt
from tests.support.faults.trial import Trial
from tests.support.nats import NatsServer, jetstream, running_cluster, running_nats
from tests.support.processes import Ledger, until
from tests.support.proxy import Direction, Proxy
from tests.support.publishing import find_faults, read_leaving, until_published

TRANSFERS = 100_000 if FULL else 3_000
LASTS = seconds(6, short=1.5)  # in the full form, longer than a publisher waits for an answer
Check = Callable[[Settings], AbstractAsyncContextManager[None]]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    async with running_nats(tmp_path / "nats") as started:
        yield started


@pytest.fixture
def checked(server: NatsServer) -> Check:
    """Return a context in which events are published, and after which the stream is compared with the log."""
    return lambda survivor: check_stream(server, survivor, to(server.url, survivor))


@asynccontextmanager
async def check_stream(server: NatsServer, survivor: Settings, publishing: Settings) -> AsyncIterator[None]:
    """Let a consumer read for the length of the context, publish the rest, and compare the stream with the log."""
    async with consuming(server.url) as consumer:
        yield
        async with running(publish(publishing)):
            connection = await connect(survivor, application_name="test")
            await until_published(connection, "nats")
            await connection.close()
        pool = await open_pool(survivor)
        expected = await read_leaving(pool)
        await pool.close()
        published = await server.read_bodies()
        assert [] == find_faults(published, expected)
        assert published == expected  # in the order of the log, not of each stream alone
        await until(lambda: len(consumer.received) >= len(published))
        assert published == [consumer.received[number] for number in sorted(consumer.received)]


def to(url: str, settings: Settings) -> Settings:
    """Return these settings with which a ledger publishes to this URL."""
    return settings.model_copy(update={"ledger_nats_url": SecretStr(url)})


async def kill_publisher(service: Ledger) -> None:
    """Kill the publisher, and wait for its successor."""
    (publisher,) = await until(service.publishers)
    os.kill(publisher, signal.SIGKILL)
    await until(lambda: service.publishers() not in ([], [publisher]))


@pytest.mark.covered
async def test_a_killed_publisher(begin: Begin, settings: Settings, server: NatsServer, checked: Check) -> None:
    async with checked(settings), begin("the publisher to NATS is killed", to(server.url, settings)) as trial:
        for _ in range(times(20)):
            async with trial.during():
                await kill_publisher(trial.services[0])


async def test_a_killed_service_that_publishes(
    begin: Begin, settings: Settings, server: NatsServer, checked: Check
) -> None:
    own = to(server.url, settings)
    async with checked(settings), begin("a service that publishes is killed, its writer too", own, workers=2) as trial:
        for _ in range(times(3)):
            async with trial.during():
                os.killpg(trial.services[0].pid, signal.SIGKILL)
                await trial.services[0].status()
                await trial.restart(own)


@pytest.mark.covered
async def test_a_paused_publisher(begin: Begin, settings: Settings, server: NatsServer, checked: Check) -> None:
    """PostgreSQL ends its session after a while, another instance leads, and what it sends later is refused."""
    own, lasts = to(server.url, settings), seconds(45, short=4)
    async with checked(settings), begin(f"the publisher of two instances is paused for {lasts:g} s", own, own) as trial:
        for service in trial.services:
            (publisher,) = await until(service.publishers)
            async with trial.during():
                with halt(publisher):
                    await asyncio.sleep(lasts)


@pytest.mark.covered
async def test_killed_nats(begin: Begin, settings: Settings, server: NatsServer, checked: Check) -> None:
    async with checked(settings), begin("NATS is killed", to(server.url, settings)) as trial:
        for _ in range(times(10)):
            async with trial.during():
                await server.kill()
                await asyncio.sleep(seconds(2, short=0.5))
                await server.start()


async def test_a_cluster_of_nats_that_loses_its_leader(begin: Begin, settings: Settings, tmp_path: Path) -> None:
    """The stream has three replicas, so another one of them leads, and has every event that was answered for."""
    async with running_cluster(tmp_path / "cluster") as servers:
        urls = ",".join(server.url for server in servers)
        own = to(urls, settings).model_copy(update={"ledger_nats_replicas": 3})
        async with (
            check_stream(servers[0], settings, own),
            begin("the leader of a cluster of NATS is killed", own) as trial,
        ):
            for _ in range(times(10)):
                async with trial.during():
                    leader = await until(lambda: find_leader(servers))
                    await servers[leader.number].kill()
                    others = [one for number, one in enumerate(servers) if number != leader.number]
                    await until(lambda others=others: find_leader(others))
                    await servers[leader.number].start()
                    await until(lambda: is_whole(servers))  # two of three must be there, with everything


class Leader(NamedTuple):
    """The number of the server that leads the stream, and whether all other replicas have everything."""

    number: int
    is_followed: bool


async def find_leader(servers: Sequence[NatsServer]) -> Leader | None:
    """Return the leader of the stream, or None while there is none."""
    for server in servers:
        with suppress(NatsError, JetStreamError, OSError, TimeoutError):
            async with jetstream(server.url) as js:
                cluster = (await js.stream_info("ledger")).cluster
            if cluster is not None and cluster.leader:
                replicas = [one.current for one in cluster.replicas or ()]
                number = int(cluster.leader.removeprefix("n"))
                return Leader(number, len(replicas) == len(servers) - 1 and all(replicas))
    return None


async def is_whole(servers: Sequence[NatsServer]) -> bool:
    """Return whether the stream has a leader and all replicas have everything."""
    leader = await find_leader(servers)
    return leader is not None and leader.is_followed


@pytest.mark.covered
async def test_paused_nats(begin: Begin, settings: Settings, server: NatsServer, checked: Check) -> None:
    lasts = seconds(20, short=6)
    async with checked(settings), begin(f"NATS is paused for {lasts:g} s", to(server.url, settings)) as trial:
        for _ in range(times(3)):
            async with trial.during():
                server.pause()
                await asyncio.sleep(lasts)
                server.resume()


@pytest.mark.covered
async def test_a_partition_between_publisher_and_nats(
    begin: Begin, settings: Settings, server: NatsServer, checked: Check
) -> None:
    """Bytes are lost, connections are refused, and cut in the middle of what is sent and of what is answered."""
    lasts = seconds(20, short=6)
    async with Proxy.to("127.0.0.1", server.port) as proxy:
        own = to("nats://{}:{}".format(*proxy.address), settings)
        async with checked(settings), begin(f"NATS cannot be reached for {lasts:g} s, then cuts", own) as trial:
            for fault in (proxy.black_hole, proxy.freeze, proxy.refuse):
                async with trial.during():
                    fault()
                    await asyncio.sleep(lasts / 3)
                    proxy.heal()
            for number in range(times(20)):
                direction = [*Direction][number % 2]
                async with trial.during():
                    before = proxy.cuts
                    proxy.cut_at(direction, 3 + number)
                    await until(lambda before=before: proxy.cuts > before)


@pytest.mark.covered
async def test_killed_postgresql(
    begin: Begin, settings_of: SettingsOf, tmp_path: Path, server: NatsServer, checked: Check
) -> None:
    async with Cluster.launch(tmp_path / "postgresql") as cluster:
        own = settings_of(cluster.url)
        async with checked(own), begin("PostgreSQL is killed under a publisher", to(server.url, own)) as trial:
            for _ in range(times(5)):
                async with trial.during():
                    await cluster.kill()
                    await cluster.start()


@pytest.mark.covered
async def test_a_partition_between_publisher_and_postgresql(
    begin: Begin, settings: Settings, server: NatsServer, checked: Check
) -> None:
    lasts = seconds(20, short=5)
    async with Proxy.to_database(settings) as proxy:
        own = to(server.url, proxy.database_settings(settings))
        async with checked(settings), begin(f"PostgreSQL is cut off from a publisher, {lasts:g} s", own) as trial:
            for fault in (proxy.strand, proxy.refuse)[: times(2)]:
                async with trial.during():
                    fault()
                    await asyncio.sleep(lasts)
                    proxy.heal()


async def test_nothing_is_published_that_a_failover_takes_back(
    begin: Begin, settings_of: SettingsOf, tmp_path: Path, server: NatsServer, checked: Check
) -> None:
    """Events are visible while no standby has them. Their sessions are terminated, and then the primary is killed."""
    lasts = seconds(20, short=6)
    async with launch_pair(tmp_path) as pair:
        survivor = settings_of(pair.standby.url)
        name = f"the link to the standby of a publisher's database is dead for {lasts:g} s, then failover"
        async with (
            checked(survivor),
            begin(name, to(server.url, settings_of(pair.url)), survivor=survivor) as trial,
            trial.during(),
        ):
            await until(server.read_bodies)
            pair.link.black_hole()
            for _ in range(3):
                await asyncio.sleep(lasts / 3)
                await pair.primary.terminate_backends()
            await pair.fail_over()


async def test_every_fault_in_turn_while_money_moves(
    begin: Begin, settings_of: SettingsOf, tmp_path: Path, server: NatsServer, checked: Check
) -> None:
    """Publisher, writer, PostgreSQL and NATS are killed, paused and cut off, again and again."""
    async with (
        Cluster.launch(tmp_path / "postgresql") as cluster,
        cluster.proxy() as to_database,
        Proxy.to("127.0.0.1", server.port) as to_nats,
    ):
        direct = settings_of(cluster.url)
        own = to("nats://{}:{}".format(*to_nats.address), to_database.database_settings(direct))
        name = f"each part of publishing fails in turn, while {TRANSFERS:,} transfers are made"
        async with checked(direct), begin(name, own, workers=2) as trial:
            faults = Faults(trial, cluster, server, to_database, to_nats)
            batches = Batches(trial.urls, trial.token, trial.load.accounts.cold)
            async with batches.sending():
                for number in itertools.count():
                    if number >= len(faults.all) and batches.acknowledged >= TRANSFERS:
                        break
                    async with trial.during():
                        await faults.all[number % len(faults.all)]()


class Faults:
    """One fault for each way in which a part can fail, all of which end."""

    def __init__(self, trial: Trial, cluster: Cluster, server: NatsServer, to_database: Proxy, to_nats: Proxy) -> None:
        self._trial, self._cluster, self._server = trial, cluster, server
        self.all: tuple[Callable[[], Awaitable[None]], ...] = (
            lambda: kill_publisher(trial.services[0]),
            self._pause_publisher,
            self._kill_writer,
            self._kill_database,
            self._pause_database,
            lambda: self._cut_off(to_database.strand, to_database),
            self._kill_nats,
            self._pause_nats,
            *(partial(self._cut_off, fault, to_nats) for fault in (to_nats.black_hole, to_nats.freeze, to_nats.refuse)),
        )

    async def _pause_publisher(self) -> None:
        (publisher,) = await until(self._trial.services[0].publishers)
        with halt(publisher):
            await asyncio.sleep(LASTS)

    async def _kill_writer(self) -> None:
        (writer,) = await until(self._trial.services[0].writers)
        os.kill(writer, signal.SIGKILL)
        await until(lambda: self._trial.services[0].writers() not in ([], [writer]))

    async def _kill_database(self) -> None:
        await self._cluster.kill()
        await self._cluster.start()

    async def _pause_database(self) -> None:
        self._cluster.pause()
        await asyncio.sleep(LASTS)
        self._cluster.resume()

    async def _kill_nats(self) -> None:
        await self._server.kill()
        await asyncio.sleep(LASTS)
        await self._server.start()

    async def _pause_nats(self) -> None:
        self._server.pause()
        await asyncio.sleep(LASTS)
        self._server.resume()

    async def _cut_off(self, fault: Callable[[], None], proxy: Proxy) -> None:
        fault()
        await asyncio.sleep(LASTS)
        proxy.heal()
