"""Log in, refresh and log out, for the tests of tokens over HTTP."""

import pytest

from ledger.settings import Settings
from tests.support.controls import Api
from tests.support.token_api import NO_GRACE, Serve


@pytest.fixture
async def strict(serve: Serve, settings: Settings) -> Api:
    """Return a service without a grace period for refreshes."""
    return await serve(settings.model_copy(update=NO_GRACE))
