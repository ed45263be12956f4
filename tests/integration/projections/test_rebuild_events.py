"""The end of a rebuild is an event, which is put into the outbox together with what the rebuild changes."""

from typing import Any

import pytest

from ledger.projections import INLINE
from ledger.projections.rebuild.rebuild import Outcome, cancel, rebuild, rollback
from ledger.projections.rebuild.replay import Progress
from ledger.projections.rebuild.shadow import RebuildError
from ledger.runtime import Runtime
from ledger.settings import Settings
from ledger.store import outbox
from ledger.store.outbox import Cause
from ledger.store.reader import log_end
from ledger.values.ids import new_id
from ledger.write.operations import OperationRecorder
from tests.support.operation_events import read_commands, recorded, waiting
from tests.support.processes import run_ledger

ALL = [projection.name for projection in INLINE]
Connection = Any  # `asyncpg.Connection` has type arguments in its stubs only


async def run_rebuild(settings: Settings, *names: str, **options: Any) -> Outcome:
    given = {"dry_run": False, "keep_old": False, "chunk": 1000, "report": lambda _: None, **options}
    return await rebuild(settings, names, **given)


class StopError(Exception):
    """Raised instead of a crash."""


def stop(at: Progress) -> None:
    if at.events:
        raise StopError


async def test_a_comparison_and_a_swap_count_the_wrong_rows_of_each_projection(
    busy: Runtime, settings: Settings, connection: Connection
) -> None:
    end = await log_end(connection)
    await connection.execute("UPDATE accounts SET status = 'strange' WHERE balance_cents > 0")
    wrong = await connection.fetchval("SELECT count(*) FROM accounts WHERE status = 'strange'")
    cause = Cause(new_id(), actor_id=new_id())
    compared = await run_rebuild(settings, "accounts", "users", dry_run=True, cause=cause)
    assert wrong == compared.differing > 0
    found = {one.projection: one for one in await waiting(connection)}
    assert {"accounts": wrong, "users": 0} == {name: one.differing for name, one in found.items()}
    assert {("compared", cause.operation_id, compared.position)} == {
        (one.outcome, one.operation_id, one.position) for one in found.values()
    }

    await run_rebuild(settings, "accounts")
    await run_rebuild(settings, "accounts")
    await OperationRecorder(busy.pool, busy.committer).record()
    swapped = [one for one in await recorded(connection, end) if one.outcome == "swapped"]
    assert [wrong, 0] == [one.differing for one in swapped]
    assert 2 * [("RecordRebuild", cause.actor_id, None)] == (await read_commands(connection, end))[:2]
    assert [] == await waiting(connection)


async def test_the_end_of_a_rebuild_is_recorded_only_if_the_tables_are_swapped(
    busy: Runtime, settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lesson 14: as a checkpoint, it is written in the transaction of its effect."""
    del busy
    before = await connection.fetchval("SELECT 'accounts'::regclass::oid")

    async def die(*_: object) -> None:
        raise StopError

    with monkeypatch.context() as dying:
        dying.setattr(outbox, "add", die)
        with pytest.raises(StopError):
            await run_rebuild(settings, "accounts")
    assert before == await connection.fetchval("SELECT 'accounts'::regclass::oid")
    assert [] == await waiting(connection)
    await run_rebuild(settings, "accounts")
    assert ["swapped"] == [one.outcome for one in await waiting(connection)]


async def test_an_interrupted_rebuild_has_no_end_until_it_is_cancelled(
    busy: Runtime, settings: Settings, connection: Connection
) -> None:
    del busy
    with pytest.raises(StopError):
        await run_rebuild(settings, "accounts", "users", report=stop)
    with pytest.raises(RebuildError, match="was interrupted"):
        await run_rebuild(settings, "tokens")
    assert [] == await waiting(connection)
    await cancel(settings)
    found = await waiting(connection)
    assert {("accounts", "cancelled", None), ("users", "cancelled", None)} == {
        (one.projection, one.outcome, one.differing) for one in found
    }
    assert [] == await cancel(settings)
    assert found == await waiting(connection)


async def test_what_was_compared_can_be_cancelled_and_both_are_recorded(
    busy: Runtime, settings: Settings, connection: Connection
) -> None:
    cause, end = Cause(new_id()), await log_end(connection)
    await run_rebuild(settings, "accounts", dry_run=True, leaves_shadows=True, cause=cause)
    await cancel(settings, cause, ["accounts"])
    await OperationRecorder(busy.pool, busy.committer).record()
    assert ["compared", "cancelled"] == [one.outcome for one in await recorded(connection, end)]


async def test_a_failure_is_recorded_without_what_postgresql_says_about_rows(
    busy: Runtime, settings: Settings, connection: Connection
) -> None:
    end = await log_end(connection)
    await connection.execute("ALTER TABLE users ADD CONSTRAINT bad CHECK (username <> 'dan') NOT VALID")
    ran = await run_ledger("projections", "rebuild", "users", "assets", variables=settings.environment())
    assert 1 == ran.status
    await connection.execute("ALTER TABLE users DROP CONSTRAINT bad")
    found = await waiting(connection)
    assert {"users", "assets"} == {one.projection for one in found}
    assert {("failed", "CheckViolationError")} == {(one.outcome, one.reason) for one in found}
    await OperationRecorder(busy.pool, busy.committer).record()
    assert 2 * [("RecordRebuild", None, "ledger-projections")] == await read_commands(connection, end)


async def test_a_rollback_is_recorded(busy: Runtime, settings: Settings, connection: Connection) -> None:
    del busy
    await run_rebuild(settings, "users", keep_old=True)
    await rollback(settings, "users", chunk=100, report=lambda _: None)
    swapped, back = await waiting(connection)
    assert ("swapped", "rolled_back", None) == (swapped.outcome, back.outcome, back.differing)


async def test_all_projections_have_an_event_each(busy: Runtime, settings: Settings, connection: Connection) -> None:
    del busy
    ran = await run_ledger("projections", "rebuild", "--all", "--json", variables=settings.environment())
    assert 0 == ran.status, ran.error
    found = await waiting(connection)
    assert sorted(ALL) == sorted(one.projection for one in found)
    assert 1 == len({one.operation_id for one in found})
    assert {("swapped", 0)} == {(one.outcome, one.differing) for one in found}
