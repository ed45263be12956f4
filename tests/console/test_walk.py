"""A walk through the console, as a person takes it: one session from signing in to a proof, with what goes wrong."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ledger.seals.sealing import sealing
from ledger.settings import Settings
from tests.support.console import Console
from tests.support.console_actions import do_it, fill_transfer, look, problem_of, two_accounts
from tests.support.controls import PASSWORD, Api, Serve
from tests.support.sealed import write_key_file

VERIFIED = "Verified in this browser"


@pytest.fixture
async def api(serve: Serve, settings: Settings, tmp_path: Path) -> AsyncIterator[Api]:
    """Serve a ledger that is sealed."""
    key_file = write_key_file(tmp_path / "seal.pem")
    served = settings.model_copy(update={"ledger_seal_key_file": key_file, "ledger_seal_seconds": 0.01})
    async with sealing(served):
        yield await serve(served)


async def test_a_person_looks_moves_money_and_checks_it(console: Console, api: Api) -> None:
    alice, bob = await two_accounts(api)
    user = await api.new_user(roles="admin", username="anna")
    figure = "document.querySelector('.figures .figure')?.innerText"
    console.expect(401, 404, 422)  # 404: she looks at the time before the transaction

    # Anna signs in and goes to the account of Alice, with the keyboard.
    await console.open("", "anna", PASSWORD)
    await console.sees("✓ debits = credits")
    await console.page.press("g", "a")
    await console.until("document.querySelector('main [role=treegrid] .group-name')")
    await console.page.press("j", "j", "Enter")
    await console.until(f"{figure} === '100.00'")

    # A transfer arrives while she looks; the slider shows the balance before it, and "now" the one after it.
    await api.transfer(alice, bob, 1_234)
    await console.until(f"{figure} === '87.66'")
    position = (await api.get(f"/v1/accounts/{alice['id']}/entries")).body[0]["position"]
    await console.fill("#bar .slider", str(position - 1))
    await console.until(f"{figure} === '100.00'")
    await console.until("document.querySelector('main [data-action=transfer]:disabled')")
    await console.page.press("n")
    await console.until(f"{figure} === '87.66'")

    # She transfers: too much is refused at the amount, and what is enough is previewed and done.
    await console.page.press("g", "t")
    await console.until("location.pathname === '/console/transactions'")
    await fill_transfer(console, "500")
    await console.run("document.querySelector('dialog form.form').requestSubmit()")
    assert "sufficient funds" in await problem_of(console, "amount_cents")
    await console.fill("dialog [name=amount_cents]", "20")
    assert {"67.66", "32.34"} <= set(await look(console))
    assert 8_766 == await api.balance(alice)
    await do_it(console)
    assert 6_766 == await api.balance(alice)

    # The proof of that transfer is checked.
    await console.click("main .rows .row .id a, main .rows .row:first-child a[href*='/transactions/']")
    await console.sees(VERIFIED)
    address = await console.run("location.href")

    # Her sessions are ended; she signs in again, is where she was, and goes on.
    sessions = (await api.get("/v1/auth/sessions", params={"user_id": user["id"]})).body
    for session in sessions:
        await api.delete(f"/v1/auth/sessions/{session['id']}")
    await console.page.press("[")
    await console.until("document.querySelector('.sign-in')")
    await console.sign_in("anna", PASSWORD)
    assert address.partition("?")[0] == str(await console.run("location.href")).partition("?")[0]
    await console.page.press("n")
    await console.sees(VERIFIED)
    await console.page.press("g", "o")
    await console.until(f"location.pathname === {json.dumps('/console')}")
    await console.sees("20.00")
