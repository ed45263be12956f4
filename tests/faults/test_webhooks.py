"""Events reach the endpoints of webhooks while each part of the way there is killed, paused and cut off.

In the end, each endpoint has every event of the surviving log, and no other. It had each for the first time after those
before it, and each time with the same id and the same bytes.
"""

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from ledger.settings import Settings
from ledger.store.pool import open_pool
from tests.faults.conftest import Begin, SettingsOf
from tests.support.faults.batches import Batches
from tests.support.faults.cluster import Cluster
from tests.support.faults.endpoint import Accepted, Endpoint, running_endpoint
from tests.support.faults.extent import FULL, seconds, times
from tests.support.faults.pair import launch_pair
from tests.support.faults.signals import halt
from tests.support.faults.trial import Trial
from tests.support.processes import until
from tests.support.proxy import Direction, Proxy
from tests.support.publishing import find_faults, position_of, read_leaving
from tests.support.serving import call, serving

TRANSFERS = 100_000 if FULL else 2_000
LASTS = seconds(12, short=1.5)  # in the full form, longer than a webhook waits for an answer
CATCH_UP_SECONDS = 1200
ALL, MOVED = "all", "moved"  # the paths of a webhook for each event, and of one for transfers, in the order of accounts


class Way(NamedTuple):
    """The endpoint, and the proxy in front of it."""

    endpoint: Endpoint
    proxy: Proxy


class Webhook(NamedTuple):
    """A webhook that a test has created."""

    id: str
    created_at: int  # position


@pytest.fixture
async def way(tmp_path: Path) -> AsyncIterator[Way]:
    async with (
        running_endpoint(tmp_path) as endpoint,
        Proxy.to("127.0.0.1", endpoint.port) as proxy,
    ):
        yield Way(endpoint, proxy)


@pytest.fixture
def sending(begin: Begin, way: Way, tmp_path: Path) -> Begin:
    """Return a function that runs instances under load like `begin`, with webhooks; then it sends the rest.

    What arrived is compared with the log.
    """

    @asynccontextmanager
    async def start(fault: str, *instances: Settings, **options: Any) -> AsyncIterator[Trial]:
        async with begin(fault, *instances, **options) as trial:
            webhooks = [await _create(trial, way, path) for path in (ALL, MOVED)]
            await way.endpoint.start()
            yield trial
        survivor = options.get("survivor", instances[0])
        with serving(tmp_path / "rest", survivor) as service:
            url = await service.url()
            async with asyncio.timeout(CATCH_UP_SECONDS):
                for webhook in webhooks:
                    while not await _is_at_the_end(url, trial.token, webhook):  # noqa: ASYNC110 - the service tells
                        await asyncio.sleep(0.2)
            pool = await open_pool(survivor)
            expected = [await read_leaving(pool, webhook.created_at) for webhook in webhooks]
            await pool.close()
        accepted = way.endpoint.read()
        for path, bodies in zip((ALL, MOVED), expected, strict=True):
            _check(path, [one for one in accepted if one.path == f"/{path}"], bodies)

    return start


def _check(path: str, accepted: Sequence[Accepted], expected: list[bytes]) -> None:
    contents = {one.id: bytes(one.body) for one in accepted}
    assert all(contents[one.id] == bytes(one.body) for one in accepted)
    first = [*dict.fromkeys(bytes(one.body) for one in accepted)]
    assert len(first) == len(contents)  # an event has one id
    if path == MOVED:
        expected = [body for body in expected if b".MoneyTransferred." in body]
        assert [] == find_faults(first, expected)
        assert _by_account(first) == _by_account(expected)
    else:
        assert [] == find_faults(first, expected)
        assert first == expected


def _by_account(bodies: Sequence[bytes]) -> dict[str, list[int]]:
    """Return the positions of transfers in the order of their arrival, by account."""
    found: dict[str, list[int]] = {}
    for body in bodies:
        data: dict[str, Any] = msgspec.json.decode(body)["data"]
        for name in ("source_account_id", "destination_account_id"):
            found.setdefault(data[name], []).append(position_of(body))
    return found


async def _create(trial: Trial, way: Way, path: str) -> Webhook:
    host, port = way.proxy.address
    body: dict[str, Any] = {"url": f"http://{host}:{port}/{path}"}
    if path == MOVED:
        body |= {"topics": ["MoneyTransferred"], "order": "account"}
    status, webhook = await call("POST", f"{trial.urls[0]}/v1/webhooks", body, trial.token)
    assert 201 == status, webhook
    way.endpoint.secrets.append(webhook["secret"])
    _, events = await call("GET", f"{trial.urls[0]}/v1/events?stream={webhook['id']}", token=trial.token)
    return Webhook(webhook["id"], events[0]["position"])


async def _is_at_the_end(url: str, token: str, webhook: Webhook) -> bool:
    status, found = await call("GET", f"{url}/v1/webhooks/{webhook.id}/progress", token=token)
    return status == 200 and found["position"] == found["log_end"] and not found["pending"]


@pytest.mark.covered
async def test_a_killed_endpoint(sending: Begin, settings: Settings, way: Way) -> None:
    async with sending("an endpoint of webhooks is killed", settings) as trial:
        for _ in range(times(10)):
            async with trial.during():
                await way.endpoint.kill()
                await asyncio.sleep(seconds(2, short=0.5))
                await way.endpoint.start()


