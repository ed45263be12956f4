"""Retries: endpoints that are dead delay no other, a clock that is set back stops none, and nothing leaves unsigned."""

import asyncio
from typing import Any

import pytest
from aiohttp import web

from ledger.publish.webhooks import courier, cursors, engine, sender
from ledger.settings import Settings
from tests.support.api_server import serve_once
from tests.support.controls import Api
from tests.support.processes import until
from tests.support.receiver import Received, Receiver, SetClock, receive
from tests.support.webhooks import Body, create, deliveries, move

Accounts = tuple[Body, Body]
HOUR = 3600


@pytest.mark.parametrize("early", [0, 3])
async def test_an_endpoint_with_many_failing_accounts_leaves_retries_to_others(
    monkeypatch: pytest.MonkeyPatch,
    set_clock: SetClock,
    settings: Settings,
    receiver: Receiver,
    early: int,
) -> None:
    """Either because the other endpoint has failed only once, or because one webhook has few of them."""
    monkeypatch.setattr(engine, "RETRIES_AT_ONCE", 2)
    monkeypatch.setattr(sender, "TIMEOUT_SECONDS", HOUR)
    monkeypatch.setattr(courier, "EARLY_FAILURES", early)
    monkeypatch.setattr(courier, "RETRIES_AT_ONCE", 2 if early else 1)
    done = asyncio.Event()

    async def hang(_: Received) -> web.StreamResponse:
        await done.wait()
        return web.Response(status=500)

    async with receive() as dead, serve_once(settings) as api:
        dead.answer = lambda _: 500
        accounts = await api.new_account(balance_cents=100), await api.new_account()
        pairs = [(await api.new_account(balance_cents=9), await api.new_account()) for _ in range(4)]
        await create(api, dead, order="account")
        for pair in pairs:
            await move(api, pair, 1)
        for attempt in range(1, early + 1):
            await until(lambda count=4 * attempt: len(dead.received) == count and len(set_clock.awaited) == 4)
            set_clock.forward(HOUR)
        attempts = 4 * (early + 1)
        await until(lambda: len(dead.received) == attempts and len(set_clock.awaited) == 4)
        await create(api, receiver)
        receiver.answer = lambda _: 500
        moved = await move(api, accounts, 2)
        await until(lambda: len(receiver.received) == 1 and len(set_clock.awaited) >= 5)
        dead.answer = hang
        receiver.answer = lambda _: 204
        set_clock.forward(HOUR)
        await until(lambda: len(receiver.received) == 2)
        assert 2 * moved == receiver.positions()
        done.set()


async def test_a_clock_that_is_set_back_delays_no_retry(
    set_clock: SetClock, settings: Settings, receiver: Receiver
) -> None:
    set_clock.forward(10_000 * HOUR)
    receiver.answer = lambda _: 500
    async with serve_once(settings) as api:
        accounts = await api.new_account(balance_cents=100), await api.new_account()
        webhook = await create(api, receiver)
        moved = await move(api, accounts, 1)
        await until(lambda: set_clock.awaited)
        await until(lambda: _is_listed(api, webhook, 1))
    set_clock.forward(-10_000 * HOUR)
    receiver.answer = lambda _: 204
    receiver.received.clear()
    async with serve_once(settings):
        await until(lambda: set_clock.awaited)
        set_clock.forward(HOUR)
        await until(lambda: receiver.received)
    assert moved == receiver.positions()


async def test_nothing_is_sent_without_a_signature(
    set_clock: SetClock, api: Api, receiver: Receiver, accounts: Accounts, connection: Any
) -> None:
    webhook = await create(api, receiver)
    kept = await connection.fetch("DELETE FROM webhook_secrets RETURNING webhook_id, id, secret")
    path = f"/v1/webhooks/{webhook['id']}"
    assert 200 == (await api.patch(path, {"description": "read again"})).status
    moved = await move(api, accounts, 1)
    await until(lambda: _is_listed(api, webhook, 1))
    reason = "nothing was sent: the secret that signs cannot be read"
    assert (None, reason) == (
        (await deliveries(api, webhook))[0]["status"],
        (await deliveries(api, webhook))[0]["error"],
    )
    assert reason == (await api.post(f"{path}/test")).body["error"]
    assert [] == receiver.received

    await connection.executemany("INSERT INTO webhook_secrets VALUES ($1, $2, $3)", [tuple(row) for row in kept])
    assert 200 == (await api.patch(path, {"description": "read once more"})).status
    await until(lambda: set_clock.awaited)
    set_clock.forward(10)
    (one,) = await until(lambda: receiver.received)
    one.verify(webhook["secret"])
    assert moved == [one.position]


async def _is_listed(api: Api, webhook: Body, count: int) -> bool:
    return len(await deliveries(api, webhook)) >= count


async def test_deliveries_of_an_earlier_process_are_pruned(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, receiver: Receiver, connection: Any
) -> None:
    """However few there are in each process."""
    monkeypatch.setattr(cursors, "KEPT_DELIVERIES", 3)

    async def count() -> int:
        return int(await connection.fetchval("SELECT count(*) FROM webhook_deliveries"))

    async with serve_once(settings) as api:
        accounts = await api.new_account(balance_cents=100), await api.new_account()
        await create(api, receiver)
        await move(api, accounts, 1)
        await until(count)
        await move(api, accounts, 2, 3, 4, 5, 6)

        async def are_written() -> bool:
            return await count() >= 6

        await until(are_written)
    async with serve_once(settings) as api:
        await move(api, accounts, 7)

        async def are_pruned() -> bool:
            return await count() == 3

        await until(are_pruned)
