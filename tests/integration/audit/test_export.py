"""An export has each transfer once, with both sides, and every tool computes the ledger's balances from it."""

import csv
import io
import json
import os
import re
import shlex
import sys
import tomllib
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import hypothesis
import pyarrow.parquet as pq  # type: ignore[import-untyped]  # it has no stubs
import pytest
from beancount import loader
from beancount.core.data import Transaction
from hypothesis import strategies as st

from ledger import money
from ledger.audit import export_text
from ledger.audit.export import ExportError, Format, open_writer
from ledger.audit.export_journals import BEANCOUNT, HLEDGER
from ledger.audit.export_text import BROUGHT_FORWARD, Account, Currency, TextFormat
from ledger.events.accounts import world_account_id
from ledger.runtime import Runtime
from ledger.settings import Settings
from ledger.values.ids import new_id
from tests.support.exports import (
    ASSETS,
    NEEDS_HLEDGER,
    balances_by_hledger,
    balances_of,
    by_id,
    exported,
    id_of,
    moved_money,
    parse_amount,
    parse_posting,
    read_journal,
    read_with_beancount,
    run_export,
    run_hledger,
    sum_postings,
)
from tests.support.month import ODD_TEXTS
from tests.support.processes import ROOT
from tests.support.traffic import ENTRY, EUROS, MORE_EUROS, PAYMENT, REFERENCE


async def transfers_of(runtime: Runtime) -> list[dict[str, Any]]:
    moved = await moved_money(runtime)
    assert 3 == len([row for row in moved if row["postings"]])
    assert any(row["kind"] == "hold" for row in moved)
    return moved


def units(row: dict[str, Any]) -> str | None:
    return None if row["postings"] else ASSETS.format(row["amount_cents"], row["currency"])


def facts(row: dict[str, Any]) -> tuple[str, ...]:
    members = ("id", "position", "kind", "currency", "amount_cents", "source_account_id", "destination_account_id")
    postings = json.loads(row["postings"]) if isinstance(row["postings"], str) and row["postings"] else row["postings"]
    return (*(str(row[member] or "") for member in members), row["reference"] or "", str(postings or ""))


# Rows.


async def test_json_lines_have_every_transfer_once_and_with_both_sides(busy: Runtime) -> None:
    rows = [json.loads(line) for line in (await exported(busy, "--format", "jsonl")).splitlines()]
    expected = await transfers_of(busy)
    assert [facts(row) for row in expected] == [facts(row) for row in rows]
    assert [row["recorded_at"] for row in expected] == [datetime.fromisoformat(row["recorded_at"]) for row in rows]
    assert [units(row) for row in expected] == [row["amount"] for row in rows]


