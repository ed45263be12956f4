"""Verification compares each column of each described table, so it finds tampering in any of them."""

import pytest

from ledger.audit.verify import Sources
from ledger.projections import TABLES
from ledger.projections.table import Table
from tests.integration.audit.conftest import check, plant

TAMPERED = {
    "uuid": "'00000000-0000-4000-8000-000000000000'::uuid",  # sorts first, so a changed row is not chosen again
    "bigint": "coalesce({0}, 0) + 1",
    "smallint": "coalesce({0}, 0) + 1",
    "numeric": "coalesce({0}, 0) + 1",
    "text": "concat({0}, 'x')",
    "timestamptz": "coalesce({0}, 'epoch') + interval '1 day'",
    "boolean": "NOT {0}",
    "jsonb": "coalesce({0}, '{{}}') || '[0]'",
}
by_table = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)


async def tamper(sources: Sources, table: Table, columns: list[str]) -> str:
    """Change these columns of one row, and return the name of the row."""
    key = ", ".join(table.key)
    last = ", ".join(f"{name} DESC" for name in table.key)  # the next version of an account's entries is free
    chosen = f"({key}) = (SELECT {key} FROM {table.name} ORDER BY {last} LIMIT 1)"
    row: str = await sources.now.fetchval(f"SELECT concat_ws(' ', {key}) FROM {table.name} WHERE {chosen}")
    changes = ", ".join(f"{name} = {TAMPERED[table.by_name[name].type].format(name)}" for name in columns)
    await plant(sources.now, f"UPDATE {table.name} SET {changes} WHERE {chosen}")
    return row


@by_table
async def test_a_tampered_value_is_found_in_each_column(table: Table, copied: Sources) -> None:
    columns = [name for name in table.names if name not in table.key]
    row = await tamper(copied, table, columns)
    findings = [finding for finding in await check(copied) if (finding.table, finding.row) == (table.name, row)]
    rule = "the read table matches the events"
    assert sorted(columns) == sorted(str(one.column) for one in findings if one.rule == rule)


@by_table
async def test_a_tampered_key_is_found_in_each_of_its_columns(table: Table, copied: Sources) -> None:
    for name in table.key:
        row = await tamper(copied, table, [name])
        rules = {finding.rule for finding in await check(copied) if (finding.table, finding.row) == (table.name, row)}
        assert "the read table has every row that follows from the events" in rules, name
