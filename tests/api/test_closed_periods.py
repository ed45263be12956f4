"""Closed periods: nothing takes effect in them, whichever way it comes, and their sums never change."""

import asyncio
from typing import Any

import pytest

from tests.support.controls import NOBODY, Api, Response, new_id, transfer_body

CLOSED, OPEN = "2026-02-10", "2026-04-01"
THROUGH = "2026-03-31"
Accounts = tuple[dict[str, Any], dict[str, Any]]


@pytest.fixture
async def accounts(api: Api) -> Accounts:
    return await api.new_account(balance_cents=1000), await api.new_account()


async def close(api: Api, through: str = THROUGH, **options: Any) -> Response:
    return await api.post("/v1/periods/close", {"through": through}, **options)


async def transfer(api: Api, accounts: Accounts, **members: Any) -> Response:
    return await api.post("/v1/transactions/transfer", {**transfer_body(*accounts, 5), **members})


def is_refused(answer: Response) -> bool:
    if answer.status != 409:
        return False
    (error,) = answer.body["errors"]
    return (error["code"], error["detail"]["through"]) == ("period_closed", THROUGH)


async def test_each_way_to_move_money_refuses_an_effective_time_in_a_closed_period(
    api: Api, accounts: Accounts
) -> None:
    posted = (await transfer(api, accounts)).body
    held = (await api.post("/v1/transactions/hold", transfer_body(*accounts, 5))).body
    await close(api)
    postings = [{"account_id": one["id"], "amount_cents": cents} for one, cents in zip(accounts, (-5, 5), strict=True)]

    for path, body in (
        ("/transfer", transfer_body(*accounts, 5)),
        ("", {"postings": postings}),
        ("/hold", transfer_body(*accounts, 5)),
        (f"/{held['id']}/capture", {}),
    ):
        refused = await api.post(f"/v1/transactions{path}", {**body, "effective_at": CLOSED})
        assert is_refused(refused), path
        assert ["/effective_at"] == refused.pointers
        last = await api.post(f"/v1/transactions{path}", {**body, "effective_at": f"{THROUGH}T23:59:59.999999Z"})
        assert is_refused(last), path
        assert 200 == (await api.post(f"/v1/transactions{path}", {**body, "effective_at": OPEN})).status, path
    assert 200 == (await transfer(api, accounts)).status, "without an effective time"
    assert 200 == (await api.get(f"/v1/transactions/{posted['id']}")).status


@pytest.mark.parametrize("id_", [None, new_id()], ids=["fresh", "chosen"])
async def test_items_of_a_batch_are_refused_alone_or_all_together(api: Api, accounts: Accounts, id_: Any) -> None:
    await close(api)
    named = {} if id_ is None else {"id": str(id_)}
    items = [{**transfer_body(*accounts, 1), **named, "effective_at": CLOSED}, transfer_body(*accounts, 2)]

    each = await api.post("/v1/transactions/batch", {"atomic": False, "items": items})
    assert [409, 200] == [result["status"] for result in each.body["results"]]
    assert "period_closed" == each.body["results"][0]["errors"][0]["code"]
    together = await api.post("/v1/transactions/batch", {"atomic": True, "items": items})
    assert (409, ["period_closed"], ["/items/0/effective_at"]) == (together.status, together.codes, together.pointers)


async def test_a_reversal_into_a_closed_period_takes_effect_on_the_first_open_day(api: Api, accounts: Accounts) -> None:
    posted = (await transfer(api, accounts, effective_at=CLOSED)).body
    await close(api)

    path = f"/v1/transactions/{posted['id']}/reverse"
    first = await api.post(path, {"amount_cents": 2, "effective_at": CLOSED})
    assert (200, "2026-04-01T00:00:00.000000Z") == (first.status, first.body["effective_at"])
    assert f"{CLOSED}T00:00:00.000000Z" == first.body["requested_effective_at"]
    rest = await api.post(path, {"effective_at": "2026-05-01"})
    assert "2026-05-01T00:00:00.000000Z" == rest.body["effective_at"]
    assert "requested_effective_at" not in rest.body


