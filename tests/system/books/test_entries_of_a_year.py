"""The statements of a year's accounts are, entry by entry, the registers of hledger and beancount."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.support.controls import Api
from tests.support.exports import NEEDS_HLEDGER
from tests.support.journal_reports import Beancount, Entry, Hledger

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


async def read_entries(api: Api, account: dict[str, Any], order: str) -> list[Entry]:
    """Return the entries of an account by one of the dates, with the balance after each."""
    path = f"/v1/accounts/{account['id']}/entries"
    rows = (await api.get(path, params={"by": order, "order": "asc"})).body
    return [
        Entry(date.fromisoformat(row[TIMES[order]][:10]), row["amount_cents"], row["balance_cents"]) for row in rows
    ]


@pytest.mark.parametrize("order", TIMES)
async def test_the_entries_of_each_account_are_its_postings_in_the_journals(
    books: Api, journals: Path, order: str
) -> None:
    accounts = (await books.get("/v1/accounts", params={"world": "true"})).body
    beancount = Beancount(journals / f"{order}.beancount")
    found = {"beancount": beancount.postings()}
    if NEEDS_HLEDGER:
        found["hledger"] = await Hledger(journals / f"{order}.journal").postings()

    for account in accounts:
        entries = await read_entries(books, account, order)
        for tool, postings in found.items():
            assert [entry[:2] for entry in entries] == postings.get(account["id"], []), (tool, account)


@pytest.mark.parametrize("order", TIMES)
async def test_the_running_balances_are_those_of_the_registers(books: Api, journals: Path, order: str) -> None:
    beancount = Beancount(journals / f"{order}.beancount")
    hledger = Hledger(journals / f"{order}.journal") if NEEDS_HLEDGER else None
    for code in SHOWN:
        account = (await books.get(f"/v1/accounts/{code}")).body
        entries = await read_entries(books, account, order)
        assert entries, code
        assert entries == beancount.register(account["id"]), code
        if hledger is not None:
            assert entries == await hledger.register(account["id"]), code
