"""A rebuild makes the read tables anew from the log, finds what is wrong in them, and leaves no trace.

Lessons 12, 13 and 14.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ledger.followers.follower import FOLLOWERS
from ledger.projections import INLINE
from ledger.projections.rebuild.rebuild import Outcome, cancel, rebuild, rollback
from ledger.projections.rebuild.replay import Progress
from ledger.projections.rebuild.shadow import RebuildError, format_differences
from ledger.projections.rebuild.status import Status, status
from ledger.settings import Settings
from ledger.store.pool import connect
from tests.support.controls import PASSWORD, Api, new_id
from tests.support.processes import DEADLINE_SECONDS, ledger

ALL = [projection.name for projection in INLINE]
Connection = Any  # `asyncpg.Connection` has type arguments in its stubs only


async def rebuilt(settings: Settings, names: Sequence[str] = ALL, **options: Any) -> Outcome:
    given = {"dry_run": False, "keep_old": False, "chunk": 7, "report": lambda _: None, **options}
    return await rebuild(settings, names, **given)


async def inline(settings: Settings) -> list[Status]:
    """How the projections are that can be rebuilt."""
    return [row for row in await status(settings) if row.projection in ALL]


async def comparison(settings: Settings) -> int:
    """How many rows of all tables are not what the log says."""
    return (await rebuilt(settings, dry_run=True)).differing


async def shape(connection: Connection) -> list[tuple[str, ...]]:
    """All that can be told of the live tables apart from their rows."""
    rows = await connection.fetch(
        """SELECT 'index', tablename, indexdef FROM pg_indexes WHERE schemaname = 'ledger'
           UNION ALL
           SELECT 'trigger', relname, pg_get_triggerdef(pg_trigger.oid) FROM pg_trigger
           JOIN pg_class ON pg_class.oid = tgrelid WHERE relnamespace = 'ledger'::regnamespace
           UNION ALL
           SELECT 'constraint', conname, pg_get_constraintdef(oid) FROM pg_constraint
           WHERE connamespace = 'ledger'::regnamespace
           UNION ALL
           SELECT 'table', relname, concat(reloptions, relacl) FROM pg_class
           WHERE relnamespace = 'ledger'::regnamespace AND relkind = 'r'
           UNION ALL
           SELECT 'column', attrelid::regclass::text, concat(attname, atttypid::regtype, attnotnull, attnum)
           FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
           WHERE relnamespace = 'ledger'::regnamespace AND relkind = 'r' AND attnum > 0
           ORDER BY 1, 2, 3"""
    )
    return [tuple(row) for row in rows]


async def some_history(api: Api) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two accounts, after a little of everything that can happen."""
    source, destination = await api.new_account(balance_cents=1000), await api.new_account()
    for amount_cents in range(1, 9):
        assert 200 == (await api.transfer(source, destination, amount_cents)).status
    user = await api.new_user()
    credentials = {"username": user["username"], "password": PASSWORD}
    pairs = [(await api.nobody.post("/v1/auth/login", credentials)).body for _ in range(3)]
    assert 200 == (await replace(api, token=pairs[0]["refresh_token"]).post("/v1/auth/refresh")).status
    await api.delete(f"/v1/users/{user['id']}")
    await api.new_user(username=user["username"])
    return source, destination


async def test_a_rebuilt_table_cannot_be_told_from_the_one_before(
    api: Api, settings: Settings, connection: Connection
) -> None:
    await connection.execute(
        "GRANT SELECT ON accounts, tokens TO pg_monitor WITH GRANT OPTION; GRANT ALL ON users TO PUBLIC"
    )
    await some_history(api)
    before = await shape(connection)
    outcome = await rebuilt(settings)
    assert outcome.swapped
    assert 0 == outcome.differing
    assert before == await shape(connection)
    assert 0 == await connection.fetchval("SELECT count(*) FROM pg_namespace WHERE nspname = 'ledger_rebuild'")


@pytest.mark.parametrize("chunk", [1, 2, 7, 5000])
async def test_the_rows_are_the_same_however_the_log_is_cut(api: Api, settings: Settings, chunk: int) -> None:
    """Also where a name passes from one user to another within one run."""
    await some_history(api)
    outcome = await rebuilt(settings, chunk=chunk)
    assert (0, outcome.position) == (outcome.differing, (await inline(settings))[0].position)


async def test_a_ledger_without_events_can_be_rebuilt(settings: Settings, connection: Connection) -> None:
    """Lesson 13: a rebuild that fails on zero events."""
    before = await shape(connection)
    outcome = await rebuilt(settings)
    assert (0, 0, 0, True) == (outcome.events, outcome.position, outcome.differing, outcome.swapped)
    assert before == await shape(connection)


