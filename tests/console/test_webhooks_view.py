"""Webhooks in operations: how far each has come, what one has delivered, and what an admin does about it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from ledger.concurrency.tasks import running
from ledger.publish.publisher import publish
from ledger.settings import Settings
from tests.support.axe import findings
from tests.support.console import QUICK, Console
from tests.support.console_buttons import button, confirm, press, says
from tests.support.console_views import CHECKS, settled
from tests.support.controls import PASSWORD, Api
from tests.support.nats import running_nats
from tests.support.processes import until
from tests.support.publishing import until_published
from tests.support.receiver import Receiver, receive
from tests.support.webhooks import Body, create, deliveries, move, progress, shown

LIST = "main .grid[aria-label=Webhooks]"
DELIVERIES = "main .grid[aria-label=Deliveries]"
DETAILS = "main .details[aria-label=Webhook]"
HOSTILE = "<img/src=x/onerror=hacked()><b>b</b>"  # the path of a URL has no spaces
ANSWER = "<img src=x onerror=hacked()><b>b</b> \u05d0\u05d1\u05d2 \u200f xyz \u202e" + "long " * 100
DESCRIPTION = "<img src=x onerror=hacked()><b>b</b> \u05d0\u05d1\u05d2 xyz"
Accounts = tuple[Body, Body]


@pytest.fixture
async def console(console: Console) -> Console:
    """Return the console, which asks for news sooner, with the checks."""
    await console.page.start()
    await console.page.before_load(QUICK + CHECKS)
    return console


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Yield an endpoint."""
    async with receive() as found:
        yield found


@pytest.fixture
async def accounts(api: Api) -> Accounts:
    """Return two accounts, with 1,000 and with 0."""
    return await api.new_account(balance_cents=1000), await api.new_account()


async def rows(console: Console, grid: str) -> list[str]:
    """Return the rows of a table, each as one line."""
    return [" | ".join(text.split("\n")) for text in await console.texts(f"{grid} .rows .row")]


async def complaints(console: Console) -> list[Any]:
    """Return what is wrong with the page, as it is now."""
    await settled(console)
    found = [*await findings(console.page), *await console.run("[...checks.unreadable(), ...checks.leaks()]")]
    is_wide = await console.run("document.documentElement.scrollWidth > innerWidth")
    return [*found, "the page scrolls"] if is_wide else found


async def test_each_webhook_says_how_far_it_has_come(
    console: Console, api: Api, receiver: Receiver, accounts: Accounts
) -> None:
    fine = await create(api, receiver, "/fine", topics=[], code_prefix="users:")
    bad = await create(api, receiver, "/bad")
    off = await create(api, receiver, "/off", topics=["MoneyTransferred", "JournalEntryPosted"])
    await api.post(f"/v1/webhooks/{off['id']}/disable")
    receiver.answer = lambda one: 500 if one.path == "/bad" else 204
    await move(api, accounts, 1, 2)
    await until(lambda: _is_failing(api, bad))

    await console.open("/operations")
    await says(console, LIST, "failing")
    await console.until(f"!document.querySelector('{LIST}').innerText.includes('…')")
    of_off, of_bad, of_fine = await rows(console, LIST)

    assert all(part in of_off for part in (off["url"], "2 topics", "disabled", "by request")), of_off
    assert all(part in of_bad for part in (bad["url"], "MoneyTransferred", "enabled", "failing")), of_bad
    assert all(part in of_fine for part in (fine["url"], "all events · users:", "enabled")), of_fine
    behind = (await progress(api, off))["log_end"] - (await progress(api, off))["position"]
    assert f" | {behind} | " in of_off, of_off


async def _is_failing(api: Api, webhook: Body) -> bool:
    return (await progress(api, webhook))["failed_since"] is not None


async def test_a_webhook_shows_its_deliveries_and_their_events(
    console: Console, api: Api, receiver: Receiver, accounts: Accounts
) -> None:
    receiver.answer = lambda _: web.Response(status=202, text="thank you")
    webhook = await create(api, receiver)
    await console.open("/operations")
    await press(console, webhook["url"])
    await says(console, DETAILS, "Nothing has been sent yet.")
    (position,) = await move(api, accounts, 7)

    await says(console, DELIVERIES, "thank you")
    (row,) = await rows(console, DELIVERIES)
    assert all(part in row for part in ("MoneyTransferred", f"@ {position}", "202", " ms", "thank you")), row
    assert f"?webhook={webhook['id']}" == await console.run("location.search")
    await press(console, f"@ {position}", DELIVERIES)
    await says(console, "dialog pre", f'"position": {position}')
    await says(console, "dialog pre", '"MoneyTransferred"')


async def test_an_admin_sends_a_test_redelivers_disables_and_enables(
    console: Console, api: Api, receiver: Receiver, accounts: Accounts
) -> None:
    webhook = await create(api, receiver)
    (position,) = await move(api, accounts, 7)
    await until(lambda: receiver.received)
    receiver.answer = lambda _: web.Response(status=503, text="closed today")
    await console.open(f"/operations?webhook={webhook['id']}")

    await confirm(console, "Send a test", "Send it")
    await says(console, DETAILS, "Test: 503 in ")
    await says(console, DELIVERIES, "closed today")
    receiver.answer = lambda _: 204
    await confirm(console, "Redeliver", "Send it")
    await says(console, DELIVERIES, "MoneyTransferred · again")
    await until(lambda: len(receiver.received) == 3)
    assert [position, position] == [receiver.received[0].position, receiver.received[2].position]

    await confirm(console, "Disable", "Disable")
    await console.until(button("Enable"))
    assert "disabled" == (await shown(api, webhook))["status"]
    await confirm(console, "Enable", "Enable")
    await console.until(button("Disable"))
    assert "enabled" == (await shown(api, webhook))["status"]


