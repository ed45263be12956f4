"""Sums of balances by code, and the reports of accountants, over HTTP."""

from typing import Any

import pytest

from ledger.audit import sums
from tests.support.controls import Api, Response
from tests.support.shop import open_shop

LEDGER = "/v1/ledger"


@pytest.fixture
async def shop(api: Api) -> dict[str, Any]:
    """Return the accounts of a shop by code."""
    return await open_shop(api)


async def get(api: Api, report: str, **parameters: Any) -> Any:
    answer = await ask(api, report, **parameters)
    assert 200 == answer.status, answer
    return answer.body


async def ask(api: Api, report: str, **parameters: Any) -> Response:
    named = {("from" if name == "from_" else name): value for name, value in parameters.items()}
    return await api.get(f"{LEDGER}/{report}", params=named)


async def groups(api: Api, **parameters: Any) -> list[tuple[str, int, int]]:
    """Return the code or the kind of each group, its number of accounts, and its sum."""
    rows = (await get(api, "balances", **parameters))["balances"]
    return [(row.get("code", row["group"]), row["accounts"], row["sum_cents"]) for row in rows]


def lines(report: Any, section: str, *members: str) -> list[tuple[Any, ...]]:
    """Return the lines of a section: level, code or group, and these members."""
    (books,) = report["currencies"]
    (chosen,) = (one for one in books["sections"] if one["section"] == section)
    return [
        (line["level"], line.get("code", line["group"]), *(line[name] for name in members)) for line in chosen["lines"]
    ]


# Sums.


@pytest.mark.usefixtures("shop")
async def test_sums_are_by_the_first_segment_of_codes_unless_asked_otherwise(api: Api) -> None:
    assert [
        ("assets", 3, 14_820),
        ("equity", 1, -400),
        ("expenses", 1, 1_500),
        ("income", 1, -5_700),
        ("liabilities", 1, -300),
        ("misc", 1, 50),
        ("uncoded", 1, 30),
        ("world", 1, -10_000),
    ] == await groups(api)
    assert [("coded", 8, 9_970), ("uncoded", 1, 30), ("world", 1, -10_000)] == await groups(api, depth=0)


@pytest.mark.usefixtures("shop")
async def test_sums_below_a_prefix_are_by_the_segments_after_it(api: Api) -> None:
    below = [("assets:bank", 2, 14_200), ("assets:cash", 1, 620)]
    assert below == await groups(api, prefix="assets")
    assert below == await groups(api, prefix="ASSETS:", depth=1)
    assert [("assets", 3, 14_820)] == await groups(api, prefix="assets", depth=0)
    assert 3 == len(await groups(api, prefix="assets:", depth=2))
    assert [("assets:cash", 1, 620)] == await groups(api, prefix="assets:cash")
    assert [] == await groups(api, prefix="assets:cash:")
    assert [] == await groups(api, prefix="asset")


@pytest.mark.usefixtures("shop")
async def test_a_group_has_debits_credits_and_what_is_below_it(api: Api) -> None:
    await api.new_account(None, 7, code="assets", overdraft_limit_cents=0)
    (group, *_) = (await get(api, "balances", depth=1, prefix="assets"))["balances"]
    assert {
        "group": "coded",
        "code": "assets",
        "currency": "USD",
        "accounts": 1,
        "accounts_below": 0,
        "debit_cents": 0,
        "credit_cents": 7,
        "sum_cents": 7,
        "debit_cents_text": "0",
        "credit_cents_text": "7",
        "sum_cents_text": "7",
    } == group
    (whole,) = (await get(api, "balances", depth=0, prefix="assets"))["balances"]
    assert (4, 3) == (whole["accounts"], whole["accounts_below"])
    income, *_ = (await get(api, "balances", prefix="income:"))["balances"]
    assert ("sales", 5_700, 0, -5_700) == tuple(
        income[name] for name in ("name", "debit_cents", "credit_cents", "sum_cents")
    )


@pytest.mark.usefixtures("shop")
async def test_the_sums_are_those_of_the_trial_balance_at_any_point_in_time(api: Api) -> None:
    end = (await get(api, "balances"))["position"]
    for asked in ({}, {"at_position": end - 9}, {"effective_at": "2026-02-15"}, {"at_position": 3}):
        rows = (await get(api, "balances", depth=3, **asked))["balances"]
        trial = await get(api, "trial-balance", **asked)
        for member in ("debit_cents", "credit_cents", "sum_cents", "accounts"):
            expected = sum(currency[member] for currency in trial["currencies"])
            assert expected == sum(row[member] for row in rows), (asked, member)
    body = await get(api, "balances", effective_at="2026-02-15")
    assert "2026-02-15T23:59:59.999999Z" == body["effective_at"]


