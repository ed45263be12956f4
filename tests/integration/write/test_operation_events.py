"""Operations and stopped followers are recorded in the log, each once, although processes die. Lesson 14."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from ledger.audit.verify.ending import describe_ending
from ledger.followers import follower
from ledger.followers.follower import FollowerProgress, report
from ledger.runtime import Runtime, open_runtime
from ledger.settings import Settings
from ledger.store import outbox
from ledger.store.outbox import Cause, Entry
from ledger.store.pool import connect
from ledger.values.ids import new_id
from ledger.write import operations
from ledger.write.operations import OperationRecorder
from tests.support.following import Counting, append, following, shown
from tests.support.operation_events import read_commands, recorded, waiting
from tests.support.processes import until
from tests.support.roles import serving_url

Connection = Any  # asyncpg's, which is generic for type checkers only


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(follower, "POLL_SECONDS", 0.01)


@pytest.fixture
async def recorder(runtime: Runtime) -> OperationRecorder:
    return OperationRecorder(runtime.pool, runtime.committer)


async def is_in(connection: Connection, state: str) -> bool:
    return (await shown(connection)).state == state


def verification(number: int = 0, cause: Cause | None = None) -> Entry:
    return describe_ending(cause or Cause(new_id()), "succeeded", fast=True, findings=number)


def topics(events: list[Any]) -> list[str]:
    return [event.TOPIC for event in events]


# Followers


async def test_a_stop_and_its_end_are_recorded_once(
    settings: Settings, connection: Connection, recorder: OperationRecorder
) -> None:
    first = await append(connection)
    poison = await append(connection, "Strange")
    counting = Counting("Strange")
    async with following(counting, lambda: connect(settings)):
        await until(lambda: is_in(connection, "stopped"))
        (stopped,) = await waiting(connection)
        assert ("seals", "it counts for nothing", poison, "Strange") == (
            stopped.follower,
            stopped.error,
            stopped.error_position,
            stopped.error_topic,
        )
        await recorder.record()
        assert [] == await waiting(connection)
        assert [stopped] == await recorded(connection)
        counting.poison = "none"
        await follower.resume(connection, "seals", request_id="a command")
        await until(lambda: counting.seen[:2] == [first, poison])
        await recorder.record()
    _, resumed = await recorded(connection)
    assert (stopped.stop_id, "seals", "operator") == (resumed.stop_id, resumed.follower, resumed.by)
    expected = [("RecordFollowerStop", None, None), ("RecordFollowerResumption", None, "a command")]
    assert expected == await read_commands(connection)


async def test_a_leader_that_meets_the_same_reason_does_not_stop_again_and_one_that_gets_past_it_resumes(
    settings: Settings, connection: Connection, recorder: OperationRecorder
) -> None:
    await append(connection, "Strange")
    for _ in range(3):
        counting = Counting("Strange")
        async with following(counting, lambda: connect(settings)):
            await until(lambda counting=counting: counting.steps)
            await until(lambda: is_in(connection, "stopped"))
    await recorder.record()
    assert ["FollowerStopped"] == topics(await recorded(connection))
    async with following(Counting(), lambda: connect(settings)):
        await until(lambda: is_in(connection, "following"))
    await recorder.record()
    stopped, resumed = await recorded(connection)
    assert (stopped.stop_id, "process") == (resumed.stop_id, resumed.by)
    assert [] == await waiting(connection)


async def test_a_follower_that_is_resumed_too_early_begins_another_stop(
    settings: Settings, connection: Connection, recorder: OperationRecorder
) -> None:
    await append(connection, "Strange")
    counting = Counting("Strange")
    async with following(counting, lambda: connect(settings)):
        for attempt in (1, 2):
            await until(lambda attempt=attempt: counting.steps == attempt)
            await until(lambda: is_in(connection, "stopped"))
            if attempt == 1:
                await follower.resume(connection, "seals")
    await recorder.record()
    found = await recorded(connection)
    assert ["FollowerStopped", "FollowerResumed", "FollowerStopped"] == topics(found)
    assert 2 == len({event.stop_id for event in found})


async def test_an_error_that_passes_does_not_end_a_stop(settings: Settings, connection: Connection) -> None:
    await append(connection, "Strange")
    async with following(Counting("Strange"), lambda: connect(settings)):
        await until(lambda: is_in(connection, "stopped"))
    await report(connection, "seals", FollowerProgress(None, "no route to the server"))
    found = await shown(connection)
    assert ("stopped", "it counts for nothing") == (found.state, found.error)
    await report(connection, "seals", FollowerProgress(7))
    assert ["FollowerStopped", "FollowerResumed"] == topics(await waiting(connection))


async def test_a_stop_that_an_earlier_version_began_is_recorded_when_it_is_met_again(
    settings: Settings, connection: Connection
) -> None:
    poison = await append(connection, "Strange")
    stop = "UPDATE followers SET stopped = true, error = 'it counts for nothing', error_position = $1"
    await connection.execute(stop, poison)
    await follower.resume(connection, "seals")
    assert [] == await waiting(connection)
    await connection.execute(stop, poison)
    async with following(Counting("Strange"), lambda: connect(settings)):
        await until(lambda: waiting(connection))
    assert ["FollowerStopped"] == topics(await waiting(connection))


async def test_a_follower_does_not_stop_at_the_record_of_its_stop(
    settings: Settings, connection: Connection, recorder: OperationRecorder
) -> None:
    """The log does not grow by itself: a record of a stop is an event like others."""
    await append(connection, "Strange")
    async with following(Counting("Strange"), lambda: connect(settings)):
        await until(lambda: is_in(connection, "stopped"))
    await recorder.record()
    counting = Counting("FollowerStopped")
    async with following(counting, lambda: connect(settings)):
        await until(lambda: waiting(connection))
        for _ in range(3):
            await recorder.record()
    end = await connection.fetchval("SELECT count(*) FROM stored_events WHERE topic LIKE 'Follower%'")
    assert (2, 1) == (end, counting.steps)  # the second stop has another reason than the first


# Exactly once


async def test_an_entry_whose_event_was_recorded_by_a_process_that_died_is_not_recorded_again(
    connection: Connection, recorder: OperationRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    await outbox.add(connection, [verification(1), verification(2)])

    async def die(*_: object) -> None:
        raise ConnectionResetError

    with monkeypatch.context() as dying:
        dying.setattr(outbox, "remove", die)
        with pytest.raises(ConnectionResetError):
            await recorder.record()
    assert ([1], 2) == ([one.findings for one in await recorded(connection)], len(await waiting(connection)))
    await recorder.record()
    assert [1, 2] == [one.findings for one in await recorded(connection)]
    assert [] == await waiting(connection)


async def test_recorders_of_several_hosts_record_each_entry_once_and_in_order(
    settings: Settings, connection: Connection, runtime: Runtime
) -> None:
    for number in range(20):
        await outbox.add(connection, [verification(number)])
    async with open_runtime(settings) as other:
        hosts = [OperationRecorder(one.pool, one.committer) for one in (runtime, other)]
        await asyncio.gather(*(host.record() for host in hosts))
    assert [*range(20)] == [one.findings for one in await recorded(connection)]
    assert [] == await waiting(connection)


async def test_the_first_end_of_an_operation_is_the_one_that_is_recorded(
    connection: Connection, recorder: OperationRecorder
) -> None:
    cause = Cause(new_id(), actor_id=new_id())
    await outbox.add(connection, [verification(1, cause)])
    await outbox.add(connection, [verification(2, cause)])
    await recorder.record()
    await outbox.add(connection, [verification(3, cause)])
    await recorder.record()
    assert [1] == [one.findings for one in await recorded(connection)]
    assert [("RecordVerification", cause.actor_id, None)] == await read_commands(connection)
    assert [] == await waiting(connection)


async def test_what_cannot_be_read_stays_and_holds_up_no_other_entry(
    connection: Connection, recorder: OperationRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later version, or an attacker, may have put it there: nothing but events of operations gets into the log."""
    monkeypatch.setattr(operations, "PAGE", 2)
    strange = [("Unknown", b"{}"), ("FollowerStopped", b"{"), ("MoneyTransferred", b"{}"), ("AccountClosed", b"{}")]
    for topic, state in strange:
        await connection.execute(
            "INSERT INTO outbox (id, topic, state, created_at) VALUES ($1, $2, $3, now())", new_id(), topic, state
        )
    await outbox.add(connection, [verification(1)])
    with capture_logs() as lines:
        for _ in range(2):
            await recorder.record()
    assert [1] == [one.findings for one in await recorded(connection)]
    assert {topic for topic, _ in strange} == {line["topic"] for line in lines if line["log_level"] == "error"}
    assert 4 == len([line for line in lines if line["log_level"] == "error"])
    assert 0 == await connection.fetchval("SELECT count(*) FROM stored_events WHERE topic = 'AccountClosed'")
    assert 4 == (await outbox.read_backlog(connection)).waiting


