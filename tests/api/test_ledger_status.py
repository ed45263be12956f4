"""`GET /v1/ledger/status`: each number is computed from what is stored, and reading it costs little."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ledger.concurrency.cached import Cached
from ledger.settings import Settings
from ledger.store import activity
from ledger.store.activity import MINUTES, Activity
from tests.support.controls import Api, Serve
from tests.support.holds import due, hold
from tests.support.processes import until
from web.handlers import ledger_status


@pytest.fixture
async def fresh(serve: Serve, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Api:
    """Return the API of a service that reads the status for each request, and records no expiry."""
    monkeypatch.setattr(ledger_status, "KEPT_SECONDS", 0.0)
    monkeypatch.setattr("ledger.concurrency.cached.REST", 0)
    return await serve(settings.model_copy(update={"ledger_expiry_seconds": 3600.0}))


async def status(api: Api) -> dict[str, Any]:
    answer = await api.get("/v1/ledger/status")
    assert 200 == answer.status, answer
    return dict(answer.body)


async def test_the_end_of_the_log_and_its_beginning_have_their_times(fresh: Api) -> None:
    await fresh.new_account(balance_cents=5)
    found = await status(fresh)
    events = (await fresh.get("/v1/events")).body

    assert (1, found["position"]) == (events[0]["position"], events[-1]["position"])
    assert (events[0]["recorded_at"], events[-1]["recorded_at"]) == (found["first_recorded_at"], found["recorded_at"])
    assert 1 == found["first_position"]
    age = datetime.now(UTC) - datetime.fromisoformat(found["read_at"])
    assert timedelta(seconds=-5) < age < timedelta(minutes=1)


async def test_the_sums_are_those_of_the_balances(fresh: Api, connection: Any) -> None:
    one, _ = await fresh.new_account(balance_cents=70), await fresh.new_account(balance_cents=30, currency="EUR")
    found = await status(fresh)

    assert found["balanced"]
    assert (await fresh.get("/v1/ledger/trial-balance")).body["currencies"] == found["currencies"]
    assert [("EUR", 30, 30), ("USD", 70, 70)] == [
        (row["currency"], row["debit_cents"], row["credit_cents"]) for row in found["currencies"]
    ]
    await connection.execute("UPDATE accounts SET balance_cents = 71 WHERE id = $1", one["id"])
    broken = await status(fresh)
    assert not broken["balanced"]
    assert [0, 1] == [row["sum_cents"] for row in broken["currencies"]]


async def test_movements_of_money_are_counted_in_their_minute(fresh: Api) -> None:
    source, destination = await fresh.new_account(balance_cents=100), await fresh.new_account()
    before = sum((await status(fresh))["activity"]["per_minute"])
    for _ in range(3):
        await fresh.transfer(source, destination, 1)
    placed = await hold(fresh, (source, destination), 10)
    await fresh.post(f"/v1/transactions/{placed['id']}/capture", {})
    found = (await status(fresh))["activity"]

    assert 4 == sum(found["per_minute"]) - before  # a hold moves nothing, its capture does
    assert 60 == len(found["per_minute"])
    since = datetime.fromisoformat(found["since"])
    assert 0 == since.second
    assert timedelta(minutes=59) <= datetime.now(UTC) - since < timedelta(minutes=62)


async def test_a_call_counts_a_bounded_number_of_events(
    api: Api, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, destination = await api.new_account(balance_cents=100), await api.new_account()
    for _ in range(20):
        await api.transfer(source, destination, 1)
    expected = sum(filter(None, (await Activity().read(connection))[1]))
    monkeypatch.setattr(activity, "MAX_EVENTS", 7)
    slow = Activity()

    _, first = await slow.read(connection)
    assert None in first
    while None in (counts := (await slow.read(connection))[1]):
        assert MINUTES == len(counts)
    assert expected == sum(filter(None, counts)) == 21  # with the opening balance


async def test_a_minute_that_is_over_is_not_counted_again(api: Api, connection: Any) -> None:
    await api.new_account(balance_cents=100)
    counted = Activity()
    await counted.read(connection)
    minutes = counted._minutes  # noqa: SLF001 - what it remembers

    assert all(one.is_over for minute, one in minutes.items() if minute < max(minutes) - timedelta(minutes=1))
    assert not minutes[max(minutes)].is_over
    assert 0 == sum(one.left for one in minutes.values())


async def test_holds_are_counted_by_age(fresh: Api) -> None:
    accounts = await fresh.new_account(balance_cents=100), await fresh.new_account()
    await hold(fresh, accounts, 10)
    await hold(fresh, accounts, 10)
    await due(fresh, accounts, 10)
    found = (await status(fresh))["holds"]

    assert (2, 1, True) == (found["pending"], found["overdue"], found["complete"])
    assert [2, 0, 0, 0, 0] == [bucket["holds"] for bucket in found["pending_by_age"]]
    assert [1, 0, 0, 0] == [bucket["holds"] for bucket in found["overdue_by_delay"]]
    assert [60, 3600, 86_400, None] == [bucket["below_seconds"] for bucket in found["overdue_by_delay"]]


async def test_without_a_key_nothing_is_sealed(fresh: Api) -> None:
    found = await status(fresh)

    assert (False, False, None, 0) == tuple(
        found["seals"][name] for name in ("enabled", "anchored", "block", "sealed_position")
    )
    assert found["position"] == found["seals"]["unsealed_events"]
    assert found["first_recorded_at"] == found["seals"]["oldest_unsealed_at"]


async def test_the_last_block_and_what_follows_it_are_shown(fresh: Api, sealed: Any) -> None:
    found = (await status(fresh))["seals"]

    block = await sealed.connection.fetchrow("SELECT number, last_position FROM seals ORDER BY number DESC LIMIT 1")
    assert tuple(block) == (found["block"], found["sealed_position"])
    assert found["sealed_at"] is not None


async def test_the_followers_are_shown_with_their_lag(fresh: Api, connection: Any) -> None:
    await connection.execute("UPDATE followers SET stopped = true, error = 'broken' WHERE name = 'seals'")

    async def is_shown() -> bool:
        found = await status(fresh)
        seals = next(one for one in found["followers"] if one["name"] == "seals")
        return bool(
            ("stopped", "broken") == (seals["state"], seals["error"])
            and seals["lag_events"] == found["position"] - seals["position"]
            and found["seals"]["stopped"]
        )

    await until(is_shown)


async def test_concurrent_callers_share_a_read_and_later_ones_its_value() -> None:
    reads: list[int] = []

    async def read() -> int:
        await asyncio.sleep(0)
        reads.append(len(reads))
        return reads[-1]

    cached = Cached(read, seconds=60)

    assert [0, 0, 0] == await asyncio.gather(*(cached.get() for _ in range(3)))
    assert 0 == await cached.get()


async def test_what_was_kept_is_read_again_for_a_later_position(api: Api) -> None:
    before = (await status(api))["position"]
    await api.new_account(balance_cents=5)
    now = (await api.get("/v1/ledger/trial-balance")).body["position"]

    assert now > before
    answer = await api.get(f"/v1/ledger/status?min_position={now}")
    assert answer.body["position"] >= now


async def test_an_error_is_not_kept() -> None:
    outcomes: Iterator[int | Exception] = iter([ValueError("away"), 5])

    async def read() -> int:
        found = next(outcomes)
        if isinstance(found, Exception):
            raise found
        return found

    cached = Cached(read, seconds=60)

    with pytest.raises(ValueError, match="away"):
        await cached.get()
    assert 5 == await cached.get()
