"""Actions: a form, what a dry run says, then the change, once. Refusals are shown at their member."""

import json
from typing import Any

import pytest

from tests.support.axe import findings
from tests.support.console import Console
from tests.support.console_actions import (
    DONE,
    FORM,
    PREVIEW,
    begin,
    do_it,
    fill_transfer,
    look,
    problem_of,
    two_accounts,
)
from tests.support.console_views import variants
from tests.support.controls import ADMIN_PASSWORD, Api


async def count_transactions(api: Api) -> int:
    return len((await api.get("/v1/transactions")).body)


async def log_end(api: Api) -> int:
    return int((await api.get("/v1/ledger/status")).body["position"])


async def test_a_transfer_is_previewed_then_made_once(console: Console, api: Api) -> None:
    one, other = await two_accounts(api)
    before = await count_transactions(api)

    await console.open("/accounts")
    await fill_transfer(console, "25")
    position = await log_end(api)
    after = await look(console)
    written = await log_end(api) - position
    await console.run("[1, 2, 3].forEach(() => document.querySelector('dialog [data-do]').click())")
    await console.until(f"document.querySelector({json.dumps(DONE)})")
    link = await console.run("document.querySelector('dialog .done a').pathname")

    assert ["75.00", "25.00"] == after
    assert 0 == written
    assert 1 == await count_transactions(api) - before
    assert [7_500, 2_500] == [await api.balance(one), await api.balance(other)]
    assert link.startswith("/console/transactions/")


async def test_the_keyboard_alone_makes_a_transfer(console: Console, api: Api) -> None:
    one, _ = await two_accounts(api)

    await console.open(f"/accounts/{one['id']}")
    await console.until("document.querySelector('main [data-action=transfer]')")
    await console.run("document.querySelector('main [data-action=transfer]').focus()")
    await console.page.press("Enter")
    await console.until("document.activeElement.name === 'source_account_id'")
    await console.page.press("Tab")
    await console.until("document.activeElement.name === 'destination_account_id'")
    await console.page.press("b", "o", "b")
    await console.until("document.querySelector('dialog [role=option][aria-selected=true]')")
    await console.page.press("Enter", "Tab", "1", ".", "5", "Enter")
    await console.until(f"document.querySelector({json.dumps(PREVIEW)})")
    await console.page.press("Tab", "Tab", "Enter")
    await console.until(f"document.querySelector({json.dumps(DONE)})")
    await console.page.press("Escape")
    await console.until("!document.querySelector('dialog')")
    await console.until("document.activeElement.dataset.action === 'transfer'")

    assert 9_850 == await api.balance(one)


async def test_escape_closes_the_list_first_and_the_dialog_then(console: Console, api: Api) -> None:
    await two_accounts(api)

    await console.open("/accounts")
    await begin(console, "transfer")
    await console.page.press("ArrowDown")
    await console.until("document.querySelector('dialog [role=option]')")
    await console.page.press("Escape")
    is_open = await console.run("document.querySelector('dialog').open")
    await console.page.press("Escape")
    await console.until("!document.querySelector('dialog')")

    assert is_open


async def test_a_malformed_amount_is_refused_while_one_types(console: Console, api: Api) -> None:
    await two_accounts(api)

    await console.open("/accounts")
    await begin(console, "transfer")
    for amount in ("1,50", "1.234", "abc", "1e3", "90,071,992,547,409.93", "-1"):
        await console.fill("dialog [name=amount_cents]", amount)
        assert await problem_of(console, "amount_cents"), amount
        await console.fill("dialog [name=amount_cents]", "1,234.5")
        await console.until("!document.querySelector('dialog [name=amount_cents]').hasAttribute('aria-invalid')")


async def test_a_refusal_is_shown_at_its_member(console: Console, api: Api) -> None:
    console.expect(409, 422)
    one, _ = await two_accounts(api)
    await api.post(
        "/v1/transactions/transfer",
        {
            "source_account_id": one["id"],
            "destination_account_id": "users:bob",
            "amount_cents": 1,
            "reference": "taken",
        },
    )

    await console.open("/accounts")
    await fill_transfer(console, "100.00")
    await console.run(f"document.querySelector({json.dumps(FORM)}).requestSubmit()")
    short = await problem_of(console, "amount_cents")
    await console.fill("dialog [name=amount_cents]", "1")
    await console.fill("dialog [name=reference]", "taken")
    await console.run(f"document.querySelector({json.dumps(FORM)}).requestSubmit()")
    taken = await problem_of(console, "reference")
    is_seen = await console.run("document.querySelector('dialog details').open")
    await api.patch(f"/v1/accounts/{one['id']}", {"frozen": "debits"})
    await console.fill("dialog [name=reference]", "")
    await console.run(f"document.querySelector({json.dumps(FORM)}).requestSubmit()")
    frozen = await problem_of(console, "source_account_id")

    assert "sufficient funds" in short
    assert "already exists" in taken
    assert is_seen
    assert "frozen" in frozen


