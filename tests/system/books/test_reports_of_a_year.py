"""The reports of a year's books are, line by line and to the cent, those of hledger and beancount."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Any

import pytest

from ledger.events.account_labels import type_by_root
from ledger.settings import Settings
from tests.support.controls import Api
from tests.support.journal_reports import NET, TOTAL, Balances, Journals, to_cents
from tests.support.processes import run_ledger
from tests.support.year import CURRENCIES, ENDS, FIRST, QUARTERS

POINTS = {"recorded": "at_time", "effective": "effective_at"}
CREDITS = ("liabilities", "equity", "income")
Lines = dict[tuple[str, str], int]  # the amounts by currency and code, or kind, of all accounts with this one
by_both_dates = pytest.mark.parametrize("order", POINTS)


class Chart:
    """The accounts of the ledger, as its reports name them."""

    def __init__(self, accounts: Iterable[Mapping[str, Any]]) -> None:
        self._accounts = {row["id"]: row for row in accounts}

    @classmethod
    async def of(cls, api: Api) -> "Chart":
        """Read the accounts."""
        return cls((await api.get("/v1/accounts", params={"world": "true"})).body)

    def lines(self, balances: Balances, *types: str | None) -> Lines:
        """Return the lines of a report in which the accounts of these types have these balances."""
        found: Counter[tuple[str, str]] = Counter()
        for account_id, cents in balances.items():
            row = self._accounts[account_id]
            kind = "equity" if row["user_id"] is None else row.get("type") or type_by_root(row.get("code"))
            if kind in types:
                name = "world" if row["user_id"] is None else row.get("code", "uncoded").lower()
                found[row["currency"], name] += cents
        return {key: cents for key, cents in found.items() if cents}


def read_lines(report: Any, *sections: str) -> Lines:
    """Return the lines of some sections of a report, positive for debits, without subtotals and the result."""
    return {
        (books["currency"], line.get("code", line["group"]).lower()): cents
        for books in report["currencies"]
        for section in books["sections"]
        if section["section"] in sections
        for line in section["lines"]
        if not line["is_subtotal"] and line["group"] != "result"
        for cents in [net(line) * (-1 if section["section"] in CREDITS and "amount_cents" in line else 1)]
        if cents
    }


def net(line: Mapping[str, Any]) -> int:
    return int(line["amount_cents"] if "amount_cents" in line else line["debit_cents"] - line["credit_cents"])


def totals(report: Any, name: str) -> dict[str, int]:
    return {books["currency"]: books[f"{name}_cents"] for books in report["currencies"]}


async def read_report(api: Api, name: str, **parameters: str) -> Any:
    answer = await api.get(f"/v1/ledger/reports/{name}", params=parameters)
    assert 200 == answer.status, answer.body
    return answer.body


@by_both_dates
async def test_the_trial_balance_has_each_account(books: Api, journals: Mapping[str, Journals], order: str) -> None:
    chart, beancount = await Chart.of(books), journals[order].beancount
    types = {"assets": "asset", "liabilities": "liability", "equity": "equity", "income": "income"}
    for end in ENDS:
        report = await read_report(books, "trial-balance", **{POINTS[order]: str(end)})
        balances = beancount.balances_at(end)
        assert report["balanced"]
        for section, kind in {**types, "expenses": "expense", "untyped": None}.items():
            assert chart.lines(balances, kind) == read_lines(report, section), (end, section)
        assert totals(report, "debit") == totals(report, "credit")


@by_both_dates
async def test_the_balance_sheet_is_that_of_hledger_and_beancount(
    books: Api, journals: Mapping[str, Journals], order: str
) -> None:
    chart, beancount = await Chart.of(books), journals[order].beancount
    hledger = journals[order].hledger
    shown_by_hledger = await hledger.report("bse") if hledger else {}
    for end in ENDS:
        report = await read_report(books, "balance-sheet", **{POINTS[order]: str(end)})
        sides = {
            "Assets": read_lines(report, "assets", "untyped"),
            "Liabilities": read_lines(report, "liabilities"),
            "Equity": read_lines(report, "equity"),
        }
        assert report["balanced"]
        if end in QUARTERS:
            balances, result = beancount.balance_sheet(end + timedelta(days=1))
            assert sides["Assets"] == chart.lines(balances, "asset", None)
            assert sides["Liabilities"] | sides["Equity"] == chart.lines(balances, "liability", "equity")
            assert {currency: -cents for currency, cents in result.items()} == totals(report, "result")
        for section, lines in shown_by_hledger.items():
            shown = {key: cents[f"{end:%Y-%m}"] for key, cents in lines.items()}
            if section == NET:
                assert totals(report, "result") == {currency: cents for (_, currency), cents in shown.items()}
                continue
            sign = 1 if section == "Assets" else -1
            accounts = {name: sign * cents for (name, _), cents in shown.items() if name != TOTAL}
            assert sides[section] == chart.lines(accounts, "asset", "liability", "equity", None), (end, section)
            for currency in CURRENCIES:
                total = sum(cents for (one, _), cents in sides[section].items() if one == currency)
                assert sign * total == shown[TOTAL, currency]


@by_both_dates
async def test_the_income_statement_is_that_of_hledger_and_beancount(
    books: Api, journals: Mapping[str, Journals], order: str
) -> None:
    chart, beancount = await Chart.of(books), journals[order].beancount
    hledger = journals[order].hledger
    shown_by_hledger = await hledger.report("is") if hledger else {}
    for end in ENDS:
        begin = end.replace(day=1)
        report = await read_report(books, "income-statement", **{"from": str(begin), "to": str(end), "by": order})
        sides = {"Revenues": read_lines(report, "income"), "Expenses": read_lines(report, "expenses")}
        if end in QUARTERS:
            changes = beancount.changes(begin, end + timedelta(days=1))
            assert sides["Revenues"] == chart.lines(changes, "income")
            assert sides["Expenses"] == chart.lines(changes, "expense")
        for section, lines in shown_by_hledger.items():
            shown = {key: cents[f"{end:%Y-%m}"] for key, cents in lines.items()}
            named = {currency: cents for (name, currency), cents in shown.items() if name == TOTAL}
            assert named == totals(report, {"Revenues": "income", "Expenses": "expenses", NET: "result"}[section])
            sign = -1 if section == "Revenues" else 1
            accounts = {name: sign * cents for (name, _), cents in shown.items() if name != TOTAL}
            assert section == NET or sides[section] == chart.lines(accounts, "income", "expense"), (end, section)


@by_both_dates
async def test_the_year_is_compared_with_the_months_and_with_the_year_before(books: Api, order: str) -> None:
    period = {"from": str(FIRST), "to": str(ENDS[-1]), "by": order}
    year = await read_report(books, "income-statement", **period, compare="year")
    months = Counter[str]()
    for end in ENDS:
        month = {"from": str(end.replace(day=1)), "to": str(end), "by": order}
        months.update(totals(await read_report(books, "income-statement", **month), "result"))
    assert totals(year, "result") == months
    assert {0} == set(totals(year, "previous_result").values())
    quarter = await read_report(
        books, "income-statement", **{"from": "2025-04-01", "to": "2025-06-30", "by": order}, compare="previous"
    )
    first = await read_report(books, "income-statement", **{"from": "2025-01-01", "to": "2025-03-31", "by": order})
    assert totals(first, "result") == totals(quarter, "previous_result")


@by_both_dates
async def test_sums_by_code_are_those_of_hledger_at_the_same_depth(
    books: Api, journals: Mapping[str, Journals], order: str
) -> None:
    end, hledger = ENDS[7], journals[order].hledger
    types = ("asset", "liability", "equity", "income", "expense", None)
    accounts = (await Chart.of(books)).lines(journals[order].beancount.balances_at(end), *types)
    for depth in (1, 2, 3):
        answer = await books.get("/v1/ledger/balances", params={"depth": str(depth), POINTS[order]: str(end)})
        shown = {
            (row["currency"], row["code"].lower()): row["sum_cents"]
            for row in answer.body["balances"]
            if row["group"] == "coded" and row["sum_cents"]
        }
        expected = Counter[tuple[str, str]]()
        for (currency, code), cents in accounts.items():
            if code not in {"uncoded", "world"}:
                expected[currency, ":".join(code.split(":")[:depth])] += cents
        assert {key: cents for key, cents in expected.items() if cents} == shown
        assert hledger is None or shown == {k: v for k, v in (await hledger.sums_at(end, depth)).items() if v}


@pytest.mark.parametrize(
    ("report", "parameters"),
    [
        ("trial-balance", {"effective_at": "2025-06-30"}),
        ("balance-sheet", {"at_time": "2025-09-30"}),
        ("income-statement", {"from": "2025-03-01", "to": "2025-03-31", "by": "effective"}),
    ],
)
async def test_the_command_shows_what_the_service_shows(
    books: Api, year: Settings, report: str, parameters: dict[str, str]
) -> None:
    named = {name.replace("at_time", "at").replace("_", "-"): value for name, value in parameters.items()}
    options = [part for name, value in named.items() for part in (f"--{name}", value)]
    ran = await run_ledger("report", report, *options, "--format", "csv", variables=year.environment())
    assert 0 == ran.status, ran
    rows = [
        (
            row["currency"],
            row["section"],
            row["code"].lower() or row["group"],
            to_cents(row.get("amount") or row["debit"]),
        )
        for row in csv.DictReader(io.StringIO(ran.output))
        if row["row"] != "total"
    ]
    assert rows == [
        (one["currency"], section["section"], line.get("code", line["group"]).lower(), cents)
        for one in (await read_report(books, report, **parameters))["currencies"]
        for section in one["sections"]
        for line in section["lines"]
        for cents in [line.get("amount_cents", line.get("debit_cents"))]
    ]


async def test_a_report_of_a_closed_month_is_that_of_its_closing(books: Api) -> None:
    for closing in (await books.get("/v1/periods")).body:
        day = date.fromisoformat(closing["through"])
        then = {"effective_at": str(day), "at_position": str(closing["position"])}
        for name in ("trial-balance", "balance-sheet"):
            closed, now = [await read_report(books, name, **points) for points in (then, {"effective_at": str(day)})]
            for section in ("assets", "liabilities", "equity", "income", "expenses", "untyped"):
                assert read_lines(closed, section) == read_lines(now, section), (name, day, section)
