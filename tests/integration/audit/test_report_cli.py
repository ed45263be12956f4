"""`ledger report` at a terminal."""

import csv
from typing import Any

import pytest

from ledger.settings import Settings
from tests.support.controls import Api
from tests.support.processes import Ran, run_ledger
from tests.support.shop import open_shop


@pytest.fixture
async def shop(api: Api) -> dict[str, Any]:
    """Return the accounts of a shop by code."""
    return await open_shop(api)


async def run(settings: Settings, *arguments: str) -> Ran:
    return await run_ledger("report", *arguments, variables=settings.environment())


@pytest.mark.usefixtures("shop")
async def test_json_is_that_of_the_api(api: Api, settings: Settings) -> None:
    february = "from=2026-02-01&to=2026-02-28&by=effective&compare=previous"
    options = ("--from", "2026-02-01", "--to", "2026-02-28", "--by", "effective", "--compare", "previous")
    end = (await api.get("/v1/ledger/balances")).body["position"]
    before = str(end - 3)  # the last transfer is three events
    asked = (
        (f"trial-balance?depth=2&at_position={before}", ("trial-balance", "--depth", "2", "--at-position", before)),
        ("balance-sheet?effective_at=2026-02-15", ("balance-sheet", "--effective-at", "2026-02-15")),
        ("balance-sheet?currency=EUR", ("balance-sheet", "--currency", "EUR")),
        (f"income-statement?{february}", ("income-statement", *options)),
    )
    for question, arguments in asked:
        ran = await run(settings, *arguments, "--format", "json")
        assert (0, "") == (ran.status, ran.error)
        assert [(await api.get(f"/v1/ledger/reports/{question}")).body] == ran.documents, question


INCOME = """\
Income statement at position {}, by effective times

USD                    2026-02-01 to 2026-02-28  2026-01-01 to 2026-01-31
Income
  income:sales  sales                      7.00                     50.00
                       ------------------------  ------------------------
Total income                               7.00                     50.00

Expenses
  expenses:rent  rent                     12.00                      0.00
                       ------------------------  ------------------------
Total expenses                            12.00                      0.00

                       ------------------------  ------------------------
Result                                    -5.00                     50.00
"""


@pytest.mark.usefixtures("shop")
async def test_text_is_a_table_and_csv_has_units(api: Api, settings: Settings) -> None:
    position = (await api.get("/v1/ledger/balances")).body["position"]
    options = ("--from", "2026-02-01", "--to", "2026-02-28", "--by", "effective", "--compare", "previous")
    text = await run(settings, "income-statement", *options)
    assert INCOME.format(position) == text.output
    table = await run(settings, "trial-balance", "--effective-at", "2026-03-31T12:00:00Z")
    assert f"Trial balance at position {position}, effective 2026-03-31T12:00:00.000000Z" in table.output

    ran = await run(settings, "balance-sheet", "--format", "csv")
    rows = [*csv.DictReader(ran.output.splitlines())]
    assert ["138.00"] == [row["amount"] for row in rows if row["code"] == "assets:bank:main"]
    left = [row for row in rows if row["row"] == "total" and row["section"] in {"assets", "untyped"}]
    assert ["148.20", "0.80"] == [row["amount"] for row in left]


@pytest.mark.usefixtures("shop")
async def test_open_periods_are_said_in_the_head(settings: Settings) -> None:
    for options, said in (
        ((), "so far"),
        (("--from", "2026-01-01"), "since 2026-01-01"),
        (("--to", "2026-01-31"), "until 2026-01-31"),
    ):
        assert said in (await run(settings, "income-statement", *options)).output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("balance-sheet", "--at", "May"), "--at: must be a date"),
        (("balance-sheet", "--at", "2026-01-01", "--at-position", "3"), "give one of --at and --at-position"),
        (("trial-balance", "--currency", "usd"), "--currency: must be an ISO 4217 code"),
        (("income-statement", "--from", "2026-02-01", "--to", "2026-01-31"), "--to: must not be before"),
        (("income-statement", "--compare", "year"), "--compare: needs a period with both ends"),
    ],
)
async def test_an_invalid_argument_is_one_line_and_status_2(
    settings: Settings, arguments: tuple[str, ...], message: str
) -> None:
    ran = await run(settings, *arguments)
    assert (2, True) == (ran.status, ran.error.startswith(f"ledger: {message}"))


@pytest.mark.usefixtures("shop")
async def test_books_that_do_not_balance_are_status_1(settings: Settings, connection: Any) -> None:
    await connection.execute("UPDATE accounts SET balance_cents = balance_cents + 1 WHERE user_id IS NULL")
    for report in ("trial-balance", "balance-sheet"):
        ran = await run(settings, report)
        assert (1, "ledger: the books do not balance\n") == (ran.status, ran.error)
        assert "Total" in ran.output
