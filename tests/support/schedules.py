"""Scheduled transactions for tests over HTTP: making them, and waiting until they are due."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.controls import Api, transfer_body
from tests.support.holds import Body
from tests.support.processes import until


def in_seconds(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


async def schedule(api: Api, accounts: tuple[Body, Body], cents: int = 60, **members: Any) -> Body:
    body = {**transfer_body(*accounts, cents), "execute_at": in_seconds(3600), **members}
    answer = await api.post("/v1/transactions/transfer", body)
    assert answer.status == 200, answer
    return dict(answer.body)


async def schedule_soon(api: Api, accounts: tuple[Body, Body], cents: int = 60, **members: Any) -> Body:
    """Schedule a transfer that is due soon."""
    return await post_soon(api, "/transfer", {**transfer_body(*accounts, cents), **members})


async def post_soon(api: Api, path: str, body: Body) -> Body:
    """Schedule a transaction that is due soon. A request that takes longer is refused, and gets twice the time."""
    seconds = 0.5
    while True:
        answer = await api.post(f"/v1/transactions{path}", {**body, "execute_at": in_seconds(seconds)})
        if answer.status == 200:
            return dict(answer.body)
        assert (422, ["/execute_at"]) == (answer.status, answer.pointers)
        seconds *= 2


async def until_due(body: Body) -> None:
    await until(lambda: datetime.now(UTC) > datetime.fromisoformat(body["execute_at"]))