async def test_csv_has_the_same_rows(busy: Runtime) -> None:
    text = await exported(busy, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [facts(row) for row in await transfers_of(busy)] == [facts(row) for row in rows]
    assert ["25.00"] == [row["amount"] for row in rows if row["id"] == str(PAYMENT)]
    assert [REFERENCE] == [row["reference"] for row in rows if row["id"] == str(PAYMENT)]


async def test_parquet_has_the_same_rows_with_types(busy: Runtime, tmp_path: Path) -> None:
    path = tmp_path / "transfers.parquet"
    assert not await exported(busy, "--format", "parquet", "--output", str(path))
    table = pq.read_table(path)
    rows, expected = table.to_pylist(), await transfers_of(busy)
    assert [facts(row) for row in expected] == [facts(row) for row in rows]
    assert [row["recorded_at"] for row in expected] == [row["recorded_at"] for row in rows]
    assert [Decimal(units(row) or 0) for row in expected] == [row["amount"] or 0 for row in rows]


async def test_all_formats_have_the_details_of_a_transaction(busy: Runtime, tmp_path: Path) -> None:
    """Lesson 48: every detail of the described table is in every format."""
    path = tmp_path / "transfers.parquet"
    await exported(busy, "--format", "parquet", "--output", str(path))
    (row,) = [row for row in await transfers_of(busy) if row["id"] == ENTRY]
    lines = [json.loads(line) for line in (await exported(busy, "--format", "jsonl")).splitlines()]
    (line,) = [line for line in lines if line["id"] == str(ENTRY)]
    text = io.StringIO(await exported(busy, "--format", "csv"), newline="")
    (record,) = [record for record in csv.DictReader(text) if record["id"] == str(ENTRY)]
    (typed,) = [typed for typed in pq.read_table(path).to_pylist() if typed["id"] == str(ENTRY)]
    journal, ledger = await exported(busy, "--format", "hledger"), await exported(busy, "--format", "beancount")
    assert row["metadata"]
    assert json.loads(row["metadata"]) == line["metadata"] == json.loads(record["metadata"])
    assert row["metadata"] == typed["metadata"]
    for detail in export_text.DETAILS:
        assert (detail.name in line, detail.name in record, detail.name in typed) == (True, True, True)
        if row[detail.name] is not None:
            assert f"    ; {detail.name.replace('_', '-')}: " in journal
            assert f"  {detail.name.replace('_', '-')}: " in ledger


async def test_parquet_can_be_piped(busy: Runtime) -> None:
    status, output, log = await run_export(busy.settings, "--format", "parquet")
    assert 0 == status, log
    assert len(await transfers_of(busy)) == pq.read_table(io.BytesIO(os.fsencode(output))).num_rows


async def test_parquet_without_pyarrow_is_one_clear_line(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "pyarrow.py").write_text("raise ImportError\n")
    path = f"{tmp_path}:{ROOT}"
    status, output, log = await run_export(settings, "--format", "parquet", PYTHONPATH=path)
    assert (1, "") == (status, output)
    last = log.splitlines()[-1]
    assert last.startswith("ledger: Parquet needs pyarrow, which this command installs: ")
    command = shlex.split(last.partition(" installs: ")[2])
    assert [sys.executable, "-m", "pip", "install"] == command[:-1]
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["parquet"]
    assert extra == command[-1:]


def test_where_there_is_no_pip_no_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The container image has neither pyarrow nor pip."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ExportError, match=r"^Parquet needs pyarrow, and .* has no pip: install pyarrow>=22 into its "):
        open_writer(Format.PARQUET)


# Journals.


async def test_beancount_accepts_the_journal_and_reports_the_same_balances(busy: Runtime, tmp_path: Path) -> None:
    path = tmp_path / "ledger.beancount"
    await exported(busy, "--format", "beancount", "--output", str(path))
    transactions = read_with_beancount(path)
    assert Counter(
        row["description"] or row["reference"] or row["kind"] for row in await transfers_of(busy)
    ) == Counter(entry.narration for entry in transactions)
    assert await balances_of(busy) == by_id(sum_postings(map(parse_posting, transactions)))


async def test_hledger_accepts_the_journal_and_reports_the_same_balances(busy: Runtime, tmp_path: Path) -> None:
    path = tmp_path / "ledger.journal"
    await exported(busy, "--format", "hledger", "--output", str(path))
    expected = await balances_of(busy)
    assert expected == by_id(sum_postings(read_journal(path.read_text())))
    if NEEDS_HLEDGER:
        assert expected == by_id(await balances_by_hledger(path))


ODD = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40
) | st.sampled_from(
    [
        '"',
        "\\",
        '\\"',
        "\n2001-01-01 open Assets:Thief EUR",
        "\n    equity:thief  1 EUR",
        ";",
        "|",
        "*",
        "! (x)",
        "=",
        " ",
        "\u2028x",
        "#tag",
        "@",
    ]
)


def a_transfer(reference: str | None, cents: int = 1, currency: str = "EUR") -> export_text.Transaction:
    at = datetime(2026, 5, 1, 23, 59, 59, 999_999, tzinfo=UTC)
    ids = (new_id(), world_account_id(currency))
    return export_text.Transaction(new_id(), 7, at, "transfer", reference, currency, cents, *ids)


