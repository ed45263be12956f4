"""Accounts and a committer, for the tests of group commit."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from ledger.settings import Settings
from tests.support.bank import Bank, open_bank


@pytest.fixture
async def bank(settings: Settings, connection: Any) -> AsyncIterator[Bank]:
    async with open_bank(settings, connection) as opened:
        yield opened
