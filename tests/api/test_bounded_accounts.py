"""Accounts whose balance is bounded above: no transaction of any kind raises it beyond `max_balance_cents`."""

from typing import Any

import pytest

from tests.support.controls import Api, Response, transfer_body

Body = dict[str, Any]
LIMIT_EXCEEDED = ["account_limit_exceeded"]


async def patch(api: Api, account: Body, **members: Any) -> Response:
    return await api.patch(f"/v1/accounts/{account['id']}", members)


async def capture(api: Api, hold: Body, **members: Any) -> Response:
    return await api.post(f"/v1/transactions/{hold['id']}/capture", members)


async def hold_for(api: Api, source: Body, destination: Body, cents: int, **members: Any) -> Response:
    return await api.post("/v1/transactions/hold", {**transfer_body(source, destination, cents), **members})


def postings(*pairs: tuple[Body, int]) -> Body:
    return {"postings": [{"account_id": account["id"], "amount_cents": cents} for account, cents in pairs]}


async def test_a_transfer_fills_an_account_up_to_its_limit(api: Api) -> None:
    source, bounded = await api.new_account(balance_cents=100), await api.new_account(max_balance_cents=50)

    over = await api.transfer(source, bounded, 51)
    full = await api.transfer(source, bounded, 50)
    more = await api.transfer(source, bounded, 1)

    assert [(422, LIMIT_EXCEEDED), (200, []), (422, LIMIT_EXCEEDED)] == [
        (each.status, each.codes if each.status != 200 else []) for each in (over, full, more)
    ]
    assert {"account_id": bounded["id"]} == over.body["errors"][0]["detail"]
    assert 50 == (await api.get(f"/v1/accounts/{bounded['id']}")).body["max_balance_cents"]
    assert 200 == (await api.transfer(bounded, source, 1)).status
    assert 200 == (await api.transfer(source, bounded, 1)).status


async def test_an_account_that_is_never_positive_is_paid_back(api: Api) -> None:
    loan = await api.new_account(overdraft_limit_cents=100, max_balance_cents=0)
    debtor = await api.new_account(balance_cents=10)
    assert 200 == (await api.transfer(loan, debtor, 60)).status
    assert 422 == (await api.transfer(debtor, loan, 61)).status
    assert 200 == (await api.transfer(debtor, loan, 60)).status
    assert (0, 10) == (await api.balance(loan), await api.balance(debtor))


async def test_an_opening_balance_and_an_adjustment_respect_the_limit(api: Api) -> None:
    user = (await api.new_user())["id"]
    body = {"user_id": user, "balance_cents": 51, "max_balance_cents": 50}
    too_much = await api.post("/v1/accounts", body)
    negative = await api.post("/v1/accounts", {"user_id": user, "max_balance_cents": -1})
    account = (await api.post("/v1/accounts", {**body, "balance_cents": 50})).body
    adjusted = await api.put(f"/v1/accounts/{account['id']}", {"balance_cents": 51})

    assert (422, LIMIT_EXCEEDED) == (too_much.status, too_much.codes)
    assert (422, ["/max_balance_cents"]) == (negative.status, negative.pointers)
    assert (50, 50) == (account["balance_cents"], account["max_balance_cents"])
    assert (422, LIMIT_EXCEEDED) == (adjusted.status, adjusted.codes)
    assert account == (await api.put(f"/v1/accounts/{account['id']}", account)).body


async def test_what_a_hold_will_pay_counts_and_is_captured(api: Api) -> None:
    source, bounded = await api.new_account(balance_cents=200), await api.new_account(max_balance_cents=100)
    held = (await hold_for(api, source, bounded, 60)).body

    another = await hold_for(api, source, bounded, 41)
    transferred = await api.transfer(source, bounded, 41)
    assert [(422, LIMIT_EXCEEDED)] * 2 == [(each.status, each.codes) for each in (another, transferred)]

    assert 200 == (await api.transfer(source, bounded, 40)).status
    assert 200 == (await capture(api, held, amount_cents=20, final=False)).status
    assert 422 == (await api.transfer(source, bounded, 1)).status
    assert 200 == (await capture(api, held, amount_cents=30)).status
    assert 90 == await api.balance(bounded)
    assert 200 == (await api.transfer(source, bounded, 10)).status


