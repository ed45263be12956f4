"""An endpoint on loopback, to which the services of tests may send, and a clock of deliveries."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.controls import Api
from tests.support.receiver import Receiver, SetClock, receive


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Yield an endpoint."""
    async with receive() as found:
        yield found


@pytest.fixture
async def set_clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """Return the clock of the deliveries of services that are started afterwards."""
    clock = SetClock()
    monkeypatch.setattr("ledger.publish.webhooks.service.Clock", lambda: clock)
    return clock


@pytest.fixture
async def accounts(api: Api) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return two accounts, with 1,000 and with 0."""
    return await api.new_account(balance_cents=1000), await api.new_account()
