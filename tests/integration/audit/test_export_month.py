"""Issue 15: the five exports of a month lose nothing, and agree with the tools that read them and with the ledger."""

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import pyarrow.parquet as pq  # type: ignore[import-untyped]  # it has no stubs
import pytest
from beancount.core.data import Transaction

from ledger.audit.export_text import BROUGHT_FORWARD
from ledger.events.accounts import world_account_id
from ledger.runtime import Runtime
from ledger.values.spreadsheets import restore_cell
from tests.support.exports import (
    NEEDS_HLEDGER,
    Balances,
    balances_by_duckdb,
    balances_by_hledger,
    balances_of,
    by_id,
    exported,
    moved_money,
    parse_posting,
    read_journal,
    read_with_beancount,
    run_hledger,
    sum_postings,
)
from tests.support.month import CURRENCIES, ODD_TEXTS, Month, submit

SUFFIXES = {"jsonl": "jsonl", "csv": "csv", "parquet": "parquet", "hledger": "journal", "beancount": "beancount"}
TEXTS = ("reference", "description", "metadata", "effective_at", "reverses")
Row = dict[str, Any]


class Books(NamedTuple):
    """A ledger with a month, and the bounds of the month."""

    month: Month
    begin: str
    end: str
    before: Balances  # the balances when it began
    after: Balances


@pytest.fixture
async def books(runtime: Runtime) -> Books:
    month = Month()
    await submit(runtime, month.before())
    before = await balances_of(runtime)
    begin = await _last_time(runtime)
    await submit(runtime, month.within())
    end, after = await _last_time(runtime), await balances_of(runtime)
    await submit(runtime, month.afterwards())
    return Books(month, _format(begin + timedelta(microseconds=1)), _format(end), before, after)


async def _last_time(runtime: Runtime) -> datetime:
    found: datetime = await runtime.pool.fetchval("SELECT max(recorded_at) FROM stored_events")
    return found


