"""The statements of a year's accounts are, entry by entry, the registers of hledger and beancount."""

import csv
import io
from collections.abc import Mapping
from datetime import date
from typing import Any

import pytest

from ledger.settings import Settings
from tests.support.controls import Api
from tests.support.journal_reports import Entry, Journals
from tests.support.processes import run_ledger
from tests.support.year import ENDS

TIMES = {"recorded": "created_at", "effective": "effective_at"}
SHOWN = (
    "assets:bank:usd",
    "assets:bank:eur:savings",
    "assets:bank:usd:till",
    "assets:receivable:eur:customer-07",
    "liabilities:payroll:usd:net",
    "income:sales:eur:e.books",
    "expenses:trips:usd",
)


def read_lines(rows: list[dict[str, Any]], order: str) -> list[Entry]:
    """Return entries with the balance after each."""
    return [
        Entry(date.fromisoformat(row[TIMES[order]][:10]), row["amount_cents"], row["balance_cents"]) for row in rows
    ]


@pytest.mark.parametrize("order", TIMES)
async def test_the_entries_of_each_account_are_its_postings_in_the_journals(
    books: Api, journals: Mapping[str, Journals], order: str
) -> None:
    accounts = (await books.get("/v1/accounts", params={"world": "true"})).body
    hledger = journals[order].hledger
    found = {"beancount": journals[order].beancount.postings()}
    if hledger is not None:
        found["hledger"] = await hledger.postings()

    for account in accounts:
        path = f"/v1/accounts/{account['id']}/entries"
        entries = read_lines((await books.get(path, params={"by": order, "order": "asc"})).body, order)
        for tool, postings in found.items():
            assert [entry[:2] for entry in entries] == postings.get(account["id"], []), (tool, account)
        if account.get("code") in SHOWN:
            assert entries == journals[order].beancount.register(account["id"]), account
            assert hledger is None or entries == await hledger.register(account["id"]), account


@pytest.mark.parametrize("order", TIMES)
async def test_statements_of_months_are_parts_of_the_registers(
    books: Api, journals: Mapping[str, Journals], order: str
) -> None:
    for code in SHOWN:
        path, closing, found, account_id = f"/v1/accounts/{code}", 0, list[Entry](), ""
        for end in ENDS:
            period = {"from": str(end.replace(day=1)), "to": str(end), "by": order}
            shown = (await books.get(f"{path}/statement", params=period)).body
            account_id = shown["account_id"]
            lines = read_lines(shown["lines"], order)
            amounts = [line.amount_cents for line in lines]
            assert closing == shown["opening_balance_cents"], (code, end)
            assert sum(cents for cents in amounts if cents > 0) == shown["credit_cents"]
            assert -sum(cents for cents in amounts if cents < 0) == shown["debit_cents"]
            closing += sum(amounts)
            assert closing == shown["closing_balance_cents"], (code, end)
            found += lines
        register = journals[order].beancount.register(account_id)
        assert [entry for entry in register if entry.day <= ENDS[-1]] == found, code


async def test_the_command_writes_the_register_of_a_quarter(
    books: Api, year: Settings, journals: Mapping[str, Journals]
) -> None:
    first, last = "2025-04-01", "2025-06-30"
    account = (await books.get("/v1/accounts/assets:bank:eur")).body
    options = ("--from", first, "--to", last, "--by", "effective")
    ran = await run_ledger("statement", "assets:bank:eur", *options, variables=year.environment())
    assert 0 == ran.status, ran
    opening, *lines, closing = csv.DictReader(io.StringIO(ran.output))
    register = journals["effective"].beancount.register(account["id"])
    quarter = [entry for entry in register if first <= str(entry.day) <= last]
    assert quarter == [
        Entry(date.fromisoformat(row["counts_at"][:10]), int(row["amount_cents"]), int(row["balance_cents"]))
        for row in lines
    ]
    assert quarter[0].balance_cents - quarter[0].amount_cents == int(opening["balance_cents"])
    assert quarter[-1].balance_cents == int(closing["balance_cents"])
