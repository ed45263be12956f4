"""The rows of dated entries: those that a migration and a rebuild make are those that the service has written."""

import importlib
from pathlib import Path
from typing import Any

import pytest

from ledger.runtime import Runtime
from ledger.settings import Settings
from tests.support.dates import BEGIN, KINDS, Books, Step
from tests.support.processes import run_ledger

VERSIONS = Path(__file__).parents[3] / "migrations" / "versions"
ROWS = "SELECT * FROM dated_entries ORDER BY account_id, position"


@pytest.fixture
async def rows(runtime: Runtime, connection: Any) -> list[Any]:
    """Return the rows of a history with each kind of transaction, dated and not."""
    books = await Books.open(runtime)
    for cents, kind in enumerate((*KINDS, *KINDS), 10):
        for effective_at in (BEGIN, None, BEGIN.replace(month=1 + cents % 12)):
            await books.execute(Step(kind, effective_at, cents, cents % 3, 1))
    found: list[Any] = await connection.fetch(ROWS)
    assert len(found) > 2 * len(KINDS)
    return found


async def test_the_migration_fills_the_table_from_the_log(rows: list[Any], connection: Any) -> None:
    (name,) = (path.stem for path in VERSIONS.glob("*_dated_entries.py"))
    migration = importlib.import_module(f"migrations.versions.{name}")
    (fill,) = (statement for statement in migration.STATEMENTS if "INSERT INTO" in statement)
    await connection.execute("DELETE FROM dated_entries")
    await connection.execute(fill)
    assert rows == await connection.fetch(ROWS)


@pytest.mark.parametrize("chunk", ["1", "4", "5000"])
async def test_a_rebuild_gives_the_same_rows_for_every_size_of_chunk(
    rows: list[Any], connection: Any, settings: Settings, chunk: str
) -> None:
    ran = await run_ledger(
        "projections", "rebuild", "dated_entries", "--chunk", chunk, variables=settings.environment()
    )
    assert 0 == ran.status, ran.error
    assert "differ" not in ran.output + ran.error or "0 rows differ" in ran.output + ran.error
    assert rows == await connection.fetch(ROWS)
