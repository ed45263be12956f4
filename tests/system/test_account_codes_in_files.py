"""Files and commands name accounts by their codes: imports, exports and the audit commands."""

import json
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ledger.settings import Settings
from tests.support.controls import ADMIN_PASSWORD, Api
from tests.support.exports import (
    NEEDS_HLEDGER,
    balances_by_hledger,
    parse_posting,
    read_journal,
    read_with_beancount,
    run_export,
    run_hledger,
    sum_postings,
)
from tests.support.processes import Ran, run_ledger

BANK, SALES, RENT = "assets:bank:main", "income:sales", "expenses:rent_2026"
FORMATS = ("jsonl", "csv", "parquet", "hledger", "beancount")
CSV = f"source_account_id,destination_account_id,amount_cents,id\n{SALES},{BANK},500,\n{BANK},{RENT.upper()},120,\n"
JSONL = json.dumps(
    {"postings": [{"account_id": BANK, "amount_cents": -5}, {"account_id": SALES, "amount_cents": 5}], "reference": "r"}
)
EXPECTED = {BANK: Decimal("3.75"), SALES: Decimal("-4.95"), RENT: Decimal("1.20")}


async def open_books(api: Api, ids: dict[str, str] | None = None) -> dict[str, str]:
    owner = (await api.new_user())["id"]
    types = {BANK: "asset", SALES: "income", RENT: "expense"}
    opened = {}
    for code, kind in types.items():
        chosen: dict[str, Any] = {"id": ids[code]} if ids else {}
        account = await api.new_account(
            owner, code=code, type=kind, name=f"The {kind}, in full", overdraft_limit_cents=1000, **chosen
        )
        opened[code] = account["id"]
    return opened


async def import_file(api: Api, file: Path, *arguments: str) -> Ran:
    url = str(api.client.make_url("")).rstrip("/")
    return await run_ledger(
        "import", str(file), "--url", url, *arguments, variables={"LEDGER_PASSWORD": ADMIN_PASSWORD}
    )


@pytest.fixture
async def books(api: Api, tmp_path: Path) -> dict[str, str]:
    ids = await open_books(api)
    for name, text in (("sales.csv", CSV), ("entry.jsonl", JSONL)):
        (tmp_path / name).write_text(text)
        ran = await import_file(api, tmp_path / name, "--run", "may")
        assert 0 == ran.status, ran
    return ids


async def test_files_name_accounts_by_code_and_are_imported_once(
    api: Api, books: dict[str, str], tmp_path: Path
) -> None:
    for name in ("sales.csv", "entry.jsonl"):
        again = await import_file(api, tmp_path / name, "--run", "may", "--json")
        assert (0, 0) == (again.document["made"], again.document["refused"])
        assert again.document["replayed"]
    changed = json.loads(JSONL)
    changed["postings"][1]["account_id"] = RENT
    (tmp_path / "changed.jsonl").write_text(json.dumps(changed))
    ran = await import_file(api, tmp_path / "changed.jsonl")
    assert 1 == ran.status
    assert f'postings is [["{books[BANK]}",-5],["{books[SALES]}",5]] in the ledger, and' in ran.error
    assert 375 == await api.balance({"id": books[BANK]})


async def test_a_file_with_an_unknown_code_is_refused_by_line(api: Api, books: dict[str, str], tmp_path: Path) -> None:
    assert books
    file = tmp_path / "unknown.csv"
    file.write_text(CSV.replace(BANK, "assets:nowhere").replace(RENT.upper(), "not a code"))
    ran = await import_file(api, file, "--run", "x")
    assert (1, True) == (ran.status, ":3:" in ran.error)
    file.write_text(CSV.replace(BANK, "assets:nowhere"))
    ran = await import_file(api, file, "--run", "x")
    assert 2 == ran.error.count("account not found: assets:nowhere")


async def test_journals_name_accounts_by_code(settings: Settings, books: dict[str, str], tmp_path: Path) -> None:
    journal, ledger = tmp_path / "books.journal", tmp_path / "books.beancount"
    for path, name in ((journal, "hledger"), (ledger, "beancount")):
        ran = await run_export(settings, "--format", name, "--output", str(path))
        assert 0 == ran.status, ran
        assert all(account_id in path.read_text() for account_id in books.values())
    assert sum_postings(read_journal(journal.read_text())) == EXPECTED
    in_beancount = sum_postings(map(parse_posting, read_with_beancount(ledger)))
    assert in_beancount == {
        "Assets:Bank:Main": EXPECTED[BANK],
        "Income:Sales": EXPECTED[SALES],
        "Expenses:Rent-2026": EXPECTED[RENT],
    }
    if NEEDS_HLEDGER:
        assert await balances_by_hledger(journal) == EXPECTED
        assert SALES in await run_hledger(journal, "accounts", "type:R")
        assert RENT in await run_hledger(journal, "accounts", "type:X")


async def test_every_export_comes_back_in(
    elsewhere: Settings,  # first, because its database must outlive the service
    settings: Settings,
    books: dict[str, str],
    serve: Callable[..., Awaitable[Api]],
    tmp_path: Path,
) -> None:
    target = await serve(elsewhere)
    await open_books(target, books)
    results = []
    for name in FORMATS:
        path = tmp_path / f"books.{name}"
        assert 0 == (await run_export(settings, "--format", name, "--output", str(path))).status
        ran = await import_file(target, path, "--json")
        results.append((ran.document["made"], ran.document["replayed"], ran.document["refused"]))
    assert [(3, 0, 0), *[(0, 3, 0)] * 4] == results
    assert 375 == await target.balance({"id": BANK})


async def test_rows_have_codes_beside_ids(settings: Settings, books: dict[str, str]) -> None:
    assert books
    for name in ("csv", "jsonl"):
        ran = await run_export(settings, "--format", name, "--account", RENT)
        (line,) = [line for line in ran.output.splitlines() if not line.startswith("id,")]
        assert BANK in line
        assert RENT in line


@pytest.mark.parametrize("command", ["history", "balance", "replay"])
async def test_audit_commands_name_accounts_by_code(settings: Settings, books: dict[str, str], command: str) -> None:
    async def run(account: str) -> tuple[Any, ...]:
        return await run_ledger("audit", command, account, "--json", variables=settings.environment())

    by_id, by_code, unknown = [await run(name) for name in (books[BANK], BANK.upper(), "assets:none")]
    assert by_id == by_code
    assert (0, True) == (by_id[0], bool(by_id[1]))
    assert (1, "", "ledger: no such account: assets:none") == (unknown[0], unknown[1], unknown[2].strip())
