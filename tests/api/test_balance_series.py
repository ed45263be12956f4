"""`GET /v1/accounts/{id}/balance-series`: a step line of true balances, without the loss of an extreme."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ledger.audit import balance_series
from tests.support.controls import Api
from tests.support.holds import hold

Body = dict[str, Any]


@pytest.fixture
async def accounts(api: Api) -> tuple[Body, Body]:
    """Return two accounts; the first has 40 entries, of which one is by far the highest and one the lowest."""
    one, other = await api.new_account(balance_cents=1000), await api.new_account(balance_cents=1000)
    for number in range(38):
        cents = {11: 900, 12: 1800, 29: 950}.get(number, 1)
        pair = (one, other) if number % 2 else (other, one)
        answer = await api.transfer(*pair, cents if number != 12 else 900)
        assert 200 == answer.status, answer
    return one, other


async def series(api: Api, account: Body, query: str = "") -> Body:
    answer = await api.get(f"/v1/accounts/{account['id']}/balance-series{query}")
    assert 200 == answer.status, answer
    return dict(answer.body)


async def steps(api: Api, account: Body) -> list[tuple[int, int]]:
    entries = (await api.get(f"/v1/accounts/{account['id']}/entries?order=asc")).body
    return [(entry["position"], entry["balance_cents"]) for entry in entries]


def pairs(found: Body) -> list[tuple[int, int]]:
    return [(point["position"], point["balance_cents"]) for point in found["points"]]


async def test_a_short_history_has_a_point_for_each_entry(api: Api, accounts: tuple[Body, Body]) -> None:
    found = await series(api, accounts[0])

    assert 0 == found["points"][0]["balance_cents"]
    assert await steps(api, accounts[0]) == pairs(found)[1:]
    assert found["complete"]
    assert accounts[0]["created_at"] == found["points"][0]["at"]


async def test_a_long_history_keeps_its_extremes_and_its_end(api: Api, accounts: tuple[Body, Body]) -> None:
    every = await steps(api, accounts[0])
    found = await series(api, accounts[0], "?points=10")
    points = pairs(found)

    assert len(points) <= 10
    assert set(points[1:]) <= set(every)
    balances = [balance for _, balance in every]
    assert {min(balances), max(balances)} <= {balance for _, balance in points}
    assert every[-1] == points[-1]
    assert points == sorted(points)
    assert found["complete"]


async def test_what_is_held_is_exact_at_each_point(api: Api, accounts: tuple[Body, Body]) -> None:
    placed = await hold(api, accounts, 30)
    await api.transfer(*accounts, 1)
    await api.post(f"/v1/transactions/{placed['id']}/capture", {"amount_cents": 10})
    for query in ("", "?points=10"):
        found = (await series(api, accounts[0], query))["points"]
        assert {0, 30} == {point["held_cents"] for point in found}
        for point in found[1:]:
            then = await api.get(f"/v1/accounts/{accounts[0]['id']}?at_position={point['position']}")
            assert (then.body["balance_cents"], then.body["held_cents"]) == (
                point["balance_cents"],
                point["held_cents"],
            )


async def test_a_period_begins_with_the_balance_at_its_beginning(api: Api, accounts: tuple[Body, Body]) -> None:
    entries = (await api.get(f"/v1/accounts/{accounts[0]['id']}/entries?order=asc")).body
    begin, end = entries[10]["created_at"], entries[20]["created_at"]
    just_after = (datetime.fromisoformat(begin) + timedelta(microseconds=1)).isoformat().replace("+00:00", "Z")
    found = (await series(api, accounts[0], f"?from={just_after}&to={end}"))["points"]

    assert just_after == found[0]["at"]
    assert [entry["balance_cents"] for entry in entries[10:21]] == [point["balance_cents"] for point in found]


async def test_a_period_before_the_account_has_no_points(api: Api, accounts: tuple[Body, Body]) -> None:
    assert [] == (await series(api, accounts[0], "?to=2020-01-01"))["points"]
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date()
    later = (await series(api, accounts[0], f"?from={tomorrow}"))["points"]
    assert [(await steps(api, accounts[0]))[-1][1]] == [point["balance_cents"] for point in later]


async def test_a_point_in_time_ends_the_line(api: Api, accounts: tuple[Body, Body]) -> None:
    every = await steps(api, accounts[0])
    found = await series(api, accounts[0], f"?at_position={every[5][0]}")

    assert every[:6] == pairs(found)[1:]
    assert every[5][0] == found["position"]


async def test_owners_see_the_line_of_their_time_only(api: Api, accounts: tuple[Body, Body]) -> None:
    before, after = await api.as_new_user("customer"), await api.as_new_user("customer")
    account = await api.new_account(before.user_id, balance_cents=100)
    await api.transfer(account, accounts[1], 30)
    moved = await api.put(f"/v1/accounts/{account['id']}", {"user_id": after.user_id})
    assert 200 == moved.status, moved
    await api.transfer(account, accounts[1], 50)

    assert [0, 100, 70] == [point["balance_cents"] for point in (await series(before, account))["points"]]
    assert [70, 20] == [point["balance_cents"] for point in (await series(after, account))["points"]]
    assert 404 == (await after.get(f"/v1/accounts/{accounts[0]['id']}/balance-series")).status


async def test_a_very_long_history_is_sampled(
    api: Api, accounts: tuple[Body, Body], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(balance_series, "MAX_SCANNED", 20)
    every = await steps(api, accounts[0])
    found = await series(api, accounts[0], "?points=10")

    assert not found["complete"]
    assert set(pairs(found)[1:]) <= set(every)
    assert every[-1] == pairs(found)[-1]
    assert 10 == len(found["points"])


@pytest.mark.parametrize("query", ["points=9", "points=1001", "points=x", "from=never", "at_version=3"])
async def test_what_cannot_be_is_refused(api: Api, accounts: tuple[Body, Body], query: str) -> None:
    assert 422 == (await api.get(f"/v1/accounts/{accounts[0]['id']}/balance-series?{query}")).status
