"""Scheduled transactions over HTTP: they are posted, fail or are cancelled, and move no money before their time."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ledger.runtime import Runtime
from ledger.settings import Settings
from ledger.write.scheduler import Scheduler
from tests.support.controls import Api, transfer_body
from tests.support.holds import Body, funds, read
from tests.support.processes import until

Serve = Callable[[Settings], Awaitable[Api]]


def in_seconds(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


@pytest.fixture
async def idle(serve: Serve, settings: Settings) -> Api:
    """Return the API of a service that executes nothing by itself."""
    return await serve(settings.model_copy(update={"ledger_schedule_seconds": 3600}))


@pytest.fixture
async def accounts(idle: Api) -> tuple[Body, Body]:
    """Return two accounts, with 100 and with 0."""
    return await idle.new_account(balance_cents=100), await idle.new_account()


async def schedule(api: Api, accounts: tuple[Body, Body], cents: int = 60, **members: Any) -> Body:
    body = {**transfer_body(*accounts, cents), "execute_at": in_seconds(3600), **members}
    answer = await api.post("/v1/transactions/transfer", body)
    assert answer.status == 200, answer
    return dict(answer.body)


async def test_a_transfer_is_scheduled_and_moves_no_money(idle: Api, accounts: tuple[Body, Body]) -> None:
    body = await schedule(idle, accounts, 1000, reference="rent", description="for May", metadata={"to": "Bob"})

    assert ("transfer", "scheduled", 1000, "rent") == tuple(
        body[name] for name in ("kind", "status", "amount_cents", "reference")
    )
    assert {"description": "for May", "metadata": {"to": "Bob"}}.items() <= body.items()
    assert body == await read(idle, body)
    assert (100, 0, 100) == await funds(idle, accounts[0])
    assert [] == (await idle.get(f"/v1/accounts/{accounts[1]['id']}/entries")).body


async def test_a_due_transfer_is_posted(idle: Api, accounts: tuple[Body, Body], runtime: Runtime) -> None:
    body = await schedule_soon(idle, accounts, 60, reference="rent")
    scheduler = Scheduler(runtime.pool, runtime.committer)
    await until_due(body)

    assert [1, 0] == [await scheduler.execute() for _ in range(2)]

    posted = await read(idle, body)
    assert body | {"status": "posted", "settled_at": posted["settled_at"]} == posted
    assert body["created_at"] < body["execute_at"] <= posted["settled_at"]
    assert (40, 60) == (await idle.balance(accounts[0]), await idle.balance(accounts[1]))
    (entry,) = (await idle.get(f"/v1/accounts/{accounts[1]['id']}/entries")).body
    assert (60, 60, posted["settled_at"], "rent") == tuple(
        entry[name] for name in ("amount_cents", "balance_cents", "created_at", "reference")
    )
    reversal = await idle.post(f"/v1/transactions/{body['id']}/reverse")
    assert (200, body["id"]) == (reversal.status, reversal.body["reverses"])


async def schedule_soon(api: Api, accounts: tuple[Body, Body], cents: int = 60, **members: Any) -> Body:
    """Schedule a transfer that is due soon; a request that takes longer is refused, and gets twice the time."""
    seconds = 0.2
    while True:
        body = {**transfer_body(*accounts, cents), "execute_at": in_seconds(seconds), **members}
        answer = await api.post("/v1/transactions/transfer", body)
        if answer.status == 200:
            return dict(answer.body)
        assert (422, ["/execute_at"]) == (answer.status, answer.pointers)
        seconds *= 2


async def until_due(body: Body) -> None:
    await until(lambda: datetime.now(UTC) > datetime.fromisoformat(body["execute_at"]))


async def test_a_due_transfer_without_funds_fails(idle: Api, accounts: tuple[Body, Body], runtime: Runtime) -> None:
    body = await schedule_soon(idle, accounts, 101, reference="too much")
    await until_due(body)

    assert 1 == await Scheduler(runtime.pool, runtime.committer).execute()

    failed = await read(idle, body)
    codes = ["transfer_insufficient_funds"]
    assert body | {"status": "failed", "failure_codes": codes, "settled_at": failed["settled_at"]} == failed
    assert (100, 0, 100) == await funds(idle, accounts[0])
    again = await idle.post("/v1/transactions/transfer", {**transfer_body(*accounts, 1), "reference": "too much"})
    assert 200 == again.status


async def test_a_scheduled_transfer_is_cancelled(idle: Api, accounts: tuple[Body, Body], runtime: Runtime) -> None:
    body = await schedule_soon(idle, accounts, reference="rent")

    answer = await idle.post(f"/v1/transactions/{body['id']}/void", headers={"Idempotency-Key": "cancel-1"})
    assert (200, "voided") == (answer.status, answer.body["status"])
    assert answer.body == await read(idle, body)
    replay = await idle.post(f"/v1/transactions/{body['id']}/void", headers={"Idempotency-Key": "cancel-1"})
    assert (answer.body, "true") == (replay.body, replay.headers["Idempotent-Replayed"])
    again = await idle.post(f"/v1/transactions/{body['id']}/void")
    assert (409, ["transaction_not_scheduled"]) == (again.status, again.codes)
    await until_due(body)
    assert 0 == await Scheduler(runtime.pool, runtime.committer).execute()
    assert (100, 0, 100) == await funds(idle, accounts[0])
    reused = await idle.post("/v1/transactions/transfer", {**transfer_body(*accounts, 1), "reference": "rent"})
    assert 200 == reused.status
