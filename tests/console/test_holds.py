"""Pending holds: their ages, those that are overdue, and as of a point in time."""

from tests.support.books import log_end, open_books
from tests.support.console import Console
from tests.support.controls import PASSWORD, Api
from tests.support.holds import hold

ROWS = "main .grid .rows .row"
HOSTILE = "<b>order</b> 17"


async def test_a_hold_comes_and_goes_live(console: Console, api: Api) -> None:
    accounts = await open_books(api)
    pair = (accounts["users:alice"], accounts["assets:cash"])
    await console.open("/holds")
    await console.sees("order-17")

    placed = await hold(api, pair, 250, reference=HOSTILE)
    await console.sees(HOSTILE)
    assert ["2", "8.50 USD"] == [" ".join(text.split()) for text in await console.texts("main .holds-head .figure")]
    await api.post(f"/v1/transactions/{placed['id']}/capture", {"amount_cents": 100, "final": False})
    await console.sees("7.50")
    await api.post(f"/v1/transactions/{placed['id']}/void")
    await console.until(f"document.querySelectorAll('{ROWS}').length === 1")

    assert 0 == await console.run("document.querySelectorAll('main .grid b').length")


async def test_the_past_has_the_holds_of_then(console: Console, api: Api) -> None:
    accounts = await open_books(api)
    before = await log_end(api)
    placed = await hold(api, (accounts["users:alice"], accounts["assets:cash"]), 250, reference="later")
    between = await log_end(api)
    await api.post(f"/v1/transactions/{placed['id']}/void")

    await console.open(f"/holds?at={before}")
    await console.sees("order-17")
    assert 1 == len(await console.texts(ROWS))
    await console.open(f"/holds?at={between}")
    await console.sees("later")
    await console.click("#band button")
    await console.until(f"document.querySelectorAll('{ROWS}').length === 1")


async def test_a_row_leads_to_its_transaction(console: Console, api: Api) -> None:
    await open_books(api)
    await console.open("/holds")
    await console.until(f"document.querySelector('{ROWS}')")

    await console.page.press("j", "Enter")

    await console.until("location.pathname.startsWith('/console/transactions/')")


async def test_a_customer_sees_own_holds_only(console: Console, api: Api) -> None:
    await open_books(api)
    user = await api.new_user(roles="customer")
    mine = [await api.new_account(user["id"], 1000) for _ in range(2)]
    await hold(api, (mine[0], mine[1]), 333, reference="mine")

    await console.open("/holds", user["username"], PASSWORD)
    await console.sees("mine")

    assert 1 == len(await console.texts(ROWS))


async def test_no_hold_is_pending(console: Console) -> None:
    await console.open("/holds")

    await console.sees("No hold is pending")
