"""Everybody can use the console: axe-core finds nothing, in both schemes, and nothing is wider than a phone."""

from typing import Any

import pytest

from tests.support.axe import axe, findings
from tests.support.console import Console
from tests.support.controls import Api

VIEWS = [
    *("", "/accounts", "/accounts/{account}", "/accounts/{account}?tab=holds", "/transactions", "/none?at=2"),
    *("/operations?projection=accounts", "/people", "/people?show=machines", "/people/{user}"),
]


async def prepare(api: Api) -> dict[str, Any]:
    """Open an account with some history; return it."""
    account = await api.new_account(balance_cents=7500, code="users:alice:wallet", name="Alice's wallet")
    other = await api.new_account(account["user_id"], code="shop:main")
    await api.transfer(account, other, 1234)
    hold = {"source_account_id": account["id"], "destination_account_id": other["id"], "amount_cents": 100}
    await api.post("/v1/transactions/hold", hold)
    return account


@pytest.mark.parametrize(("scheme", "width"), [("light", 1360), ("dark", 390)])
async def test_every_view_is_accessible(console: Console, api: Api, scheme: str, width: int) -> None:
    account = await prepare(api)
    await console.open()
    await console.page.look(scheme=scheme, width=width)

    for view in VIEWS:
        await console.open(view.format(account=account["id"], user=account["user_id"]))
        await console.until("document.querySelector('main .state, main .row.head')")
        await console.page.run(f"({axe()}, true)")
        assert [] == await findings(console.page), view
        assert not await console.run("document.documentElement.scrollWidth > innerWidth"), view


async def test_signing_in_and_the_keys_are_accessible(console: Console) -> None:
    await console.page.open(str(console.api.client.make_url("/console")))
    await console.until("document.querySelector('.sign-in')")
    await console.page.run(f"({axe()}, true)")
    assert [] == await findings(console.page)
    await console.sign_in("admin", "the-admin's-password")
    await console.page.press("?")
    await console.until("document.querySelector('dialog[open]')")
    assert [] == await findings(console.page)


async def test_the_scheme_is_switched_and_kept(console: Console) -> None:
    await console.open()
    background = "getComputedStyle(document.body).backgroundColor"
    light = await console.run(background)

    await console.click(".menu summary")
    await console.click(".menu-body button")
    dark = await console.run(background)
    await console.open("/accounts")

    assert light != dark
    assert dark == await console.run(background)
