"""Account policies: overdraft limits and freezes, set by admins and effective immediately."""

from typing import Any

import pytest

from tests.support.controls import Api, Response, transfer_body

Body = dict[str, Any]


async def put(api: Api, account: Body, **members: Any) -> Response:
    return await api.put(f"/v1/accounts/{account['id']}", members)


async def test_an_account_can_be_overdrawn_up_to_its_limit(api: Api) -> None:
    account, other = await api.new_account(balance_cents=10), await api.new_account()

    changed = await put(api, account, overdraft_limit_cents=50)

    assert (200, 10, 50, 60) == (
        changed.status,
        *(changed.body[name] for name in ("balance_cents", "overdraft_limit_cents", "available_cents")),
    )
    assert 422 == (await api.transfer(account, other, 61)).status
    assert 200 == (await api.transfer(account, other, 60)).status
    body = (await api.get(f"/v1/accounts/{account['id']}")).body
    assert (-50, 0) == (body["balance_cents"], body["available_cents"])
    assert body == (await api.put(f"/v1/accounts/{account['id']}", body)).body


async def test_a_limit_must_cover_what_is_overdrawn_or_held(api: Api) -> None:
    account, other = await api.new_account(overdraft_limit_cents=50), await api.new_account()
    await api.transfer(account, other, 20)
    await api.post("/v1/transactions/hold", transfer_body(account, other, 10))

    refused = await put(api, account, overdraft_limit_cents=29)

    assert (422, ["/overdraft_limit_cents"]) == (refused.status, refused.pointers)
    assert 200 == (await put(api, account, overdraft_limit_cents=30)).status


async def test_a_balance_cannot_be_set_below_the_limit_and_holds(api: Api) -> None:
    account, other = await api.new_account(balance_cents=100), await api.new_account()
    await api.post("/v1/transactions/hold", transfer_body(account, other, 60))

    below = await put(api, account, balance_cents=-1)
    held = await put(api, account, balance_cents=59)

    assert (422, ["/balance_cents"]) == (below.status, below.pointers)
    assert (422, ["transfer_insufficient_funds"]) == (held.status, held.codes)
    allowed = await put(api, account, balance_cents=-1, overdraft_limit_cents=61)
    assert (200, -1, 0) == (allowed.status, allowed.body["balance_cents"], allowed.body["available_cents"])


@pytest.mark.parametrize(("frozen", "may_come_in"), [("debits", True), ("all", False)])
async def test_no_money_leaves_a_frozen_account(api: Api, frozen: str, may_come_in: bool) -> None:
    account, other = await api.new_account(balance_cents=100), await api.new_account(balance_cents=100)
    held = (await api.post("/v1/transactions/hold", transfer_body(account, other, 10))).body
    back = (await api.transfer(other, account, 10)).body

    assert frozen == (await put(api, account, frozen=frozen)).body["frozen"]

    debits = [
        await api.transfer(account, other, 1),
        await api.post("/v1/transactions/hold", transfer_body(account, other, 1)),
        await api.post(f"/v1/transactions/{held['id']}/capture"),
        await api.post(f"/v1/transactions/{back['id']}/reverse", {"force": True}),
        await put(api, account, balance_cents=1),
    ]
    assert [(422, ["account_frozen"])] * 5 == [(answer.status, answer.codes) for answer in debits]
    assert {"account_id": account["id"]} == debits[0].body["errors"][0]["detail"]
    credit = await api.transfer(other, account, 1)
    assert (200 if may_come_in else 422) == credit.status
    assert 200 == (await api.post(f"/v1/transactions/{held['id']}/void")).status


async def test_a_frozen_account_can_be_unfrozen(api: Api) -> None:
    account, other = await api.new_account(balance_cents=100, frozen="all"), await api.new_account()
    assert 422 == (await api.transfer(account, other, 1)).status

    assert "all" == (await put(api, account, frozen=None)).body["frozen"]
    assert "none" == (await put(api, account, frozen="none")).body["frozen"]

    assert 200 == (await api.transfer(account, other, 1)).status


async def test_a_policy_change_is_recorded(api: Api) -> None:
    account = await api.new_account(overdraft_limit_cents=5, frozen="debits")
    await put(api, account, overdraft_limit_cents=7, frozen="none")
    await put(api, account, overdraft_limit_cents=7, frozen="none")  # no change

    path = f"/v1/accounts/{account['id']}"
    topics = [event["topic"] for event in (await api.get(f"{path}/events")).body]
    past = [(await api.get(path, params={"at_version": version})).body for version in range(1, 6)]

    changes = ["OverdraftLimitChanged", "AccountFrozen", "OverdraftLimitChanged", "AccountUnfrozen"]
    assert ["AccountOpened", *changes] == topics
    told = [(one["overdraft_limit_cents"], one["frozen"]) for one in past]
    assert [(0, "none"), (5, "none"), (5, "debits"), (7, "debits"), (7, "none")] == told


async def test_only_admins_can_change_a_policy(api: Api) -> None:
    customer = await api.as_new_user("customer")
    account = await api.new_account(customer.user_id)
    assert 403 == (await put(customer, account, overdraft_limit_cents=5)).status
