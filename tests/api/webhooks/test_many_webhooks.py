"""Many webhooks read the log once, in bounded memory; those that are behind catch up in pages that they share."""

from collections import Counter
from typing import Any

import pytest

from ledger.publish.webhooks import cursors, engine, feed
from ledger.settings import Settings
from ledger.store import reader as event_reader
from tests.support.api_server import serve_once
from tests.support.controls import Api, transfer_body
from tests.support.processes import until
from tests.support.receiver import Receiver
from tests.support.webhooks import Body, create, move, progress

Accounts = tuple[Body, Body]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """Return how often each stretch of the log was read, by the position before it."""
    counted: Counter[int] = Counter()
    read_range = event_reader.read_range

    async def count(reader: Any, after: int, upto: int, limit: int) -> Any:
        counted[after] += 1
        return await read_range(reader, after, upto, limit)

    monkeypatch.setattr(feed, "read_range", count)
    return counted


async def move_many(api: Api, accounts: Accounts, count: int) -> None:
    items = [transfer_body(*accounts, 1) for _ in range(count)]
    answer = await api.post("/v1/transactions/batch", {"atomic": True, "items": items})
    assert 200 == answer.status, answer


async def test_webhooks_at_the_end_share_each_read(
    api: Api, receiver: Receiver, accounts: Accounts, reads: Counter[int]
) -> None:
    for number in range(50):
        await create(api, receiver, f"/{number}")
    reads.clear()
    moved = await move(api, accounts, *range(1, 11))
    await until(lambda: len(receiver.received) == 500)
    for number in range(50):
        assert moved == receiver.positions(f"/{number}")
    assert {1} == {*reads.values()}


async def test_webhooks_that_are_behind_share_pages(
    monkeypatch: pytest.MonkeyPatch, api: Api, receiver: Receiver, accounts: Accounts, reads: Counter[int]
) -> None:
    monkeypatch.setattr(feed, "PAGE", 20)
    await move_many(api, accounts, 40)
    for number in range(10):
        await create(api, receiver, f"/{number}", from_position=1)
    await until(lambda: len(receiver.received) == 410)
    for number in range(10):
        positions = receiver.positions(f"/{number}")
        assert 41 == len(positions)
        assert sorted(positions) == positions
    assert {1} == {*reads.values()}


async def test_a_webhook_that_is_slower_than_memory_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, api: Api, receiver: Receiver, accounts: Accounts
) -> None:
    monkeypatch.setattr(feed, "PAGE", 7)
    monkeypatch.setattr(feed, "KEPT_EVENTS", 5)
    monkeypatch.setattr(feed, "KEPT_PAGES", 2)
    for order in ("webhook", "account"):
        await create(api, receiver, f"/{order}", order=order)
    for count in (30, 1, 20, 9):
        await move_many(api, accounts, count)
    await until(lambda: len(receiver.received) == 120)
    for order in ("webhook", "account"):
        positions = receiver.positions(f"/{order}")
        assert 60 == len({*positions})
        assert sorted(positions) == positions


async def test_what_a_webhook_does_not_send_moves_its_cursor(
    monkeypatch: pytest.MonkeyPatch, api: Api, receiver: Receiver, accounts: Accounts
) -> None:
    monkeypatch.setattr(engine, "SAVE_SECONDS", 0.0)
    webhook = await create(api, receiver, topics=["PeriodClosed"])
    await move(api, accounts, 1, 2, 3)

    async def is_at_the_end() -> bool:
        found = await progress(api, webhook)
        return bool(found["position"] == found["log_end"])

    await until(is_at_the_end)
    assert [] == receiver.received


async def test_as_many_deliveries_are_kept_as_are_shown(
    monkeypatch: pytest.MonkeyPatch, api: Api, receiver: Receiver, accounts: Accounts, connection: Any
) -> None:
    monkeypatch.setattr(cursors, "KEPT_DELIVERIES", 10)
    monkeypatch.setattr("ledger.publish.webhooks.journal.PRUNE_EVERY", 5)
    webhook = await create(api, receiver)
    await move_many(api, accounts, 60)

    async def is_pruned() -> bool:
        rows = await connection.fetch("SELECT position FROM webhook_deliveries WHERE webhook_id = $1", webhook["id"])
        listed = {row[0] for row in rows}
        return len(receiver.received) == 60 and receiver.positions()[-1] in listed and 10 <= len(listed) < 15

    await until(is_pruned)
    path = f"/v1/webhooks/{webhook['id']}/deliveries"
    page = await api.get(f"{path}?limit=4")
    assert 4 == len(page.body)
    following = page.headers["Link"].partition("<")[2].partition(">")[0]
    earlier = (await api.get(following)).body
    assert page.body[-1]["sent_at"] >= earlier[0]["sent_at"]
    assert {one["id"] for one in page.body}.isdisjoint(one["id"] for one in earlier)


async def test_a_leader_that_loses_its_connection_skips_nothing(
    settings: Settings, receiver: Receiver, connection: Any
) -> None:
    """A leader that loses its connection starts again from its cursors."""
    async with serve_once(settings) as api:
        accounts = await api.new_account(balance_cents=1000), await api.new_account()
        await create(api, receiver)
        moved = await move(api, accounts, 1)
        await until(lambda: receiver.received)
        for cents in (2, 3, 4):
            await connection.execute(
                """SELECT pg_terminate_backend(pid) FROM pg_locks
                   WHERE locktype = 'advisory' AND classid = 'followers'::regclass AND database = (
                       SELECT oid FROM pg_database WHERE datname = current_database())"""
            )
            moved += await move(api, accounts, cents)
            await until(lambda wanted={*moved}: wanted == {*receiver.positions()})
    assert moved == [*dict.fromkeys(receiver.positions())]
