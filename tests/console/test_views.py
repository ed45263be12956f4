"""What each view keeps to, by the router's list: it can be read and reached, and nothing is shown or done wrongly."""

import itertools
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from ledger.seals.sealing import sealing
from ledger.settings import Settings
from tests.support.axe import findings
from tests.support.books import log_end, open_books
from tests.support.console import Console
from tests.support.console_views import CHECKS, FULL, VIEWS, path_of, settled
from tests.support.controls import ADMIN_PASSWORD, NOBODY, PASSWORD, Api, Serve
from tests.support.machines import register
from tests.support.sealed import wait_for_seal, write_key_file

ROLES = ("admin", "auditor", "customer", "guest")
VARIANTS = (  # of views, which have parts of their own
    *("?at={past}", "/accounts/{accounts}?tab=holds", "/accounts/{accounts}?tab=events", "/none?at=2"),
    *("/people?show=machines", "/operations?projection=accounts", "/transactions/{hold}"),
    *("/flow?sides=account", "/flow?period=dates&from=2001-01-01&to=2001-01-02", "/holds?age=older"),
    "/reports?report=income-statement&period=this-year&compare=previous",
    "/reports?report=trial-balance&depth=all",
)
ALL_SCREENS = tuple(itertools.product(("light", "dark"), (1360, 390)))  # a scheme, and a width in pixels
EVERY = [(roles, (screen,)) for roles in ROLES for screen in ALL_SCREENS]
SCREENS = EVERY if FULL else [("admin", (("light", 1360), ("dark", 390)))]
SOME = 4  # of so many views, one loses its session in the short form
ROUNDS = 20  # of pressing Tab: more elements than any view has
HOSTILE = "<img src=x onerror=hacked()><b>b</b> \u05d0\u05d1\u05d2 xyz"  # markup, and text from right to left
LONG = f"{HOSTILE} \u200f " * 30  # with a mark that turns the direction, which texts to read may have
SESSION = "import('/console/session.js').then(({ who }) => { window.session = who().session_id; })"


@pytest.fixture
async def api(serve: Serve, settings: Settings, tmp_path: Path) -> AsyncIterator[Api]:
    """Serve a ledger that is sealed, so that transactions have proofs."""
    key_file = write_key_file(tmp_path / "seal.pem")
    served = settings.model_copy(update={"ledger_seal_key_file": key_file, "ledger_seal_seconds": 0.01})
    async with sealing(served):
        yield await serve(served)


@pytest.fixture
async def console(console: Console) -> Console:
    """Return the console, each page of which has the checks."""
    await console.page.start()
    await console.page.before_load(CHECKS)
    return console


async def prepare(api: Api) -> dict[str, str]:
    """Write some books, and return ids: by the first part of a path, and of what variants of views need."""
    accounts = await open_books(api)
    await register(api, name="web shop")
    past = await log_end(api)
    transfer = (await api.transfer(accounts["users:alice"], accounts["assets:cash"], 1234)).body
    await api.transfer(accounts["users:alice"], accounts["assets:bank:main"], 111)
    (hold,) = (await api.get("/v1/transactions", params={"kind": "hold"})).body
    await wait_for_seal(api, transfer["id"])
    account = accounts["users:alice"]
    ids = {"accounts": account["id"], "transactions": transfer["id"], "people": account["user_id"], "hold": hold["id"]}
    return {**ids, "past": str(past)}


async def user_of(api: Api, roles: str, ids: dict[str, str]) -> tuple[str, str]:
    """Return the name and the password of a user with these roles; a customer owns the accounts."""
    if roles == "admin":
        return "admin", ADMIN_PASSWORD
    if roles == "customer":
        return str((await api.get(f"/v1/users/{ids['people']}")).body["username"]), PASSWORD
    return (await api.new_user(roles=roles))["username"], PASSWORD


def paths(ids: dict[str, str]) -> list[str]:
    """Return an address of each view."""
    return [path_of(view, ids) for view in VIEWS]