async def test_a_clock_that_is_set_back_does_not_change_the_order(connection: Connection) -> None:
    await outbox.add(connection, [verification(1)])
    await connection.execute("UPDATE outbox SET created_at = created_at + interval '1 hour'")
    await outbox.add(connection, [verification(2)])
    assert [1, 2] == [one.findings for one in await waiting(connection)]


@pytest.fixture
async def reader_role(connection: Connection) -> AsyncIterator[str]:
    """Yield the name of a role that may only read the ledger."""
    role = f"auditor_{new_id().hex}"
    await connection.execute(
        f"""CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA ledger TO {role};
            GRANT SELECT ON ALL TABLES IN SCHEMA ledger TO {role}"""
    )
    yield role
    await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_a_role_that_may_only_read_is_told_at_once(
    settings: Settings, connection: Connection, reader_role: str
) -> None:
    limited = settings.model_copy(update={"database_url": SecretStr(serving_url(settings.database_dsn(), reader_role))})
    reason = await outbox.try_to_add(limited, [verification()])
    assert "permission denied for table outbox" == reason
    assert [] == await waiting(connection)


async def test_a_server_that_is_away_is_waited_for_within_a_bound(
    settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "PAUSE_SECONDS", 0.01)
    entry, attempts = verification(1), 0

    async def connect_late(settings: Settings) -> Any:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise ConnectionRefusedError
        return await connect(settings)

    monkeypatch.setattr(outbox, "connect", connect_late)
    assert await outbox.try_to_add(settings, [entry]) is None
    assert [1] == [one.findings for one in await waiting(connection)]

    async def refuse(_: Settings) -> Any:
        raise asyncpg.CannotConnectNowError("starting up")

    monkeypatch.setattr(outbox, "connect", refuse)
    monkeypatch.setattr(outbox, "PATIENCE_SECONDS", 0)
    assert "starting up" == await outbox.try_to_add(settings, [entry])
