"""The projection of the examples and that of the `eventsourcing` library fill the same table, and resume."""

import asyncio
from typing import Any

from examples import turnover
from examples.turnover_with_the_library import runner
from ledger.commands.transfers import TransferMoney
from ledger.runtime import Runtime
from ledger.settings import Settings
from ledger.store.library import environment
from ledger.values.ids import new_id
from ledger.write.group import Origin
from tests.support.processes import DEADLINE_SECONDS
from tests.support.traffic import EUROS, MORE_EUROS

ROWS = "SELECT account_id, entries, credited_cents, debited_cents FROM turnover.{} ORDER BY account_id"
EXPECTED = """SELECT account_id, count(*), coalesce(sum(amount_cents) FILTER (WHERE amount_cents > 0), 0),
                     coalesce(-sum(amount_cents) FILTER (WHERE amount_cents < 0), 0)
              FROM entries GROUP BY account_id ORDER BY account_id"""


async def tables(connection: Any) -> list[list[tuple[Any, ...]]]:
    queries = (EXPECTED, ROWS.format("accounts"), ROWS.format("library_accounts"))
    return [[tuple(row) for row in await connection.fetch(query)] for query in queries]


def run_library(settings: Settings, position: int) -> None:
    with runner(environment(settings)) as running:
        running.wait(position, timeout=DEADLINE_SECONDS)


async def test_both_projections_have_the_turnover_of_the_entries(
    busy: Runtime, settings: Settings, connection: Any
) -> None:
    """A stock `ProjectionRunner` works on a ledger's database. Lessons 11 and 14."""
    await connection.execute(turnover.TABLES)
    last_entry = "SELECT max(position) FROM entries"
    for _ in range(2):
        while await turnover.step(connection):
            pass
        await asyncio.to_thread(run_library, settings, await connection.fetchval(last_entry))
        expected, ours, librarys = await tables(connection)
        assert expected == ours == librarys
        head = await connection.fetchval("SELECT max(notification_id) FROM stored_events")
        assert head == await connection.fetchval("SELECT position FROM turnover.position")
        await busy.committer.submit(
            TransferMoney(
                transaction_id=new_id(), source_account_id=MORE_EUROS, destination_account_id=EUROS, amount_cents=1
            ),
            Origin(new_id()),
        )
