"""Followers report their progress, and stop at an event that they cannot apply until they are resumed.

Lessons 10 to 14.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from ledger.followers import follower
from ledger.followers.follower import Follower, FollowerProgress, FollowerStatus, follow
from ledger.projections.rebuild.status import Status, status
from ledger.settings import Settings
from ledger.store.pool import connect
from tests.support.following import Counting, append, following, shown
from tests.support.outages import are_gone
from tests.support.processes import run_ledger, until
from tests.support.sealed import Sealed
from tests.support.serving import serving

Connection = Any  # asyncpg's, which is generic for type checkers only


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(follower, "POLL_SECONDS", 0.01)


async def is_in(connection: Connection, state: str) -> FollowerStatus | None:
    found = await shown(connection)
    return found if found.state == state else None


async def is_at(connection: Connection, position: int) -> FollowerStatus | None:
    found = await shown(connection)
    return found if found.position == position else None


async def test_an_event_that_cannot_be_applied_stops_a_follower_until_it_is_resumed(
    settings: Settings, connection: Connection
) -> None:
    """Lesson 12: a projection that logs an error and goes on."""
    first = await append(connection)
    poison, after = await append(connection, "Strange"), await append(connection)
    counting = Counting("Strange")
    with capture_logs() as said:
        async with following(counting, lambda: connect(settings)):
            stopped = await until(lambda: is_in(connection, "stopped"))
            why = (stopped.error_position, stopped.error_topic, stopped.error)
            assert (poison, "Strange", "it counts for nothing") == why
            assert ([first], 1) == (counting.seen, counting.steps)
            counting.poison = "none"  # the fix
            assert stopped.position == await follower.resume(connection, "seals")
            going_on = await until(lambda: is_at(connection, after))
            assert [first, poison, after] == counting.seen
            assert ("following", None, None, None) == (going_on.state, *going_on[-3:])
    assert [poison] == [line["position"] for line in said if line["log_level"] == "error"]
    assert None is await follower.resume(connection, "seals")


async def test_a_follower_resumed_before_the_fix_stops_at_the_same_event(
    settings: Settings, connection: Connection
) -> None:
    """Lesson 12."""
    poison = await append(connection, "Strange")
    counting = Counting("Strange")
    async with following(counting, lambda: connect(settings)):
        for attempt in (1, 2, 3):
            stopped = await until(lambda: is_in(connection, "stopped"))
            assert (poison, attempt) == (stopped.error_position, counting.steps)
            await follower.resume(connection, "seals")
    assert [] == counting.seen


async def test_a_stop_is_remembered_and_a_new_process_tries_once_more(
    settings: Settings, connection: Connection
) -> None:
    """A new process may have the fix. A stop is shown while no process runs."""
    poison = await append(connection, "Strange")
    async with following(Counting("Strange"), lambda: connect(settings)):
        await until(lambda: is_in(connection, "stopped"))
    assert "stopped" == (await shown(connection)).state
    async with following(Counting("Strange"), lambda: connect(settings)):
        await until(lambda: is_in(connection, "stopped"))
    fixed = Counting()
    async with following(fixed, lambda: connect(settings)):
        await until(lambda: is_in(connection, "following"))
    assert [poison] == fixed.seen
    await until(lambda: is_in(connection, "not running"))


async def test_one_process_leads_and_another_takes_over_without_gap_or_double(
    settings: Settings, connection: Connection
) -> None:
    """Lessons 9 and 14."""
    first, second = Counting(), Counting()
    position = await append(connection)
    async with following(second, lambda: connect(settings)):
        await until(lambda: second.seen)
        async with following(first, lambda: connect(settings)):
            await until(lambda: first.steps)
        assert ([], [position]) == (first.seen, second.seen)
    async with following(first, lambda: connect(settings)):
        await until(lambda: first.seen)
    assert [position] == first.seen


async def test_a_lost_connection_is_reopened_and_the_error_is_shown_until_then(
    settings: Settings, connection: Connection
) -> None:
    """Lesson 10: a dropped connection is never reopened."""
    counting, works = Counting(), asyncio.Event()

    async def step(one: Connection, leads: bool) -> FollowerProgress:
        if not works.is_set():
            raise TimeoutError("nothing came")
        return await counting.step(one, leads)

    task = asyncio.create_task(follow(Follower("seals", step, counting.rest), lambda: connect(settings)))
    await until(lambda: shows_error(connection, "nothing came"))
    works.set()
    first = await append(connection)
    await until(lambda: counting.seen)
    await until(lambda: shows_error(connection, None))
    rows = await connection.fetch(
        "SELECT pid, pg_terminate_backend(pid) FROM pg_locks WHERE classid = 'followers'::regclass"
    )
    await until(lambda: are_gone(connection, [row["pid"] for row in rows]))
    second = await append(connection)
    await until(lambda: len(counting.seen) > 1)
    assert [first, second] == counting.seen
    task.cancel()
    await asyncio.wait((task,))


async def shows_error(connection: Connection, error: str | None) -> bool:
    return (await shown(connection)).error == error


# The followers of the service.


async def status_of(settings: Settings, name: str) -> Status:
    return next(row for row in await status(settings) if row.projection == name)


async def reaches_the_end(settings: Settings, name: str) -> Status | None:
    row = await status_of(settings, name)
    return row if (row.state, row.lag_events, row.last_error) == ("following", 0, None) else None


async def test_the_status_shows_both_followers_of_a_service_at_the_end_of_the_log(
    settings: Settings, key_file: Path, tmp_path: Path
) -> None:
    """Lesson 11: a follower also passes events that it does not handle."""
    variables = {**settings.environment(), "LEDGER_SEAL_KEY_FILE": str(key_file)}
    with serving(tmp_path, settings, workers=2, variables={"LEDGER_SEAL_KEY_FILE": str(key_file)}) as running:
        await running.url()
        for name in ("mirror", "seals"):
            row = await until(lambda name=name: reaches_the_end(settings, name))
            assert 0.0 == row.lag_seconds

        async def shows_both() -> bool:
            ran = await run_ledger("projections", "status", "--json", variables=variables)
            assert 0 == ran.status, ran.error
            return {"inline", "following"} == {row["state"] for row in ran.document}

        await until(shows_both)  # Redis may be slow to answer at any one time
        assert 0 == await running.stop()


async def test_the_revocation_cache_stops_at_a_session_that_redis_cannot_hold(
    settings: Settings, connection: Connection, serve: Any
) -> None:
    api = await serve(settings)
    await until(lambda: reaches_the_end(settings, "mirror"))
    position = await connection.fetchval("SELECT max(position) FROM sessions")
    await connection.execute(
        "UPDATE sessions SET expires_at = 'infinity', revoked_below = $1, revoked_position = $1", position
    )
    stopped = await until(lambda: stops(settings, "mirror"))
    assert (position, "TokensIssued") == (stopped.error_position, stopped.error_topic)
    assert 200 == (await api.get("/v1/health")).status
    await connection.execute("UPDATE sessions SET expires_at = now()")
    await follower.resume(connection, "mirror")
    await until(lambda: reaches_the_end(settings, "mirror"))


async def stops(settings: Settings, name: str) -> Status | None:
    row = await status_of(settings, name)
    return row if row.state == "stopped" else None


async def test_sealing_stops_at_an_event_without_a_leaf_until_it_is_repaired_and_resumed(
    settings: Settings, sealed: Sealed, key_file: Path, tmp_path: Path
) -> None:
    variables = {**settings.environment(), "LEDGER_SEAL_KEY_FILE": str(key_file)}
    poison = await append(sealed.connection)
    (recorded_at,) = await sealed.connection.fetchrow(
        "SELECT recorded_at FROM stored_events WHERE notification_id = $1", poison
    )
    # No event is earlier than the one before it, so a time in the future would also be that of all later events.
    await sealed.tamper(f"UPDATE stored_events SET recorded_at = '-infinity' WHERE notification_id = {poison}")
    with serving(tmp_path, settings, variables={"LEDGER_SEAL_KEY_FILE": str(key_file)}) as running:
        stopped = await until(lambda: stops(settings, "seals"))
        assert (poison, "NameClaimed") == (stopped.error_position, stopped.error_topic)
        assert 1 == len(await until(lambda: running.logged("a follower has stopped")))
        shown = await run_ledger("projections", "status", variables=variables)
        assert 0 == shown.status
        assert f"position {poison}, NameClaimed: a column must have a value" in shown.output
        await sealed.tamper(f"UPDATE stored_events SET recorded_at = '{recorded_at}' WHERE notification_id = {poison}")
        resumed = await run_ledger("projections", "resume", "seals", variables=variables)
        assert 0 == resumed.status, resumed.error
        await until(lambda: reaches_the_end(settings, "seals"))
        assert [] == await sealed.findings()
        assert 0 == await running.stop()


@pytest.mark.parametrize(
    ("name", "exit_status", "line"),
    [
        ("seals", 1, "ledger: seals has not stopped: see `ledger projections status`"),
        ("accounts", 2, "ledger: there is no follower 'accounts': mirror, seals, crossings, nats, kafka, deliveries"),
    ],
)
async def test_only_a_stopped_follower_can_be_resumed(
    settings: Settings, name: str, exit_status: int, line: str
) -> None:
    ran = await run_ledger("projections", "resume", name, variables=settings.environment())
    assert (exit_status, [line]) == (ran.status, ran.error.splitlines())