@pytest.mark.parametrize(
    ("planted", "told"),
    [
        ("UPDATE accounts SET balance_cents = 5 WHERE balance_cents = 36", "balance_cents is 5 and should be 36"),
        ("DELETE FROM entries WHERE amount_cents = 8", "is missing"),
        ("INSERT INTO cutoffs VALUES (gen_random_uuid(), 1)", "should not be there"),
        ("UPDATE users SET roles = 'admin' WHERE roles = 'customer'", "roles is 'admin' and should be 'customer'"),
        ("UPDATE tokens SET revoked_position = NULL WHERE revoked_position IS NOT NULL", "revoked_position is None"),
        ("UPDATE sessions SET revoked_below = 0 WHERE revoked_below > 0", "revoked_below is 0 and should be"),
    ],
)
async def test_a_wrong_row_is_found_by_a_dry_run_and_repaired_by_a_rebuild(
    api: Api, settings: Settings, connection: Connection, planted: str, told: str
) -> None:
    """Lesson 12: a read model that is silently wrong."""
    await some_history(api)
    changed = int(re.findall(r"\d+", await connection.execute(planted))[-1])
    assert changed > 0
    outcome = await rebuilt(settings, dry_run=True)
    assert (changed, False) == (outcome.differing, outcome.swapped)
    assert told in "\n".join(format_differences(outcome.differences))
    assert changed == (await rebuilt(settings)).differing
    assert 0 == await comparison(settings)


async def test_the_dry_run_shows_what_is_wrong_and_fails(
    api: Api, settings: Settings, connection: Connection, tmp_path: Path
) -> None:
    await some_history(api)
    await connection.execute("UPDATE accounts SET balance_cents = 5 WHERE balance_cents = 36")
    with ledger(tmp_path, "projections", "rebuild", "--all", "--dry-run", **settings.environment()) as running:
        assert 1 == await running.status()
    assert "balance_cents is 5 and should be 36" in running.output.read_text()
    assert "1 row differs" in running.output.read_text()


async def test_only_what_is_named_is_rebuilt(api: Api, settings: Settings, connection: Connection) -> None:
    await some_history(api)
    await connection.execute("UPDATE accounts SET version = 0; UPDATE transfers SET amount_cents = 0")
    await rebuilt(settings, ["accounts"])
    outcome = await rebuilt(settings, dry_run=True)
    assert {"transfers"} == {row.table for row in outcome.differences}
    with pytest.raises(RebuildError, match="there is no projection 'balances'"):
        await rebuilt(settings, ["balances"])


async def test_revocations_after_a_rebuild_are_told(api: Api, settings: Settings, connection: Connection) -> None:
    """The triggers come along, and they did not fire for what happened long ago."""
    heard: asyncio.Queue[str] = asyncio.Queue()
    await some_history(api)
    await connection.add_listener("ledger.revoked", lambda *call: heard.put_nowait(call[3]))
    await rebuilt(settings, ["sessions"])
    assert heard.empty()
    assert 200 == (await api.post("/v1/auth/revoke-user", {"user_id": (await api.new_user())["id"]})).status
    async with asyncio.timeout(DEADLINE_SECONDS):
        await heard.get()


async def test_old_tables_that_are_kept_can_be_put_back_with_all_that_has_happened_since(
    api: Api, settings: Settings, connection: Connection
) -> None:
    source, destination = await some_history(api)
    before = await shape(connection)
    await connection.execute("UPDATE accounts SET status = 'strange' WHERE id = $1", destination["id"])
    await rebuilt(settings, keep_old=True)
    assert "open" == (await api.get(f"/v1/accounts/{destination['id']}")).body["status"]
    assert {"kept old"} == {row.state for row in await inline(settings)}
    assert 200 == (await api.transfer(source, destination, 1)).status
    back = await rollback(settings, "accounts", chunk=2, report=lambda _: None)
    assert 3 == back.events
    row = await connection.fetchrow("SELECT status, balance_cents FROM accounts WHERE id = $1", destination["id"])
    assert ("strange", 37) == tuple(row or ())
    assert before == await shape(connection)
    assert 1 == await comparison(settings)
    await rollback(settings, "accounts", chunk=2, report=lambda _: None)
    assert 0 == await comparison(settings)
    await rebuilt(settings)
    with pytest.raises(RebuildError, match="no old tables of accounts are kept"):
        await rollback(settings, "accounts", chunk=2, report=lambda _: None)


@asynccontextmanager
async def held_up(settings: Settings) -> AsyncIterator[None]:
    """Meanwhile no swap succeeds: somebody reads, and does not end."""
    reader = await connect(settings)
    async with reader.transaction():
        await reader.execute("SELECT * FROM accounts LIMIT 1")
        yield
    await reader.close()


class StopError(Exception):
    """The process is gone."""


def stop_at(count: int) -> Any:
    """Ends a rebuild after so many events."""

    def report(at: Progress) -> None:
        if at.events >= count:
            raise StopError

    return report


