"""A stream of JetStream: its messages, its cursor, its fence, and what is refused about it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from ledger.cli.publish import COLUMNS
from ledger.commands.account_labels import LabelChange
from ledger.commands.accounts import OpenAccount, UpdateAccount
from ledger.commands.transfers import TransferMoney
from ledger.concurrency.tasks import running
from ledger.events.account_labels import Labels
from ledger.events.cloud import event_id
from ledger.followers import follower
from ledger.followers.follower import CannotApplyError
from ledger.publish import publisher as publisher_module
from ledger.publish.brokers import open_destinations
from ledger.publish.destination import Destination, DestinationError, Outgoing
from ledger.publish.jetstream import JetStream
from ledger.publish.publisher import Publisher, publish
from ledger.publish.source import Source
from ledger.runtime import Runtime
from ledger.settings import Settings
from ledger.store.identity import read_ledger_id
from ledger.values.ids import new_id
from ledger.write.group import Origin
from tests.support.nats import NatsServer, jetstream, read_messages
from tests.support.processes import run_ledger, until
from tests.support.publishing import find_faults, position_of, read_leaving, until_published
from tests.support.traffic import ALICE, execute


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher_module, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(publisher_module, "CHECK_SECONDS", 0.05)


@asynccontextmanager
async def opened(settings: Settings, ledger_id: UUID) -> AsyncIterator[Destination]:
    (destination,) = open_destinations(settings, ledger_id)
    try:
        await destination.open(0)
        yield destination
    finally:
        await destination.close()


def outgoing(ledger_id: UUID, position: int, tag: str = "") -> Outgoing:
    return Outgoing(position, f"{event_id(ledger_id, position)}{tag}", "Topic", ledger_id, None, None, b"{}")


async def catch_up(settings: Settings, connection: Any) -> None:
    async with running(publish(settings)):
        await until_published(connection, "nats")


async def read_error(connection: Any) -> str | None:
    error: str | None = await connection.fetchval("SELECT error FROM followers WHERE name = 'nats'")
    return error


async def open_account(runtime: Runtime, code: str | None) -> UUID:
    command = OpenAccount(
        account_id=new_id(), owner_id=ALICE, currency="USD", balance_cents=100, transaction_id=new_id(),
        labels=Labels(code),
    )  # fmt: skip
    await runtime.committer.submit(command, Origin(new_id()))
    return command.account_id


async def test_messages_have_the_id_of_the_event_and_the_order_of_the_log(
    busy: Runtime, to_nats: Settings, nats_server: NatsServer, connection: Any
) -> None:
    ledger_id, expected = await read_ledger_id(connection), await read_leaving(busy.pool)
    await catch_up(to_nats, connection)

    messages = await read_messages(nats_server.url)
    assert expected == [message.data for message in messages]
    assert [event_id(ledger_id, position_of(body)) for body in expected] == [
        message.headers["Nats-Msg-Id"] for message in messages
    ]
    assert [*range(1, len(expected) + 1)] == [message.metadata.sequence.stream for message in messages]
    assert {"application/cloudevents+json"} == {message.headers["Content-Type"] for message in messages}


async def test_consumers_choose_by_topic_and_by_the_code_that_the_account_had_then(
    busy: Runtime, to_nats: Settings, nats_server: NatsServer, connection: Any
) -> None:
    first, other = await open_account(busy, "assets:bank.de:main"), await open_account(busy, None)
    await move(busy, first, other)
    await give_code(busy, first, "assets:bank.de:main", "assets:old")
    await move(busy, first, other)
    await catch_up(to_nats, connection)

    async def count(subject: str) -> int:
        return len(await read_messages(nats_server.url, subject=f"ledger.*.{subject}"))

    assert 1 == await count("AccountDebited.assets.bank%2Ede.>")
    assert 1 == await count("AccountDebited.assets.old")
    assert 2 == await count(f"AccountCredited.{other}") - 1  # and the opening balance
    assert 2 == len(await read_transfers(nats_server, first, other))


async def read_transfers(server: NatsServer, *accounts: UUID) -> list[bytes]:
    messages = await read_messages(server.url, subject="ledger.*.MoneyTransferred")
    return [one.data for one in messages if all(str(account).encode() in one.data for account in accounts)]


async def move(runtime: Runtime, source: UUID, destination: UUID) -> None:
    command = TransferMoney(
        transaction_id=new_id(), source_account_id=source, destination_account_id=destination, amount_cents=1
    )
    await runtime.committer.submit(command, Origin(new_id()))


async def give_code(runtime: Runtime, account_id: UUID, before: str, after: str) -> None:
    command = UpdateAccount(
        account_id=account_id, owner_id=None, balance_cents=None, currency="USD", transaction_id=new_id(),
        labels=LabelChange(Labels(after), Labels(before), 1),
    )  # fmt: skip
    await runtime.committer.submit(command, Origin(new_id()))


async def test_a_publisher_that_was_overtaken_stores_nothing(
    runtime: Runtime, to_nats: Settings, nats_server: NatsServer
) -> None:
    """JetStream forgets ids after a while. Other ids for the same positions stand for that here."""
    ledger_id = await read_ledger_id(runtime.pool)
    async with opened(to_nats, ledger_id) as first, opened(to_nats, ledger_id) as second:
        await first.publish([outgoing(ledger_id, position) for position in (1, 2)])
        assert not await second.is_current()
        with pytest.raises(DestinationError, match="wrong last sequence: 2"):
            await second.publish([outgoing(ledger_id, position, ":again") for position in (1, 2, 3)])
        assert 2 == (await second.open(0)).position
        await second.publish([outgoing(ledger_id, 3)])
        with pytest.raises(DestinationError, match="wrong last"):
            await first.publish([outgoing(ledger_id, position, ":again") for position in (3, 4)])

    positions = [message.headers["Nats-Msg-Id"] for message in await read_messages(nats_server.url)]
    assert [event_id(ledger_id, position) for position in (1, 2, 3)] == positions


async def test_nothing_of_a_batch_is_stored_after_the_message_that_begins_a_replay(
    runtime: Runtime, to_nats: Settings, nats_server: NatsServer
) -> None:
    """It has the sequence after which the second message of the batch would fit, if that came alone."""
    ledger_id = await read_ledger_id(runtime.pool)
    async with opened(to_nats, ledger_id) as paused, opened(to_nats, ledger_id) as replaying:
        await paused.publish([outgoing(ledger_id, 1)])
        await replaying.open(0)
        await replaying.start_again(0)
        with pytest.raises(DestinationError, match="wrong last"):
            await paused.publish([outgoing(ledger_id, position) for position in (2, 3, 4)])
        assert 0 == (await paused.open(0)).position

    (message,) = await read_messages(nats_server.url)
    assert b'"type":"ledger.publishing.started.v1"' in message.data


async def test_a_replay_that_was_killed_before_it_purged_is_completed(
    runtime: Runtime, to_nats: Settings, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger_id = await read_ledger_id(runtime.pool)
    async with opened(to_nats, ledger_id) as replaying:
        await replaying.publish([outgoing(ledger_id, position) for position in (1, 2)])
        with monkeypatch.context() as patched:
            patched.setattr(JetStream, "_purge", break_off)
            with pytest.raises(ConnectionResetError):
                await replaying.start_again(0)
        assert 3 == len(await read_messages(nats_server.url))
        with capture_logs() as lines:
            for _ in range(2):
                assert 0 == (await replaying.open(0)).position
        completed = [line for line in lines if line["event"] == "a replay that was killed is complete"]
        assert [(0, 2)] == [(line["after"], line["purged"]) for line in completed]

    (message,) = await read_messages(nats_server.url)
    assert b'"type":"ledger.publishing.started.v1"' in message.data


async def break_off(_: JetStream) -> None:
    raise ConnectionResetError


async def test_an_answer_that_was_lost_repeats_nothing(
    runtime: Runtime, to_nats: Settings, nats_server: NatsServer
) -> None:
    """The same messages, sent again at the same place, are the messages that are there."""
    ledger_id = await read_ledger_id(runtime.pool)
    async with opened(to_nats, ledger_id) as first, opened(to_nats, ledger_id) as second:
        await first.publish([outgoing(ledger_id, 1)])
        with pytest.raises(DestinationError):
            await second.publish([outgoing(ledger_id, 1)])
        assert 1 == (await second.open(0)).position

    assert 1 == len(await read_messages(nats_server.url))


async def test_a_stream_with_another_set_up_is_an_error_and_stays_as_it_is(
    busy: Runtime, to_nats: Settings, nats_server: NatsServer, connection: Any
) -> None:
    async with jetstream(nats_server.url) as js:
        await js.add_stream(name="ledger", subjects=["other.>"])
        before = (await js.stream_info("ledger")).config
        async with running(publish(to_nats)):
            error = await until(lambda: read_error(connection))
            assert "JetStream: the stream ledger cannot be used: its subjects are other.> instead of ledger." in error
            assert before == (await js.stream_info("ledger")).config
            await js.delete_stream("ledger")
            await until_published(connection, "nats")
    assert [] == find_faults(await nats_server.read_bodies(), await read_leaving(busy.pool))


@pytest.mark.parametrize("headers", [{}, {"Nats-Msg-Id": "another"}], ids=["without an id", "with an id"])
async def test_a_message_of_somebody_else_is_an_error_until_a_replay(
    busy: Runtime, to_nats: Settings, nats_server: NatsServer, connection: Any, headers: dict[str, str]
) -> None:
    """Nobody can delete the message, because the stream denies it."""
    await catch_up(to_nats, connection)
    async with jetstream(nats_server.url) as js:
        await js.publish(f"ledger.{await read_ledger_id(connection)}.Topic", b"forged", headers=headers)

    async with running(publish(to_nats)):
        assert "is not of this ledger" in await until(lambda: read_error(connection))
        ran = await run_ledger("publish", "replay", "nats", "--from", "1", variables=to_nats.environment())
        assert 0 == ran.status, ran.error
        await until_published(connection, "nats")
    _, *bodies = await nats_server.read_bodies()
    assert await read_leaving(busy.pool) == bodies


async def test_a_purged_stream_continues_where_the_publisher_was(
    busy: Runtime, to_nats: Settings, nats_server: NatsServer, connection: Any
) -> None:
    await catch_up(to_nats, connection)
    before = await read_leaving(busy.pool)
    async with jetstream(nats_server.url) as js:
        await js.purge_stream("ledger")
    await open_account(busy, None)

    await catch_up(to_nats, connection)

    expected = (await read_leaving(busy.pool))[len(before) :]
    assert expected == await nats_server.read_bodies()


async def test_a_stream_that_is_gone_gets_the_whole_log_again(
    busy: Runtime, to_nats: Settings, nats_server: NatsServer, connection: Any
) -> None:
    async with running(publish(to_nats)):
        await until_published(connection, "nats")
        async with jetstream(nats_server.url) as js:
            await js.delete_stream("ledger")
        await until(lambda: read_error(connection))
        await until_published(connection, "nats")

    assert await read_leaving(busy.pool) == await nats_server.read_bodies()


@pytest.mark.parametrize("kept", [0, 10])
async def test_a_log_that_was_restored_stops_the_publisher(
    busy: Runtime, to_nats: Settings, elsewhere: Settings, connection: Any, kept: int
) -> None:
    """Consumers have events that the log no longer has, or has others instead."""
    await catch_up(to_nats, connection)
    ledger_id, end = await read_ledger_id(connection), await busy.durable_end.get()
    restored = elsewhere.model_copy(update={"ledger_nats_url": to_nats.ledger_nats_url})
    async with restored_ledger(restored, ledger_id) as runtime:
        if kept:
            await execute(runtime)
            while await runtime.durable_end.get() <= end:
                await open_account(runtime, None)
        (destination,) = open_destinations(restored, ledger_id)
        source = Source(runtime.pool, runtime.durable_end, ledger_id)
        with pytest.raises(CannotApplyError, match="was the database restored to an earlier time"):
            await Publisher(destination, source, runtime.pool).step()
        await destination.close()


@asynccontextmanager
async def restored_ledger(settings: Settings, ledger_id: UUID) -> AsyncIterator[Runtime]:
    from ledger.runtime import open_runtime  # noqa: PLC0415
    from ledger.store.pool import connect  # noqa: PLC0415

    own = await connect(settings)
    await own.execute("UPDATE ledger_identity SET id = $1", ledger_id)
    await own.close()
    async with open_runtime(settings) as runtime:
        yield runtime


async def test_an_event_of_a_later_version_stops_the_publisher(
    busy: Runtime, to_nats: Settings, nats_server: NatsServer, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "POLL_SECONDS", 0.05)
    expected = await read_leaving(busy.pool)
    poison = await connection.fetchval("SELECT max(notification_id) + 1 FROM stored_events")
    await connection.execute(
        """INSERT INTO stored_events (originator_id, originator_version, topic, state, notification_id, recorded_at)
           VALUES ($1, 1, 'OfTheFuture', '{}', $2, now())""",
        new_id(),
        poison,
    )
    async with running(publish(to_nats)):
        await until(lambda: read_error(connection))
        ran = await run_ledger("publish", "status", "--json", variables=to_nats.environment())
        (row,) = ran.document
        assert [*COLUMNS] == [*row]
        assert ("nats", "stopped", "unknown topic: OfTheFuture") == (row["broker"], row["state"], row["error"])
        ran = await run_ledger("publish", "resume", "nats", variables=to_nats.environment())
        assert "nats resumes within a second of a running service\n" == ran.output, ran.error
        await until(lambda: read_error(connection))  # it stops again

    assert expected[: len(expected)][-1:] != [b""]
    assert [] == [fault for fault in find_faults(await nats_server.read_bodies(), expected) if "missing" not in fault]


async def test_a_ledger_with_a_history_may_publish_new_events_only(
    busy: Runtime, to_nats: Settings, nats_server: NatsServer, connection: Any
) -> None:
    before = await read_leaving(busy.pool)
    ran = await run_ledger("publish", "replay", "nats", "--from", "end", variables=to_nats.environment())
    assert 0 == ran.status, ran.error
    await open_account(busy, None)
    await catch_up(to_nats, connection)

    expected = (await read_leaving(busy.pool))[len(before) :]
    assert expected == (await nats_server.read_bodies())[1:]


async def test_commands_refuse_what_is_not_there(
    settings: Settings, to_nats: Settings, nats_server: NatsServer, connection: Any
) -> None:
    async def fail(given: Settings, *arguments: str) -> str:
        ran = await run_ledger("publish", *arguments, variables=given.environment())
        assert ran.status, ran.output
        return ran.error.strip()

    for broker, variable in (("nats", "LEDGER_NATS_URL"), ("kafka", "LEDGER_KAFKA_SERVERS")):
        expected = f"ledger: {broker} is not in the settings: set {variable}"
        assert expected == await fail(settings, "replay", broker, "--from", "1")
    ran = await run_ledger("publish", "status", variables=settings.environment())
    assert "Nothing is published: set LEDGER_NATS_URL or LEDGER_KAFKA_SERVERS" in ran.output
    assert "there is no broker 'rabbit': nats, kafka" in await fail(settings, "resume", "rabbit")
    assert "has not stopped" in await fail(settings, "resume", "nats")
    assert "--from: the log ends at position 0" in await fail(to_nats, "replay", "nats", "--from", "5")
    for wrong in ("0", "-1", "first", "٣", str(2**63)):
        assert "--from: must be a position from 1 on, or end" in await fail(
            to_nats, "replay", "nats", f"--from={wrong}"
        )
    assert "nothing was ever published" in await fail(settings, "forget", "nats")
    await nats_server.kill()
    assert (await fail(to_nats, "replay", "nats", "--from", "1")).startswith("ledger: NATS: ")
    await follower.register(connection, "nats")
    ran = await run_ledger("publish", "forget", "nats", variables=settings.environment())
    assert "nats is no longer in the status\n" == ran.output
    assert await connection.fetchval("SELECT count(*) FROM followers WHERE name = 'nats'") == 0
