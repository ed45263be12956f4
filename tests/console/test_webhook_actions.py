"""Webhooks are created, changed and deleted in operations, and get new secrets, which are shown once."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ledger.settings import Settings
from tests.support.axe import findings
from tests.support.console import QUICK, Console
from tests.support.console_actions import AFTER, DONE, FORM, PREVIEW, begin, do_it, look, problem_of
from tests.support.console_buttons import says
from tests.support.console_views import CHECKS, settled
from tests.support.controls import ADMIN_PASSWORD, Api, Serve
from tests.support.processes import until
from tests.support.receiver import Receiver, receive
from tests.support.webhooks import Body, create, move, progress, shown

DETAILS = "main .details[aria-label=Webhook]"
SECRET = "dialog .secret"
ACTIONS = ("createWebhook", "changeWebhook", "rotateSecret", "deleteWebhook")
HOSTILE = "<img/src=x/onerror=hacked()><b>b</b>"  # the path of a URL has no spaces
DESCRIPTION = "<img src=x onerror=hacked()><b>b</b> \u05d0\u05d1\u05d2 xyz"
# What the page keeps: its address, its history and its storage, and what it has logged.
KEPT = "JSON.stringify([location.href, history.state, { ...localStorage }, { ...sessionStorage }, window.logged])"
LOG = "window.logged = []; for (const name of ['log', 'info', 'warn', 'error', 'debug'])"
LOG += " console[name] = (...all) => logged.push(all.map(String));"
CUT = "checks.unreadable().filter((each) => each.startsWith('cut'))"  # a dialog lies over the view
LOSE_FIRST = """(window.real = fetch, window.lost = 0, window.fetch = async (address, options = {}) => {
  const response = await real(address, options);
  if (options.method !== 'POST' || String(address).includes('dry_run') || lost) return response;
  window.lost += 1;
  throw new TypeError('lost');
}, 1)"""


@pytest.fixture
async def console(console: Console) -> Console:
    """Return the console, which asks for news sooner, with the checks, and notes what it logs."""
    await console.page.start()
    await console.page.before_load(QUICK + CHECKS + LOG)
    return console


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Yield an endpoint."""
    async with receive() as found:
        yield found


@pytest.fixture
async def accounts(api: Api) -> tuple[Body, Body]:
    """Return two accounts, with 1,000 and with 0."""
    return await api.new_account(balance_cents=1000, code="users:anna"), await api.new_account(code="users:ben")


async def all_webhooks(api: Api) -> list[Body]:
    return list((await api.get("/v1/webhooks")).body)


async def choose(console: Console, *topics: str) -> None:
    """Choose events of the list."""
    await console.fill("dialog [name=topics], dialog select[name=which]", "some")
    for topic in topics:
        await console.click(f"dialog .topics [value={topic}]")


async def preview(console: Console) -> str:
    """Ask for the preview, and return what it says."""
    await look(console)
    return " ".join((await console.texts(PREVIEW))[0].split())


async def secret_after(console: Console) -> str:
    """Do what was previewed, and return the secret that is shown then."""
    await console.click("dialog [data-do]")
    await console.until(f"document.querySelector({json.dumps(DONE)})")
    return (await console.texts(SECRET))[0]


async def close(console: Console) -> None:
    await console.click("dialog .done .primary")
    await console.until("!document.querySelector('dialog')")