async def complaints(console: Console) -> list[Any]:
    """Return what axe-core says against the page, which texts nobody can read, and whether the page scrolls."""
    root = "document.documentElement"
    is_fixed = f"{root}.scrollWidth <= innerWidth && {root}.scrollHeight <= innerHeight"
    found = [*await findings(console.page), *await console.run("checks.unreadable()")]
    return found if await console.run(is_fixed) else [*found, "the page scrolls"]


@pytest.mark.parametrize(("roles", "screens"), SCREENS)
async def test_each_view_is_accessible_and_readable(
    console: Console, api: Api, roles: str, screens: Sequence[tuple[str, int]]
) -> None:
    """Each view is loaded by its address, and each variant on the next of the screens."""
    ids = await prepare(api)
    console.expect(403, 404)
    await console.open("", *(await user_of(api, roles, ids)))
    screen = itertools.cycle(screens)
    found = {}

    for path in (*paths(ids), *(variant.format_map(ids) for variant in VARIANTS)):
        scheme, width = next(screen)
        await console.page.look(scheme=scheme, width=width)
        await (console.load if FULL or "?" not in path else console.open)(path)
        await settled(console)
        found[path] = await complaints(console)

    assert {} == {path: each for path, each in found.items() if each}


async def test_the_keyboard_reaches_everything_and_shows_where_it_is(console: Console, api: Api) -> None:
    ids = await prepare(api)
    await console.open()
    missed = {}

    for path in paths(ids):
        await console.open(path)
        await settled(console)
        for _ in range(ROUNDS):
            await console.page.press(*["Tab"] * 20)
            if not await console.run("checks.missed().length"):
                break
        missed[path] = await console.run("[...checks.missed(), ...checks.unseen]")

    assert {} == {path: each for path, each in missed.items() if each}


async def test_each_role_sees_each_view_or_why_not(console: Console, api: Api) -> None:
    ids = await prepare(api)
    console.expect(403, 404)
    users = {roles: (await api.new_user(roles=roles))["username"] for roles in ROLES}

    for roles, username in users.items():
        if roles == ROLES[0]:
            await console.open("", username, PASSWORD)
        else:
            await console.change_user(username)
        tabs = await console.texts("#bar .tabs a")
        assert [view.name for view in VIEWS if roles in view.roles] == tabs, roles
        for view in VIEWS:
            await console.open(path_of(view, ids))
            await settled(console)
            is_denied = await console.run("document.querySelector('main .state:is(.denied, .missing)') !== null")
            assert 1 == await console.run("document.querySelectorAll('main h1').length"), (roles, view)
            assert [] == await console.texts("main .state.error"), (roles, view)
            assert is_denied or view.name is None or roles in view.roles, (roles, view)
            assert not is_denied or roles not in ("admin", *view.roles) or roles == "guest", (roles, view)


async def test_an_empty_ledger_has_something_to_say_in_each_view(console: Console) -> None:
    console.expect(404)
    await console.open()

    for view in VIEWS:
        await console.open(path_of(view, {each.path.split("/")[1]: NOBODY for each in VIEWS}))
        await settled(console)
        assert [] == await console.texts("main .state.error"), view
        assert 1 == await console.run("document.querySelectorAll('main h1').length"), view
        assert view.name is not None or ["There is nothing here"] == await console.texts("main .state-title"), view


async def write_hostile(api: Api) -> dict[str, str]:
    """Fill what takes a text with one that attacks, as long as it may be, and return ids for each path."""
    user = await api.new_user(email=f"{'x' * 60}@{'y' * 60}.example")
    metadata = {"note": LONG[:500].strip(), HOSTILE[:20]: "1"}
    named: dict[str, Any] = {"name": (HOSTILE * 9)[:200].strip(), "metadata": metadata, "type": "asset"}
    one = await api.new_account(user["id"], 10_000, code=f"users:{'z' * 60}", **named)
    other = await api.new_account(user["id"], **named)
    between = {"source_account_id": one["id"], "destination_account_id": other["id"], "amount_cents": 1234}
    texts = {"description": LONG[:500].strip(), "metadata": metadata}
    made = []
    for path in ("transfer", "hold"):
        body = {**between, **texts, "reference": f"{path} {HOSTILE * 3}"}
        answer = await api.post(f"/v1/transactions/{path}", body)
        assert answer.status == 200, answer
        made.append(answer.body["id"])
    await api.post("/v1/clients", {"name": HOSTILE, "roles": "auditor"})
    return {"accounts": one["id"], "transactions": made[-1], "people": user["id"]}


