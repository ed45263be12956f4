"""The accounts: a tree whose sums roll up, and an account with its figures, curve, statement, holds and events."""

import json
from typing import Any

from tests.support.console import Console
from tests.support.controls import PASSWORD, Api

HOSTILE = ("<img src=x onerror=alert(1)>", "\u05e9\u05dc\u05d5\u05dd & <b>bold</b>", "x" * 200)


async def open_tree(api: Api) -> dict[str, dict[str, Any]]:
    """Open four accounts with codes, and return them by their codes."""
    owner = (await api.new_user())["id"]
    balances = {"assets:bank:main": 1000, "assets:bank:reserve": 2345, "assets:cash": 155, "users:alice": 50}
    return {code: await api.new_account(owner, balance_cents=cents, code=code) for code, cents in balances.items()}


async def sums(console: Console) -> dict[str, str]:
    """Return the balance of each row, by its name."""
    cells = "[each.querySelector('.indent').innerText.trim(), each.lastElementChild.innerText.trim()]"
    return dict(await console.run(f"[...document.querySelectorAll('.rows .row')].map((each) => {cells})"))


async def test_sums_roll_up_and_follow_the_search(console: Console, api: Api) -> None:
    await open_tree(api)

    await console.open("/accounts")
    await console.sees("users")
    every = await sums(console)
    await console.fill("main [name=q]", "assets bank")
    await console.until("document.querySelector('main header').innerText.includes('2 accounts')")
    found = await sums(console)

    assert ("35.00 USD", "33.45 USD", "1.55 USD") == tuple(every[name] for name in ("▾assets", "▾bank", "cash"))
    assert {"▾assets": "33.45 USD", "▾bank": "33.45 USD", "main": "10.00 USD", "reserve": "23.45 USD"} == found
    assert "?q=assets+bank" == await console.run("location.search")


async def test_sums_are_those_of_the_service(console: Console, api: Api) -> None:
    accounts = await open_tree(api)
    await api.new_account(balance_cents=70, code="assets")  # beside the group of the same name
    await api.new_account(balance_cents=5, currency="KWD", code="users:bob")
    await console.open("/accounts")
    asked = (
        "performance.getEntriesByType('resource').filter((each) => each.name.includes('/v1/ledger/balances')).length"
    )

    await console.until(f"{asked} >= 4")  # the top, and below what is open
    await console.until("document.querySelector('.rows').innerText.includes('0.005 KWD')")
    balances = (await api.get("/v1/ledger/balances?prefix=assets:")).body["balances"]
    sums_of = {each["code"]: each["sum_cents_text"] for each in balances}
    before = await sums(console)
    await api.transfer(accounts["assets:cash"], accounts["users:alice"], 100)
    await console.until(
        "[...document.querySelectorAll('.rows .row')].some((each) => each.innerText.includes('34.00 USD'))"
    )

    assert {"assets:bank": "3345", "assets:cash": "155"} == sums_of
    assert ("35.00 USD", "33.45 USD") == (before["▾assets"], before["▾bank"])


async def test_the_tree_is_used_with_the_keyboard_alone(console: Console, api: Api) -> None:
    accounts = await open_tree(api)

    await console.open()
    await console.page.press("g", "a")
    await console.until("document.querySelector('[role=treegrid] .group-name')")
    await console.page.press("j", "ArrowLeft")
    await console.until("!document.querySelector('main').innerText.includes('bank')")
    await console.page.press("ArrowRight", "j", "j", "Enter")
    await console.until(f"location.pathname.endsWith({json.dumps(accounts['assets:bank:main']['id'])})")


async def test_an_account_shows_its_figures_and_its_statement(console: Console, api: Api) -> None:
    accounts = await open_tree(api)
    bank, alice = accounts["assets:bank:main"], accounts["users:alice"]
    between = {"source_account_id": bank["id"], "destination_account_id": alice["id"]}
    rent = {"amount_cents": 250, "description": "rent May", "effective_at": "2026-05-01T00:00:00Z"}
    await api.post("/v1/transactions/transfer", between | rent)
    await api.post("/v1/transactions/hold", between | {"amount_cents": 100})

    await console.open(f"/accounts/{bank['id']}")
    await console.until("document.querySelectorAll('.rows .row').length === 2")
    await console.sees("rent May")

    assert ["7.50", "1.00", "6.50"] == await console.texts(".figures .figure")
    assert ["2.50", "", "7.50"] == (await console.texts(".rows .row:first-child .cell.end"))[:3]
    await console.until("document.querySelector('.rows .row').innerText.includes('users:alice')")
    await console.until("document.querySelector('.steps .held')")
    await console.click(".sub-tabs nav a:nth-child(2)")
    await console.sees("pending")
    await console.click(".sub-tabs nav a:nth-child(3)")
    await console.sees("AccountOpened")