UNKNOWN = """return new Response(JSON.stringify({ errors: [{ code: 'outcome_unknown', message: 'unknown' }] }),
  { status: 503, headers: { 'Content-Type': 'application/problem+json' } })"""


@pytest.mark.parametrize("lost", ["throw new TypeError('lost')", UNKNOWN], ids=["lost", "unknown"])
async def test_a_response_that_is_lost_moves_money_once(console: Console, api: Api, lost: str) -> None:
    one, _ = await two_accounts(api)

    await console.open("/accounts")
    await fill_transfer(console, "25.00")
    await look(console)
    await console.run(
        "(window.keys = [], window.real = fetch, window.fetch = async (address, options) => {"
        "  const response = await real(address, options);"
        "  if (options.method !== 'POST') return response;"
        "  keys.push(options.headers['Idempotency-Key']);"
        f"  if (keys.length === 1) {lost};"
        "  return response; }, 1)"
    )
    await do_it(console)
    keys = await console.run("window.keys")

    assert 2 == len(keys)
    assert 1 == len(set(keys))
    assert 7_500 == await api.balance(one)


async def test_an_unknown_outcome_can_only_be_asked_for_again(console: Console, api: Api) -> None:
    one, _ = await two_accounts(api)

    await console.open("/accounts")
    await fill_transfer(console, "25.00")
    await look(console)
    await console.run(
        "(window.isLost = true, window.real = fetch, window.wait = setTimeout,"
        " window.setTimeout = (f, time, ...rest) => wait(f, Math.min(time, 50), ...rest),"
        " window.fetch = async (address, options) => {"
        "  const response = await real(address, options);"
        "  if (isLost && options.method === 'POST') throw new TypeError('lost');"
        "  return response; }, 1)"
    )
    await console.click("dialog [data-do]")
    await console.until("document.querySelector('dialog [data-do]').innerText === 'Ask again'")
    await console.page.press("Escape")
    is_open = await console.run("document.querySelector('dialog').open")
    await console.run("window.isLost = false, 1")
    await do_it(console)

    assert is_open
    assert 7_500 == await api.balance(one)


async def test_a_lost_session_comes_back_to_the_dialog(console: Console, api: Api) -> None:
    console.expect(401)
    one, _ = await two_accounts(api)

    await console.open("/accounts")
    await fill_transfer(console, "25.00")
    await look(console)
    await api.post("/v1/auth/revoke-all")
    await console.click("dialog [data-do]")
    await console.until("document.querySelector('.sign-in') && !document.querySelector('dialog').open")
    await console.sign_in("admin", ADMIN_PASSWORD)
    await console.until("document.querySelector('dialog').open")
    await do_it(console)

    assert "/console/accounts" == await console.run("location.pathname")
    again = await api.logged_in("admin", ADMIN_PASSWORD)
    assert 7_500 == await again.balance(one)


@pytest.mark.parametrize(("scheme", "width"), variants(("dark", 390), ("light", 1360)))
async def test_every_dialog_is_accessible(console: Console, api: Api, scheme: str, width: int) -> None:
    one, _ = await two_accounts(api)
    found: dict[str, Any] = {}

    async def check(name: str) -> None:
        found[name] = await findings(console.page)
        assert not await console.run("document.documentElement.scrollWidth > innerWidth"), name

    await console.open(f"/accounts/{one['id']}")
    await console.page.look(scheme=scheme, width=width)
    await console.click("main .more-actions summary")
    await check("menu")
    await console.click("main .more-actions summary")
    for name in ("hold", "entry", "edit", "freeze"):
        await begin(console, name)
        await check(name)
        await console.click("dialog .cross")
    await console.open("/accounts")
    await begin(console, "open")
    await check("open")
    await console.click("dialog .cross")
    await fill_transfer(console, "1")
    await check("transfer")
    await look(console)
    await check("preview")
    await console.click("dialog [data-do]")
    await console.until(f"document.querySelector({json.dumps(DONE)})")
    await check("done")

    assert {} == {name: problems for name, problems in found.items() if problems}
