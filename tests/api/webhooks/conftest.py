"""A service that may send to endpoints on loopback, and an endpoint."""

from collections.abc import AsyncIterator

import pytest

from ledger.settings import Settings
from tests.support.controls import Api, Serve
from tests.support.receiver import LOOPBACK, Receiver, receive


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Yield an endpoint."""
    async with receive() as found:
        yield found


@pytest.fixture
async def sending(serve: Serve, settings: Settings) -> Api:
    """Return the API of a service that may send to loopback, as its first admin."""
    return await serve(settings.model_copy(update={"ledger_webhook_allow": LOOPBACK}))
