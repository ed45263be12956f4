"""Balance monitors over HTTP: each crossing is one event, in order, whatever stops the process that records it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ledger.runtime import Runtime
from ledger.settings import Settings
from ledger.write.crossings import CrossingWatch, watch_balances
from tests.support.controls import NOBODY, Api
from tests.support.holds import Body, hold
from tests.support.processes import until

Serve = Callable[[Settings], Awaitable[Api]]


@pytest.fixture
async def unwatched(serve: Serve, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Api:
    """Return the API of a service that records no crossings."""

    async def wait(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("web.app.watch_balances", wait)
    return await serve(settings)


@pytest.fixture
async def accounts(unwatched: Api) -> tuple[Body, Body]:
    """Return two accounts, with 100 and with 0."""
    return await unwatched.new_account(balance_cents=100), await unwatched.new_account()


@asynccontextmanager
async def watching(runtime: Runtime, *tasks: Any) -> AsyncIterator[None]:
    """Record crossings during the block, in as many tasks as there are instances."""
    running = [asyncio.create_task(watch_balances(runtime.settings, runtime.committer)) for _ in tasks or (None,)]
    try:
        yield
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def watch(api: Api, account: Body, operator: str = "<", cents: int = 50, **members: Any) -> Body:
    body = {"account_id": account["id"], "condition": "balance_cents", "operator": operator, "amount_cents": cents}
    answer = await api.post("/v1/monitors", {**body, **members})
    assert 201 == answer.status, answer
    return dict(answer.body)


async def crossings(api: Api, monitor: Body) -> list[tuple[str, int]]:
    """Return the topic and the amount of each crossing."""
    events = (await api.get(f"/v1/events?stream={monitor['id']}")).body
    return [(event["topic"], event["state"]["found_cents"]) for event in events[1:]]


async def has_reached(api: Api, connection: Any) -> bool:
    """Return whether all events so far have been watched."""
    end = (await api.get("/v1/ledger/trial-balance")).body["position"]
    return bool(end == await connection.fetchval("SELECT position FROM followers WHERE name = 'crossings'"))


async def move(api: Api, accounts: tuple[Body, Body], *cents: int) -> None:
    """Move these amounts from the first account to the second, or back if negative."""
    for amount in cents:
        answer = await api.transfer(*(accounts if amount > 0 else accounts[::-1]), abs(amount))
        assert 200 == answer.status, answer


async def test_each_crossing_is_one_event(
    unwatched: Api, accounts: tuple[Body, Body], runtime: Runtime, connection: Any
) -> None:
    low, rich = await watch(unwatched, accounts[0]), await watch(unwatched, accounts[1], ">=", 60)
    await move(unwatched, accounts, 50, 1, 9, -20, 20)

    async with watching(runtime):
        await until(lambda: has_reached(unwatched, connection))
        assert [("MonitorTriggered", 49), ("MonitorReset", 60), ("MonitorTriggered", 40)] == await crossings(
            unwatched, low
        )
        assert [("MonitorTriggered", 60), ("MonitorReset", 40), ("MonitorTriggered", 60)] == await crossings(
            unwatched, rich
        )
        await move(unwatched, accounts, -10)
        await until(lambda: _is_triggered(unwatched, low, False))
    shown = (await unwatched.get(f"/v1/monitors/{low['id']}")).body
    assert {**low, "triggered": False, "found_cents": 50, "updated_at": shown["updated_at"]} == shown


async def _is_triggered(api: Api, monitor: Body, expected: bool) -> bool:
    return bool((await api.get(f"/v1/monitors/{monitor['id']}")).body["triggered"] is expected)


async def test_a_condition_that_is_met_at_the_beginning_gives_no_event(
    unwatched: Api, accounts: tuple[Body, Body], runtime: Runtime, connection: Any
) -> None:
    monitor = await watch(unwatched, accounts[0], ">", 10)
    assert monitor["triggered"]
    await move(unwatched, accounts, 1, 95)
    async with watching(runtime):
        await until(lambda: has_reached(unwatched, connection))
    assert [("MonitorReset", 4)] == await crossings(unwatched, monitor)


async def test_available_money_depends_on_holds_and_the_overdraft_limit(
    unwatched: Api, accounts: tuple[Body, Body], runtime: Runtime, connection: Any
) -> None:
    monitor = await watch(unwatched, accounts[0], condition="available_cents")
    held = await hold(unwatched, accounts, 70)
    patched = await unwatched.patch(f"/v1/accounts/{accounts[0]['id']}", {"overdraft_limit_cents": 30})
    assert 200 == patched.status
    assert 200 == (await unwatched.post(f"/v1/transactions/{held['id']}/capture")).status
    async with watching(runtime):
        await until(lambda: has_reached(unwatched, connection))
    assert [("MonitorTriggered", 30), ("MonitorReset", 60)] == (await crossings(unwatched, monitor))[:2]


async def test_no_crossing_is_recorded_twice_by_other_processes_or_after_a_restart(
    unwatched: Api, accounts: tuple[Body, Body], runtime: Runtime, connection: Any
) -> None:
    """A process that dies after a crossing is recorded, and before its position is, leaves the old position."""
    monitor = await watch(unwatched, accounts[0])
    for _ in range(3):
        await connection.execute("UPDATE followers SET position = 0 WHERE name = 'crossings'")
        async with watching(runtime, 1, 2):
            await move(unwatched, accounts, 60, -60)
            await until(lambda: has_reached(unwatched, connection))
    assert 3 * [("MonitorTriggered", 40), ("MonitorReset", 100)] == await crossings(unwatched, monitor)


async def test_leaders_at_the_same_time_record_each_crossing_once(
    unwatched: Api, accounts: tuple[Body, Body], runtime: Runtime, connection: Any
) -> None:
    """So it is if a process is paused, loses its connection, and goes on as if it still led."""
    monitor = await watch(unwatched, accounts[0])
    await move(unwatched, accounts, 60, -60, 70)
    followers = [CrossingWatch(runtime.committer).follower() for _ in range(3)]
    async with runtime.pool.acquire() as one, runtime.pool.acquire() as two:
        connections = (connection, one.connection, two.connection)
        steps = (follower.step(each, True) for follower, each in zip(followers, connections, strict=True))
        await asyncio.gather(*steps)
    assert [("MonitorTriggered", 40), ("MonitorReset", 100), ("MonitorTriggered", 30)] == await crossings(
        unwatched, monitor
    )


async def test_a_service_watches_by_itself(api: Api) -> None:
    accounts = await api.new_account(balance_cents=100), await api.new_account()
    monitor = await watch(api, accounts[0])
    await move(api, accounts, 60)
    await until(lambda: _is_triggered(api, monitor, True))


async def test_monitors_are_listed_and_deleted(unwatched: Api, accounts: tuple[Body, Body]) -> None:
    first, second = await watch(unwatched, accounts[0]), await watch(unwatched, accounts[1])
    assert [second, first] == (await unwatched.get("/v1/monitors")).body
    assert 200 == (await unwatched.delete(f"/v1/monitors/{first['id']}")).status
    assert [second] == (await unwatched.get("/v1/monitors")).body
    for answer in (
        await unwatched.get(f"/v1/monitors/{first['id']}"),
        await unwatched.delete(f"/v1/monitors/{first['id']}"),
        await unwatched.post(
            "/v1/monitors",
            {"account_id": NOBODY, "condition": "balance_cents", "operator": "<", "amount_cents": 1},
        ),
    ):
        assert (404, ["resource_not_found"]) == (answer.status, answer.codes)
    again = await unwatched.post("/v1/monitors", {**second, "id": first["id"]})
    assert (409, ["monitor_already_exists"]) == (again.status, again.codes)
