"""The balances of a year's books are, to the cent, those that hledger and beancount compute from its exports."""

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from ledger.settings import Settings
from tests.support.controls import Api
from tests.support.exports import run_export
from tests.support.journal_reports import Balances, Journals
from tests.support.year import CURRENCIES, ENDS, Year

POINTS = {"recorded": "at_time", "effective": "effective_at"}
by_both_dates = pytest.mark.parametrize("order", POINTS)


async def read_accounts(api: Api, order: str, end: date) -> list[dict[str, Any]]:
    """Return the accounts as of the end of a day, also the ledger's own."""
    answer = await api.get("/v1/accounts", params={"world": "true", POINTS[order]: str(end)})
    assert 200 == answer.status
    return list(answer.body)


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
    books: Api, journals: Mapping[str, Journals], order: str
) -> None:
    beancount, hledger = journals[order].beancount, journals[order].hledger
    months = await hledger.balances_at_month_ends() if hledger else {}
    for end in ENDS:
        accounts = await read_accounts(books, order, end)
        expected = {row["id"]: row["balance_cents"] for row in accounts if row["balance_cents"]}
        assert expected == beancount.balances_at(end)
        assert not months or expected == months[end]

        shown = (await books.get("/v1/ledger/trial-balance", params={POINTS[order]: str(end)})).body
        assert shown["balanced"]
        assert sum_sides(expected, {row["id"]: row["currency"] for row in accounts}) == {
            row["currency"]: (row["debit_cents"], row["credit_cents"]) for row in shown["currencies"]
        }


def sum_sides(balances: Balances, currencies: Mapping[str, str]) -> dict[str, tuple[int, int]]:
    """Return the sums of the negative and the positive balances of each currency."""
    return {
        currency: (
            -sum(cents for key, cents in balances.items() if currencies[key] == currency and cents < 0),
            sum(cents for key, cents in balances.items() if currencies[key] == currency and cents > 0),
        )
        for currency in CURRENCIES
    }


async def test_the_dates_differ_and_secondary_dates_are_the_other_ones(journals: Mapping[str, Journals]) -> None:
    recorded, effective = [[journals[order].beancount.balances_at(end) for end in ENDS] for order in POINTS]
    assert all(one != other for one, other in zip(recorded, effective, strict=True))
    orders = [*POINTS]
    for order, other in (orders, orders[::-1]):
        if (hledger := journals[other].hledger) is not None:
            swapped = await journals[order].by_other_date().balances_at_month_ends()
            assert swapped == await hledger.balances_at_month_ends()


async def test_an_export_of_a_quarter_has_the_balances_at_its_end(books: Api, year: Settings, tmp_path: Path) -> None:
    end = ENDS[5]
    period = ("--by", "effective", "--from", f"{ENDS[2] + timedelta(days=1)}", "--to", str(end))
    for name, suffix in (("hledger", "journal"), ("beancount", "beancount")):
        ran = await run_export(year, "--format", name, *period, "--output", str(tmp_path / f"quarter.{suffix}"))
        assert 0 == ran.status, ran
    quarter = Journals(tmp_path / "quarter")
    accounts = await read_accounts(books, "effective", end)
    expected = {row["id"]: row["balance_cents"] for row in accounts if row["balance_cents"]}
    assert expected == quarter.beancount.balances_at(end)
    assert quarter.hledger is None or expected == (await quarter.hledger.balances_at_month_ends())[end]
