"""Accounts and a committer, for the tests of group commit."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from ledger.settings import Settings
from tests.support.bank import Bank, banking


@pytest.fixture
async def bank(settings: Settings, connection: Any) -> AsyncIterator[Bank]:
    async with banking(settings, connection) as opened:
        yield opened