async def test_a_webhook_is_created_and_its_secret_is_shown_once(
    console: Console, api: Api, receiver: Receiver, accounts: tuple[Body, Body]
) -> None:
    await console.open("/operations")
    await begin(console, "createWebhook")
    await console.fill("dialog [name=url]", receiver.url("/made"))
    await choose(console, "MoneyTransferred", "HoldPlaced")
    await console.fill("dialog [name=code_prefix]", "users:")
    await console.fill("dialog [name=order]", "account")
    await console.fill("dialog [name=description]", "orders of the shop")
    end = (await api.get("/v1/ledger/status")).body["position"]
    said = await preview(console)
    before = await all_webhooks(api)
    secret = await secret_after(console)
    await console.page.press("Escape")
    is_still_open = await console.run("document.querySelector('dialog').open")
    kept = await console.run(KEPT)
    await close(console)
    (made,) = await all_webhooks(api)
    await says(console, DETAILS, made["url"])
    await move(api, accounts, 5)
    await until(lambda: receiver.received)

    assert [] == before
    assert (
        f"Send events of 2 topics about accounts with the code users: or one below it to {receiver.url('/made')}."
        in said
    )
    assert f"It begins with the next event, after position {end:,} of the log." in said
    assert "only for earlier ones about the same account" in said
    assert (receiver.url("/made"), {"MoneyTransferred", "HoldPlaced"}, "users:", "account", "orders of the shop") == (
        made["url"], set(made["topics"]), made["code_prefix"], made["order"], made["description"],
    )  # fmt: skip
    assert is_still_open
    assert secret.startswith("whsec_")
    receiver.received[0].verify(secret)
    assert secret not in kept + await console.run("document.documentElement.outerHTML")
    assert not [each for each in console.page.requested if secret in each]


async def test_a_webhook_can_begin_in_the_past_of_the_log(
    console: Console, api: Api, receiver: Receiver, accounts: tuple[Body, Body]
) -> None:
    console.expect(422)
    (position,) = await move(api, accounts, 5)
    await console.open("/operations")
    await begin(console, "createWebhook")
    await console.fill("dialog [name=url]", receiver.url())
    await choose(console, "MoneyTransferred")
    for text, problem in (("0", "This is not a position"), ("1.5", "This is not a position"), ("9,999,999", "beyond")):
        await console.fill("dialog [name=from_position]", text)
        await console.run(f"document.querySelector({json.dumps(FORM)}).requestSubmit()")
        assert problem in await problem_of(console, "from_position")
    await console.fill("dialog [name=from_position]", f"#{position:,}")
    said = await preview(console)
    await secret_after(console)
    await close(console)
    await until(lambda: receiver.received)

    assert f"It begins at position {position:,}: of the events from there to the end of the log" in said
    assert [position] == receiver.positions()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "This is needed"),
        ("ftp://example.com", "Must be an absolute URL"),
        ("https://user:word@example.com/", "Must not have a user or a password"),
        ("https://10.0.0.1/", "private"),
    ],
)
async def test_an_address_that_is_refused_is_named(console: Console, api: Api, url: str, why: str) -> None:
    console.expect(422)
    await console.open("/operations")
    await begin(console, "createWebhook")
    await console.fill("dialog [name=url]", url)
    await console.run(f"document.querySelector({json.dumps(FORM)}).requestSubmit()")

    assert why in await problem_of(console, "url")
    assert "url" == await console.run("document.activeElement.name")
    assert [] == await all_webhooks(api)


async def test_each_refusal_is_at_its_member(console: Console, receiver: Receiver) -> None:
    console.expect(422)
    await console.open("/operations")
    await begin(console, "createWebhook")
    await console.fill("dialog [name=url]", receiver.url())
    await console.fill("dialog [name=which]", "some")
    await console.run(f"document.querySelector({json.dumps(FORM)}).requestSubmit()")
    none = await problem_of(console, "which")
    await choose(console, "MoneyTransferred")
    await console.fill("dialog [name=code_prefix]", "no code!")
    await console.run(f"document.querySelector({json.dumps(FORM)}).requestSubmit()")

    assert "Choose at least one event" == none
    assert await problem_of(console, "code_prefix")


async def test_a_webhook_is_changed_where_the_reader_has_changed_it(
    console: Console, api: Api, receiver: Receiver
) -> None:
    webhook = await create(api, receiver, code_prefix="users:", description="orders")
    await api.post(f"/v1/webhooks/{webhook['id']}/disable")
    await console.open(f"/operations?webhook={webhook['id']}")
    await begin(console, "changeWebhook")
    await console.until("document.querySelector('dialog [value=MoneyTransferred]:checked')")
    await console.fill("dialog [name=url]", receiver.url("/new"))
    await console.click("dialog [value=JournalEntryPosted]")
    await console.fill("dialog [name=code_prefix]", "")
    await api.patch(f"/v1/webhooks/{webhook['id']}", {"description": "of somebody else"})
    said = await preview(console)
    after = await console.texts(AFTER)
    await do_it(console)
    await says(console, DETAILS, receiver.url("/new"))
    now = await shown(api, webhook)
    position = (await progress(api, webhook))["position"]

    assert [receiver.url("/new"), "MoneyTransferred, JournalEntryPosted", "all"] == after[:3]
    assert "all events that are not delivered yet" in said
    assert f"They are sent to {receiver.url('/new')} once the webhook is enabled again." in said
    assert (["MoneyTransferred", "JournalEntryPosted"], None, "of somebody else") == (
        now["topics"], now["code_prefix"], now["description"],
    )  # fmt: skip
    assert position >= 1