def a_journal(text_format: TextFormat, transfers: Sequence[export_text.Transaction]) -> str:
    """Return a journal of transfers in EUR from accounts whose owners have the references as names."""
    opened = [
        Account(transfer.source_account_id, new_id(), transfer.reference, "EUR", transfer.recorded_at)
        for transfer in transfers
        if transfer.source_account_id is not None
    ]
    names, alone = text_format.create_names(), money.CURRENCIES_ALONE
    accounts = [text_format.account(account, names) for account in opened]
    directives = (text_format.currency(Currency("EUR", transfers[0].recorded_at), alone), *accounts)
    texts = (text_format.transaction(transfer, names, alone) for transfer in transfers)
    return "".join((text_format.header, *directives, *texts))


def format_hledger(transfer: export_text.Transaction) -> str:
    return HLEDGER.transaction(transfer, HLEDGER.create_names(), money.CURRENCIES_ALONE)


@hypothesis.settings(max_examples=50)
@hypothesis.given(reference=ODD)
def test_any_reference_makes_one_transaction_in_a_beancount_journal(reference: str) -> None:
    transfer = a_transfer(reference)._replace(details={"description": reference})
    text = a_journal(BEANCOUNT, [transfer])
    entries, errors, _ = loader.load_string(text)
    (found,) = (entry for entry in entries if isinstance(entry, Transaction))
    assert [] == errors
    assert (reference, reference, reference) == (found.narration, found.meta["reference"], found.meta["description"])
    assert {Decimal("0.01"), Decimal("-0.01")} == {parse_amount(posting) for posting in found.postings}
    assert str(transfer.id) == found.meta["id"]


@hypothesis.given(reference=ODD)
def test_any_reference_makes_one_transaction_in_an_hledger_journal(reference: str) -> None:
    transfer = a_transfer(reference)._replace(details={"description": reference})
    (postings,) = read_journal(HLEDGER.header + format_hledger(transfer))
    assert [-Decimal("0.01"), Decimal("0.01")] == [amount for _, amount in postings]


@hypothesis.given(reference=ODD)
def test_the_tags_of_an_hledger_journal_restore_any_text(reference: str) -> None:
    lines = format_hledger(a_transfer(reference)._replace(details={"description": reference})).split("\n")
    tags = [line.removeprefix("    ; ").split(": ", 1) for line in lines if line.startswith("    ; ")]
    texts = {name: value for name, value in tags if name in {"reference", "description"}}
    assert all(value == value.strip() and not set(value) & set(",[]") for value in texts.values())
    assert {"reference": reference, "description": reference} == {name: unquote(texts[name]) for name in texts}


async def test_hledger_itself_reads_odd_references(tmp_path: Path) -> None:
    """Run hledger where it is installed or must be; the tests before this one always run, with `read_journal`."""
    odd = [
        "\n    equity:thief  1 EUR",
        "; x",
        "| y",
        "(z",
        "! a",
        "=2001-01-01",
        "1",
        "* b",
        "é\u2028",
        " ",
        *ODD_TEXTS,
    ]
    transfers = [a_transfer(reference, number + 1) for number, reference in enumerate(odd)]
    path = tmp_path / "odd.journal"
    text = a_journal(HLEDGER, transfers)
    path.write_text(text, encoding="utf-8")
    found = by_id(sum_postings(read_journal(text)))
    assert (
        Decimal(money.CURRENCIES_ALONE.format(sum(one.amount_cents or 0 for one in transfers), "EUR"))
        == found[str(world_account_id("EUR"))]
    )
    if NEEDS_HLEDGER:
        assert found == by_id(await balances_by_hledger(path))
        values = await run_hledger(path, "tags", "reference", "--values")
        assert {*odd} == {unquote(value) for value in values.splitlines()}


# Filters and output files.


async def test_an_account_filters_transfers(busy: Runtime) -> None:
    expected = [
        row
        for row in await transfers_of(busy)
        if EUROS in (row["source_account_id"], row["destination_account_id"]) or str(EUROS) in (row["postings"] or "")
    ]
    found = await exported(busy, "--format", "jsonl", "--account", str(EUROS))
    assert [str(row["id"]) for row in expected] == [json.loads(line)["id"] for line in found.splitlines()]
    names = set(re.findall(r"open (\S+)", await exported(busy, "--format", "beancount", "--account", str(EUROS))))
    worlds = {str(world_account_id(currency)) for currency in ("EUR", "HOURS", "JPY", "KWD")}
    assert {str(EUROS), str(MORE_EUROS), *worlds} == {id_of(name) for name in names}


