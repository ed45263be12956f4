"""The flows between groups: the picture and the table have the numbers of the service."""

from tests.support.books import log_end, open_books, shown
from tests.support.console import Console
from tests.support.controls import PASSWORD, Api

ROWS = "main [aria-label=Flows] .rows .row"
LABELS = "main .sankey-labels li"


def table_row(flow: dict[str, object]) -> str:
    """Return the amount of a flow as its row shows it."""
    return f"{shown(str(flow['amount_cents_text']))} {flow['currency']}"


async def test_the_flows_are_those_of_the_service(console: Console, api: Api) -> None:
    await open_books(api)
    body = (await api.get("/v1/ledger/flows?depth=1&currency=USD")).body
    await console.open("/flow?currency=USD&period=all")
    await console.until(f"document.querySelectorAll('{ROWS}').length === {len(body['flows'])}")

    rows = await console.texts(ROWS)
    assert [table_row(flow) for flow in body["flows"]] == [row.splitlines()[-1] for row in rows]
    assert len(body["flows"]) == await console.run("document.querySelectorAll('main .ribbon').length")
    total = sum(int(flow["amount_cents_text"]) for flow in body["flows"])
    assert shown(total) in await console.texts("main .figures .figure")


async def test_a_click_goes_down_the_tree_and_the_path_back_up(console: Console, api: Api) -> None:
    await open_books(api)
    await console.open("/flow?currency=USD&period=all")
    await console.click(f"{LABELS} a[title='Flows of assets']")
    await console.until("location.search.includes('prefix=assets')")
    await console.sees("bank")
    body = (await api.get("/v1/ledger/flows?depth=1&currency=USD&prefix=assets")).body
    await console.until(f"document.querySelectorAll('{ROWS}').length === {len(body['flows'])}")

    assert [table_row(flow) for flow in body["flows"]] == [row.splitlines()[-1] for row in await console.texts(ROWS)]
    assert "outside" in (await console.texts(ROWS))[0]
    await console.click("main .prefix a")
    await console.until("!location.search.includes('prefix')")
    await console.sees("income")


async def test_accounts_are_links_and_the_ledgers_own_can_be_left_out(console: Console, api: Api) -> None:
    accounts = await open_books(api)
    await console.open("/flow?currency=USD&period=all&sides=account")
    await console.until(f"document.querySelector('{LABELS} a[href*=\"{accounts['income:sales']['id']}\"]')")

    await console.open("/flow?currency=USD&period=all")
    await console.sees("the ledger's own")
    await console.click("main .filters [name=world]")
    await console.until("location.search.includes('world=off')")
    await console.until(
        f"document.querySelector('{ROWS}') && !document.querySelector('{LABELS} .muted:not(.node-sum)')"
    )
    assert "income" in "".join(await console.texts(LABELS))


async def test_the_time_bar_ends_the_period(console: Console, api: Api) -> None:
    accounts = await open_books(api)
    before = await log_end(api)
    await api.transfer(accounts["assets:bank:main"], accounts["expenses:rent"], 2222)

    await console.open(f"/flow?currency=USD&at={before}")
    await console.sees("400.00")
    await console.click("#band button")
    await console.sees("422.22")


async def test_an_empty_period_is_said(console: Console, api: Api) -> None:
    await open_books(api)
    await console.open("/flow?period=dates&from=2001-01-01&to=2001-01-31")

    await console.sees("Nothing moved")
    await console.click("main .state a")
    await console.until(f"document.querySelector('{ROWS}')")


async def test_a_customer_is_told_that_the_role_does_not_allow_it(console: Console, api: Api) -> None:
    console.expect(403)
    user = await api.new_user(roles="customer")

    await console.open("/flow", user["username"], PASSWORD)

    await console.sees("Your roles do not allow this")
    assert "Flow" not in await console.texts("#bar .tabs a")