async def test_a_voided_hold_makes_room(api: Api) -> None:
    source, bounded = await api.new_account(balance_cents=200), await api.new_account(max_balance_cents=100)
    held = (await hold_for(api, source, bounded, 100)).body
    assert 422 == (await api.transfer(source, bounded, 1)).status
    await api.post(f"/v1/transactions/{held['id']}/void")
    assert 200 == (await api.transfer(source, bounded, 100)).status


async def test_journal_entries_and_batches_respect_the_limit(api: Api) -> None:
    source, bounded = await api.new_account(balance_cents=200), await api.new_account(max_balance_cents=100)
    over = await api.post("/v1/transactions", postings((source, -101), (bounded, 101)))
    in_between = await api.post("/v1/transactions", postings((source, -50), (bounded, 101), (bounded, -51)))
    within = await api.post("/v1/transactions", postings((source, -50), (bounded, -1), (bounded, 51)))
    assert (422, LIMIT_EXCEEDED, ["/postings/1"]) == (over.status, over.codes, over.pointers)
    assert (422, [*LIMIT_EXCEEDED, "transfer_insufficient_funds"]) == (in_between.status, in_between.codes)
    assert (422, ["transfer_insufficient_funds"]) == (within.status, within.codes)

    items = [transfer_body(source, bounded, cents) for cents in (60, 41, 40)]
    batch = await api.post("/v1/transactions/batch", {"atomic": False, "items": items})
    assert [200, 422, 200] == [each["status"] for each in batch.body["results"]]
    assert LIMIT_EXCEEDED == [error["code"] for error in batch.body["results"][1]["errors"]]
    assert 100 == await api.balance(bounded)


@pytest.mark.parametrize("force", [False, True])
async def test_no_reversal_exceeds_the_limit(api: Api, force: bool) -> None:
    bounded, other = await api.new_account(balance_cents=100, max_balance_cents=100), await api.new_account()
    paid = (await api.transfer(bounded, other, 60)).body
    source = await api.new_account(balance_cents=60)
    await api.transfer(source, bounded, 1)

    refused = await api.post(f"/v1/transactions/{paid['id']}/reverse", {"force": force})
    part = await api.post(f"/v1/transactions/{paid['id']}/reverse", {"force": force, "amount_cents": 59})

    assert (422, LIMIT_EXCEEDED, 200) == (refused.status, refused.codes, part.status)
    assert 100 == await api.balance(bounded)


async def test_a_limit_covers_what_is_there_and_is_raised_or_removed(api: Api) -> None:
    source, account = await api.new_account(balance_cents=100), await api.new_account(balance_cents=50)
    await hold_for(api, source, account, 10)

    too_low = await patch(api, account, max_balance_cents=59)
    limited = await patch(api, account, max_balance_cents=60)
    unchanged = await api.put(f"/v1/accounts/{account['id']}", {"max_balance_cents": None})
    raised = await patch(api, account, max_balance_cents=70)
    removed = await patch(api, account, max_balance_cents=None)

    assert (422, ["/max_balance_cents"]) == (too_low.status, too_low.pointers)
    assert [60, 60, 70, None] == [each.body["max_balance_cents"] for each in (limited, unchanged, raised, removed)]
    version = int(removed.headers["ETag"].strip('"'))
    then = [
        (await api.get(f"/v1/accounts/{account['id']}?at_version={number}")).body["max_balance_cents"]
        for number in range(version - 3, version + 1)
    ]
    assert [None, 60, 70, None] == then
    topics = [event["topic"] for event in (await api.get(f"/v1/accounts/{account['id']}/events")).body]
    assert 3 == topics.count("MaxBalanceChanged")


@pytest.mark.parametrize("limit", ["5", 1.5, True, 2**53, -(2**53)])
async def test_a_limit_is_a_balance(api: Api, limit: object) -> None:
    account = await api.new_account()
    refused = await patch(api, account, max_balance_cents=limit)
    assert (422, ["/max_balance_cents"]) == (refused.status, refused.pointers)
