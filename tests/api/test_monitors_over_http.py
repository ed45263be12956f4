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


# Sums


async def watch_sum(api: Api, operator: str, cents: int, prefix: str = "users", currency: str = "USD") -> Body:
    of_sum = {"code_prefix": prefix, "currency": currency, "condition": "balance_cents"}
    answer = await api.post("/v1/monitors", {**of_sum, "operator": operator, "amount_cents": cents})
    assert 201 == answer.status, answer
    return dict(answer.body)


async def open_with_codes(api: Api, **balances: int) -> list[Body]:
    """Return accounts with these codes below `users`, and these balances."""
    return [await api.new_account(balance_cents=cents, code=f"Users:{code}") for code, cents in balances.items()]


async def test_a_sum_is_judged_between_transactions(unwatched: Api, runtime: Runtime, connection: Any) -> None:
    """A transfer inside of the sum, another currency and another code change nothing."""
    alice, bob = await open_with_codes(unwatched, alice=60, bob=50)
    shop = await unwatched.new_account(balance_cents=500, code="usersshop")
    monitor = await watch_sum(unwatched, "<", 100)
    assert not monitor["triggered"]
    await unwatched.new_account(balance_cents=7_000, code="users:euro", currency="EUR")
    await move(unwatched, (alice, bob), 60, -60, 60)
    await move(unwatched, (bob, shop), 11, -1, 1)

    async with watching(runtime):
        await until(lambda: has_reached(unwatched, connection))
        topics = ["MonitorTriggered", "MonitorReset", "MonitorTriggered"]
        assert [*zip(topics, (99, 100, 99), strict=True)] == await crossings(unwatched, monitor)
        await move(unwatched, (shop, alice), 401)
        await until(lambda: _is_triggered(unwatched, monitor, False))
    shown = (await unwatched.get(f"/v1/monitors/{monitor['id']}")).body
    assert (500, "users", "USD") == (shown["found_cents"], shown["code_prefix"], shown["currency"])


async def test_a_sum_that_meets_the_condition_at_the_beginning_crosses_it_there(
    unwatched: Api, runtime: Runtime, connection: Any
) -> None:
    accounts = await open_with_codes(unwatched, alice=60, bob=50)
    at_first = await watch_sum(unwatched, ">", 100)
    await move(unwatched, (accounts[0], await unwatched.new_account()), 20)
    later = await watch_sum(unwatched, ">=", 90, "USERS:")
    async with watching(runtime):
        await until(lambda: has_reached(unwatched, connection))
    assert [("MonitorTriggered", 110), ("MonitorReset", 90)] == await crossings(unwatched, at_first)
    assert [("MonitorTriggered", 90)] == await crossings(unwatched, later)
    event = (await unwatched.get(f"/v1/events?stream={later['id']}")).body[1]
    created = (await unwatched.get(f"/v1/events?stream={later['id']}")).body[0]
    assert created["position"] == event["state"]["seen_position"]


async def test_an_account_counts_as_long_as_its_code_is_one_of_the_sum(
    unwatched: Api, runtime: Runtime, connection: Any
) -> None:
    (alice,) = await open_with_codes(unwatched, alice=60)
    bob = await unwatched.new_account(balance_cents=50)
    monitor = await watch_sum(unwatched, ">", 100)
    for code in ("users:bob", "users:robert", "guests:bob", None, "users"):
        assert 200 == (await unwatched.patch(f"/v1/accounts/{bob['id']}", {"code": code})).status
    await move(unwatched, (alice, bob), 10)
    assert 200 == (await unwatched.patch(f"/v1/accounts/{alice['id']}", {"code": None})).status
    async with watching(runtime):
        await until(lambda: has_reached(unwatched, connection))
    topics = ["MonitorTriggered", "MonitorReset", "MonitorTriggered", "MonitorReset"]
    assert [*zip(topics, (110, 60, 110, 60), strict=True)] == await crossings(unwatched, monitor)


async def test_another_leader_and_another_reading_cross_nothing_twice(
    unwatched: Api, runtime: Runtime, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log is read a position at a time, by two leaders, from positions that are behind what is recorded."""
    monkeypatch.setattr("ledger.projections.code_sums.POSITIONS", 1)
    accounts = await open_with_codes(unwatched, alice=100)
    monitor = await watch_sum(unwatched, "<", 50)
    pair = accounts[0], await unwatched.new_account()
    expected: list[tuple[str, int]] = []
    for _ in range(3):
        await move(unwatched, pair, 60, -60)
        expected += [("MonitorTriggered", 40), ("MonitorReset", 100)]
        await connection.execute("UPDATE followers SET position = 0 WHERE name = 'crossings'")
        async with watching(runtime, 1, 2):
            await until(lambda: has_reached(unwatched, connection))
        assert expected == await crossings(unwatched, monitor)


async def test_a_monitor_watches_an_account_or_a_sum(unwatched: Api, accounts: tuple[Body, Body]) -> None:
    rest = {"condition": "balance_cents", "operator": "<", "amount_cents": 1}
    account, prefix, currency = {"account_id": accounts[0]["id"]}, {"code_prefix": "users"}, {"currency": "USD"}
    cases: list[tuple[Body, str]] = [
        (rest, "/account_id"),
        ({**rest, **prefix}, "/currency"),
        ({**rest, **account, **prefix}, "/code_prefix"),
        ({**rest, **account, **currency}, "/currency"),
        ({**rest, **prefix, "currency": "XXQ"}, "/currency"),
        ({**rest, **currency, "code_prefix": "::"}, "/code_prefix"),
        ({**rest, **prefix, **currency, "condition": "available_cents"}, "/condition"),
    ]
    for body, pointer in cases:
        answer = await unwatched.post("/v1/monitors", body)
        assert (422, [pointer]) == (answer.status, answer.pointers), body
