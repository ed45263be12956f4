"""The rows of reconciliations, however their events are divided into runs, and after a rebuild."""

from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest

from ledger.events import Recorded
from ledger.projections.reconciliations import HANDLED, RECONCILED_ENTRIES, RECONCILIATIONS, apply
from ledger.runtime import Runtime
from ledger.settings import Settings
from ledger.store.connections import Connection
from ledger.store.statements import Statement, accept_encoded_arrays, run_together
from ledger.values.ids import new_id
from ledger.write.group import Origin
from tests.support.ledgers import ACCOUNTS, Ledger
from tests.support.processes import run_ledger
from tests.support.reconciliation_commands import read_matched, reconcile, undo

AT = datetime(2026, 6, 1, tzinfo=UTC)
NOTHING = Statement("SELECT 0::bigint AS first_position, NULL::timestamptz AS recorded_at", ())
TABLES = (RECONCILIATIONS, RECONCILED_ENTRIES)


def live(random: Random, ledger: Ledger, steps: int) -> None:
    for _ in range(steps):
        account = random.choice(ACCOUNTS[:2])
        versions = frozenset(random.sample(range(1, 6), 2))
        is_undone = random.random() < 0.4
        ledger.execute(undo(ledger, account, True) if is_undone else reconcile(ledger, account, versions, True))


async def read_rows(connection: Connection) -> list[Any]:
    return [await connection.fetch(f"SELECT * FROM {table.name} ORDER BY {', '.join(table.key)}") for table in TABLES]


async def write(connection: Connection, events: Sequence[Recorded]) -> None:
    statements = apply(events)
    if statements:
        with accept_encoded_arrays(connection):
            await run_together(connection, NOTHING, statements)


@pytest.mark.parametrize("seed", range(8))
async def test_any_division_into_runs_gives_the_same_rows(connection: Connection, seed: int) -> None:
    random, ledger = Random(seed), Ledger()  # noqa: S311 - the same history each time
    live(random, ledger, 25)
    events = [
        Recorded(number, row.stream_id, row.version, AT, row.event)
        for number, row in enumerate(ledger.history, 1)
        if type(row.event) in HANDLED
    ]
    found = []
    for size in (1, 3, len(events)):
        for table in TABLES:
            await connection.execute(f"DELETE FROM {table.name}")
        for start in range(0, len(events), size):
            await write(connection, events[start : start + size])
        found.append(await read_rows(connection))
    assert [found[0]] * 3 == found
    expected = {(version, run_id) for account in ACCOUNTS for version, run_id in read_matched(ledger, account).items()}
    assert expected == {(row["version"], row["reconciliation_id"]) for row in found[0][1]}


async def test_a_rebuild_gives_the_same_rows(runtime: Runtime, connection: Connection, settings: Settings) -> None:
    random, ledger = Random(1), Ledger()  # noqa: S311 - as above
    live(random, ledger, 25)
    for command in [command for command, events in ledger.steps if events]:
        await runtime.committer.submit(command, Origin(new_id()))
    rows = await read_rows(connection)
    assert all(rows)
    for chunk in ("1", "1000"):
        ran = await run_ledger(
            "projections", "rebuild", "reconciliations", "--chunk", chunk, variables=settings.environment()
        )
        assert 0 == ran.status, ran.error
        assert rows == await read_rows(connection)
    ran = await run_ledger("audit", "verify", variables=settings.environment())
    assert 0 == ran.status, ran.output
    await connection.execute("UPDATE reconciled_entries SET line_day = '2020-01-01'")
    ran = await run_ledger("audit", "verify", variables=settings.environment())
    assert (1, True) == (ran.status, "reconciled_entries" in ran.output + ran.error)
