"""What the console says while it waits, when nothing answers, and of addresses that lead nowhere."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from yarl import URL

from tests.support.books import open_books
from tests.support.console import Console
from tests.support.console_actions import two_accounts
from tests.support.console_buttons import button, press, says
from tests.support.controls import Api
from tests.support.proxy import Proxy
from tests.support.receiver import receive
from tests.support.webhooks import create

# Keeps the responses to GET requests whose address has a text, until `letGo()`; `window.asked` counts them.
KEEP = """(window.asked = 0, window.real = fetch, window.gone = new Promise((go) => { window.letGo = go; }),
window.fetch = async (address, options = {}) => {
  const isKept = String(address).includes(TEXT) && [undefined, 'GET'].includes(options.method);
  const response = await real(address, options);
  if (isKept) { window.asked += 1; await gone; }
  return response;
}, 1)"""
LET_GO = "(window.fetch = window.real, letGo(), 1)"
NEVER_AGAIN = (
    "const wait = setTimeout; setTimeout = (f, time = 0, ...rest) => (time < 1500 ? wait(f, time, ...rest) : 0);"
)
# What would be shown after 100 milliseconds comes after two seconds; `waiting` counts it.
SLOW_LINES = """const wait = setTimeout;
window.waiting = 0;
setTimeout = (f, time = 0, ...rest) => {
  if (time !== 100) return wait(f, time, ...rest);
  window.waiting += 1;
  return wait(() => { f(); window.waiting -= 1; }, 2000);
};"""
IMPATIENT = """const wait = setTimeout;
setTimeout = (f, time = 0, ...rest) => wait(f, window.isImpatient && time > 30000 ? 200 : time, ...rest);"""
MAIN = "document.querySelector('main')"


class Front:
    """The client of a proxy before the service."""

    def __init__(self, proxy: Proxy) -> None:
        self._url = URL.build(scheme="http", host=proxy.address[0], port=proxy.address[1])

    @property
    def client(self) -> "Front":
        """Itself: the console asks its API for this."""
        return self

    def make_url(self, path: str) -> URL:
        """Return the address of a path."""
        return self._url.join(URL(path))


@pytest.fixture
async def proxy(console: Console, api: Api) -> AsyncIterator[Proxy]:
    """Yield a proxy between the console and the service."""
    url = api.client.make_url("/")
    assert url.host is not None
    assert url.port is not None
    async with Proxy.to(url.host, url.port) as found:
        console.api = Front(found)  # type: ignore[assignment]
        yield found


async def keep(console: Console, text: str) -> None:
    """Keep the responses to requests whose address has a text."""
    await console.run(KEEP.replace("TEXT", json.dumps(text)))


async def test_lines_stand_for_what_is_still_loading(console: Console, api: Api) -> None:
    await open_books(api)
    await console.open()
    await keep(console, "/v1/transactions?")
    await console.run("(document.querySelector('#bar .tabs a[data-view=\"/holds\"]').click(), 1)")
    await console.until("document.querySelector('main .loading .bone')")
    await console.until("getComputedStyle(document.querySelector('main .loading')).opacity === '1'")
    await console.until("document.querySelector('main h1')?.innerText === 'Holds'")
    before = await console.run(f"{MAIN}.innerText")
    await console.run(LET_GO)
    await console.sees("order-17")

    assert "No hold is pending" not in before


@pytest.mark.parametrize("point", ["99999999", "2099-01-01T00:00:00Z", "2099-01-01"])
async def test_what_the_ledger_has_not_reached_is_now(console: Console, point: str) -> None:
    await console.open(f"?at={point}")
    await console.sees("No accounts yet")
    await console.until("location.search === ''")

    assert [""] == await console.texts("#band")
    assert "true" == await console.run("document.querySelector('#bar .now').getAttribute('aria-pressed')")


@pytest.mark.parametrize("text", ["abc", "2026-13-45", "-1", "1e3"])
async def test_a_text_that_is_no_time_is_shown_as_it_is(console: Console, text: str) -> None:
    await console.open(f"?at={text}")
    await console.sees("There is no such point in time")
    band = (await console.texts("#band"))[0]
    await press(console, "Go to now")
    await console.sees("No accounts yet")
    await console.until("location.search === ''")

    assert f"“{text}”" in band


@pytest.mark.parametrize("path", ["/people/nobody", "/transactions/nothing", "/accounts/nowhere"])
async def test_an_id_that_is_none_leads_nowhere(console: Console, path: str) -> None:
    console.expect(404, 422)
    await console.open(path)
    await console.sees("There is nothing here")


async def test_a_view_of_another_time_than_the_frame_cannot_be_used(console: Console, api: Api) -> None:
    await two_accounts(api)
    await console.open("/accounts")
    await console.sees("100.00")
    await keep(console, "/v1/accounts?")
    await console.run("document.querySelector('#bar .slider').focus()")
    await console.fill("#bar .slider", "2")
    await console.until("document.querySelector('#band strong')")
    is_inert = await console.run(f"[{MAIN}.inert, {MAIN}.innerText.includes('100.00')]")
    await console.run(LET_GO)
    await console.sees("No accounts at this point in time")

    assert [True, True] == is_inert
    assert not await console.run(f"{MAIN}.inert")


async def test_a_dialog_does_not_open_below_the_band_of_a_past_time(console: Console, api: Api) -> None:
    console.expect(404)  # the account was opened later
    one, _ = await two_accounts(api)
    await console.open(f"/accounts/{one['id']}")
    await console.until("document.querySelector('main [data-action=transfer]')")
    await keep(console, f"/v1/accounts/{one['id']}")
    await console.click("main [data-action=transfer]")
    await console.until("window.asked")
    await console.fill("#bar .slider", "3")
    await console.until("document.querySelector('#band strong')")
    await console.run(LET_GO)
    await console.until("document.querySelector('main [data-action=transfer]:disabled, main .state')")

    assert not await console.run("Boolean(document.querySelector('dialog'))")


async def test_nothing_that_was_loading_covers_the_form_for_signing_in(console: Console, api: Api) -> None:
    console.expect(401)
    await console.page.start()
    await console.page.before_load(SLOW_LINES)
    await console.open()
    await console.sees("No accounts yet")
    await api.post("/v1/auth/revoke-all")
    await console.click("#bar .tabs a:nth-child(3)")
    await console.until("document.querySelector('.sign-in')")
    await console.until("window.waiting === 0")

    assert await console.run("document.querySelector('.sign-in') !== null")


async def test_a_dialog_does_not_open_over_another_view(console: Console, api: Api) -> None:
    one, _ = await two_accounts(api)
    await console.open(f"/accounts/{one['id']}")
    await console.until("document.querySelector('main [data-action=transfer]')")
    await keep(console, f"/v1/accounts/{one['id']}")
    await console.click("main [data-action=transfer]")
    await console.until("window.asked")
    await console.open("/people")
    await console.run(LET_GO)
    await console.sees("admin@")

    assert not await console.run("Boolean(document.querySelector('dialog'))")


async def test_a_reading_from_before_a_change_is_followed_by_another(console: Console, api: Api) -> None:
    await console.page.start()
    await console.page.before_load(NEVER_AGAIN)
    async with receive() as receiver:
        webhook = await create(api, receiver)
        await console.open(f"/operations?webhook={webhook['id']}")
        await console.until(button("Disable"))
        await keep(console, "/progress")
        await console.run(
            "document.querySelector('main .grid[aria-label=Webhooks]').dispatchEvent(new Event('scrollend'))"
        )
        await console.until("window.asked")
        await press(console, "Disable")
        await press(console, "Disable", "dialog[open]")
        await console.until("!document.querySelector('dialog')")
        await console.run(LET_GO)
        await says(console, "main .details", "by request")


async def test_the_console_says_when_the_service_does_not_respond_and_goes_on(
    console: Console, api: Api, proxy: Proxy
) -> None:
    console.expect_outage()
    one, other = await two_accounts(api)
    await console.open("/transactions")
    await console.sees("100.00")
    proxy.refuse()
    await says(console, ".is-lost #band", "The service does not respond. This is the ledger as of ")
    await console.run("(document.querySelector('#bar .tabs a[data-view=\"/flow\"]').click(), 1)")
    await console.sees("The service does not respond")
    words = await console.run(f"{MAIN}.innerText")
    await api.transfer(one, other, 1_234)
    proxy.heal()
    await console.until("document.querySelector('main h1')?.innerText === 'Flow'")
    await console.until("document.querySelector('#band').innerText === ''")
    await console.run("(history.back(), 1)")
    await console.sees("12.34")

    assert "module" not in words


async def test_a_feed_that_falls_silent_is_opened_again(console: Console, api: Api) -> None:
    one, other = await two_accounts(api)
    await console.page.start()
    await console.page.before_load(IMPATIENT)
    await console.open("/transactions")
    await console.sees("100.00")
    await console.run("(window.isImpatient = true, 1)")
    await api.transfer(one, other, 1_234)
    await says(console, ".is-lost #band", "The service does not respond")
    await console.run("(window.isImpatient = false, 1)")
    await console.until("document.querySelector('#band').innerText === ''")
    await api.transfer(one, other, 2_345)
    await console.sees("23.45")


async def test_lists_follow_what_others_do(console: Console, api: Api) -> None:
    one, other = await two_accounts(api)
    await console.open("/accounts")
    await console.sees("alice")
    await api.new_account(one["user_id"], code="users:new-one")
    await console.sees("new-one")
    await console.open("/transactions")
    await console.sees("100.00")
    await api.transfer(one, other, 1_234)
    await console.sees("12.34")
    await api.transfer(one, other, 2_345)
    await console.sees("23.45")
    amounts = await console.texts("main .rows .row .money")

    assert ["23.45 USD", "12.34 USD", "100.00 USD"] == amounts


async def test_filters_of_transactions_hold_for_new_ones(console: Console, api: Api) -> None:
    one, other = await two_accounts(api)
    await console.open("/transactions?kind=hold")
    await console.sees("No transaction fits")
    await api.transfer(one, other, 1_234)
    body: dict[str, Any] = {"source_account_id": one["id"], "destination_account_id": other["id"], "amount_cents": 777}
    await api.post("/v1/transactions/hold", body)
    await console.sees("7.77")

    assert ["7.77 USD"] == await console.texts("main .rows .row .money")