async def test_a_secret_is_rotated_and_both_sign_until_then(
    console: Console, api: Api, receiver: Receiver, accounts: tuple[Body, Body]
) -> None:
    webhook = await create(api, receiver)
    await console.open(f"/operations?webhook={webhook['id']}")
    await begin(console, "rotateSecret")
    said = await preview(console)
    secret = await secret_after(console)
    await close(console)
    await says(console, DETAILS, "two sign, the older one until")
    await move(api, accounts, 5)
    await until(lambda: receiver.received)
    await begin(console, "rotateSecret")
    await console.fill("dialog [name=overlap_seconds]", "0")
    said_again = await preview(console)
    newest = await secret_after(console)
    await close(console)
    await console.until(f"!document.querySelector('{DETAILS}').innerText.includes('two sign')")
    await move(api, accounts, 6)
    await until(lambda: len(receiver.received) == 2)

    assert "The current secret signs as well until" in said
    assert "An earlier rotation" not in said
    for each in (webhook["secret"], secret):
        receiver.received[0].verify(each)
    assert "The current secret ends at once" in said_again
    assert "An earlier rotation is still under way" in said_again
    receiver.received[1].verify(newest)
    assert 1 == len(receiver.received[1].headers["webhook-signature"].split())


async def test_a_secret_whose_response_was_lost_is_not_made_up(console: Console, api: Api, receiver: Receiver) -> None:
    await console.open("/operations")
    await begin(console, "createWebhook")
    await console.fill("dialog [name=url]", receiver.url())
    await preview(console)
    await console.run(LOSE_FIRST)
    await console.click("dialog [data-do]")
    await console.until(f"document.querySelector({json.dumps(DONE)})")
    said = (await console.texts(DONE))[0]
    await close(console)

    assert "The response with the secret was lost" in said
    assert "whsec_" not in said
    assert 1 == len(await all_webhooks(api))


async def test_a_webhook_is_deleted(console: Console, api: Api, receiver: Receiver) -> None:
    console.expect(404)  # what the view was asking for meanwhile
    one, other = await create(api, receiver, "/one"), await create(api, receiver, "/other")
    await console.open(f"/operations?webhook={one['id']}")
    await console.click("main [data-action=deleteWebhook]")
    await says(console, "dialog", "Nothing more is sent to")
    said = (await console.texts("dialog"))[0]
    await do_it(console)
    await console.until(f"!document.querySelector('{DETAILS}')")
    await console.until("document.activeElement.getAttribute('aria-label') === 'Webhooks'")

    assert one["url"] in said
    assert [other["id"]] == [each["id"] for each in await all_webhooks(api)]
    assert "" == await console.run("location.search")


async def test_the_keyboard_alone_creates_a_webhook(console: Console, api: Api, receiver: Receiver) -> None:
    await console.open("/operations")
    await console.until("document.querySelector('main [data-action=createWebhook]')")
    await console.run("document.querySelector('main [data-action=createWebhook]').focus()")
    await console.page.press("Enter")
    await console.until("document.activeElement.name === 'url'")
    await console.page.press(*receiver.url(), "Tab", "ArrowDown", "Tab")
    await console.until("document.activeElement.name === 'filter' && document.querySelector('dialog .topics label')")
    await console.page.press(*"moneytr", "Enter", "Tab", " ", "ArrowDown", "Tab", "Enter")
    await console.until(f"document.querySelector({json.dumps(PREVIEW)})")
    await console.page.press("Tab", "Tab", "Enter")
    await console.until(f"document.querySelector({json.dumps(DONE)})")
    await console.page.press("Tab", "Tab", "Tab", "Enter")
    await console.until("!document.querySelector('dialog')")
    (made,) = await all_webhooks(api)

    assert ["MoneyTransferred"] == made["topics"]


