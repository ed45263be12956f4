"""Amounts of registered assets have the right decimal places in every file and on the command line."""

from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pytest

from ledger.money import MAX_CENTS
from ledger.settings import Settings
from tests.support.controls import ADMIN_PASSWORD, Api, new_id
from tests.support.exports import NEEDS_HLEDGER, run_hledger
from tests.support.processes import Ran, run_ledger
from tests.support.serving import serving, startup_error

DIGITS = {"HOURS": 4, "A.B_C-9": 18, "X": 0, "XAU": 5, "CO2": 2}
FORMATS = ("jsonl", "csv", "parquet", "hledger", "beancount")
Serve = Callable[..., Awaitable[Api]]


class Books(NamedTuple):
    """A service with assets, and two accounts in each of them."""

    api: Api
    settings: Settings
    accounts: dict[str, list[str]]

    async def run(self, *arguments: str) -> Ran:
        return await run_ledger(*arguments, variables=self.settings.environment())

    async def import_file(self, path: Path, *arguments: str) -> Ran:
        url = str(self.api.client.make_url("")).rstrip("/")
        secret = {"LEDGER_PASSWORD": ADMIN_PASSWORD}
        return await run_ledger("import", str(path), "--url", url, "--json", *arguments, variables=secret)

    async def balances(self) -> dict[str, int]:
        accounts = (await self.api.get("/v1/accounts?world=true")).body
        return {account["id"]: account["balance_cents"] for account in accounts if account["balance_cents"]}


async def open_books(api: Api, settings: Settings, accounts: dict[str, list[str]], balance_cents: int) -> Books:
    user = (await api.new_user())["id"]
    for code, ids in accounts.items():
        named = {"code": code, "name": f"the asset {code}", "digits": DIGITS[code]}
        assert 201 == (await api.post("/v1/assets", named)).status
        for number, account_id in enumerate(ids):
            cents = 0 if number else balance_cents
            await api.new_account(user, id=account_id, currency=code, balance_cents=cents, overdraft_limit_cents=10)
    return Books(api, settings, accounts)


@pytest.fixture
async def books(api: Api, settings: Settings) -> Books:
    """Return books in which all money but one minor unit has moved to the second account of each asset."""
    accounts = {code: [str(new_id()) for _ in range(2)] for code in DIGITS}
    made = await open_books(api, settings, accounts, MAX_CENTS)
    for first, second in accounts.values():
        assert 200 == (await api.transfer({"id": first}, {"id": second}, MAX_CENTS - 1)).status
    return made


async def test_an_export_in_each_format_comes_back_in(
    books: Books, serve: Serve, elsewhere: Settings, tmp_path: Path
) -> None:
    empty = await open_books(await serve(elsewhere), elsewhere, books.accounts, 0)

    counts: list[Any] = []
    for name in FORMATS:
        file = tmp_path / f"all.{name}"
        assert 0 == (await books.run("audit", "export", "--format", name, "--output", str(file))).status
        imported = await empty.import_file(file)
        assert 0 == imported.status, imported
        counts.append((imported.document["made"], imported.document["replayed"]))

    assert [(10, 0), *[(0, 10)] * 4] == counts
    assert await books.balances() == await empty.balances()
    rows = duckdb.execute(f"SELECT currency, amount, amount_cents FROM '{tmp_path / 'all.parquet'}'").fetchall()
    assert {True} == {Decimal(cents).scaleb(-DIGITS[code]) == amount for code, amount, cents in rows}
    if NEEDS_HLEDGER:
        await run_hledger(tmp_path / "all.hledger", "check", "--strict")
        shown = await run_hledger(tmp_path / "all.hledger", "balance", "--flat", "equity:world:A.B_C-9")
        assert '-0.009007199254740991 "A.B_C-9"' in shown


async def test_amounts_in_units_are_imported_by_the_digits_of_their_asset(books: Books, tmp_path: Path) -> None:
    (first, second), (third, fourth) = books.accounts["HOURS"], books.accounts["CO2"]
    file = tmp_path / "work.csv"
    header = "source_account_id,destination_account_id,amount,currency\n"
    file.write_text(f"{header}{second},{first},7.5,HOURS\n{fourth},{third},0.03,CO2\n")
    before = await books.balances()

    imported = await books.import_file(file, "--run", "june")

    now = await books.balances()
    assert (0, 2) == (imported.status, imported.document["made"])
    assert (7_5000, 3) == (now[first] - before[first], now[third] - before[third])


@pytest.mark.parametrize(
    ("amount", "currency", "why"),
    [
        ("1.00001", "HOURS", "has 5 decimal places, and HOURS has 4"),
        ("1", "POINTS", "must be an ISO 4217 code, or the code of a registered asset"),
        ("1", "points", "must be an ISO 4217 code, or the code of a registered asset"),
    ],
)
async def test_a_file_with_an_unknown_asset_or_too_many_places_is_refused(
    books: Books, tmp_path: Path, amount: str, currency: str, why: str
) -> None:
    first, second = books.accounts["HOURS"]
    file = tmp_path / "work.csv"
    file.write_text(f"source_account_id,destination_account_id,amount\n{second},{first},{amount}\n")

    refused = await books.import_file(file, "--run", "june", "--currency", currency)

    assert refused.status in {1, 2}
    assert why in refused.output + refused.error


async def test_the_command_line_shows_the_digits_of_an_asset(books: Books) -> None:
    first, _ = books.accounts["A.B_C-9"]
    for arguments in (("balance", first), ("history", first), ("replay", first)):
        shown = await books.run("audit", *arguments)
        assert 0 == shown.status
        assert "0.000000000000000001 A.B_C-9" in shown.output
    sums = await books.run("audit", "trial-balance")
    assert "900719925474.0991 HOURS" in sums.output
    assert 0 == (await books.run("audit", "verify")).status


async def test_an_asset_is_registered_and_listed_on_the_command_line(books: Books) -> None:
    tried = await books.run("assets", "add", "POINTS", "Bonus points", "--digits", "0", "--dry-run")
    added = await books.run("assets", "add", "POINTS", "Bonus points", "--digits", "0", "--json")
    again = await books.run("assets", "add", "POINTS", "Bonus points", "--digits", "0")
    invalid = await books.run("assets", "add", "points", "Bonus points", "--digits", "0")
    listed = await books.run("assets", "list", "--registered", "--json")
    table = await books.run("assets", "list")

    assert (await books.api.get("/v1/assets/POINTS")).body == added.document
    assert (0, "dry run: would be registered: POINTS with 0 decimal places\n") == (tried.status, tried.output)
    assert (0, 1, 2) == (added.status, again.status, invalid.status)
    assert "asset already exists: POINTS" in again.error
    assert ["POINTS", *reversed(DIGITS)] == [asset["code"] for asset in listed.documents]
    assert (await books.api.get("/v1/assets?limit=6")).body == listed.documents
    assert "Bonus points" in table.output
    assert "iso4217" in table.output


async def test_a_service_does_not_start_with_an_unknown_default_currency(books: Books, tmp_path: Path) -> None:
    with serving(tmp_path, books.settings, variables={"LEDGER_DEFAULT_CURRENCY": "POINTS"}) as running:
        line = await startup_error(running)
    assert line.startswith("ledger: LEDGER_DEFAULT_CURRENCY: must be an ISO 4217 code, or the code of a registered")
