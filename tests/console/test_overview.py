"""The overview: sums that the browser adds up, what happens live, and what each role sees."""

from typing import Any

from tests.support.books import HOSTILE, log_end, open_books, shown
from tests.support.console import Console
from tests.support.controls import PASSWORD, Api
from tests.support.holds import hold

CHECKS = "main .tiles.books .check"
NEWEST = "document.querySelector('main [aria-label=Transactions]')"


async def test_the_sums_are_those_of_the_service_by_currency_and_type(console: Console, api: Api) -> None:
    await open_books(api)
    report = (await api.get("/v1/ledger/reports/trial-balance?depth=1")).body
    await console.open()
    await console.until("document.querySelectorAll('main .tiles.books .tile').length === 2")

    tiles = {text.split("\n")[0].split()[0]: text for text in await console.texts("main .tiles.books .tile")}
    for books in report["currencies"]:
        digits = books["digits"]
        assert shown(books["debit_cents_text"], digits) in tiles[books["currency"]]
        for section in books["sections"]:
            for member in ("debit_cents_text", "credit_cents_text"):
                assert section[member] == "0" or shown(section[member], digits) in tiles[books["currency"]]
    assert ["✓ debits = credits"] * 2 == await console.texts(CHECKS)


async def test_the_tick_is_computed_from_the_sums(console: Console, api: Api, connection: Any) -> None:
    accounts = await open_books(api)
    await connection.execute("UPDATE accounts SET balance_cents = 7501 WHERE id = $1", accounts["users:alice"]["id"])

    await console.open()
    await console.until(f"document.querySelectorAll('{CHECKS}').length === 2")

    assert ["✓ debits = credits", "✗ debits and credits differ by 0.01"] == sorted(await console.texts(CHECKS))


async def test_a_live_transfer_slides_in_and_is_counted(console: Console, api: Api) -> None:
    accounts = await open_books(api)
    await console.open()
    await console.sees("1,234.56")
    await console.until("document.querySelector('.activity .figure')?.innerText.startsWith('5 this minute')")

    await api.transfer(accounts["assets:bank:main"], accounts["assets:cash"], 8765)
    await console.until("document.querySelector('.activity .figure').innerText.startsWith('6 this minute')")
    await console.sees("87.65")
    rows = "[...document.querySelectorAll('main [aria-label=Transactions] .rows .row')]"

    assert await console.run(f"{rows}.map((row) => row.classList.contains('arrives')).slice(0, 2)") == [True, False]
    assert await console.run(f"getComputedStyle({rows}[0]).animationDuration") == "0.5s"
    await console.page.look(scheme="light", width=1360, motion="reduce")
    assert await console.run(f"getComputedStyle({rows}[0]).animationDuration") == "0s"


async def test_a_live_line_leaves_the_focus_where_it_was(console: Console, api: Api) -> None:
    accounts = await open_books(api)
    await console.open()
    await console.until(f"{NEWEST}?.querySelector('.rows .row')")
    await console.run(f"{NEWEST}.focus() || null")

    await api.transfer(accounts["assets:bank:main"], accounts["assets:cash"], 8765)
    await console.sees("87.65")

    assert await console.run(f"document.activeElement === {NEWEST}")


async def test_seals_followers_and_holds_are_those_of_the_status(console: Console, api: Api) -> None:
    accounts = await open_books(api)
    await hold(api, (accounts["users:alice"], accounts["assets:cash"]), 5)
    await console.open()
    await console.until("document.querySelectorAll('main .status-cards .followers li').length > 0")
    status = (await api.get(f"/v1/ledger/status?min_position={await log_end(api)}")).body
    await console.until("document.querySelector('main .age-bars .age-count')?.innerText === '2'")

    cards = "\n".join(await console.texts("main .status-cards .tile"))
    assert "2 pending" in cards
    assert "none overdue" in cards
    assert all(follower["name"] in cards for follower in status["followers"])
    assert "Block" in cards or "None" in cards


