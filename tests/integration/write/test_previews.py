"""Reads of a dry run: read tables as they would be, and streams as they were."""

from typing import Any
from uuid import UUID

import asyncpg
import pytest

from ledger.commands.command import Command
from ledger.errors import Refused
from ledger.events import Recorded
from ledger.projections import TABLES
from ledger.projections.table import Table
from ledger.runtime import Runtime
from ledger.store import reader as event_reader
from ledger.store.heads import fold_heads
from ledger.store.streams_at import find_changed_streams, read_streams_at
from ledger.write.dry_run import DryRun
from ledger.write.group import Origin
from tests.support.traffic import fixed_id, history

# The end of a session or of all tokens changes the rows of other streams, which no response to a change shows.
OF_OTHER_STREAMS = {"tokens"}


async def read_rows(reader: Any, table: Table) -> list[str]:
    """Return the rows of a table, without what only the write knows: positions and times."""
    names = [column.name for column in table.columns if column.type != "timestamptz"]
    kept = [name for name in names if not name.endswith(("position", "_below"))]
    return sorted(str(tuple(row)) for row in await reader.fetch(f"SELECT {', '.join(kept)} FROM {table.name}"))


async def execute(writer: Any, command_id: UUID, command: Command) -> Any:
    """Return the result of a command, or its refusals."""
    try:
        outcome = await writer.submit(command, Origin(command_id))
    except Refused as refused:
        return refused.refusals
    return outcome.result


async def test_changed_tables_show_what_every_command_would_make_of_them(runtime: Runtime) -> None:
    tables = [table for table in TABLES if table.name not in OF_OTHER_STREAMS]
    for command_id, command in history():
        dry_run = DryRun(runtime.pool, schema=runtime.settings.ledger_schema)
        tried = await execute(dry_run, command_id, command)
        shown = {table.name: await read_rows(dry_run.pool, table) for table in tables}
        assert tried == await execute(runtime.committer, command_id, command)
        assert shown == {table.name: await read_rows(runtime.pool, table) for table in tables}, command


async def test_streams_are_read_as_they_were_at_every_position(busy: Runtime, connection: Any) -> None:
    events = await event_reader.read_log(connection)
    streams = {row.stream_id for row in events}

    for number, last in enumerate(events):
        found = await read_streams_at(busy.pool, streams, last.position)
        assert fold_heads(events[: number + 1]) == fold_heads(found)
        later = {row.stream_id for row in events[number + 1 :]}
        assert later == await find_changed_streams(busy.pool, last.position, len(events))
    assert None is await find_changed_streams(busy.pool, 0, len(events) - 1)


async def test_the_entries_of_an_account_are_not_all_read(busy: Runtime, connection: Any) -> None:
    def entries(rows: list[Recorded]) -> int:
        return sum(type(row.event).__name__ in {"AccountDebited", "AccountCredited"} for row in rows)

    rows = [row for row in await event_reader.read_log(connection) if row.stream_id == fixed_id(10)]

    found = await read_streams_at(busy.pool, [fixed_id(10)], rows[-1].position)

    assert (True, 1) == (entries(rows) > 30, entries(found))


async def test_nothing_can_be_written_on_a_connection_of_a_dry_run(busy: Runtime) -> None:
    dry_run = DryRun(busy.pool, schema=busy.settings.ledger_schema)

    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        async with dry_run.pool.acquire() as lent:
            await lent.connection.execute("DELETE FROM users")
    assert await busy.pool.fetchval("SELECT count(*) FROM users")


async def test_statements_prepared_before_and_after_a_preview_read_the_real_tables(runtime: Runtime) -> None:
    query, (command_id, command) = "SELECT count(*) FROM users", history()[0]
    counts = []

    for _ in range(3):
        counts.append(await runtime.pool.fetchval(query))
        dry_run = DryRun(runtime.pool, schema=runtime.settings.ledger_schema)
        await dry_run.submit(command, Origin(command_id))
        counts.append(await dry_run.pool.fetchval(query))

    assert [0, 1] * 3 == counts
    assert 1 == runtime.pool.get_size()