async def test_an_account_in_the_past_ends_there(console: Console, api: Api) -> None:
    accounts = await open_tree(api)
    bank, alice = accounts["assets:bank:main"], accounts["users:alice"]
    await api.transfer(bank, alice, 111)
    position = (await api.get(f"/v1/accounts/{bank['id']}/entries")).body[0]["position"]
    await api.transfer(bank, alice, 222)

    await console.open(f"/accounts/{bank['id']}?at={position}")
    await console.sees("8.89")
    await console.until("document.querySelectorAll('.rows .row').length === 2")

    assert "8.89" == (await console.texts(".figures .figure"))[0]


async def test_a_new_entry_arrives_at_the_top(console: Console, api: Api) -> None:
    accounts = await open_tree(api)
    bank, alice = accounts["assets:bank:main"], accounts["users:alice"]
    await console.open(f"/accounts/{bank['id']}")
    await console.until("document.querySelectorAll('.rows .row').length === 1")

    await api.transfer(bank, alice, 111)
    await console.until("document.querySelectorAll('.rows .row').length === 2")
    await console.until("document.querySelector('.figures .figure').innerText === '8.89'")

    assert "8.89" in (await console.texts(".rows .row"))[0]


async def test_a_long_statement_has_few_elements_and_all_lines(console: Console, api: Api) -> None:
    accounts = await open_tree(api)
    bank, alice = accounts["assets:bank:main"], accounts["users:alice"]
    items = [
        {"source_account_id": one["id"], "destination_account_id": other["id"], "amount_cents": 10}
        for one, other in ((bank, alice), (alice, bank))
    ] * 700
    await api.post("/v1/transactions/batch", {"atomic": True, "items": items})

    await console.open(f"/accounts/{bank['id']}")
    await console.sees("10.00")
    scroll = "document.querySelector('main .grid').scrollTo(0, 1e9)"
    await console.until(f"({scroll}, document.querySelector('main .grid').getAttribute('aria-rowcount') === '1402')")
    await console.sees("opening")
    rows = await console.run("document.querySelectorAll('.rows .row').length")
    await console.run("document.querySelector('main .grid').scrollTo(0, 0)")
    await console.until("document.querySelector('.rows .row')?.innerText.includes('#1403')")

    assert rows < 100


async def test_a_customer_sees_own_accounts_alone(console: Console, api: Api) -> None:
    await open_tree(api)
    user = await api.new_user(roles="customer")
    mine = await api.new_account(user["id"], balance_cents=4200, code="mine:wallet")

    await console.open("/accounts", user["username"], PASSWORD)
    await console.sees("42.00")
    await console.open(f"/accounts/{mine['id']}")
    await console.until("document.querySelector('.figures .figure')?.innerText === '42.00'")

    assert ["mine:wallet"] == await console.texts("main h1")


async def test_what_is_not_there_is_said(console: Console) -> None:
    console.expect(404)
    await console.open("/accounts/01a22988-0000-7000-8000-000000000000")

    await console.sees("There is nothing here")


async def test_names_are_shown_as_text(console: Console, api: Api) -> None:
    for name in HOSTILE:
        account = await api.new_account(balance_cents=100, name=name, metadata={"note": name})
        await console.open("/accounts")
        await console.until(f"document.querySelector('main').textContent.includes({json.dumps(name)})")
        await console.open(f"/accounts/{account['id']}")
        await console.until(f"document.querySelector('main h1').textContent === {json.dumps(name)}")

        assert 0 == await console.run("document.querySelectorAll('main img, main b').length")
        assert not await console.run("document.documentElement.scrollWidth > innerWidth")