@pytest.mark.parametrize("widths", [(1360,), (390,)] if FULL else [(1360, 390)])
async def test_hostile_texts_are_texts_in_each_view(console: Console, api: Api, widths: Sequence[int]) -> None:
    ids = await write_hostile(api)
    await console.open()
    width = itertools.cycle(widths)
    seen = set()

    asked = quote(LONG[:1000])
    more = (f"/accounts?q={asked}", f"/people?q={asked}", f"/{asked}", f"/accounts/{ids['accounts']}?tab=events")
    for path in (*paths(ids), "/people?show=machines", *more):
        await console.page.look(scheme="light", width=next(width))
        await console.open(path)
        await settled(console)
        if await console.run("document.querySelector('main').textContent.includes('<img src=x onerror=')"):
            seen.add(path)
        assert 0 == await console.run("document.querySelectorAll('main :is(img, b, script)').length"), path
        assert [] == await console.run("checks.leaks()"), path
        assert [] == await console.run("checks.unreadable()"), path
        assert not await console.run("document.documentElement.scrollWidth > innerWidth"), path

    assert len(seen) > len(VIEWS) / 2


async def test_the_slider_changes_each_view_that_shows_money(console: Console, api: Api) -> None:
    ids = await prepare(api)
    console.expect(404)  # the transaction was not recorded yet
    await console.open()
    kept, changed = list[str](), list[str]()

    for view in VIEWS:
        path = path_of(view, ids)
        await console.open(path)
        await settled(console)
        now = await console.run("document.querySelector('main').innerText")
        await console.slide(ids["past"])
        await settled(console)
        then = await console.run("document.querySelector('main').innerText")
        (changed if now != then else kept).append(view.path)
        await console.click("#band button")

    shows_money = {"/", "/accounts", "/accounts/:id", "/transactions", "/transactions/:id", "/flow", "/reports"}
    assert shows_money <= set(changed), kept


async def test_nothing_that_can_be_pressed_in_the_past_changes_anything(console: Console, api: Api) -> None:
    ids = await prepare(api)
    console.expect(404)
    await console.open()
    end = await log_end(api)
    enabled, sent = {}, {}

    for path in [*paths(ids), f"/transactions/{ids['hold']}"]:
        await console.open(f"{path}?at={ids['past']}")
        await settled(console)
        enabled[path] = await console.texts("main [data-action]:not(:disabled, summary)")
        await console.run("(window.sent = null, checks.pressAll().then((sent) => { window.sent = sent; }), true)")
        await console.until("window.sent")
        sent[path] = await console.run("window.sent")

    assert {} == {path: each for path, each in (enabled | sent).items() if each}
    assert end == await log_end(api)


async def test_a_lost_session_comes_back_to_the_view(console: Console, api: Api) -> None:
    ids = await prepare(api)
    user = await api.new_user(roles="admin")
    console.expect(401, 404)
    await console.open("", user["username"], PASSWORD)

    for path in paths(ids)[:: 1 if FULL else SOME]:
        await console.open(path)
        await settled(console)
        await console.run(f"(window.session = null, {SESSION}, true)")
        await console.until("window.session")
        await api.delete(f"/v1/auth/sessions/{await console.run('window.session')}")
        await console.fill("#bar .slider", ids["past"])
        await console.until("document.querySelector('.sign-in')")
        await console.sign_in(user["username"], PASSWORD)
        await console.until("document.querySelector('#band strong')")
        await settled(console)

        assert path == await console.run("location.pathname.slice('/console'.length)")
        assert 1 == await console.run("document.querySelectorAll('main h1').length"), path
