"""Every request is answered in time, whatever has become of the network between the service and its database."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ledger.settings import Settings
from tests.support.controls import Api, Serve, new_id, user_body
from tests.support.problems import assert_is_problem
from tests.support.proxy import Proxy

PATIENCE, SLACK = 2.0, 1.0


@pytest.fixture
async def proxy(settings: Settings) -> AsyncIterator[Proxy]:
    async with Proxy.to_database(settings) as proxy:
        yield proxy


@pytest.fixture
async def behind(serve: Serve, settings: Settings, proxy: Proxy) -> Api:
    """The service, with its database behind the proxy."""
    patience = {"ledger_database_patience_seconds": PATIENCE}
    return await serve(proxy.database_settings(settings).model_copy(update=patience))


async def measure(api: Api) -> list[tuple[float, Any]]:
    """Send a request of each kind at once; return how long each took, and its answer."""

    async def one(method: str, path: str, body: Any = None, **options: Any) -> tuple[float, Any]:
        began = time.monotonic()
        answer = await api.call(method, path, body, **options)
        return time.monotonic() - began, answer

    key = {"headers": {"Idempotency-Key": str(new_id())}}
    return list(
        await asyncio.gather(
            one("GET", "/v1/users"),
            one("GET", f"/v1/accounts/{new_id()}"),
            one("POST", "/v1/users", user_body()),
            one("POST", "/v1/users", user_body(), **key),
        )
    )


async def test_over_a_dead_network_each_request_is_answered_in_time(behind: Api, proxy: Proxy) -> None:
    """Lesson 51."""
    for _ in range(2):
        proxy.black_hole()
        answers = [await measure(behind), await measure(behind)]
        proxy.heal()
        began = time.monotonic()
        read, written = await behind.get("/v1/users"), await behind.post("/v1/users", user_body())

        assert [] == [seconds for round_ in answers for seconds, _ in round_ if seconds > PATIENCE + SLACK]
        for _, answer in answers[0] + answers[1]:
            assert 503 == answer.status
            code = answer.codes[0]
            assert_is_problem(answer, 503, code, {"database_error": "database_error"}.get(code, "unavailable"))
            assert code in {"database_error", "outcome_unknown"}
        assert (200, 201) == (read.status, written.status)
        assert time.monotonic() - began < SLACK


async def test_requests_wait_for_a_database_that_refuses_connections(behind: Api, proxy: Proxy) -> None:
    """Keyed or not: the check of the token waits as the command does."""
    proxy.refuse()
    asyncio.get_running_loop().call_later(PATIENCE / 2, proxy.heal)
    assert [200, 404, 201, 201] == [answer.status for _, answer in await measure(behind)]