@pytest.mark.covered
async def test_a_paused_endpoint(sending: Begin, settings: Settings, way: Way) -> None:
    lasts = seconds(20, short=2)  # in the full form, a webhook gives up waiting for an answer, and sends again
    name = f"an endpoint of webhooks is paused for {lasts:g} s"
    async with sending(name, settings) as trial:
        for _ in range(times(3)):
            async with trial.during():
                way.endpoint.pause()
                await asyncio.sleep(lasts)
                way.endpoint.resume()


@pytest.mark.covered
async def test_a_partition_between_webhooks_and_endpoint(sending: Begin, settings: Settings, way: Way) -> None:
    """Bytes are lost, connections are refused, and cut in the middle of what is sent and of what is answered."""
    lasts = seconds(45, short=3)
    name = f"an endpoint of webhooks cannot be reached for {lasts:g} s, then cuts"
    async with sending(name, settings) as trial:
        for fault in (way.proxy.black_hole, way.proxy.freeze, way.proxy.refuse):
            async with trial.during():
                fault()
                await asyncio.sleep(lasts / 3)
                way.proxy.heal()
        for number in range(times(20)):
            async with trial.during():
                await _cut(way, [*Direction][number % 2], 3 + number)


async def test_a_paused_writer_that_sends(sending: Begin, settings: Settings) -> None:
    """Another instance takes over. The cursors that the paused process has are older, and are not written."""
    lasts = seconds(45, short=4)
    name = f"the writer of two instances, which sends to webhooks, is paused for {lasts:g} s"
    async with sending(name, settings, settings, workers=2) as trial:
        for service in trial.services:
            (writer,) = await until(service.writers)
            async with trial.during():
                with halt(writer):
                    await asyncio.sleep(lasts)


async def test_nothing_is_sent_that_a_failover_takes_back(
    sending: Begin, settings_of: SettingsOf, tmp_path: Path, way: Way
) -> None:
    """Events are visible while no standby has them. Their sessions are terminated, and then the primary is killed."""
    lasts = seconds(20, short=6)
    async with launch_pair(tmp_path) as pair:
        survivor = settings_of(pair.standby.url)
        name = f"the link to the standby of a database with webhooks is dead for {lasts:g} s, then failover"
        async with sending(name, settings_of(pair.url), survivor=survivor) as trial:
            await until(way.endpoint.read)
            async with trial.during():
                pair.link.black_hole()
                for _ in range(3):
                    await asyncio.sleep(lasts / 3)
                    await pair.primary.terminate_backends()
                await pair.fail_over()


async def test_every_fault_in_turn_while_webhooks_send(
    sending: Begin, settings_of: SettingsOf, tmp_path: Path, way: Way
) -> None:
    """The writer, PostgreSQL and the endpoint are killed, paused and cut off, again and again."""
    async with Cluster.launch(tmp_path / "postgresql") as cluster, cluster.proxy() as to_database:
        direct = settings_of(cluster.url)
        name = f"each part of webhooks fails in turn, while {TRANSFERS:,} transfers are made"
        own = to_database.database_settings(direct)
        async with sending(name, own, workers=2) as trial:
            faults = _faults(trial, cluster, to_database, way)
            batches = Batches(trial.urls, trial.token, trial.load.accounts.cold)
            async with batches.sending():
                for number in itertools.count():
                    if number >= len(faults) and batches.acknowledged >= TRANSFERS:
                        break
                    async with trial.during():
                        await faults[number % len(faults)]()


async def _cut(way: Way, direction: Direction, piece: int) -> None:
    """Cut a connection in the middle of what it transfers."""
    before = way.proxy.cuts
    way.proxy.cut_at(direction, piece)
    await until(lambda: way.proxy.cuts > before)


def _faults(trial: Trial, cluster: Cluster, to_database: Proxy, way: Way) -> tuple[Callable[[], Awaitable[None]], ...]:
    """Return one fault for each way in which a part can fail, all of which end."""

    async def kill_writer() -> None:
        (writer,) = await until(trial.services[0].writers)
        os.kill(writer, signal.SIGKILL)
        await until(lambda: trial.services[0].writers() not in ([], [writer]))

    async def pause_writer() -> None:
        (writer,) = await until(trial.services[0].writers)
        with halt(writer):
            await asyncio.sleep(LASTS)

    async def kill_database() -> None:
        await cluster.kill()
        await cluster.start()

    async def kill_endpoint() -> None:
        await way.endpoint.kill()
        await asyncio.sleep(LASTS)
        await way.endpoint.start()

    async def last(begin: Callable[[], None], end: Callable[[], None]) -> None:
        begin()
        await asyncio.sleep(LASTS)
        end()

    ways = (way.proxy.black_hole, way.proxy.freeze, way.proxy.refuse)
    return (
        kill_writer,
        pause_writer,
        kill_database,
        partial(last, cluster.pause, cluster.resume),
        partial(last, to_database.strand, to_database.heal),
        kill_endpoint,
        partial(last, way.endpoint.pause, way.endpoint.resume),
        *(partial(last, fault, way.proxy.heal) for fault in ways),
        *(partial(_cut, way, direction, 3) for direction in Direction),
    )
