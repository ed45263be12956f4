"""The reports: their numbers are the service's, the browser checks the identity, and they print and save well."""

from typing import Any

from ledger.audit import report_queries
from ledger.audit.report_queries import Activity, Scope, When
from ledger.cli.report_text import format_csv
from tests.support.books import HOSTILE, log_end, open_books, shown
from tests.support.console import Console
from tests.support.controls import PASSWORD, Api

REPORTS = ("balance-sheet", "income-statement", "trial-balance")
CELLS = "main .report-table td"
CATCH = (
    "(() => { const create = URL.createObjectURL; URL.createObjectURL = (blob) => "
    "{ blob.text().then((text) => { window.saved = text; }); return create(blob); }; return true; })()"
)


async def test_every_number_is_that_of_the_service(console: Console, api: Api) -> None:
    await open_books(api)
    for report in REPORTS:
        body = (await api.get(f"/v1/ledger/reports/{report}")).body
        await console.open(f"/reports?report={report}&depth=all")
        await console.until(f"document.querySelector('{CELLS}')")
        members = ("debit_cents_text", "credit_cents_text") if report == "trial-balance" else ("amount_cents_text",)

        found = await console.texts(CELLS)
        for books in body["currencies"]:
            for part in (
                each for section in books["sections"] for each in [section, *section["lines"]] if section["lines"]
            ):
                for member in members:
                    assert part[member] == "0" or shown(part[member], books["digits"]) in found, part
        assert {"✓"} == {check[0] for check in await console.texts("main .books-head .check")}


async def test_the_identity_is_computed_and_not_painted(console: Console, api: Api, connection: Any) -> None:
    accounts = await open_books(api)
    await connection.execute("UPDATE accounts SET balance_cents = 7501 WHERE id = $1", accounts["users:alice"]["id"])

    await console.open("/reports?currency=USD")
    await console.until("document.querySelector('main .books-head .check')")

    assert "✗ assets and untyped" in (await console.texts("main .books-head .check"))[0]


async def test_the_lines_are_added_up_in_the_browser(console: Console, api: Api) -> None:
    await open_books(api)
    await console.open("/reports")
    found = await console.run(
        "(() => { window.lines = null; import('/console/report_lines.js').then(({ identityOf }) => { "
        "const line = (amount_cents_text, is_subtotal = false) => ({ amount_cents_text, is_subtotal }); "
        "const books = (assets) => ({ sections: [{ section: 'assets', amount_cents_text: '7', "
        "lines: [line('7', true), line('3'), line(assets)] }, "
        "{ section: 'equity', amount_cents_text: '7', lines: [line('7')] }] }); "
        "window.lines = ['4', '5'].map((assets) => identityOf('balance-sheet', books(assets)).holds); }); })() ?? 1"
    )
    await console.until("window.lines")

    assert 1 == found
    assert [True, False] == await console.run("window.lines")


async def test_sliding_the_time_changes_the_numbers(console: Console, api: Api) -> None:
    accounts = await open_books(api)
    before = await log_end(api)
    await api.transfer(accounts["assets:bank:main"], accounts["expenses:rent"], 2222)

    await console.open(f"/reports?report=income-statement&currency=USD&depth=2&at={before}")
    await console.sees("400.00")
    assert "422.22" not in await console.texts(CELLS)
    await console.click("#band button")
    await console.until(f"[...document.querySelectorAll('{CELLS}')].some((cell) => cell.innerText === '422.22')")


async def test_a_period_is_compared_with_the_one_before(console: Console, api: Api) -> None:
    accounts = await open_books(api)
    body = {
        "source_account_id": accounts["assets:cash"]["id"],
        "destination_account_id": accounts["expenses:rent"]["id"],
    }
    await api.post("/v1/transactions/transfer", {**body, "amount_cents": 777, "effective_at": "2020-01-15T00:00:00Z"})
    dates = "period=dates&from=2020-02-01&to=2020-02-29"

    await console.open(f"/reports?report=income-statement&{dates}&by=effective&compare=previous&currency=USD")
    await console.until("document.querySelectorAll('main .report-table thead th').length === 3")
    heads = await console.texts("main .report-table thead th")
    await console.open("/reports?effective_at=2020-02-01&against=1&currency=USD")
    await console.until("document.querySelectorAll('main .report-table thead th').length === 6")

    assert ["2020-02-01 to 2020-02-29", "2020-01-01 to 2020-01-31"] == [" ".join(head.split()) for head in heads[1:]]
    rows = await console.texts("main .report-table tbody tr")
    assert any("7.77" in row and "0.00" in row for row in rows)


async def test_the_file_is_that_of_the_command(console: Console, api: Api, connection: Any) -> None:
    await open_books(api)
    everything = Scope(None, None)
    expected = (
        await report_queries.read_balance_sheet(connection, When(), everything),
        await report_queries.read_income_statement(connection, None, Activity(), everything),
        await report_queries.read_trial_balance(connection, When(), everything),
    )
    await console.open()
    await console.page.run(CATCH)

    for report, body in zip(REPORTS, expected, strict=True):
        await console.open(f"/reports?report={report}&depth=all")
        await console.run("window.saved = null")
        await console.click("main .report-head button")
        saved = await console.page.run("window.saved")

        assert format_csv(body).splitlines()[1:] == saved.splitlines()[1:], report
        assert f"'{HOSTILE[:10]}" in saved  # no formula


async def test_a_printed_page_has_the_report_alone(console: Console, api: Api) -> None:
    await open_books(api)
    await console.open("/reports")
    await console.until(f"document.querySelector('{CELLS}')")
    await console.page.look(scheme="dark", width=800, media="print")
    hidden = "[...document.querySelectorAll('#bar, .filters, .actions, .report-tabs')]"

    assert await console.run(f"{hidden}.every((each) => getComputedStyle(each).display === 'none')")
    assert "rgb(255, 255, 255)" == await console.run("getComputedStyle(document.body).backgroundColor")
    assert "rgb(0, 0, 0)" == await console.run("getComputedStyle(document.body).color")
    assert await console.run("document.querySelector('.print-only').offsetWidth > 0")


async def test_hostile_names_are_text(console: Console, api: Api) -> None:
    await open_books(api)
    await console.open("/reports?depth=all")

    await console.sees('<img src=x onerror="alert(1)">')

    assert 0 == await console.run("document.querySelectorAll('main img').length")


async def test_an_empty_ledger_and_other_roles(console: Console, api: Api) -> None:
    console.expect(403)
    user = await api.new_user(roles="customer")
    await console.open("/reports")
    await console.sees("No accounts yet")

    await console.click(".menu-body button:last-child")
    await console.sign_in(user["username"], PASSWORD)
    await console.sees("Your roles do not allow this")
