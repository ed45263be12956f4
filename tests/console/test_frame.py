"""Signing in, navigation by role, and the point in time."""

import math
import time

from tests.support.console import Console
from tests.support.controls import ADMIN_PASSWORD, Api

TABS = "#bar .tabs a"


async def test_an_admin_signs_in_and_sees_that_the_books_balance(console: Console, api: Api) -> None:
    await api.new_account(balance_cents=7500)

    await console.open()
    await console.sees("75.00")

    assert ["Overview", "Accounts", "Transactions"] == (await console.texts(TABS))[:3]
    await console.until("document.querySelector('main .check')?.innerText === '✓ debits = credits'")


async def test_a_wrong_password_is_explained(console: Console) -> None:
    console.expect(401)
    await console.page.open(str(console.api.client.make_url("/console")))
    await console.fill(".sign-in [autocomplete=username]", "admin")
    await console.fill(".sign-in [autocomplete=current-password]", "wrong")
    await console.click(".sign-in button")

    await console.sees("Wrong credentials.")


async def test_roles_decide_what_is_shown(console: Console, api: Api) -> None:
    await api.new_account(balance_cents=100)
    await console.open()

    for roles, tabs, text in (
        ("auditor", ["Overview", "Accounts", "Transactions"], "debits = credits"),
        ("customer", ["Overview", "Accounts", "Transactions"], "You own no account"),
        ("guest", ["Overview"], "A guest sees no books"),
    ):
        await console.change_user((await api.new_user(roles=roles))["username"])
        await console.sees(text)
        assert tabs == (await console.texts(TABS))[: len(tabs)]
        assert await console.run("(({ value, max }) => value === max)(document.querySelector('#bar .slider'))")  # now


async def test_a_link_keeps_the_point_in_time_and_now_is_one_click_away(console: Console, api: Api) -> None:
    owner = (await api.new_user())["id"]
    first = await api.new_account(owner, balance_cents=7500)
    position = (await api.get(f"/v1/accounts/{first['id']}/entries")).body[0]["position"]
    await api.new_account(owner, balance_cents=2500)

    await console.open(f"?at={position}")
    await console.sees("75.00")
    band = (await console.texts("#band"))[0]
    links = await console.run("[...document.querySelectorAll('#bar .tabs a')].map((each) => each.search)")
    await console.click("#band button")
    await console.sees("100.00")

    assert f"position {position}" in band
    assert {f"?at={position}"} == set(links)
    assert [""] == await console.texts("#band")


async def test_the_slider_moves_the_whole_console(console: Console, api: Api) -> None:
    account = await api.new_account(balance_cents=7500)
    position = (await api.get(f"/v1/accounts/{account['id']}/entries")).body[0]["position"]
    books = "document.querySelector('main .tiles')?.innerText.includes('75.00')"

    await console.open()
    await console.until(books)
    await console.fill("#bar .slider", str(position - 1))
    await console.until(f"!{books}")
    await console.until("location.search")
    await console.page.press("]")
    await console.until(books)


async def test_a_lost_session_comes_back_to_where_one_was(console: Console, api: Api) -> None:
    console.expect(401)
    await api.new_account(balance_cents=7500)
    await console.open()
    await console.sees("75.00")

    await api.post("/v1/auth/revoke-all")
    await console.click(f"{TABS}:nth-child(3)")
    await console.until("document.querySelector('.sign-in')")
    await console.sign_in("admin", ADMIN_PASSWORD)

    assert await console.run("location.pathname") == "/console/transactions"


async def test_a_transfer_arrives_within_a_second(console: Console, api: Api) -> None:
    one, other = await api.new_account(balance_cents=7500), await api.new_account()
    await console.open()
    await console.sees("75.00")

    latencies = [math.inf]
    for cents in range(1201, 1231):
        if min(latencies) >= 1:  # a busy machine delays some of them
            began = time.monotonic()
            await api.transfer(one, other, cents)
            await console.sees(f"12.{cents % 100:02}")
            latencies.append(time.monotonic() - began)

    assert min(latencies) < 1
