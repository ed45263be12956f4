"""The page at /docs, in a browser: it shows every route, its examples run, and it asks nobody but the service."""

from pathlib import Path

from yarl import URL

from tests.browser import browser
from tests.controls import Api
from web.routes import ROUTES, UNVERSIONED

VERSION = "#operations-service-getVersion"


async def test_the_page_shows_every_route_and_calls_one(api: Api, tmp_path: Path) -> None:
    url = str(api.client.make_url("/docs"))
    routes = len([*UNVERSIONED, *ROUTES])

    async with browser(tmp_path) as page:
        await page.open(url)
        await page.run(f"document.querySelectorAll('.opblock').length === {routes}")
        for button in (".opblock-summary-control", ".try-out__btn", ".execute"):
            await page.run(f"!!document.querySelector('{VERSION} {button}')")
            await page.run(f"document.querySelector('{VERSION} {button}').click() || true")
        shown = await page.run(f"document.querySelector('{VERSION} .live-responses-table')?.textContent")

    assert '"name": "ledger"' in shown
    assert [] == page.complaints
    assert {url, f"{url}/start.js", url.replace("/docs", "/openapi.json")} <= set(page.requested)
    assert {api.client.make_url("/").origin()} == {
        URL(asked).origin() for asked in page.requested if asked[:5] != "data:"
    }
