"""The turnover of every account, kept with the ledger's own means: `python -m examples.turnover`."""

import asyncio
from collections.abc import Sequence

from ledger.events import Recorded
from ledger.events.accounts import AccountCredited, AccountDebited
from ledger.settings import Settings
from ledger.store import reader as event_reader
from ledger.store.connections import Connection
from ledger.store.pool import connect
from ledger.store.statements import Statement, columns, integers, uuids

PAUSE_SECONDS = 1.0
TABLES = """
CREATE SCHEMA IF NOT EXISTS turnover;
CREATE TABLE IF NOT EXISTS turnover.accounts (
    account_id uuid PRIMARY KEY,
    entries bigint NOT NULL, credited_cents numeric NOT NULL, debited_cents numeric NOT NULL
);
CREATE TABLE IF NOT EXISTS turnover.position (position bigint NOT NULL);
INSERT INTO turnover.position SELECT 0 WHERE NOT EXISTS (SELECT FROM turnover.position);
"""


def apply(events: Sequence[Recorded]) -> list[Statement]:
    """Return the statements that apply these events to the table; other events of the log are skipped."""
    entries = [(row.stream_id, row.event) for row in events if isinstance(row.event, AccountDebited | AccountCredited)]
    credited = [event.amount_cents if isinstance(event, AccountCredited) else 0 for _, event in entries]
    debited = [event.amount_cents if isinstance(event, AccountDebited) else 0 for _, event in entries]
    return [
        Statement(
            f"""INSERT INTO turnover.accounts
                SELECT account_id, count(*), sum(credited), sum(debited)
                FROM {columns("uuid", "bigint", "bigint")} AS new(account_id, credited, debited) GROUP BY account_id
                ON CONFLICT (account_id) DO UPDATE SET
                    entries = accounts.entries + excluded.entries,
                    credited_cents = accounts.credited_cents + excluded.credited_cents,
                    debited_cents = accounts.debited_cents + excluded.debited_cents""",
            (uuids(account_id for account_id, _ in entries), integers(credited), integers(debited)),
        )
    ]


async def step(connection: Connection) -> int:
    """Take the next events; how many they are. The table and the position change together or not at all."""
    async with connection.transaction():
        position = await connection.fetchval("SELECT position FROM turnover.position FOR UPDATE")  # one at a time
        events = await event_reader.read_log(connection, after_position=position)
        if events:
            for statement in apply(events):
                await connection.execute(statement.sql, *statement.values)
            await connection.execute("UPDATE turnover.position SET position = $1", events[-1].position)
    return len(events)


async def main() -> None:
    """Follow the log. An event that cannot be applied ends the program: nothing is ever passed over."""
    connection = await connect(Settings.load())
    await connection.execute(TABLES)
    while True:
        if not await step(connection):
            await asyncio.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    asyncio.run(main())
