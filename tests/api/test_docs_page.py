"""The page at /docs, in a browser: it shows every route, runs examples, and contacts only the service."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from yarl import URL

from ledger.settings import Settings
from tests.support.axe import findings
from tests.support.browser import Page, browser
from tests.support.conformity import codes_of
from tests.support.controls import ADMIN_PASSWORD, Api, Clock
from tests.support.processes import until
from tests.support.second_factors import enrol
from web.handlers.docs import ASSETS, FOLDER
from web.openapi import document
from web.routes import ROUTES, UNVERSIONED

Serve = Callable[[Settings], Awaitable[Api]]
EVERY = (*UNVERSIONED, *ROUTES)
BROWSERS = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


def operation_id(method: str, path: str) -> str:
    return str(json.loads(document())["paths"][path][method]["operationId"])


async def open_page(page: Page, api: Api, fragment: str = "") -> str:
    """Open the page and wait until it shows the routes; return its address."""
    url = str(api.client.make_url("/docs"))
    await page.open(f"{url}#{fragment}")
    await page.run("document.querySelectorAll('article.operation').length > 0")
    return url


async def press(page: Page, *selectors: str) -> None:
    """Click the element of each selector as soon as it exists."""
    for selector in selectors:
        await page.run(f"!!document.querySelector({selector!r})")
        await page.run(f"document.querySelector({selector!r}).click() || true")


async def fill(page: Page, selector: str, value: str) -> None:
    await page.run(f"(document.querySelector({selector!r}).value = {json.dumps(value)}, true)")


async def texts(page: Page, selector: str) -> list[str]:
    found = f"[...document.querySelectorAll({selector!r})].map((each) => each.textContent.trim())"
    return list(json.loads(await page.run(f"JSON.stringify({found})")))


async def test_the_page_shows_every_route_and_calls_one(api: Api, tmp_path: Path) -> None:
    version = operation_id("get", "/v1/version")

    async with browser(tmp_path) as page:
        url = await open_page(page, api)
        paths = await texts(page, "article.operation .path")
        await press(page, f"#{version} .opener", f"#{version} .primary")
        shown = await page.run(f"document.querySelector('#{version} .output pre')?.textContent")

    assert len(EVERY) == len(paths)
    assert '"name": "ledger"' in shown
    assert [] == page.complaints
    unpainted = {"icon.svg"} if page.has_layout else {"icon.svg", "style.css"}
    parts = {f"{url}/{name}" for name in ASSETS.keys() - unpainted}
    assert {url, url.replace("/docs", "/openapi.json"), *parts} <= {asked.partition("#")[0] for asked in page.requested}
    assert {api.client.make_url("/").origin()} == {URL(asked).origin() for asked in page.requested}


async def has_one_session(api: Api) -> bool:
    return len((await api.get("/v1/auth/sessions")).body) == 1


async def test_a_reader_can_sign_in_and_call_protected_routes(api: Api, tmp_path: Path) -> None:
    users = operation_id("get", "/v1/users")

    async with browser(tmp_path) as page:
        await open_page(page, api, users)
        await press(page, f"#{users} .primary")
        await page.run(f"document.querySelector('#{users} .output .bad')?.textContent.startsWith('401')")
        await press(page, "#docs-session .disclosure")
        await fill(page, "#docs-session [autocomplete=username]", "admin")
        await fill(page, "#docs-session [autocomplete=current-password]", ADMIN_PASSWORD)
        await press(page, "#docs-session .primary")
        await page.run("document.querySelector('#docs-session').textContent.includes('Signed in: admin')")
        await press(page, f"#{users} .primary")
        shown = await page.run(
            f"document.querySelector('#{users} .output .good') && document.querySelector('#{users} pre').textContent"
        )
        kept = await page.run("JSON.stringify([localStorage.length, sessionStorage.length, document.cookie])")
        await press(page, "#docs-session .disclosure", "#docs-session .region button")  # sign out
        await until(lambda: has_one_session(api))

    assert '"username": "admin"' in shown
    assert [0, 0, ""] == json.loads(kept)


async def test_a_reader_with_a_second_factor_is_asked_for_a_code(api: Api, tmp_path: Path) -> None:
    device = await enrol(api, Clock(), ADMIN_PASSWORD)
    field = "#docs-session [autocomplete=one-time-code]"

    async with browser(tmp_path) as page:
        await open_page(page, api)
        await press(page, "#docs-session .disclosure")
        await fill(page, "#docs-session [autocomplete=username]", "admin")
        await fill(page, "#docs-session [autocomplete=current-password]", ADMIN_PASSWORD)
        asked_at_once = await page.run(f"String(document.querySelector({field!r}) !== null)")
        await press(page, "#docs-session .primary")
        await page.run(f"!!document.querySelector({field!r})")
        await fill(page, field, device.recovery_codes[0])
        await press(page, "#docs-session .primary")
        await page.run("document.querySelector('#docs-session').textContent.includes('Signed in: admin')")

    assert asked_at_once == "false"


async def test_a_link_to_an_operation_opens_it_and_a_filter_finds_it(api: Api, tmp_path: Path) -> None:
    transfer = operation_id("post", "/v1/transactions/transfer")

    async with browser(tmp_path) as page:
        await open_page(page, api, transfer)
        is_open = "document.querySelector('#{} .opener').getAttribute('aria-expanded')"
        assert "true" == await page.run(is_open.format(transfer))
        assert "false" == await page.run(is_open.format(operation_id("get", "/v1/users")))
        await fill(page, "#docs-search", "POST transfer")
        await page.run("document.querySelector('#docs-search').dispatchEvent(new Event('input'))")
        found = await texts(page, "article.operation:not([hidden]) .path")

    assert "/v1/transactions/transfer" in found
    assert len(found) < len(EVERY) / 4


async def test_the_errors_of_an_operation_are_listed_with_one_line_per_code(api: Api, tmp_path: Path) -> None:
    transfer = operation_id("post", "/v1/transactions/transfer")
    (route,) = [each for each in ROUTES if each.path == "/transactions/transfer"]

    async with browser(tmp_path) as page:
        await open_page(page, api, transfer)
        lines = await texts(page, f"#{transfer} .errors > li")
        codes = await texts(page, f"#{transfer} .errors code")
        examples = await texts(page, f"#{transfer} .errors pre")

    assert sorted(codes_of(route)) == sorted(codes)
    assert len(codes) == len(lines)
    assert [] == examples
    assert [line for line in lines if line.startswith("422transfer_insufficient_funds source account does not have")]


@pytest.mark.parametrize(("scheme", "width"), [("light", 1360), ("dark", 390)])
async def test_the_page_is_accessible(api: Api, tmp_path: Path, scheme: str, width: int) -> None:
    """axe-core finds nothing, of any impact, with an operation and its response open."""
    transfer = operation_id("post", "/v1/transactions/transfer")

    async with browser(tmp_path) as page:
        await open_page(page, api)
        await page.look(scheme=scheme, width=width)
        await press(page, "#docs-session .disclosure", f"#{transfer} .opener", f"#{transfer} .primary")
        await page.run(f"!!document.querySelector('#{transfer} .output pre')")
        await page.run(
            f"document.querySelectorAll('#{transfer} .region .disclosure').forEach((each) => each.click()) || true"
        )
        found = await findings(page)
        wider = await page.run("String(document.documentElement.scrollWidth > innerWidth)")

    assert [] == found
    assert (not page.has_layout) or wider == "false"


async def test_schemas_of_every_shape_are_shown(
    serve: Serve, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.app.document", lambda: json.dumps(SHAPES).encode())

    async with browser(tmp_path) as page:
        await open_page(page, await serve(settings), "make")
        for _ in range(3):  # recursive schemas open one level per click
            await page.run(
                "document.querySelectorAll('.takes [aria-expanded=false]').forEach((each) => each.click()) || true"
            )
        members = await texts(page, ".takes .members > li > .facts")
        variants = await texts(page, ".takes .variants > li > .disclosure")
        body = await page.run("document.querySelector('.try textarea').value")
        answers = await texts(page, ".success .note")

    assert 'kind "card", required' in members
    assert "amount integer (int64), required, 1 to 100" in members
    assert 'currency Currency, required, one of "EUR", "USD"' in members
    assert "parent Card or null" in members
    assert "tags map of string" in members
    assert "steps array of Card or Cash, at most 3 items" in members
    assert {'kind: "card"', 'kind: "cash"'} <= {*variants}
    assert {"kind": "card", "amount": 7, "currency": "EUR"} == json.loads(body)
    assert ["application/json: array of Card or Cash"] == answers
    assert [] == page.complaints


async def test_text_of_the_document_is_never_treated_as_markup(
    serve: Serve, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    markup = "<img src=x onerror=document.title='pwned'> [link](javascript:boom) `<b>`"
    get = {
        "operationId": "look",
        "summary": markup,
        "description": markup,
        "responses": {"200": {"description": markup}},
    }
    hostile = {
        "openapi": "3.1.0",
        "info": {"title": "T", "version": "1", "description": markup},
        "paths": {"/": {"get": get}},
    }
    monkeypatch.setattr("web.app.document", lambda: json.dumps(hostile).encode())

    async with browser(tmp_path) as page:
        await open_page(page, await serve(settings), "look")
        shown = await page.run("document.querySelector('.takes').textContent")
        made = await page.run("String(document.querySelectorAll('main img, main b, a[href^=javascript]').length)")

    assert "<img src=x onerror=document.title='pwned'> link <b>" in shown
    assert "0" == made


def test_no_script_sets_markup() -> None:
    scripts = "".join(path.read_text() for path in FOLDER.glob("*.js"))

    assert [] == [
        word for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(") if word in scripts
    ]


def test_the_password_field_is_masked_and_open_to_password_managers() -> None:
    scripts = "".join(path.read_text() for path in FOLDER.glob("*.js"))

    assert 'field("Password", { type: "password", autocomplete: "current-password"' in scripts
    assert "paste" not in scripts.replace("pasted", "")  # no listener keeps anybody from pasting


def test_every_file_of_the_page_is_served() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {*ASSETS, "index.html"}


# The root


@pytest.mark.parametrize("accept", [BROWSERS, "text/html", "text/html;q=0.9, application/json;q=0.5", "TEXT/*"])
async def test_a_browser_at_the_root_is_redirected_to_the_console(api: Api, accept: str) -> None:
    answer = await api.nobody.get("/", headers={"Accept": accept}, allow_redirects=False)

    assert (303, "") == (answer.status, answer.body)
    assert ("/console", "Accept") == (answer.headers["Location"], answer.headers["Vary"])


@pytest.mark.parametrize("accept", ["*/*", "application/json", "application/json, text/html", "text/html;q=0", ""])
async def test_an_api_client_at_the_root_is_not_redirected(api: Api, accept: str) -> None:
    unknown = await api.nobody.get("/", headers={"Accept": accept}, allow_redirects=False)
    known = await api.get("/", headers={"Accept": BROWSERS}, allow_redirects=False)

    assert (401, ["authentication_wrong_credentials"]) == (unknown.status, unknown.codes)
    assert 200 == known.status


_CARD = {
    "type": "object",
    "required": ["kind", "amount", "currency"],
    "properties": {
        "kind": {"const": "card"},
        "amount": {"type": "integer", "format": "int64", "minimum": 1, "maximum": 100, "examples": [7]},
        "currency": {"$ref": "#/components/schemas/Currency"},
        "parent": {"anyOf": [{"$ref": "#/components/schemas/Card"}, {"type": "null"}]},
        "tags": {"type": "object", "additionalProperties": {"type": "string"}},
        "steps": {
            "type": "array",
            "maxItems": 3,
            "items": {"oneOf": [{"$ref": "#/components/schemas/Card"}, {"$ref": "#/components/schemas/Cash"}]},
        },
    },
}
_EITHER = {
    "oneOf": [{"$ref": "#/components/schemas/Card"}, {"$ref": "#/components/schemas/Cash"}],
    "discriminator": {"propertyName": "kind"},
}
SHAPES = {
    "openapi": "3.1.0",
    "info": {"title": "Shapes", "version": "1"},
    "paths": {
        "/things": {
            "post": {
                "operationId": "make",
                "requestBody": {"required": True, "content": {"application/json": {"schema": _EITHER}}},
                "responses": {
                    "200": {
                        "description": "Made",
                        "content": {"application/json": {"schema": {"type": "array", "items": _EITHER}}},
                    }
                },
            }
        }
    },
    "components": {
        "schemas": {
            "Card": _CARD,
            "Cash": {"allOf": [{"type": "object", "properties": {"kind": {"const": "cash"}}}, {"required": ["kind"]}]},
            "Currency": {"type": "string", "enum": ["EUR", "USD"]},
        }
    },
}