async def test_sliding_the_time_changes_sums_and_holds(console: Console, api: Api) -> None:
    accounts = await open_books(api)
    before = await log_end(api)
    await hold(api, (accounts["users:alice"], accounts["assets:cash"]), 5)
    await api.transfer(accounts["income:sales"], accounts["assets:cash"], 1_000_000)
    after = (await api.get("/v1/ledger/reports/trial-balance?depth=1&currency=USD")).body["currencies"][0]
    past = f"/v1/ledger/reports/trial-balance?depth=1&currency=USD&at_position={before}"
    books = (await api.get(past)).body["currencies"][0]

    await console.open(f"?at={before}")
    await console.sees(shown(books["debit_cents_text"]))
    await console.sees("1 pending")
    assert shown(after["debit_cents_text"]) not in await console.run("document.querySelector('main').innerText")
    await console.click("#band button")
    await console.sees(shown(after["debit_cents_text"]))
    await console.sees("2 pending")


async def test_others_see_what_is_theirs(console: Console, api: Api) -> None:
    customer, guest = [await api.new_user(roles=roles) for roles in ("customer", "guest")]
    mine = [await api.new_account(customer["id"], cents) for cents in (7500, 2550)]
    await hold(api, (mine[0], mine[1]), 500)
    await open_books(api)

    await console.open("", customer["username"], PASSWORD)
    for user in (customer, guest):
        if user is guest:
            await console.change_user(guest["username"])
        await console.sees("100.50" if user is customer else "A guest sees no books")

        text = await console.run("document.querySelector('main').innerText")
        assert ("5.00 held" in text) == (user is customer)
        assert "Seals" not in text
        assert "1,234.56" not in text


async def test_an_empty_ledger_says_how_to_begin(console: Console) -> None:
    await console.open()

    await console.sees("No accounts yet")
    await console.sees("No transactions yet")
    await console.sees("0 this minute, 0 in the hour")
    for path in ("/accounts", "/reports"):
        await console.open(path)
        await console.sees("Open an account, and its balance appears here.")


async def test_a_time_before_the_first_account_invites_to_nothing_that_cannot_be_done(
    console: Console, api: Api
) -> None:
    customer = await api.new_user(roles="customer")
    await open_books(api)
    await api.new_account(customer["id"], 100)

    await console.open("?at=2")
    for path in ("?at=2", "/accounts?at=2", "/reports?at=2"):
        await console.open(path)
        await console.sees("No accounts at this point in time")
        assert "Open an account" not in await console.run("document.querySelector('main').innerText")
    for path in ("?at=2", "/transactions?at=2"):
        await console.open(path)
        await console.sees("No transactions by this point in time")
    await console.open("/transactions?at=2&kind=hold")
    await console.sees("No transaction fits")
    await console.change_user(customer["username"])
    await console.open("?at=2001-01-01T00:00:00Z")
    await console.sees("You owned no account at this point in time")


async def test_an_auditor_of_an_empty_ledger_is_not_told_to_open_accounts(console: Console, api: Api) -> None:
    auditor = await api.new_user(roles="auditor")
    await console.open("", auditor["username"], PASSWORD)

    await console.sees("Once an admin opens one, its balance appears here.")


async def test_groups_are_open_after_a_time_without_accounts(console: Console, api: Api) -> None:
    await open_books(api)
    await console.open("/accounts?at=2")
    await console.sees("No accounts at this point in time")
    await console.open("/accounts")

    await console.sees("alice")


async def test_hostile_names_are_text(console: Console, api: Api) -> None:
    user = await api.new_user(roles="customer")
    await api.new_account(user["id"], 100, name=HOSTILE)

    await console.open("", user["username"], PASSWORD)
    await console.sees('<img src=x onerror="alert(1)">')

    assert 0 == await console.run("document.querySelectorAll('main img').length")
