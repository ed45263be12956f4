"""Fixtures of tests that run whole commands."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ledger.settings import Settings
from tests.support.processes import Ledger, ledger
from tests.support.reference import Reference, reference_database


@pytest.fixture
async def reference(settings: Settings) -> AsyncIterator[Reference]:
    async with reference_database(settings) as opened:
        yield opened


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Ledger]:
    """Run a service with servers of its own, whose data is in `.ledger`, as the documentation starts it."""
    with ledger(tmp_path, "serve", LEDGER_DATA_DIR=".ledger", SERVICE_PORT="0") as running:
        await running.url()
        yield running
        await running.stop()
