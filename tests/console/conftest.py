"""The console in a browser. A console error, a request to another host or a violation of the policy fails the test."""

from collections.abc import AsyncIterator, Iterator

import pytest

from ledger.settings import Settings
from tests.support.browser import Browser, run_browser
from tests.support.chromium import NoChromiumError, find_chromium
from tests.support.console import PATIENCE_SECONDS, Console
from tests.support.console_views import FULL
from tests.support.controls import Api

WALK_SECONDS = 1700 if FULL else 280  # for tests that go through every view on a busy machine


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Yield the browser of all tests of a process; each has a page with cookies and a cache of its own."""
    missing = None
    try:
        find_chromium()
    except NoChromiumError as error:
        missing = str(error)
    if missing:
        pytest.fail(missing, pytrace=False)
    with run_browser(tmp_path_factory.mktemp("browser"), needs_layout=True) as running:
        yield running


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Return the settings of a service that waits for a busy database: a refusal would be an error of the page."""
    return settings.model_copy(update={"ledger_database_patience_seconds": PATIENCE_SECONDS})


@pytest.fixture
async def console(chromium: Browser, api: Api) -> AsyncIterator[Console]:
    """Yield the console, before anybody has signed in."""
    async with chromium.page(deadline_seconds=WALK_SECONDS) as page:
        opened = Console(page, api)
        yield opened
        await opened.close()