async def test_sums_are_by_currency_and_can_be_of_one(api: Api, shop: dict[str, Any]) -> None:
    await api.post("/v1/assets", {"code": "HOURS", "name": "Hours", "digits": 4})
    await api.new_account(shop["plain"]["user_id"], 15_000, code="assets:time", currency="HOURS")
    assert [("assets", 1, 15_000), ("world", 1, -15_000)] == await groups(api, currency="HOURS")
    rows = (await get(api, "balances", prefix="assets", depth=0))["balances"]
    assert ["HOURS", "USD"] == [row["currency"] for row in rows]
    assert (422, ["query currency"]) == await refusal(api, "balances", currency="XYZ")


async def test_a_code_counts_as_it_was_at_the_point_in_time(api: Api, shop: dict[str, Any]) -> None:
    before = (await get(api, "balances"))["position"]
    path = f"/v1/accounts/{shop['assets:cash']['id']}"
    assert 200 == (await api.patch(path, {"code": "till", "type": "expense"})).status
    assert ("till", 1, 620) in await groups(api)
    assert ("assets", 3, 14_820) in await groups(api, at_position=before)
    then = await get(api, "reports/balance-sheet", at_position=before)
    assert 14_820 == then["currencies"][0]["assets_cents"]
    assert 14_200 == (await get(api, "reports/balance-sheet"))["currencies"][0]["assets_cents"]


# Reports.


@pytest.mark.usefixtures("shop")
async def test_the_trial_balance_has_each_account_on_its_side(api: Api) -> None:
    report = await get(api, "reports/trial-balance")
    assert [
        (0, "assets", True, 14_820, 0),
        (1, "assets:bank", True, 14_200, 0),
        (2, "assets:bank:main", False, 13_800, 0),
        (2, "assets:bank:savings", False, 400, 0),
        (1, "assets:cash", False, 620, 0),
    ] == lines(report, "assets", "is_subtotal", "debit_cents", "credit_cents")
    sides = ("debit_cents", "credit_cents")
    assert [(0, "equity:owner", 0, 400), (0, "world", 0, 10_000)] == lines(report, "equity", *sides)
    assert [(0, "misc:other", 50, 0), (0, "uncoded", 30, 0)] == lines(report, "untyped", *sides)
    (books,) = report["currencies"]
    assert (True, True, 16_400, 16_400) == (report["balanced"], books["balanced"], *(books[side] for side in sides))
    flat = await get(api, "reports/trial-balance", depth=1)
    assert [(0, "assets", False, 14_820, 0)] == lines(flat, "assets", "is_subtotal", *sides)
    assert 16_400 == flat["currencies"][0]["debit_cents"]


@pytest.mark.usefixtures("shop")
async def test_the_balance_sheet_balances_with_the_result_so_far(api: Api) -> None:
    report = await get(api, "reports/balance-sheet")
    (books,) = report["currencies"]
    assert {
        "assets": 14_820,
        "untyped": 80,
        "liabilities": 300,
        "equity": 14_600,
        "result": 4_200,
        "difference": 0,
    } == {
        name: books[f"{name}_cents"] for name in ("assets", "untyped", "liabilities", "equity", "result", "difference")
    }
    assert books["balanced"]
    assert [(0, "equity:owner", 400), (0, "world", 10_000), (0, "result", 4_200)] == lines(
        report, "equity", "amount_cents"
    )


@pytest.mark.usefixtures("shop")
async def test_a_balance_sheet_of_an_effective_date_has_what_counts_by_then(api: Api) -> None:
    report = await get(api, "reports/balance-sheet", effective_at="2026-02-15")
    (books,) = report["currencies"]
    assert (4_500, 4_500, 4_500, True) == tuple(
        books[name] for name in ("assets_cents", "equity_cents", "result_cents", "balanced")
    )
    assert [(0, "assets", 4_500), (1, "assets:bank:main", 3_800), (1, "assets:cash", 700)] == lines(
        report, "assets", "amount_cents"
    )


