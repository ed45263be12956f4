"""The balances of a year's books are, to the cent, those that hledger and beancount compute from its exports."""

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from ledger.settings import Settings
from tests.support.controls import Api
from tests.support.exports import NEEDS_HLEDGER, run_export
from tests.support.journal_reports import NET, TOTAL, Balances, Beancount, Hledger
from tests.support.year import CURRENCIES, ENDS, LAST, Year

POINTS = {"recorded": "at_time", "effective": "effective_at"}
SECTIONS = {"Assets": ("asset", None), "Liabilities": ("liability",), "Equity": ("equity", "world")}
by_both_dates = pytest.mark.parametrize("order", POINTS)


async def read_accounts(api: Api, order: str, end: date) -> list[dict[str, Any]]:
    """Return the accounts as of the end of a day, also the ledger's own."""
    answer = await api.get("/v1/accounts", params={"world": "true", POINTS[order]: str(end)})
    assert 200 == answer.status
    return [{**row, "type": row.get("type")} for row in answer.body]


async def read_balances(api: Api, order: str, end: date) -> Balances:
    return {row["id"]: row["balance_cents"] for row in await read_accounts(api, order, end) if row["balance_cents"]}


def test_the_year_has_what_books_have() -> None:
    year = Year()
    steps = year.steps()

    assert 200 == len(year.accounts)
    assert [step.body for step in steps] == [step.body for step in Year().steps()], "everything follows from the seed"
    assert 2_000 < sum(len(step.body) if isinstance(step.body, list) else 1 for step in steps)
    ends = [step.body["through"] for step in steps if step.path == "/v1/periods/close" and isinstance(step.body, dict)]
    assert {str(end) for end in ENDS[:-1]} == {*ends}
    assert len(ENDS[:-1]) < len(ends), "some months are reopened"


@by_both_dates
async def test_hledger_and_beancount_have_the_balances_of_each_month_end(
    books: Api, journals: Path, order: str
) -> None:
    beancount = Beancount(journals / f"{order}.beancount")
    expected = {end: await read_balances(books, order, end) for end in ENDS}

    assert expected == {end: beancount.balances_at(end) for end in ENDS}
    if NEEDS_HLEDGER:
        months = await Hledger(journals / f"{order}.journal").balances_at_month_ends()
        assert expected == {end: months[end] for end in ENDS}


async def test_the_balances_by_both_dates_differ_at_each_month_end(books: Api) -> None:
    for end in ENDS:
        recorded, effective = [await read_balances(books, order, end) for order in POINTS]
        assert recorded != effective, end


@by_both_dates
async def test_the_trial_balance_has_the_sums_of_both(books: Api, journals: Path, order: str) -> None:
    beancount = Beancount(journals / f"{order}.beancount")
    currencies = {row["id"]: row["currency"] for row in await read_accounts(books, order, LAST)}
    for end in ENDS:
        shown = (await books.get("/v1/ledger/trial-balance", params={POINTS[order]: str(end)})).body
        expected = sum_sides(beancount.balances_at(end), currencies)
        assert shown["balanced"], end
        assert expected == {
            row["currency"]: (row["debit_cents"], row["credit_cents"]) for row in shown["currencies"]
        }, end


def sum_sides(balances: Balances, currencies: Mapping[str, str]) -> dict[str, tuple[int, int]]:
    """Return the sums of the negative and the positive balances of each currency."""
    return {
        currency: (
            -sum(cents for key, cents in balances.items() if currencies[key] == currency and cents < 0),
            sum(cents for key, cents in balances.items() if currencies[key] == currency and cents > 0),
        )
        for currency in CURRENCIES
    }


async def test_secondary_dates_of_hledger_give_the_other_order(journals: Path) -> None:
    if not NEEDS_HLEDGER:
        recorded, effective = [Beancount(journals / f"{order}.beancount") for order in POINTS]
        assert recorded.balances_at(LAST) != effective.balances_at(LAST)
        return
    orders = [*POINTS]
    for order, other in (orders, orders[::-1]):
        swapped = await Hledger(journals / f"{order}.journal", "--date2").balances_at_month_ends()
        assert swapped == await Hledger(journals / f"{other}.journal").balances_at_month_ends()


@by_both_dates
async def test_the_balance_sheet_of_hledger_has_all_accounts(books: Api, journals: Path, order: str) -> None:
    """hledger leaves accounts without a type out of its reports."""
    beancount = Beancount(journals / f"{order}.beancount")
    report = await Hledger(journals / f"{order}.journal").report("bse") if NEEDS_HLEDGER else {}
    for end in ENDS:
        accounts = await read_accounts(books, order, end)
        kinds = {row["id"]: "world" if row["user_id"] is None else row["type"] for row in accounts}
        kept = {
            row["id"]: row["balance_cents"]
            for row in accounts
            if row["balance_cents"] and kinds[row["id"]] not in {"income", "expense"}
        }
        result = {
            currency: sum(
                row["balance_cents"]
                for row in accounts
                if row["currency"] == currency and kinds[row["id"]] in {"income", "expense"}
            )
            for currency in CURRENCIES
        }
        assert (kept, result) == beancount.balance_sheet(end + timedelta(days=1))
        month = f"{end:%Y-%m}"
        for section, types in SECTIONS.items():
            lines = report.get(section, {})
            sign = 1 if section == "Assets" else -1
            shown = {name: sign * cents[month] for (name, _), cents in lines.items() if name != TOTAL and cents[month]}
            assert not lines or shown == {key: cents for key, cents in kept.items() if kinds[key] in types}
        for (_, currency), cents in report.get(NET, {}).items():
            assert -result[currency] == cents[month]


@by_both_dates
async def test_an_export_of_a_quarter_has_the_balances_at_its_end(
    books: Api, year: Settings, tmp_path: Path, order: str
) -> None:
    end = ENDS[5]
    period = ("--by", order, "--from", f"{ENDS[2] + timedelta(days=1)}", "--to", str(end))
    expected = await read_balances(books, order, end)
    for name in ("hledger", "beancount")[: 2 if NEEDS_HLEDGER else 1]:
        ran = await run_export(year, "--format", name, *period, "--output", str(tmp_path / name))
        assert 0 == ran.status, ran
    assert expected == Beancount(tmp_path / "beancount").balances_at(end)
    if NEEDS_HLEDGER:
        assert expected == (await Hledger(tmp_path / "hledger").balances_at_month_ends())[end]
