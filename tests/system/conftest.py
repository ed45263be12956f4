"""Fixtures of tests that run whole commands."""

from collections.abc import AsyncIterator

import pytest

from ledger.settings import Settings
from tests.support.reference import Reference, reference_database


@pytest.fixture
async def reference(settings: Settings) -> AsyncIterator[Reference]:
    async with reference_database(settings) as opened:
        yield opened