async def test_both_ends_of_a_period_are_included(busy: Runtime) -> None:
    rows = await transfers_of(busy)
    times = sorted({row["recorded_at"] for row in rows})
    begin, end = times[2], times[5]
    expected = [str(row["id"]) for row in rows if begin <= row["recorded_at"] <= end]
    given = [moment.isoformat().replace("+00:00", "Z") for moment in (begin, end)]
    found = await exported(busy, "--format", "jsonl", "--from", given[0], "--to", given[1])
    lines = [json.loads(line) for line in found.splitlines()]
    assert expected == [line["id"] for line in lines if line["kind"] != BROUGHT_FORWARD]
    assert 0 < len(expected) < len(rows)


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_a_file_is_replaced_only_when_the_export_is_complete(busy: Runtime, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("before")
    await busy.pool.fetch("ALTER TABLE transfers RENAME COLUMN kind TO other")
    status, _, log = await run_export(busy.settings, "--format", "csv", "--output", str(path))
    assert (1, "before", ["out.csv"]) == (status, path.read_text(), names_in(tmp_path)), log
    await busy.pool.fetch("ALTER TABLE transfers RENAME COLUMN other TO kind")
    assert not await exported(busy, "--format", "csv", "--output", str(path))
    assert path.read_text().startswith("id,position,")
    assert ["out.csv"] == names_in(tmp_path)


async def test_a_file_that_cannot_be_created_is_one_clear_line(settings: Settings) -> None:
    status, _, log = await run_export(settings, "--format", "csv", "--output", "/nowhere/out.csv")
    assert (1, "ledger: /nowhere/out.csv: No such file or directory") == (status, log.splitlines()[-1])


@pytest.mark.parametrize("arguments", [("--account", "x y"), ("--from", "yesterday"), ("--to", "2026-02-29")])
async def test_an_invalid_argument_is_one_clear_line(arguments: tuple[str, str], settings: Settings) -> None:
    status, output, log = await run_export(settings, "--format", "csv", *arguments)
    assert (2, "") == (status, output)
    assert log.startswith(f"ledger: {arguments[0]}: ")


async def test_raw_is_for_csv(settings: Settings) -> None:
    status, output, log = await run_export(settings, "--format", "jsonl", "--raw")
    assert (2, "", "ledger: --raw is for CSV only") == (status, output, log.strip())


async def test_an_empty_ledger_is_exported_in_every_format(settings: Settings) -> None:
    for name in ("jsonl", "csv", "parquet", "hledger", "beancount"):
        status, _, log = await run_export(settings, "--format", name)
        assert (0, "0 transactions") == (status, log.splitlines()[-1]), log


# Amounts.


@pytest.mark.parametrize(
    ("cents", "currency", "text"),
    [
        (0, "EUR", "0.00"),
        (5, "EUR", "0.05"),
        (-5, "EUR", "-0.05"),
        (-12345, "USD", "-123.45"),
        (100, "JPY", "100"),
        (-1, "JPY", "-1"),
        (1, "KWD", "0.001"),
        (1000, "BHD", "1.000"),
        (money.MAX_CENTS, "EUR", "90071992547409.91"),
    ],
)
def test_amounts_have_all_decimal_places_of_their_currency(cents: int, currency: str, text: str) -> None:
    """ISO 4217 list one."""
    assert text == money.CURRENCIES_ALONE.format(cents, currency)


@hypothesis.given(
    cents=st.integers(-money.MAX_CENTS, money.MAX_CENTS), currency=st.sampled_from(sorted(money.CURRENCIES))
)
def test_amounts_are_exact(cents: int, currency: str) -> None:
    assert Decimal(cents) == Decimal(money.CURRENCIES_ALONE.format(cents, currency)).scaleb(
        money.CURRENCIES_ALONE.digits(currency)
    )