async def test_a_refusal_names_what_it_is_about(
    console: Console, api: Api, receiver: Receiver, accounts: Accounts
) -> None:
    console.expect(404, 409)
    webhook = await create(api, receiver)
    await move(api, accounts, 7)
    await until(lambda: deliveries(api, webhook))
    await console.open(f"/operations?webhook={webhook['id']}")
    await press(console, "Redeliver")
    await console.until("document.querySelector('dialog[open]')")
    await api.post(f"/v1/webhooks/{webhook['id']}/disable")
    await press(console, "Send it", "dialog[open]")
    await says(console, "dialog .problem", f"Webhook is disabled: {webhook['id']}")
    await console.page.press("Escape")

    await api.delete(f"/v1/webhooks/{webhook['id']}")
    await says(console, DETAILS, "There is no such webhook.")
    await console.sees("No webhook")


async def test_the_keyboard_keeps_its_place_while_rows_change(
    console: Console, api: Api, receiver: Receiver, accounts: Accounts
) -> None:
    webhook = await create(api, receiver)
    await api.post(f"/v1/webhooks/{webhook['id']}/disable")
    await console.open("/operations")
    await console.until(f"document.querySelector('{LIST} button')")
    await console.run(f"document.querySelector('{LIST} button').focus()")
    before = (await rows(console, LIST))[0]
    await move(api, accounts, 1, 2, 3)
    await until(lambda: _has_other_rows(console, before))

    assert webhook["url"] == await console.run("document.activeElement.textContent")
    await console.page.press("Enter")
    await says(console, DETAILS, "by request")
    await console.click(f"{DETAILS} .close")
    await console.page.press("j", "Enter")
    await says(console, DETAILS, "by request")


async def _has_other_rows(console: Console, before: str) -> bool:
    return (await rows(console, LIST))[0] != before


async def test_without_a_webhook_the_console_says_what_one_is(console: Console) -> None:
    await console.open("/operations")
    await console.sees("A webhook sends events of the ledger")
    link = "[...document.querySelectorAll('main a')].find((each) => each.textContent === 'API documentation')"

    assert "/docs" == await console.run(f"new URL({link}.href).pathname")


async def test_an_auditor_is_told_who_sees_webhooks(console: Console, api: Api, receiver: Receiver) -> None:
    webhook = await create(api, receiver)
    auditor = await api.new_user(roles="auditor")
    await console.open(f"/operations?webhook={webhook['id']}", auditor["username"], PASSWORD)
    await console.sees("Only admins see webhooks")

    assert not [each for each in console.page.requested if "/v1/webhooks" in each]


async def test_an_error_can_be_tried_again(console: Console, api: Api, receiver: Receiver) -> None:
    webhook = await create(api, receiver)
    await console.open("/operations")
    await console.run(
        "(window.real = fetch, window.fetch = (address, ...rest) => String(address).includes('/webhooks')"
        " ? Promise.reject(new TypeError('lost')) : window.real(address, ...rest), 1)"
    )
    await console.open("/people")
    await console.open("/operations")
    await console.until("document.querySelector('main .state.error')")
    await console.run("(window.fetch = window.real, 1)")
    await press(console, "Try again")

    await says(console, LIST, webhook["url"])


async def test_in_the_past_nothing_can_be_sent(
    console: Console, api: Api, receiver: Receiver, accounts: Accounts
) -> None:
    webhook = await create(api, receiver)
    await move(api, accounts, 7)
    await until(lambda: deliveries(api, webhook))
    await console.open(f"/operations?webhook={webhook['id']}&at=2")
    await console.until(button("Redeliver"))
    await console.until(button("Disable"))

    for text in ("Send a test", "Disable", "Redeliver"):
        assert await console.run(f"{button(text)}.disabled"), text


async def test_hostile_texts_are_texts_on_every_screen(
    console: Console, api: Api, receiver: Receiver, accounts: Accounts
) -> None:
    receiver.answer = lambda _: web.Response(status=500, text=ANSWER)
    webhook = await create(api, receiver, url=receiver.url("/") + HOSTILE + "x" * 200, description=DESCRIPTION)
    await move(api, accounts, 7)
    await console.open(f"/operations?webhook={webhook['id']}")
    await says(console, DELIVERIES, "<img src=x onerror=hacked()>")
    found = {}

    for scheme, width in (("light", 1360), ("dark", 1360), ("light", 390), ("dark", 390)):
        await console.page.look(scheme=scheme, width=width)
        found[scheme, width] = await complaints(console)
        assert 0 == await console.run("document.querySelectorAll('main :is(img, b, script)').length")
    assert {} == {screen: each for screen, each in found.items() if each}
    await console.click(f"{DELIVERIES} .rows .cell")
    await says(console, "dialog pre", "<img src=x onerror=hacked()>")
    assert 0 == await console.run("document.querySelectorAll('dialog :is(img, b, script)').length")


async def test_a_broker_is_among_the_followers(
    console: Console, settings: Settings, tmp_path: Path, connection: Any
) -> None:
    async with running_nats(tmp_path / "nats") as server, running(publish(settings.model_copy(update=server.settings))):
        await until_published(connection, "nats")
        await console.open("/operations")
        await says(console, "main .grid[aria-label=Followers]", "nats")
        (row,) = [each for each in await rows(console, "main .grid[aria-label=Followers]") if each.startswith("nats")]
        assert "following" in row, row