async def test_only_admins_change_webhooks_and_only_now(console: Console, api: Api, receiver: Receiver) -> None:
    console.expect(401)  # what the view was asking for while the admin signed out
    webhook = await create(api, receiver)
    auditor = await api.new_user(roles="auditor")
    await console.open(f"/operations?webhook={webhook['id']}&at=2")
    await console.until(f"document.querySelectorAll('main [data-action]').length === {len(ACTIONS)}")
    disabled = await console.run(
        "[...document.querySelectorAll('main [data-action]:disabled')].map((e) => e.dataset.action)"
    )
    await console.change_user(auditor["username"])
    await console.sees("Only admins see webhooks")

    assert set(ACTIONS) == set(disabled)
    assert [] == await console.texts("main [data-action]")


async def test_a_login_that_is_too_old_comes_back_to_the_dialog(
    console: Console, serve: Serve, settings: Settings, receiver: Receiver
) -> None:
    console.expect(403)
    strict = await serve(settings.model_copy(update={"ledger_reauthenticate_seconds": 2}))
    console.api = strict
    await console.open("/operations")
    await begin(console, "createWebhook")
    await console.fill("dialog [name=url]", receiver.url())
    later = await strict.logged_in("admin", ADMIN_PASSWORD)
    await until(lambda: _is_too_old(later, receiver))
    await console.run(f"document.querySelector({json.dumps(FORM)}).requestSubmit()")
    await says(console, "main", "This change needs a recent login.")
    await console.sign_in("admin", ADMIN_PASSWORD)
    await console.until("document.querySelector('dialog').open")

    assert receiver.url() == await console.run("document.querySelector('dialog [name=url]').value")


async def _is_too_old(api: Api, receiver: Receiver) -> bool:
    """Return whether the login is too old for a change, and with it all earlier ones."""
    tried = await api.post("/v1/webhooks", {"url": receiver.url()}, params={"dry_run": "true"})
    return tried.status == 403


async def test_hostile_texts_are_texts_in_each_dialog(console: Console, api: Api, receiver: Receiver) -> None:
    url = receiver.url("/") + HOSTILE + "x" * 300
    webhook = await create(api, receiver, url=url, description=DESCRIPTION)
    await console.open(f"/operations?webhook={webhook['id']}")
    found: dict[tuple[str, str], Any] = {}

    async def check(name: str) -> None:
        await settled(console)
        for scheme, width in (("light", 1360), ("dark", 390)):
            await console.page.look(scheme=scheme, width=width)
            found[name, scheme] = await findings(console.page)
            found[name, scheme] += await console.run(f"[...{CUT}, ...checks.leaks()]")
            assert 0 == await console.run("document.querySelectorAll(':is(main, dialog) :is(img, b, script)').length")
            assert not await console.run("document.documentElement.scrollWidth > innerWidth"), (name, width)

    await begin(console, "changeWebhook")
    await console.until("document.querySelector('dialog [value=MoneyTransferred]')")
    assert DESCRIPTION == await console.run("document.querySelector('dialog [name=description]').value")
    await check("change")
    await console.fill("dialog [name=description]", "plain")
    await console.fill("dialog [name=url]", url + "y")
    await look(console)
    await check("preview")
    await console.click("dialog .cross")
    await begin(console, "rotateSecret")
    await look(console)
    await secret_after(console)
    await check("secret")
    await close(console)
    await console.click("main [data-action=deleteWebhook]")
    await console.until(f"document.querySelector({json.dumps(PREVIEW)})")
    await check("delete")
    await console.click("dialog .cross")
    await begin(console, "createWebhook")
    await choose(console)
    await console.until("document.querySelector('dialog .topics label')")
    await console.run("document.querySelector('dialog details').open = true")
    await check("create")

    assert {} == {name: each for name, each in found.items() if each}