@pytest.mark.usefixtures("shop")
async def test_the_income_statement_is_of_a_period_and_compares_another(api: Api) -> None:
    february = {"from_": "2026-02-01", "to": "2026-02-28", "by": "effective"}
    report = await get(api, "reports/income-statement", **february, compare="previous")
    assert ("effective", {"from": "2026-01-01T00:00:00.000000Z", "to": "2026-01-31T23:59:59.999999Z"}) == (
        report["by"],
        report["previous_period"],
    )
    amounts = ("amount_cents", "previous_cents")
    assert [(0, "income:sales", 700, 5_000)] == lines(report, "income", *amounts)
    assert [(0, "expenses:rent", 1_200, 0)] == lines(report, "expenses", *amounts)
    (books,) = report["currencies"]
    assert (-500, 5_000) == (books["result_cents"], books["previous_result_cents"])
    year = (await get(api, "reports/income-statement", **february, compare="year"))["currencies"][0]
    assert (-500, 0) == (year["result_cents"], year["previous_result_cents"])


@pytest.mark.usefixtures("shop")
async def test_an_income_statement_by_recorded_times_has_what_was_recorded_in_the_period(api: Api) -> None:
    entries = (await api.get("/v1/transactions", params={"limit": 1000})).body
    times = sorted(entry["created_at"] for entry in entries)
    before, after = {"to": "2020-01-01"}, {"from_": "9999-01-01"}
    results = [
        (await get(api, "reports/income-statement", **period))["currencies"][0]["result_cents"]
        for period in ({}, before, after, {"from_": times[0], "to": times[-1]}, {"by": "effective"})
    ]
    assert [4_200, 0, 0, 4_200, 4_200] == results
    report = await get(api, "reports/income-statement", from_=times[-4], to=times[-3])
    assert [(0, "expenses:rent", 300)] == lines(report, "expenses", "amount_cents")


@pytest.mark.usefixtures("shop")
async def test_the_result_of_all_periods_is_that_of_the_balance_sheet(api: Api) -> None:
    for day in ("2026-01-31", "2026-02-05", "2026-12-31"):
        sheet = await get(api, "reports/balance-sheet", effective_at=day)
        statement = await get(api, "reports/income-statement", to=day, by="effective", from_="0001-01-01")
        assert sheet["currencies"][0]["result_cents"] == statement["currencies"][0]["result_cents"], day


async def test_reports_of_a_ledger_without_accounts_are_empty(api: Api) -> None:
    assert [] == (await get(api, "balances"))["balances"]
    for report in ("trial-balance", "balance-sheet", "income-statement"):
        assert [] == (await get(api, f"reports/{report}"))["currencies"]
    assert (await get(api, "reports/trial-balance", at_position=0))["balanced"]


# Refusals.


async def refusal(api: Api, report: str, **parameters: Any) -> tuple[int, list[str]]:
    answer = await ask(api, report, **parameters)
    return answer.status, answer.parameters


@pytest.mark.parametrize(
    ("report", "parameters", "parameter"),
    [
        ("balances", {"prefix": "a::b"}, "prefix"),
        ("balances", {"prefix": ":"}, "prefix"),
        ("balances", {"depth": 17}, "depth"),
        ("reports/trial-balance", {"depth": 0}, "depth"),
        ("reports/trial-balance", {"effective_at": "March"}, "effective_at"),
        ("reports/income-statement", {"from_": "2026-02-01", "to": "2026-01-31"}, "to"),
        ("reports/income-statement", {"from_": "2026-02-01", "compare": "year"}, "compare"),
        ("reports/income-statement", {"compare": "decade"}, "compare"),
        ("reports/income-statement", {"by": "booked"}, "by"),
        ("reports/income-statement", {"effective_at": "2026-01-31"}, "effective_at"),
    ],
)
async def test_a_wrong_parameter_is_refused_by_its_name(
    api: Api, report: str, parameters: dict[str, Any], parameter: str
) -> None:
    assert (422, [f"query {parameter}"]) == await refusal(api, report, **parameters)


@pytest.mark.usefixtures("shop")
async def test_too_many_groups_are_refused_with_what_to_do(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums, "MAX_GROUPS", 4)
    for report in ("balances", "reports/trial-balance", "reports/balance-sheet"):
        answer = await ask(api, report)
        assert (422, ["query depth"]) == (answer.status, answer.parameters), report
        assert "choose a smaller depth" in answer.body["detail"]
    assert 200 == (await ask(api, "balances", prefix="assets")).status