async def test_what_was_interrupted_goes_on_where_it_was_or_is_thrown_away(
    api: Api, settings: Settings, connection: Connection
) -> None:
    """Lesson 14: the position is written with the rows."""
    await some_history(api)
    with pytest.raises(StopError):
        await rebuilt(settings, report=stop_at(20))
    assert {"rebuilding"} == {row.state for row in await inline(settings)}
    with pytest.raises(RebuildError, match="was interrupted: give the same names"):
        await rebuilt(settings, ["users"])
    outcome = await rebuilt(settings)
    assert (21, 0) == (outcome.resumed_from, outcome.differing)
    with pytest.raises(StopError):
        await rebuilt(settings, report=stop_at(20))
    assert set(ALL) == set(await cancel(settings))
    assert not await connection.fetchval("SELECT true FROM pg_namespace WHERE nspname = 'ledger_rebuild'")
    assert {"inline"} == {row.state for row in await inline(settings)}
    assert (None, 0) == ((await rebuilt(settings)).resumed_from, await comparison(settings))


async def test_what_other_code_began_is_begun_anew(api: Api, settings: Settings, connection: Connection) -> None:
    await some_history(api)
    with pytest.raises(StopError):
        await rebuilt(settings, report=stop_at(20))
    await connection.execute("UPDATE rebuilds SET code = 'of yesterday'")
    assert (None, 0) == ((await rebuilt(settings)).resumed_from, await comparison(settings))


async def test_a_second_rebuild_is_refused_in_one_line(api: Api, settings: Settings, tmp_path: Path) -> None:
    await some_history(api)
    begun = asyncio.Event()
    first = asyncio.create_task(rebuilt(settings, chunk=1, report=lambda _: begun.set()))
    await begun.wait()
    async with held_up(settings):
        with ledger(tmp_path, "projections", "rebuild", "users", **settings.environment()) as running:
            assert 1 == await running.status()
            assert ["ledger: another rebuild is running: wait for it, or stop it with Ctrl-C"] == running.lines
    assert 0 == (await first).differing


async def test_an_event_that_cannot_be_applied_is_named_and_nothing_changes(
    api: Api, settings: Settings, connection: Connection, tmp_path: Path
) -> None:
    """Lessons 12 and 13: an error that is logged and passed over; a progress bar that hides it."""
    await some_history(api)
    before = await connection.fetchval("SELECT 'accounts'::regclass::oid")
    position = await connection.fetchval(
        """INSERT INTO stored_events (originator_id, originator_version, topic, state)
           SELECT $1, 1, topic, state FROM stored_events WHERE topic = 'AccountCredited' LIMIT 1
           RETURNING notification_id""",
        new_id(),
    )
    await connection.execute(f"ALTER TABLE entries ADD CHECK (position <> {position}) NOT VALID")
    with ledger(tmp_path, "projections", "rebuild", "--all", **settings.environment()) as running:
        assert 1 == await running.status()
        assert f"ledger: the event at position {position} cannot be applied" in running.log.read_text()
    (told,) = {row.last_error for row in await inline(settings)}
    assert f"position {position} " in str(told)
    assert before == await connection.fetchval("SELECT 'accounts'::regclass::oid")


async def test_an_event_that_cannot_be_read_is_named(api: Api, settings: Settings, connection: Connection) -> None:
    await some_history(api)
    await connection.execute(
        "INSERT INTO stored_events (originator_id, originator_version, topic, state) VALUES ($1, 1, 'Other', '{}')",
        new_id(),
    )
    with pytest.raises(RebuildError, match=r"the log cannot be read after position .*: unknown topic: Other"):
        await rebuilt(settings)


async def test_a_view_that_would_go_on_to_read_the_old_table_is_named(
    settings: Settings, connection: Connection
) -> None:
    await connection.execute("CREATE VIEW rich AS SELECT * FROM accounts WHERE balance_cents > 100")
    with pytest.raises(RebuildError, match=r"the view .*rich reads accounts"):
        await rebuilt(settings)


async def test_every_command_speaks_json(api: Api, settings: Settings, tmp_path: Path) -> None:
    await some_history(api)
    said = {}
    for number, arguments in enumerate(
        (["list"], ["status"], ["rebuild", "users", "--keep-old"], ["rollback", "users"], ["cancel"])
    ):
        with ledger(tmp_path / str(number), "projections", *arguments, "--json", **settings.environment()) as running:
            assert 0 == await running.status(), running.log.read_text()
            said[arguments[0]] = json.loads(running.output.read_text())
    assert [*ALL, *FOLLOWERS] == [row["name"] for row in said["list"]] == [row["projection"] for row in said["status"]]
    assert (0, True) == (said["rebuild"]["differing"], said["rebuild"]["swapped"])
    assert said["rollback"]["swapped"]
    assert {"cancelled": []} == said["cancel"]
