"""A service that may send to endpoints on loopback, and an endpoint."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from ledger.settings import Settings
from tests.support.controls import Api, Serve
from tests.support.receiver import LOOPBACK, Receiver, SetClock, receive


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Yield an endpoint."""
    async with receive() as found:
        yield found


@pytest.fixture
def allowing(settings: Settings) -> Settings:
    """Return the settings of a service that may send to loopback."""
    return settings.model_copy(update={"ledger_webhook_allow": LOOPBACK})


@pytest.fixture
async def sending(serve: Serve, allowing: Settings) -> Api:
    """Return the API of a service that may send to loopback, as its first admin."""
    return await serve(allowing)


@pytest.fixture
async def set_clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """Return the clock of the deliveries of services that are started afterwards."""
    clock = SetClock()
    monkeypatch.setattr("ledger.publish.webhooks.service.Clock", lambda: clock)
    return clock


@pytest.fixture
async def accounts(sending: Api) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return two accounts, with 1,000 and with 0."""
    return await sending.new_account(balance_cents=1000), await sending.new_account()
