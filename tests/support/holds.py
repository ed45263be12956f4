"""Holds for tests over HTTP: placing, reading, and waiting until they are due."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.controls import Api, Response, transfer_body
from tests.support.processes import until

Body = dict[str, Any]


async def hold(api: Api, accounts: tuple[Body, Body], cents: int = 60, **members: Any) -> Body:
    answer = await api.post("/v1/transactions/hold", {**transfer_body(*accounts, cents), **members})
    assert answer.status == 200, answer
    return dict(answer.body)


async def funds(api: Api, account: Body) -> tuple[int, int, int]:
    body = (await api.get(f"/v1/accounts/{account['id']}")).body
    return body["balance_cents"], body["held_cents"], body["available_cents"]


async def read(api: Api, transaction: Body) -> Body:
    return dict((await api.get(f"/v1/transactions/{transaction['id']}")).body)


async def due(api: Api, accounts: tuple[Body, Body], cents: int = 60, **members: Any) -> Body:
    """Place a hold and wait until it is due."""
    *_, answer = await held_until_soon(api, {**transfer_body(*accounts, cents), **members})
    return dict(answer.body)


async def held_until_soon(api: Api, transfer: Body) -> tuple[Body, dict[str, str], Response]:
    """Place a hold that is now due; return its body, headers and response.

    A request that takes longer than the hold is refused, and the next one gets twice the time.
    """
    seconds = 0.2
    while True:
        soon = datetime.now(UTC) + timedelta(seconds=seconds)
        body, headers = {**transfer, "expires_at": soon.isoformat()}, {"Idempotency-Key": soon.isoformat()}
        answer = await api.post("/v1/transactions/hold", body, headers=headers)
        if answer.status == 200:
            await until(lambda soon=soon: datetime.now(UTC) > soon)
            return body, headers, answer
        assert (422, ["/expires_at"]) == (answer.status, answer.pointers)
        seconds *= 2
