"""The console in a browser. A console error, a request to another host or a violation of the policy fails the test."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.browser import CHROMIUM, browser
from tests.support.console import Console
from tests.support.controls import Api

# Debian: apt-get install chromium. The browser of the wheel has no layout.
collect_ignore_glob = [] if any(map(shutil.which, CHROMIUM)) else ["test_*.py"]
WALK_SECONDS = 280  # for tests that go through every view on a busy machine


@pytest.fixture
async def console(api: Api, tmp_path: Path) -> AsyncIterator[Console]:
    """Yield the console, before anybody has signed in."""
    async with browser(tmp_path / "browser", deadline_seconds=WALK_SECONDS) as page:
        opened = Console(page, api)
        yield opened
        await opened.close()
