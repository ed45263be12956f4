"""Each action from its button to its result, and who gets which buttons."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.console import Console
from tests.support.console_actions import (
    begin,
    do_it,
    fill_transfer,
    look,
    pick,
    problem_of,
    show_actions,
    two_accounts,
)
from tests.support.controls import PASSWORD, Api

BUTTONS = "[...document.querySelectorAll('main [data-action]')].map((each) => each.dataset.action)"


async def place_hold(api: Api, cents: int = 1_000) -> dict[str, Any]:
    body = {"source_account_id": "users:alice", "destination_account_id": "users:bob", "amount_cents": cents}
    return dict((await api.post("/v1/transactions/hold", body)).body)


async def read(api: Api, account: dict[str, Any]) -> dict[str, Any]:
    return dict((await api.get(f"/v1/accounts/{account['id']}")).body)


async def read_transaction(api: Api, transaction: dict[str, Any]) -> dict[str, Any]:
    return dict((await api.get(f"/v1/transactions/{transaction['id']}")).body)


async def test_an_account_is_opened(console: Console, api: Api) -> None:
    owner = await api.new_user()

    await console.open("/accounts")
    await begin(console, "open")
    await pick(console, "user_id", owner["username"])
    await console.fill("dialog [name=code]", "assets:till")
    await console.fill("dialog [name=balance_cents]", "12.50")
    await console.fill("dialog [name=currency]", "KWD")
    await console.fill("dialog .pairs input", "tier")
    await console.fill("dialog .pairs input:last-child", "gold")
    after = await look(console)
    await console.click("dialog [data-do]")
    await console.click("dialog .done a")
    await console.until("document.querySelector('main h1')?.innerText === 'assets:till'")

    account = (await api.get("/v1/accounts/assets:till")).body
    assert {"assets:till", "12.500", "gold"} < set(after)
    assert (12_500, "KWD", owner["id"], {"tier": "gold"}) == tuple(
        account[name] for name in ("balance_cents", "currency", "user_id", "metadata")
    )


async def test_a_hold_is_placed_captured_in_parts_and_reversed_in_parts(console: Console, api: Api) -> None:
    one, other = await two_accounts(api)

    await console.open(f"/accounts/{one['id']}")
    await begin(console, "hold")
    await pick(console, "destination_account_id", "users:bob")
    await console.fill("dialog [name=amount_cents]", "10")
    held = await look(console)
    await do_it(console)
    hold = (await api.get("/v1/transactions", params={"kind": "hold"})).body[0]

    pending = await show_actions(console, hold["id"])
    await begin(console, "capture")
    await console.fill("dialog [name=amount_cents]", "4")
    await console.click("dialog [name=final]")
    captured = await look(console)
    await do_it(console)
    await show_actions(console, hold["id"])
    await begin(console, "capture")
    await look(console)
    await do_it(console)

    settled = await show_actions(console, hold["id"])
    await begin(console, "reverse")
    await console.fill("dialog [name=amount_cents]", "3")
    reversed_ = await look(console)
    await do_it(console)

    assert ["10.00", "90.00"] == held
    assert ["Capture", "Release", "Amend"] == pending
    assert ["96.00", "6.00", "4.00"] == captured
    assert ["Reverse", "Amend"] == settled
    assert ["7.00", "93.00"] == sorted(reversed_)
    assert [9_300, 700] == [await api.balance(one), await api.balance(other)]
    assert 300 == (await read_transaction(api, hold))["reversed_cents"]


async def test_a_hold_is_released(console: Console, api: Api) -> None:
    one, _ = await two_accounts(api)
    hold = await place_hold(api)

    await console.open()
    await console.sees("users:alice")
    await show_actions(console, hold["id"])
    await console.click("#of-transaction [data-action=release]")
    await console.until("document.querySelector('dialog .preview')")
    after = await console.texts("dialog .changes .after")
    await do_it(console)

    assert ["0.00", "100.00"] == after
    assert ("voided", 0) == ((await read_transaction(api, hold))["status"], (await read(api, one))["held_cents"])


async def test_postings_must_sum_to_zero(console: Console, api: Api) -> None:
    one, other = await two_accounts(api)
    sums = "document.querySelector('dialog .sums').innerText"

    await console.open("/transactions")
    await begin(console, "entry")
    await pick(console, "account", "users:alice", 0)
    await pick(console, "account", "users:bob", 1)
    await console.fill("dialog [name=debit]", "30")
    await console.fill("dialog .posting:last-child [name=credit]", "20")
    await console.until(f"{sums}.includes('10.00 more to credit')")
    await console.run("document.querySelector('dialog form').requestSubmit()")
    await console.until("document.querySelector('dialog fieldset .problem').innerText === 'Debits and credits differ'")
    await console.fill("dialog .posting:last-child [name=credit]", "30.00")
    await console.until(f"{sums}.includes('equal')")
    after = await look(console)
    await do_it(console)

    assert ["70.00", "30.00"] == after
    assert [7_000, 3_000] == [await api.balance(one), await api.balance(other)]


async def test_a_transaction_is_amended(console: Console, api: Api) -> None:
    one, other = await two_accounts(api)
    made = (await api.transfer(one, other, 100)).body

    await console.open()
    await console.sees("users:alice")
    await show_actions(console, made["id"])
    await begin(console, "amend")
    await console.fill("dialog [name=description]", "rent, June")
    after = await look(console)
    await do_it(console)

    assert ["rent, June"] == after
    assert "rent, June" == (await read_transaction(api, made))["description"]


async def test_the_view_of_a_transaction_has_its_actions_and_follows_them(console: Console, api: Api) -> None:
    console.expect(404)
    one, other = await two_accounts(api)
    made = (await api.transfer(one, other, 500)).body

    await console.open(f"/transactions/{made['id']}")
    await begin(console, "reverse")
    await look(console)
    await do_it(console)
    await console.until("!document.querySelector('main [data-action=reverse]')")
    await console.run("document.querySelector('main [data-action=amend]').focus()")
    await begin(console, "amend")
    await console.fill("dialog [name=description]", "rent, June")
    await look(console)
    await do_it(console)
    await console.sees("rent, June")
    await console.until("document.activeElement.dataset.action === 'amend'")

    assert 10_000 == await api.balance(one)


async def test_a_scheduled_transfer_is_cancelled(console: Console, api: Api) -> None:
    one, other = await two_accounts(api)

    await console.open("/accounts")
    await fill_transfer(console, "25")
    await console.fill("dialog [name=execute_at]", f"{datetime.now(UTC) + timedelta(days=2):%Y-%m-%dT%H:%M}")
    await look(console)
    await do_it(console)
    made = (await api.get("/v1/transactions", params={"status": "scheduled"})).body[0]
    await show_actions(console, made["id"])
    await console.click("#of-transaction [data-action=cancel]")
    await do_it(console)

    assert "voided" == (await read_transaction(api, made))["status"]
    assert [10_000, 0] == [await api.balance(one), await api.balance(other)]


async def test_an_account_is_changed_frozen_closed_and_opened_again(console: Console, api: Api) -> None:
    _, other = await two_accounts(api)

    await console.open(f"/accounts/{other['id']}")
    await begin(console, "edit")
    await console.fill("dialog [name=name]", "Bob's")
    await console.fill("dialog [name=max_balance_cents]", "50")
    changed = await look(console)
    await do_it(console)

    await begin(console, "freeze")
    frozen = await look(console)
    await do_it(console)
    await console.sees("frozen: debits")
    await begin(console, "freeze")
    await look(console)
    await do_it(console)
    await console.until("!document.querySelector('main').innerText.includes('frozen: debits')")

    await console.click("main [data-action=close]")
    await do_it(console)
    await console.until("document.querySelector('main [data-action=reopen]')")
    closed = (await read(api, other))["status"]
    await console.click("main [data-action=reopen]")
    await do_it(console)

    account = await read(api, other)
    assert ["Bob's", "50.00"] == changed
    assert ["debits"] == frozen
    assert "closed" == closed
    assert ("Bob's", 5_000, "none", "open") == tuple(
        account[name] for name in ("name", "max_balance_cents", "frozen", "status")
    )


async def test_an_account_with_money_is_not_closed(console: Console, api: Api) -> None:
    console.expect(409)
    one, _ = await two_accounts(api)

    await console.open(f"/accounts/{one['id']}")
    await console.click("main [data-action=close]")
    await console.until("document.querySelector('dialog')?.innerText.includes('Account is not empty')")

    assert not await console.run("Boolean(document.querySelector('dialog [data-do]'))")


async def test_a_customer_transfers_from_own_accounts(console: Console, api: Api) -> None:
    console.expect(404, 422)
    _, other = await two_accounts(api)
    user = await api.new_user(roles="customer")
    mine = await api.new_account(user["id"], balance_cents=5_000, code="mine:wallet")

    await console.open("/accounts", user["username"], PASSWORD)
    await console.sees("wallet")
    buttons = await console.run(BUTTONS)
    await begin(console, "transfer")
    await pick(console, "source_account_id", "mine:wallet")
    await console.fill("dialog [name=destination_account_id]", "users:nobody")
    await console.fill("dialog [name=amount_cents]", "12.34")
    await console.run("document.querySelector('dialog form').requestSubmit()")
    unknown = await problem_of(console, "destination_account_id")
    await console.fill("dialog [name=destination_account_id]", other["id"])
    after = await look(console)
    shown = (await console.texts("dialog .preview"))[0]
    await do_it(console)

    assert ["transfer"] == buttons
    assert "not found" in unknown
    assert ["37.66"] == after
    assert "belongs to somebody else" in shown
    assert [3_766, 1_234] == [await api.balance(mine), await api.balance(other)]


async def test_an_auditor_has_no_actions(console: Console, api: Api) -> None:
    one, other = await two_accounts(api)
    await api.transfer(one, other, 100)
    user = await api.new_user(roles="auditor")
    buttons = []

    await console.open("/accounts", user["username"], PASSWORD)
    for path in ("/accounts", f"/accounts/{one['id']}", "/transactions"):
        await console.open(path)
        await console.sees("alice")
        buttons += await console.run(BUTTONS)
    await console.run(
        "import('/console/actions/index.js').then(({ actionsOf }) => {"
        "  const context = { can: (...roles) => roles.includes('auditor'), isNow: true };"
        "  window.found = actionsOf({ kind: 'transfer', status: 'posted' }, context); })"
    )
    await console.until("window.found")

    assert [] == buttons
    assert [] == await console.run("window.found.map((each) => each.innerText)")


async def test_nothing_can_be_pressed_at_another_time_than_now(console: Console, api: Api) -> None:
    one, _ = await two_accounts(api)
    position = (await api.get(f"/v1/accounts/{one['id']}/entries")).body[0]["position"]

    await console.open(f"/accounts/{one['id']}?at={position}")
    await console.until("document.querySelector('main [data-action=transfer]')")
    pressable = await console.run("document.querySelectorAll('main button[data-action]:not(:disabled)').length")
    await console.click("#band button")
    await console.until("document.querySelector('main [data-action=transfer]:not(:disabled)')")

    assert 0 == pressable


async def test_nothing_from_the_ledger_is_markup_in_a_dialog(console: Console, api: Api) -> None:
    name = "<img src=x onerror=alert(1)> " + "x" * 150
    account = await api.new_account(balance_cents=100, name=name)

    await console.open(f"/accounts/{account['id']}")
    await begin(console, "transfer")
    await console.page.press("Tab", "ArrowDown")
    await console.until("document.querySelectorAll('dialog [role=option]').length > 0")

    assert name == await console.run("document.querySelector('dialog [name=source_account_id]').value")
    assert 0 == await console.run("document.querySelectorAll('dialog img').length")
    assert not await console.run("document.documentElement.scrollWidth > innerWidth")
