"""What every broker gets: each event once, the events of a stream in order, with the same content, whatever happens."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from ledger.commands.accounts import OpenAccount
from ledger.concurrency.tasks import running
from ledger.publish.brokers import open_destinations
from ledger.publish.publisher import Publisher, publish
from ledger.publish.source import Source
from ledger.runtime import Runtime
from ledger.settings import Settings
from ledger.store.durable import DurableEnd
from ledger.store.identity import read_ledger_id
from ledger.values.ids import new_id
from ledger.write.group import Origin
from tests.support.brokers import Broker
from tests.support.processes import run_ledger, until
from tests.support.publishing import find_faults, position_of, read_leaving, until_published
from tests.support.traffic import ALICE


async def test_every_event_arrives_once(
    busy: Runtime, publishing: Settings, broker: Broker, broker_name: str, connection: Any
) -> None:
    async with running(publish(publishing)):
        await until_published(connection, broker_name)

    assert [] == find_faults(await broker.read_bodies(), await read_leaving(busy.pool))


async def test_a_publisher_that_starts_again_continues_after_the_last_event(
    busy: Runtime, publishing: Settings, broker: Broker, broker_name: str, connection: Any
) -> None:
    async with running(publish(publishing)):
        await until_published(connection, broker_name)
    opening = OpenAccount(
        account_id=new_id(), owner_id=ALICE, currency="USD", balance_cents=100, transaction_id=new_id()
    )
    await busy.committer.submit(opening, Origin(new_id()))
    await connection.execute("UPDATE followers SET position = 0 WHERE name = $1", broker_name)  # which only informs

    async with running(publish(publishing)):
        await until_published(connection, broker_name)

    assert [] == find_faults(await broker.read_bodies(), await read_leaving(busy.pool))


async def test_two_publishers_at_once_give_no_gap_and_no_double(
    busy: Runtime, publishing: Settings, broker: Broker
) -> None:
    expected = await read_leaving(busy.pool)
    async with AsyncExitStack() as stack:
        tasks = [asyncio.create_task(publish_without_lead(publishing, busy)) for _ in range(2)]
        for task in tasks:
            stack.callback(task.cancel)
        await until(lambda: all(task.done() for task in tasks))
        for task in tasks:
            task.result()

    assert [] == find_faults(await broker.read_bodies(), expected)


async def publish_without_lead(settings: Settings, runtime: Runtime) -> None:
    """Publish the whole log with a publisher that no lock keeps from working beside others."""
    ledger_id = await read_ledger_id(runtime.pool)
    (destination,) = open_destinations(settings, ledger_id)
    publisher = Publisher(destination, Source(runtime.pool, DurableEnd(runtime.pool), ledger_id), runtime.pool)
    try:
        end = await runtime.durable_end.get()
        while True:
            progress = await publisher.step(limit=3)
            if progress.error is None and progress.position == end:
                return
    finally:
        await destination.close()


async def test_a_replay_empties_the_broker_and_publishes_from_a_position_on(
    busy: Runtime, publishing: Settings, broker: Broker, broker_name: str, connection: Any
) -> None:
    expected = await read_leaving(busy.pool)
    middle = position_of(expected[len(expected) // 2])
    async with running(publish(publishing)):
        await until_published(connection, broker_name)
        variables = publishing.environment()
        ran = await run_ledger("publish", "replay", broker_name, "--from", str(middle), "--json", variables=variables)
        assert {"replayed": broker_name, "from": middle} == ran.document, ran.error
        await until(lambda: has_events(broker, len(expected) - len(expected) // 2))

    assert [] == find_faults(await read_events(broker), [one for one in expected if position_of(one) >= middle])


async def test_a_replay_from_the_beginning(
    busy: Runtime, publishing: Settings, broker: Broker, broker_name: str, connection: Any
) -> None:
    """The row in PostgreSQL says that everything was published: the broker knows better."""
    async with running(publish(publishing)):
        await until_published(connection, broker_name)
    variables = publishing.environment()
    ran = await run_ledger("publish", "replay", broker_name, "--from", "1", variables=variables)
    assert f"{broker_name} is empty; running services publish from position 1 on\n" == ran.output, ran.error
    assert [] == await read_events(broker)

    expected = await read_leaving(busy.pool)
    async with running(publish(publishing)):
        await until(lambda: has_events(broker, len(expected)))
    assert [] == find_faults(await read_events(broker), expected)


async def read_events(broker: Broker) -> list[bytes]:
    """Return what was published, without the message that begins a replay."""
    return [body for body in await broker.read_bodies() if b'"type":"ledger.publishing.' not in body]


async def has_events(broker: Broker, count: int) -> bool:
    return len(await read_events(broker)) == count
