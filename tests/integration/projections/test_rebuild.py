"""A rebuild computes the read tables from the log, finds wrong rows, and leaves nothing else behind.

Lessons 12, 13 and 14.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from ledger.followers.follower import BROKERS, FOLLOWERS
from ledger.projections import INLINE
from ledger.projections.rebuild.rebuild import Outcome, cancel, rebuild, rollback
from ledger.projections.rebuild.replay import Progress
from ledger.projections.rebuild.shadow import RebuildError, format_differences
from ledger.projections.rebuild.status import Status, status
from ledger.settings import Settings
from ledger.store.citus import find_table
from ledger.store.pool import connect
from tests.support.controls import PASSWORD, Api, new_id
from tests.support.processes import DEADLINE_SECONDS, run_ledger

ALL = [projection.name for projection in INLINE]
Connection = Any  # `asyncpg.Connection` has type arguments in its stubs only


async def run_rebuild(settings: Settings, names: Sequence[str] = ALL, **options: Any) -> Outcome:
    given = {"dry_run": False, "keep_old": False, "chunk": 7, "report": lambda _: None, **options}
    return await rebuild(settings, names, **given)


async def inline_status(settings: Settings) -> list[Status]:
    """Return the status of each projection that can be rebuilt."""
    return [row for row in await status(settings) if row.projection in ALL]


async def count_differences(settings: Settings) -> int:
    """Return how many rows of all tables differ from the log."""
    return (await run_rebuild(settings, dry_run=True)).differing


async def shape(connection: Connection) -> list[tuple[str, ...]]:
    """Return the whole schema of the live tables."""
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


async def create_history(api: Api) -> tuple[dict[str, Any], dict[str, Any]]:
    """Create two accounts with a few commands of every kind."""
    source, destination = await api.new_account(balance_cents=1000), await api.new_account()
    for amount_cents in range(1, 9):
        assert 200 == (await api.transfer(source, destination, amount_cents)).status
    for account, code in ((source, "till"), (source, None), (destination, "till"), (source, "bank")):
        labelled = await api.patch(f"/v1/accounts/{account['id']}", {"code": code, "metadata": {"a": code}})
        assert 200 == labelled.status
    paid = await api.transfer(source, destination, 9)
    assert 200 == (await api.patch(f"/v1/transactions/{paid.body['id']}", {"description": "amended"})).status
    user = await api.new_user()
    credentials = {"username": user["username"], "password": PASSWORD}
    pairs = [(await api.nobody.post("/v1/auth/login", credentials)).body for _ in range(3)]
    assert 200 == (await replace(api, token=pairs[0]["refresh_token"]).post("/v1/auth/refresh")).status
    await api.delete(f"/v1/users/{user['id']}")
    await api.new_user(username=user["username"])
    return source, destination


async def test_a_rebuilt_table_has_the_schema_of_the_one_before(
    api: Api, settings: Settings, connection: Connection
) -> None:
    await connection.execute(
        "GRANT SELECT ON accounts, tokens TO pg_monitor WITH GRANT OPTION; GRANT ALL ON users TO PUBLIC"
    )
    await create_history(api)
    before = await shape(connection)
    outcome = await run_rebuild(settings)
    assert outcome.swapped
    assert 0 == outcome.differing
    assert before == await shape(connection)
    assert 0 == await connection.fetchval("SELECT count(*) FROM pg_namespace WHERE nspname = 'ledger_rebuild'")


@pytest.mark.parametrize("chunk", [1, 2, 7, 5000])
async def test_the_rows_are_the_same_for_every_size_of_chunk(api: Api, settings: Settings, chunk: int) -> None:
    """This holds where a name passes from one user to another, or a code between accounts, within one chunk."""
    await create_history(api)
    outcome = await run_rebuild(settings, chunk=chunk)
    assert (0, outcome.position) == (outcome.differing, (await inline_status(settings))[0].position)


async def test_a_ledger_without_events_can_be_rebuilt(settings: Settings, connection: Connection) -> None:
    """Lesson 13: a rebuild that fails on zero events."""
    before = await shape(connection)
    outcome = await run_rebuild(settings)
    assert (0, 0, 0, True) == (outcome.events, outcome.position, outcome.differing, outcome.swapped)
    assert before == await shape(connection)


@pytest.mark.parametrize(
    ("planted", "shown"),
    [
        ("UPDATE accounts SET balance_cents = 5 WHERE balance_cents = 45", "balance_cents is 5 and should be 45"),
        ("DELETE FROM transfers WHERE amount_cents = 8", "is missing"),
        ("INSERT INTO cutoffs VALUES (gen_random_uuid(), 1)", "should not be there"),
        ("UPDATE users SET roles = 'admin' WHERE roles = 'customer'", "roles is 'admin' and should be 'customer'"),
        ("UPDATE tokens SET revoked_position = NULL WHERE revoked_position IS NOT NULL", "revoked_position is None"),
        ("UPDATE sessions SET revoked_below = 0 WHERE revoked_below > 0", "revoked_below is 0 and should be"),
    ],
)
async def test_a_wrong_row_is_found_by_a_dry_run_and_repaired_by_a_rebuild(
    api: Api, settings: Settings, connection: Connection, planted: str, shown: str
) -> None:
    """Lesson 12: a read model that is silently wrong."""
    await create_history(api)
    changed = int(re.findall(r"\d+", await connection.execute(planted))[-1])
    assert changed > 0
    outcome = await run_rebuild(settings, dry_run=True)
    assert (changed, False) == (outcome.differing, outcome.swapped)
    assert shown in "\n".join(format_differences(outcome.differences))
    assert changed == (await run_rebuild(settings)).differing
    assert 0 == await count_differences(settings)


async def test_the_dry_run_shows_what_is_wrong_and_fails(api: Api, settings: Settings, connection: Connection) -> None:
    await create_history(api)
    await connection.execute("UPDATE accounts SET balance_cents = 5 WHERE balance_cents = 45")
    ran = await run_ledger("projections", "rebuild", "--all", "--dry-run", variables=settings.environment())
    assert 1 == ran.status
    assert "balance_cents is 5 and should be 45" in ran.output
    assert "1 row differs" in ran.output


async def test_only_named_projections_are_rebuilt(api: Api, settings: Settings, connection: Connection) -> None:
    await create_history(api)
    await connection.execute("UPDATE accounts SET version = 0; UPDATE transfers SET amount_cents = 0")
    await run_rebuild(settings, ["accounts"])
    outcome = await run_rebuild(settings, dry_run=True)
    assert {"transfers"} == {row.table for row in outcome.differences}
    with pytest.raises(RebuildError, match="there is no projection 'balances'"):
        await run_rebuild(settings, ["balances"])


async def test_revocations_after_a_rebuild_send_notifications(
    api: Api, settings: Settings, connection: Connection
) -> None:
    """The new tables have the triggers, which did not fire for old revocations."""
    notified: asyncio.Queue[str] = asyncio.Queue()
    await create_history(api)
    await connection.add_listener(f"{settings.ledger_schema}.revoked", lambda *call: notified.put_nowait(call[3]))
    await run_rebuild(settings, ["sessions"])
    assert notified.empty()
    assert 200 == (await api.post("/v1/auth/revoke-user", {"user_id": (await api.new_user())["id"]})).status
    async with asyncio.timeout(DEADLINE_SECONDS):
        await notified.get()


async def test_a_rollback_to_kept_tables_has_all_later_events(
    api: Api, settings: Settings, connection: Connection
) -> None:
    source, destination = await create_history(api)
    before = await shape(connection)
    await connection.execute("UPDATE accounts SET status = 'strange' WHERE id = $1", destination["id"])
    await run_rebuild(settings, keep_old=True)
    assert "open" == (await api.get(f"/v1/accounts/{destination['id']}")).body["status"]
    assert {"kept old"} == {row.state for row in await inline_status(settings)}
    assert 200 == (await api.transfer(source, destination, 1)).status
    back = await rollback(settings, "accounts", chunk=2, report=lambda _: None)
    assert 3 == back.events
    row = await connection.fetchrow("SELECT status, balance_cents FROM accounts WHERE id = $1", destination["id"])
    assert ("strange", 46) == tuple(row or ())
    assert before == await shape(connection)
    assert 1 == await count_differences(settings)
    await rollback(settings, "accounts", chunk=2, report=lambda _: None)
    assert 0 == await count_differences(settings)
    await run_rebuild(settings)
    with pytest.raises(RebuildError, match="no old tables of accounts are kept"):
        await rollback(settings, "accounts", chunk=2, report=lambda _: None)


@asynccontextmanager
async def blocked_swaps(settings: Settings) -> AsyncIterator[None]:
    """Prevent swaps with a reader whose transaction stays open."""
    reader = await connect(settings)
    async with reader.transaction():
        await reader.execute("SELECT * FROM accounts LIMIT 1")
        yield
    await reader.close()


class StopError(Exception):
    """Raised instead of a crash."""


def stop_at(count: int) -> Any:
    """Return a progress report that stops the rebuild after `count` events."""

    def report(at: Progress) -> None:
        if at.events >= count:
            raise StopError

    return report


async def test_an_interrupted_rebuild_resumes_or_is_cancelled(
    api: Api, settings: Settings, connection: Connection
) -> None:
    """Lesson 14: the position is written with the rows."""
    await create_history(api)
    with pytest.raises(StopError):
        await run_rebuild(settings, report=stop_at(20))
    assert {"rebuilding"} == {row.state for row in await inline_status(settings)}
    with pytest.raises(RebuildError, match="was interrupted: give the same names"):
        await run_rebuild(settings, ["users"])
    outcome = await run_rebuild(settings)
    assert (21, 0) == (outcome.resumed_from, outcome.differing)
    with pytest.raises(StopError):
        await run_rebuild(settings, report=stop_at(20))
    assert set(ALL) == set(await cancel(settings))
    assert not await connection.fetchval("SELECT true FROM pg_namespace WHERE nspname = 'ledger_rebuild'")
    assert {"inline"} == {row.state for row in await inline_status(settings)}
    assert (None, 0) == ((await run_rebuild(settings)).resumed_from, await count_differences(settings))


async def test_a_rebuild_that_other_code_began_starts_over(
    api: Api, settings: Settings, connection: Connection
) -> None:
    await create_history(api)
    with pytest.raises(StopError):
        await run_rebuild(settings, report=stop_at(20))
    await connection.execute("UPDATE rebuilds SET code = 'of yesterday'")
    assert (None, 0) == ((await run_rebuild(settings)).resumed_from, await count_differences(settings))


async def test_a_second_rebuild_is_refused_in_one_line(api: Api, settings: Settings) -> None:
    await create_history(api)
    begun = asyncio.Event()
    first = asyncio.create_task(run_rebuild(settings, chunk=1, report=lambda _: begun.set()))
    await begun.wait()
    async with blocked_swaps(settings):
        ran = await run_ledger("projections", "rebuild", "users", variables=settings.environment())
        expected = "ledger: another rebuild is running: wait for it, or stop it with Ctrl-C"
        assert (1, [expected]) == (ran.status, ran.error.splitlines())
    assert 0 == (await first).differing


async def test_an_event_that_cannot_be_applied_is_named_and_changes_nothing(
    api: Api, settings: Settings, connection: Connection
) -> None:
    """Lessons 12 and 13: an error that is logged and passed over; a progress bar that hides it."""
    await create_history(api)
    before = await connection.fetchval("SELECT 'accounts'::regclass::oid")
    position = await connection.fetchval(
        """INSERT INTO stored_events (originator_id, originator_version, topic, state)
           SELECT $1, 1, topic, state FROM stored_events WHERE topic = 'MoneyTransferred' LIMIT 1
           RETURNING notification_id""",
        new_id(),
    )
    transfers = await find_table(connection, "transfers")
    await connection.execute(f"ALTER TABLE {transfers} ADD CONSTRAINT bad CHECK (position <> {position}) NOT VALID")
    ran = await run_ledger("projections", "rebuild", "--all", variables=settings.environment())
    assert (1, True) == (ran.status, f"ledger: the event at position {position} cannot be applied" in ran.error)
    (error,) = {row.last_error for row in await inline_status(settings)}
    assert f"position {position} " in str(error)
    assert before == await connection.fetchval("SELECT 'accounts'::regclass::oid")
    await connection.execute(f"ALTER TABLE {transfers} DROP CONSTRAINT bad")


async def test_an_event_that_cannot_be_read_is_named(api: Api, settings: Settings, connection: Connection) -> None:
    await create_history(api)
    await connection.execute(
        "INSERT INTO stored_events (originator_id, originator_version, topic, state) VALUES ($1, 1, 'Other', '{}')",
        new_id(),
    )
    with pytest.raises(RebuildError, match=r"the log cannot be read after position .*: unknown topic: Other"):
        await run_rebuild(settings)


async def test_a_view_that_would_still_read_the_old_table_is_named(settings: Settings, connection: Connection) -> None:
    await connection.execute("CREATE VIEW rich AS SELECT * FROM accounts WHERE balance_cents > 100")
    with pytest.raises(RebuildError, match=r"the view .*rich reads accounts"):
        await run_rebuild(settings)


async def test_every_command_prints_json(api: Api, settings: Settings) -> None:
    await create_history(api)
    said = {}
    for arguments in (["list"], ["status"], ["rebuild", "users", "--keep-old"], ["rollback", "users"], ["cancel"]):
        ran = await run_ledger("projections", *arguments, "--json", variables=settings.environment())
        assert 0 == ran.status, ran.error
        said[arguments[0]] = ran.document
    assert [*ALL, *FOLLOWERS] == [row["name"] for row in said["list"]]
    assert [*ALL, *(name for name in FOLLOWERS if name not in BROKERS)] == [row["projection"] for row in said["status"]]
    assert (0, True) == (said["rebuild"]["differing"], said["rebuild"]["swapped"])
    assert said["rollback"]["swapped"]
    assert {"cancelled": []} == said["cancel"]