def _format(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


async def write(runtime: Runtime, folder: Path, *arguments: str) -> dict[str, Path]:
    """Write the five exports, and return their files by format."""
    paths = {name: folder / f"month.{suffix}" for name, suffix in SUFFIXES.items()}
    for name, path in paths.items():
        await exported(runtime, "--format", name, "--output", str(path), *arguments)
    return paths


async def read_balances(paths: dict[str, Path]) -> dict[str, Balances]:
    """Return the balances that each tool computes."""
    rows = {name: balances_by_duckdb(paths[name]) for name in ("jsonl", "csv", "parquet")}
    beancount = by_id(sum_postings(map(parse_posting, read_with_beancount(paths["beancount"]))))
    journal = by_id(sum_postings(read_journal(paths["hledger"].read_text())))
    hledger = {"hledger": by_id(await balances_by_hledger(paths["hledger"]))} if NEEDS_HLEDGER else {}
    return {**rows, "beancount": beancount, "journal": journal, **hledger}


async def test_all_tools_compute_the_balances_of_the_ledger(runtime: Runtime, books: Books, tmp_path: Path) -> None:
    paths = await write(runtime, tmp_path, "--to", books.end)
    for tool, found in (await read_balances(paths)).items():
        assert books.after == found, tool


def world_of(currency: str) -> str:
    return str(world_account_id(currency))


def is_world(row: Row, side: str) -> bool:
    return bool(row[f"{side}_account_id"] == world_of(row["currency"]))


async def test_a_period_opens_with_the_balances_before_it(runtime: Runtime, books: Books, tmp_path: Path) -> None:
    paths = await write(runtime, tmp_path, "--from", books.begin, "--to", books.end)
    found = await read_balances(paths)
    for tool, balances in found.items():
        assert books.after == balances, tool
    rows = [row for row in read_rows(paths["jsonl"]) if row["kind"] == BROUGHT_FORWARD]
    credited = {row["destination_account_id"]: Decimal(row["amount"]) for row in rows if is_world(row, "source")}
    debited = {row["source_account_id"]: -Decimal(row["amount"]) for row in rows if is_world(row, "destination")}
    worlds = {world_of(currency) for currency in CURRENCIES}
    assert {key: value for key, value in books.before.items() if key not in worlds} == {**credited, **debited}
    assert debited
    assert {_format(datetime.fromisoformat(books.begin) - timedelta(microseconds=1))} == {
        _format(datetime.fromisoformat(row["recorded_at"])) for row in rows
    }
    again = await exported(runtime, "--format", "jsonl", "--from", books.begin, "--to", books.end)
    assert paths["jsonl"].read_text() == again


async def test_an_empty_period_has_the_balances_before_it(runtime: Runtime, books: Books, tmp_path: Path) -> None:
    after = await balances_of(runtime)
    paths = await write(runtime, tmp_path, "--from", _format(await _last_time(runtime) + timedelta(days=1)))
    assert dict.fromkeys(await read_balances(paths), after) == await read_balances(paths)
    assert books.after != after


async def test_the_sum_of_one_account_is_its_balance(runtime: Runtime, books: Books, tmp_path: Path) -> None:
    accounts = [str(account_id) for pair in books.month.accounts.values() for account_id in pair]
    for account_id in (*accounts[:3], world_of("JPY")):
        chosen = ("--from", books.begin, "--to", books.end, "--account", account_id)
        paths = await write(runtime, tmp_path, *chosen)
        found = {tool: balances.get(account_id) for tool, balances in (await read_balances(paths)).items()}
        assert dict.fromkeys(found, books.after.get(account_id)) == found


# Texts.


def read_rows(path: Path) -> list[Row]:
    """Return the rows of JSON Lines as any reader gets them: one that takes U+2028 for the end of a line too."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read_csv(path: Path, restore: Callable[[str], str]) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [{**row, "reference": restore(row["reference"]), "description": restore(row["description"])} for row in rows]


def name_texts(row: Row) -> tuple[Any, ...]:
    """Return the id of a row and everything that a client said about the transaction."""
    values = {name: row.get(name.replace("_", "-"), row.get(name)) or None for name in TEXTS}
    metadata, time = values["metadata"], values["effective_at"]
    values["metadata"] = json.loads(metadata) if isinstance(metadata, str) else metadata
    values["effective_at"] = datetime.fromisoformat(time) if isinstance(time, str) else time
    return (str(row["id"]), row["kind"], *values.items())


def read_tags(entry: Transaction) -> Row:
    return dict(entry.meta)


async def read_hledger_tags(path: Path) -> list[Row]:
    """Return the tags of each transaction as hledger reads them."""
    entries = json.loads(await run_hledger(path, "print", "-O", "json"))
    return [{name: unquote(value) for name, value in entry["ttags"]} for entry in entries]


async def test_all_formats_have_all_texts_unchanged(runtime: Runtime, books: Books, tmp_path: Path) -> None:
    paths = await write(runtime, tmp_path)
    expected = [name_texts(row) for row in read_rows(paths["jsonl"])]
    assert expected == [name_texts(row) for row in read_csv(paths["csv"], restore_cell)]
    assert expected == [name_texts(row) for row in pq.read_table(paths["parquet"]).to_pylist()]
    assert sorted(expected) == sorted(name_texts(read_tags(entry)) for entry in read_with_beancount(paths["beancount"]))
    if NEEDS_HLEDGER:
        assert expected == [name_texts(tags) for tags in await read_hledger_tags(paths["hledger"])]
    references = {row["id"]: row["reference"] for row in await moved_money(runtime) if row["reference"] is not None}
    assert {*ODD_TEXTS} <= {*references.values()}
    assert books.month.accounts
    found = {row["id"]: row["reference"] for row in read_rows(paths["jsonl"])}
    assert {str(key): value for key, value in references.items() if str(key) in found} == {
        key: value for key, value in found.items() if value is not None
    }


async def test_no_text_in_csv_is_a_formula_unless_it_is_asked_for(
    runtime: Runtime, books: Books, tmp_path: Path
) -> None:
    safe, raw = tmp_path / "safe.csv", tmp_path / "raw.csv"
    period = ("--from", books.begin)
    await exported(runtime, "--format", "csv", *period, "--output", str(safe))
    await exported(runtime, "--format", "csv", *period, "--raw", "--output", str(raw))
    protected, unchanged = read_csv(safe, str), read_csv(raw, str)
    cells = [row[name] for row in protected for name in ("reference", "description")]
    assert not [cell for cell in cells if cell.startswith(tuple("=+-@\t\r\n\uff1d"))]
    assert {"'=1+1", "'+1", "'-1", "'@SUM(A1)", "'\tx", "'\rx", "''=1", "''tis"} <= {*cells}
    assert {*ODD_TEXTS} <= {row["reference"] for row in unchanged}
    assert unchanged == read_csv(safe, restore_cell)


async def test_effective_dates_are_secondary_dates_of_hledger(runtime: Runtime, books: Books) -> None:
    journal = await exported(runtime, "--format", "hledger", "--from", books.begin)
    rows = [
        json.loads(line) for line in (await exported(runtime, "--format", "jsonl", "--from", books.begin)).splitlines()
    ]
    heads = [line for line in journal.split("\n") if line[:1].isdigit()]
    dates = [head.partition(" ")[0].partition("=") for head in heads]
    assert [(row["recorded_at"][:10], (row["effective_at"] or "")[:10]) for row in rows] == [
        (primary, secondary) for primary, _, secondary in dates
    ]
    assert {"0001-01-01", "9999-12-31"} <= {secondary for _, _, secondary in dates}


async def test_bean_check_accepts_the_journal(runtime: Runtime, books: Books, tmp_path: Path) -> None:
    path = tmp_path / "month.beancount"
    await exported(runtime, "--format", "beancount", "--from", books.begin, "--output", str(path))
    tool = Path(sys.executable).with_name("bean-check")
    checked = subprocess.run([tool, path], capture_output=True, text=True, check=False)  # noqa: ASYNC221
    assert (0, "", "") == (checked.returncode, checked.stdout, checked.stderr)
