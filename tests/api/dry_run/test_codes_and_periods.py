"""Dry runs on a past state name accounts by the codes of then, and close periods with the sums of then."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ledger.write import dry_run
from tests.support.controls import Api, Response, transfer_body
from web.handlers.batch_stream import LINGER_SECONDS

DRY = {"dry_run": "true"}
TRANSFER, BATCH, CLOSE = "/v1/transactions/transfer", "/v1/transactions/batch", "/v1/periods/close"
MARCH, THROUGH = "2026-03-15", {"through": "2026-03-31"}


@pytest.fixture(params=[0, dry_run.MAX_CHANGES], ids=["many changes since", "few changes since"])
def _changes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dry_run, "MAX_CHANGES", request.param)


def at(position: int) -> dict[str, str]:
    return {**DRY, "at_position": str(position)}


async def log_end(api: Api) -> int:
    return int((await api.get("/v1/ledger/trial-balance")).body["position"])


def from_till(account: dict[str, Any], cents: int) -> dict[str, Any]:
    return transfer_body({"id": "till"}, account, cents)


@pytest.mark.usefixtures("_changes")
async def test_a_code_is_that_of_the_account_that_had_it_then(api: Api) -> None:
    first, second, other = [await api.new_account(balance_cents=cents) for cents in (100, 10, 0)]
    nobody = await log_end(api)
    await api.patch(f"/v1/accounts/{first['id']}", {"code": "Till", "name": "The first"})
    then = await log_end(api)
    await api.transfer(first, other, 100)
    await api.patch(f"/v1/accounts/{first['id']}", {"code": None})
    await api.patch(f"/v1/accounts/{second['id']}", {"code": "till"})

    tried = [await api.post(TRANSFER, from_till(other, 90), params=params) for params in (at(nobody), at(then), DRY)]
    assert [422, 200, 422] == [one.status for one in tried]
    assert {"source_account_id": "till"} == tried[0].body["errors"][0]["detail"]
    assert first["id"] == tried[1].body["source_account_id"]
    assert ["transfer_insufficient_funds"] == tried[2].codes

    changed = [
        await api.patch("/v1/accounts/till", {"name": "Mine"}, params=params) for params in (at(nobody), at(then), DRY)
    ]
    assert [404, 200, 200] == [one.status for one in changed]
    assert (first["id"], 100, "Till", "Mine") == tuple(
        changed[1].body[name] for name in ("id", "balance_cents", "code", "name")
    )
    assert second["id"] == changed[2].body["id"]


@pytest.mark.usefixtures("_changes")
async def test_a_code_that_was_free_then_can_be_tried(api: Api) -> None:
    first, second = [await api.new_account() for _ in range(2)]
    then = await log_end(api)
    await api.patch(f"/v1/accounts/{first['id']}", {"code": "till"})
    path = f"/v1/accounts/{second['id']}"

    free, taken = [await api.patch(path, {"code": "TILL"}, params=params) for params in (at(then), DRY)]

    assert (200, "TILL") == (free.status, free.body["code"])
    assert ["account_already_exists"] == taken.codes


@pytest.mark.usefixtures("_changes")
async def test_lines_that_name_an_account_by_id_and_by_code_see_each_others_effects(api: Api) -> None:
    till, other = await api.new_account(balance_cents=100, code="till"), await api.new_account()
    then = await log_end(api)
    await api.transfer(till, other, 100)
    items = [transfer_body(till, other, 40), from_till(other, 60), from_till(other, 1), transfer_body(till, other, 1)]

    async def send_one_by_one() -> AsyncIterator[bytes]:
        for item in items:
            yield json.dumps(item).encode() + b"\n"
            await asyncio.sleep(2 * LINGER_SECONDS)

    stream = await api.post(
        BATCH, data=send_one_by_one(), headers={"Content-Type": "application/jsonl"}, params=at(then)
    )
    batch = await api.post(BATCH, {"atomic": False, "items": items}, params=at(then))

    expected = [200, 200, 422, 422]
    assert expected == [json.loads(line)["status"] for line in stream.body.splitlines()]
    assert expected == [result["status"] for result in batch.body["results"]]


@pytest.mark.usefixtures("_changes")
async def test_a_period_is_closed_with_the_sums_of_then(api: Api) -> None:
    alice, bob = await api.new_account(balance_cents=100), await api.new_account()
    for cents in (30, 4):
        await api.post(TRANSFER, {**transfer_body(alice, bob, cents), "effective_at": MARCH})
    then = await log_end(api)
    known = await sums(api, then)
    await api.post(TRANSFER, {**transfer_body(alice, bob, 7), "effective_at": MARCH})
    await api.transfer(bob, alice, 1)

    closed = [await api.post(CLOSE, THROUGH, params=params) for params in (at(then), DRY)]

    assert [200, 200] == [one.status for one in closed]
    assert [34, 41] == [one.body["currencies"][0]["credit_cents"] for one in closed]
    assert known == closed[0].body["currencies"]
    assert [] == (await api.get("/v1/periods")).body


async def sums(api: Api, position: int) -> Any:
    params = {"effective_at": THROUGH["through"], "at_position": str(position)}
    return (await api.get("/v1/ledger/trial-balance", params=params)).body["currencies"]


async def test_a_closed_period_stops_what_is_tried_from_then_on(api: Api) -> None:
    alice, bob = await api.new_account(balance_cents=100), await api.new_account()
    dated = {"effective_at": MARCH}
    body = {**transfer_body(alice, bob, 1), **dated}
    paid = await api.post(TRANSFER, body)
    before = await log_end(api)
    await api.post(CLOSE, THROUGH)
    closed = await log_end(api)
    await api.post("/v1/periods/reopen")

    async def both(params: dict[str, str]) -> list[Response]:
        reverse = f"/v1/transactions/{paid.body['id']}/reverse"
        return [await api.post(path, sent, params=params) for path, sent in ((TRANSFER, body), (reverse, dated))]

    for params in (at(before), DRY):
        assert [200, 200] == [one.status for one in await both(params)]
    refused, moved = await both(at(closed))
    assert ["period_closed"] == refused.codes
    assert (200, "2026-04-01T00:00:00.000000Z") == (moved.status, moved.body.get("effective_at"))


async def test_a_day_that_had_not_ended_then_cannot_be_closed(api: Api) -> None:
    tried = await api.post(CLOSE, THROUGH, params={**DRY, "at_time": "2026-01-31"})

    assert (422, ["/through"]) == (tried.status, tried.pointers)
    assert 200 == (await api.post(CLOSE, THROUGH, params=DRY)).status
