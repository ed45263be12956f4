"""Exports by effective time, and the balances that other programs compute from them."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ledger.projections import dated_entries
from ledger.runtime import Runtime
from ledger.store import reader as event_reader
from tests.support.dates import KINDS, Books, Step, age
from tests.support.exports import (
    NEEDS_HLEDGER,
    Balances,
    balances_by_hledger,
    by_id,
    exported,
    parse_posting,
    read_journal,
    read_with_beancount,
    sum_postings,
)

BEGIN, END = "2020-03-01", "2020-06-30"
PERIOD = ("--by", "effective", "--from", BEGIN, "--to", END)
DATES = (None, datetime(2020, 2, 29, tzinfo=UTC), datetime(2020, 4, 1, tzinfo=UTC), datetime(2020, 7, 1, tzinfo=UTC))


@pytest.fixture
async def books(runtime: Runtime, connection: Any) -> Books:
    """Return books of all kinds of transactions, before, in and after the period by either time."""
    books = await Books.open(runtime)
    for number, kind in enumerate((*KINDS, *KINDS, *KINDS)):
        await books.execute(Step(kind, DATES[number % 4], 1 + number, number % 3, 1))
    await age(connection)
    await connection.execute("UPDATE accounts SET created_at = '2020-01-01'")
    for table in ("transfers", "captures"):
        await connection.execute(
            f"""UPDATE {table} SET recorded_at = stored_events.recorded_at
                FROM stored_events WHERE notification_id = {table}.position"""
        )
    return books


async def test_all_tools_compute_the_balances_at_the_end_of_the_period(
    runtime: Runtime, books: Books, connection: Any, tmp_path: Path
) -> None:
    end = datetime(2020, 6, 30, 23, 59, 59, 999_999, tzinfo=UTC)
    position = await event_reader.log_end(connection)
    cents = await dated_entries.balances_as_of(connection, books.account_ids, end, position)
    expected: Balances = {str(key): Decimal(value) / 100 for key, value in cents.items() if value}

    path = tmp_path / "spring.journal"
    await exported(runtime, "--format", "hledger", "--output", str(path), *PERIOD)
    await exported(runtime, "--format", "beancount", "--output", str(tmp_path / "spring.beancount"), *PERIOD)

    def of_users(found: Balances) -> Balances:
        return {key: balance for key, balance in by_id(found).items() if key in expected}

    assert expected == of_users(sum_postings(read_journal(path.read_text())))
    entries = read_with_beancount(tmp_path / "spring.beancount")
    assert expected == of_users(sum_postings(map(parse_posting, entries)))
    days = [entry.date.isoformat() for entry in entries]
    assert {"2020-02-29"} | {day for day in days if BEGIN <= day <= END} == {*days}
    if NEEDS_HLEDGER:
        assert expected == of_users(await balances_by_hledger(path))


@pytest.mark.usefixtures("books")
async def test_rows_are_in_the_order_in_which_they_count(runtime: Runtime) -> None:
    rows = [json.loads(line) for line in (await exported(runtime, "--format", "jsonl", *PERIOD)).splitlines()]
    moved = [row for row in rows if row["kind"] != "brought_forward"]
    times = [row["effective_at"] or row["recorded_at"] for row in moved]
    assert sorted(times) == times
    assert {True, False} == {row["effective_at"] is None for row in moved}
    assert {BEGIN <= moment[:10] <= END for moment in times} == {True}
    whole = (await exported(runtime, "--format", "jsonl", "--by", "effective")).splitlines()
    recorded = (await exported(runtime, "--format", "jsonl")).splitlines()
    assert sorted(whole) == sorted(recorded)
    assert whole != recorded
