"""Everybody can use flow, reports and holds: axe-core finds nothing, and nothing is wider than a phone."""

import pytest

from tests.support.axe import axe, findings
from tests.support.books import log_end, open_books
from tests.support.console import Console
from tests.support.controls import Api

SEEN = {
    "": ".status-cards .age-bars",
    "?at={position}": ".tiles.books",
    "/flow": ".sankey",
    "/flow?sides=account": ".sankey",
    "/flow?period=dates&from=2001-01-01&to=2001-01-02": ".state",
    "/reports": ".report-table",
    "/reports?report=income-statement&period=this-year&compare=previous": ".report-table",
    "/reports?report=trial-balance&depth=all": ".report-table",
    "/holds": ".age-bars",
    "/holds?age=older": ".age-bars",
}


@pytest.mark.parametrize(("scheme", "width"), [("light", 1360), ("dark", 390)])
async def test_every_view_is_accessible(console: Console, api: Api, scheme: str, width: int) -> None:
    await open_books(api)
    await console.open()
    await console.page.look(scheme=scheme, width=width)

    position = await log_end(api)
    await api.new_user()
    for view, seen in SEEN.items():
        await console.open(view.format(position=position))
        await console.until(f"document.querySelector('main {seen}') && !document.querySelector('main .loading')")
        await console.page.run(f"({axe()}, true)")
        assert [] == await findings(console.page), view
        assert not await console.run("document.documentElement.scrollWidth > innerWidth"), view
        assert not await console.run("document.documentElement.scrollHeight > innerHeight"), view