async def test_closing_returns_the_sums_of_the_period_and_the_position_that_proves_them(
    api: Api, accounts: Accounts
) -> None:
    await transfer(api, accounts, effective_at=CLOSED)

    closed = await close(api, headers={"Idempotency-Key": "march"})
    assert (200, THROUGH, True) == (closed.status, closed.body["through"], closed.body["balanced"])
    (euros,) = closed.body["currencies"]
    assert (5, 5) == (euros["debit_cents"], euros["credit_cents"])
    await transfer(api, accounts, effective_at=OPEN)
    again = await close(api, headers={"Idempotency-Key": "march"})
    assert (closed.body, "true") == (again.body, again.headers["Idempotent-Replayed"])

    same = await api.get(
        "/v1/ledger/trial-balance", params={"effective_at": THROUGH, "at_position": closed.body["position"]}
    )
    assert closed.body["currencies"] == same.body["currencies"]
    now = await api.get("/v1/ledger/trial-balance", params={"effective_at": THROUGH})
    assert closed.body["currencies"] == now.body["currencies"]
    (listed,) = (await api.get("/v1/periods")).body
    assert {"through": THROUGH, "position": closed.body["position"]}.items() <= listed.items()


async def test_periods_are_reopened_back_to_the_one_that_is_named(api: Api, accounts: Accounts) -> None:
    for through in ("2026-01-31", "2026-02-28", THROUGH):
        assert 200 == (await close(api, through)).status
    assert [THROUGH, "2026-02-28", "2026-01-31"] == [one["through"] for one in (await api.get("/v1/periods")).body]

    last = await api.post("/v1/periods/reopen")
    assert (200, THROUGH) == (last.status, last.body["through"])
    assert 409 == (await transfer(api, accounts, effective_at=CLOSED)).status
    assert 200 == (await transfer(api, accounts, effective_at="2026-03-01")).status
    first = await api.post("/v1/periods/reopen", {"through": "2026-01-31"})
    assert (200, "2026-01-31") == (first.status, first.body["through"])
    assert [] == (await api.get("/v1/periods")).body
    assert 200 == (await transfer(api, accounts, effective_at="2026-01-01")).status
    for body in ({}, {"through": "2026-01-31"}):
        none = await api.post("/v1/periods/reopen", body)
        assert (422, ["/through"]) == (none.status, none.pointers)


@pytest.mark.parametrize("through", ["2999-12-31", "today", "2026-02-30", "2026-03-31T12:00:00Z", "", None, 5])
async def test_only_a_day_that_has_ended_can_be_closed(api: Api, connection: Any, through: Any) -> None:
    if through == "today":
        through = (await connection.fetchval("SELECT (now() AT TIME ZONE 'UTC')::date")).isoformat()
    refused = await close(api, through)
    assert (422, ["/through"]) == (refused.status, refused.pointers)


async def test_a_day_is_closed_once(api: Api) -> None:
    await close(api)
    for through in (THROUGH, "2026-03-30"):
        again = await close(api, through)
        assert (409, ["period_closed"], ["/through"]) == (again.status, again.codes, again.pointers)


async def test_a_close_and_backdated_transfers_at_once_leave_the_sums_of_the_closing(
    api: Api, accounts: Accounts
) -> None:
    async def pay(number: int) -> int:
        await asyncio.sleep(0.002 * number)
        return (await transfer(api, accounts, effective_at=CLOSED)).status

    closed, *statuses = await asyncio.gather(close(api), *(pay(number) for number in range(20)))

    now = await api.get("/v1/ledger/trial-balance", params={"effective_at": THROUGH})
    assert closed.body["currencies"] == now.body["currencies"]
    (dollars,) = now.body["currencies"]
    assert 5 * statuses.count(200) == dollars["credit_cents"]
    assert {200, 409} >= set(statuses)


async def test_an_unknown_account_is_refused_as_such_to_a_customer(api: Api, accounts: Accounts) -> None:
    await close(api)
    customer = await api.as_new_user("customer")
    own = (await transfer(customer, accounts, effective_at=CLOSED)).codes
    assert ["transfer_source_account_not_found"] == own
    unknown = {"id": NOBODY}
    assert own == (await transfer(customer, (unknown, accounts[1]), effective_at=CLOSED)).codes
