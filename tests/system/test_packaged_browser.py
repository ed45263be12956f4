"""Where no Chromium is installed, tests of the console run in that of a package, which starts and shows a page.

The package comes from the cache of npm, or over the network if it is not there yet. Like generated clients, this runs
where npm is installed, and everywhere with GENERATED_CLIENTS=all, as in CI.
"""

import sys
from pathlib import Path

import pytest

from tests.support import browser
from tests.support.chromium import get_packaged
from tests.support.client_programs import is_tested


@pytest.fixture
def packaged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a browser be that of the package."""
    found = get_packaged(Path(sys.prefix).resolve())
    monkeypatch.setattr(browser, "find_chromium", lambda: found)


@pytest.mark.usefixtures("packaged")
@pytest.mark.parametrize("needs", [name for name in ("npm",) if is_tested(name)])
async def test_the_packaged_browser_lays_out_a_page(needs: str, tmp_path: Path) -> None:
    async with browser.browser(tmp_path / needs) as page:
        await page.open("data:text/html,<title>A page</title><p style='width: 100px'>text")
        assert ["A page", 100] == await page.run("[document.title, document.querySelector('p').offsetWidth]")
