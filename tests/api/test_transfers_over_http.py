"""Transfers over HTTP: the contract, one test for each rule."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ledger.settings import Settings
from tests.support.controls import CATALOGUED, NOBODY, Api, Response, new_id, transfer_body

Serve = Callable[[Settings], Awaitable[Api]]

TRANSFER = "/v1/transactions/transfer"


async def test_a_transfer_moves_money_and_can_be_read_again(api: Api) -> None:
    alice, bob = await api.new_account(balance_cents=100_00), await api.new_account()

    made = await api.transfer(alice, bob, 30_00)

    assert 200 == made.status
    assert {
        "source_account_id": alice["id"],
        "destination_account_id": bob["id"],
        "amount_cents": 30_00,
        "currency": "USD",
        "kind": "transfer",
        "reference": None,
    }.items() <= made.body.items()
    assert (70_00, 30_00) == (await api.balance(alice), await api.balance(bob))
    assert made.body == (await api.get(f"/v1/transactions/{made.body['id']}")).body


async def test_insufficient_funds_are_refused_and_change_nothing(api: Api) -> None:
    alice, bob = await api.new_account(balance_cents=100), await api.new_account()

    refused = await api.transfer(alice, bob, 101)

    assert (422, ["transfer_insufficient_funds"]) == (refused.status, refused.codes)
    assert (100, 0) == (await api.balance(alice), await api.balance(bob))


async def test_all_errors_are_reported_together_in_order(api: Api) -> None:
    other = "018f0000-0000-7000-8000-000000000001"

    two_unknown = await api.transfer(NOBODY, other, 1)
    one_unknown_twice = await api.transfer(NOBODY, NOBODY, 1)

    assert ["transfer_source_account_not_found", "transfer_destination_account_not_found"] == two_unknown.codes
    assert ["transfer_source_account_not_found", "transfer_accounts_are_same"] == one_unknown_twice.codes


# Every refusal of the contract, word for word


def entries(answer: Response) -> list[dict[str, Any]]:
    """Return the errors without members that differ from request to request."""
    varying = {"trace_id", "timestamp", "instance", *CATALOGUED}
    return [{name: value for name, value in entry.items() if name not in varying} for entry in answer.body["errors"]]


INSUFFICIENT_FUNDS = {
    "code": "transfer_insufficient_funds",
    "kind": "validation_error",
    "message": "source account does not have sufficient funds for the transfer",
    "reason": "source account balance must be sufficient to cover the transfer amount",
}
ACCOUNTS_ARE_SAME = {
    "code": "transfer_accounts_are_same",
    "kind": "validation_error",
    "message": "source and destination accounts are the same",
    "reason": "source and destination accounts must be different",
}


def not_found(side: str, account_id: str) -> dict[str, Any]:
    return {
        "code": f"transfer_{side}_account_not_found",
        "kind": "validation_error",
        "message": f"{side} account not found: {account_id}",
        "detail": {f"{side}_account_id": account_id},
        "reason": "must be an existing account",
    }


def closed(account: dict[str, Any]) -> dict[str, Any]:
    return {
        "code": "account_closed",
        "kind": "validation_error",
        "message": f"account is closed: {account['id']}",
        "detail": {"account_id": account["id"]},
        "reason": "account must be open",
    }


async def new_closed_account(api: Api) -> dict[str, Any]:
    account = await api.new_account()
    assert 200 == (await api.delete(f"/v1/accounts/{account['id']}")).status
    return account


async def test_insufficient_funds_are_reported_in_the_words_of_the_contract(api: Api) -> None:
    alice, bob = await api.new_account(balance_cents=100), await api.new_account()

    refused = await api.transfer(alice, bob, 101)

    assert [INSUFFICIENT_FUNDS] == entries(refused)


async def test_an_unknown_source_is_reported_in_the_words_of_the_contract(api: Api) -> None:
    refused = await api.transfer(NOBODY, await api.new_account(), 1)

    assert (422, [not_found("source", NOBODY)]) == (refused.status, entries(refused))


async def test_an_unknown_destination_is_reported_in_the_words_of_the_contract(api: Api) -> None:
    refused = await api.transfer(await api.new_account(balance_cents=1), NOBODY, 1)

    assert (422, [not_found("destination", NOBODY)]) == (refused.status, entries(refused))


async def test_one_account_on_both_sides_is_reported_in_the_words_of_the_contract(api: Api) -> None:
    account = await api.new_account(balance_cents=1)

    refused = await api.transfer(account, account, 1)

    assert (422, [ACCOUNTS_ARE_SAME]) == (refused.status, entries(refused))


async def test_the_source_comes_before_the_destination_in_every_combination(api: Api) -> None:
    poor = await api.new_account()

    poor_and_unknown = await api.transfer(poor, NOBODY, 1)
    poor_on_both_sides = await api.transfer(poor, poor, 1)
    unknown_twice = await api.transfer(NOBODY, NOBODY, 1)

    assert [INSUFFICIENT_FUNDS, not_found("destination", NOBODY)] == entries(poor_and_unknown)
    assert [INSUFFICIENT_FUNDS, ACCOUNTS_ARE_SAME] == entries(poor_on_both_sides)
    assert [not_found("source", NOBODY), ACCOUNTS_ARE_SAME] == entries(unknown_twice)


async def test_a_closed_account_can_neither_pay_nor_be_paid(api: Api) -> None:
    shut, full = await new_closed_account(api), await api.new_account(balance_cents=1)

    from_it, to_it = await api.transfer(shut, full, 1), await api.transfer(full, shut, 1)

    assert (422, [closed(shut)]) == (from_it.status, entries(from_it))
    assert (422, [closed(shut)]) == (to_it.status, entries(to_it))
    assert 1 == await api.balance(full)


async def test_two_closed_accounts_are_both_reported_source_first(api: Api) -> None:
    one, other = await new_closed_account(api), await new_closed_account(api)

    assert [closed(one), closed(other)] == entries(await api.transfer(one, other, 1))


async def test_both_accounts_must_have_the_same_currency(api: Api) -> None:
    dollars, euros = await api.new_account(balance_cents=1), await api.new_account(currency="EUR")

    refused = await api.transfer(dollars, euros, 1)

    assert (422, "currency_mismatch", "validation_error") == (
        refused.status,
        *[entries(refused)[0][name] for name in ("code", "kind")],
    )
    assert (1, 0) == (await api.balance(dollars), await api.balance(euros))


@pytest.mark.parametrize("amount_cents", [0, -1, -100, -(2**53)])
async def test_zero_or_less_is_refused_before_anything_is_read(api: Api, amount_cents: int) -> None:
    """Lesson 2: the accounts do not exist, but only the amount is reported."""
    refused = await api.transfer(NOBODY, NOBODY, amount_cents)

    assert (422, ["validation_error"], ["/amount_cents"]) == (refused.status, refused.codes, refused.pointers)


async def test_a_negative_amount_does_not_steal(api: Api) -> None:
    """Lesson 2."""
    thief, victim = await api.new_account(), await api.new_account(balance_cents=100)

    refused = await api.transfer(thief, victim, -100)

    assert 422 == refused.status
    assert (0, 100) == (await api.balance(thief), await api.balance(victim))


@pytest.mark.parametrize("amount_cents", [2**53, 2**63 - 1, 2**63, 2**64, 10**100])
async def test_an_amount_beyond_the_maximum_is_refused(api: Api, amount_cents: int) -> None:
    """Lesson 7."""
    refused = await api.transfer(NOBODY, NOBODY, amount_cents)

    assert (422, ["validation_error"], ["/amount_cents"]) == (refused.status, refused.codes, refused.pointers)


async def test_the_maximum_amount_is_exact(api: Api) -> None:
    """Lesson 7."""
    largest = 2**53 - 1
    alice, bob = await api.new_account(balance_cents=largest), await api.new_account()

    made = await api.transfer(alice, bob, largest)

    assert (200, largest) == (made.status, made.body["amount_cents"])
    assert (0, largest) == (await api.balance(alice), await api.balance(bob))


async def test_a_balance_beyond_the_maximum_is_refused(api: Api) -> None:
    """Lesson 7: a transfer from `world` never lacks funds."""
    full = await api.new_account(balance_cents=2**53 - 1)
    world = next(account for account in (await api.get("/v1/accounts?world=true")).body if account["user_id"] is None)

    refused = await api.transfer(world, full, 1)

    assert (422, ["validation_error"], ["/amount_cents"]) == (refused.status, refused.codes, refused.pointers)
    assert (2**53 - 1) == await api.balance(full)


async def test_all_of_the_money_can_be_spent_and_not_a_cent_more(api: Api) -> None:
    alice, bob = await api.new_account(balance_cents=100), await api.new_account()

    assert [200, 422] == [(await api.transfer(alice, bob, cents)).status for cents in (100, 1)]
    assert (0, 100) == (await api.balance(alice), await api.balance(bob))


async def test_racing_transfers_spend_no_cent_twice(api: Api) -> None:
    """Lessons 1 and 3."""
    alice, bob = await api.new_account(balance_cents=10), await api.new_account()

    answers = await asyncio.gather(*(api.transfer(alice, bob, 1) for _ in range(20)))

    assert [200] * 10 + [422] * 10 == sorted(answer.status for answer in answers)
    assert (0, 10) == (await api.balance(alice), await api.balance(bob))


async def test_racing_transfers_through_two_workers_spend_no_cent_twice(serve: Serve, settings: Settings) -> None:
    """Lessons 1 and 3."""
    workers = [await serve(settings), await serve(settings)]
    alice, bob = await workers[0].new_account(balance_cents=10), await workers[0].new_account()

    answers = await asyncio.gather(*(workers[number % 2].transfer(alice, bob, 1) for number in range(20)))

    assert [200] * 10 + [422] * 10 == sorted(answer.status for answer in answers)
    assert (0, 10) == (await workers[1].balance(alice), await workers[1].balance(bob))


# References and ids


async def test_a_reference_stays_with_the_transfer(api: Api) -> None:
    alice, bob = await api.new_account(balance_cents=1), await api.new_account()

    made = await api.post(TRANSFER, {**transfer_body(alice, bob, 1), "reference": 'Invoice "7" \\ ä 😀 {NULL}'})

    assert 'Invoice "7" \\ ä 😀 {NULL}' == made.body["reference"]
    assert made.body == (await api.get(f"/v1/transactions/{made.body['id']}")).body


@pytest.mark.parametrize("reference", ["", " ", "a\nb", "x" * 201, 7])
async def test_an_invalid_reference_is_refused(api: Api, reference: Any) -> None:
    refused = await api.post(TRANSFER, {**transfer_body(NOBODY, NOBODY, 1), "reference": reference})

    assert (422, ["/reference"]) == (refused.status, refused.pointers)


async def test_the_client_may_choose_the_id(api: Api) -> None:
    alice, bob, chosen = await api.new_account(balance_cents=1), await api.new_account(), str(new_id())

    made = await api.post(TRANSFER, {**transfer_body(alice, bob, 1), "id": chosen})

    assert (200, chosen) == (made.status, made.body["id"])


async def test_a_taken_id_moves_nothing(api: Api) -> None:
    alice, bob = await api.new_account(balance_cents=10), await api.new_account()
    body = {**transfer_body(alice, bob, 1), "id": str(new_id())}
    await api.post(TRANSFER, body)

    refused = [await api.post(TRANSFER, body), await api.post(TRANSFER, {**body, "id": alice["id"]})]

    assert [409, 409] == [answer.status for answer in refused]
    assert {
        "code": "transaction_already_exists",
        "kind": "conflict",
        "message": f"transaction already exists: {body['id']}",
        "detail": {"transaction_id": body["id"]},
    } == entries(refused[0])[0]
    assert (9, 1) == (await api.balance(alice), await api.balance(bob))


async def test_only_one_of_racing_transfers_gets_an_id(serve: Serve, settings: Settings) -> None:
    """The requests reach two workers."""
    workers = [await serve(settings), await serve(settings)]
    alice, bob = await workers[0].new_account(balance_cents=10), await workers[0].new_account()
    body = {**transfer_body(alice, bob, 1), "id": str(new_id())}

    answers = await asyncio.gather(*(workers[number % 2].post(TRANSFER, body) for number in range(6)))

    assert [200, 409, 409, 409, 409, 409] == sorted(answer.status for answer in answers)
    assert (9, 1) == (await workers[0].balance(alice), await workers[0].balance(bob))


async def test_a_body_that_was_read_can_be_sent_again_under_another_id(api: Api) -> None:
    alice, bob = await api.new_account(balance_cents=2), await api.new_account()
    made = (await api.transfer(alice, bob, 1)).body

    again = await api.post(TRANSFER, {**made, "id": None, "created_at": None})

    assert (200, 2) == (again.status, await api.balance(bob))
    assert made["id"] != again.body["id"]


async def test_v2_is_the_same_as_v1(api: Api) -> None:
    alice, bob = await api.new_account(balance_cents=3), await api.new_account()

    made = await api.post("/v2/transactions/transfer", transfer_body(alice, bob, 1))
    refused = await api.post("/v2/transactions/transfer", transfer_body(alice, bob, 100))

    assert (200, made.body) == (made.status, (await api.get(f"/v1/transactions/{made.body['id']}")).body)
    assert made.body == (await api.get(f"/v2/transactions/{made.body['id']}")).body
    assert (422, [INSUFFICIENT_FUNDS]) == (refused.status, entries(refused))


# Access


async def test_a_customer_can_pay_from_an_own_account_to_any(api: Api) -> None:
    customer = await api.as_new_user("customer")
    own, other = await api.new_account(customer.user_id, balance_cents=10), await api.new_account()

    made = await customer.transfer(own, other, 4)

    assert (200, 6, 4) == (made.status, await api.balance(own), await api.balance(other))


async def test_the_account_of_another_is_no_source_for_a_customer(api: Api) -> None:
    """Lesson 35: it looks like an unknown account, with or without money, open or closed."""
    customer = await api.as_new_user("customer")
    own, shut = await api.new_account(customer.user_id), await new_closed_account(api)
    rich, poor = await api.new_account(balance_cents=10), await api.new_account()
    world = next(account for account in (await api.get("/v1/accounts?world=true")).body if account["user_id"] is None)

    for other in (rich, poor, shut, world):
        refused = await customer.transfer(other, own, 1)

        assert (422, [not_found("source", other["id"])]) == (refused.status, entries(refused))
    assert (10, 0) == (await api.balance(rich), await api.balance(own))


async def test_a_customer_cannot_pay_from_an_account_that_was_given_away(api: Api) -> None:
    customer, heir = await api.as_new_user("customer"), await api.new_user()
    account, other = await api.new_account(customer.user_id, balance_cents=10), await api.new_account()
    await api.put(f"/v1/accounts/{account['id']}", {"user_id": heir["id"]})

    refused = await customer.transfer(account, other, 1)

    assert [not_found("source", account["id"])] == entries(refused)


async def test_an_admin_pays_from_any_account(api: Api) -> None:
    admin = await api.as_new_user("admin")
    alice, bob = await api.new_account(balance_cents=1), await api.new_account()

    assert 200 == (await admin.transfer(alice, bob, 1)).status


@pytest.mark.parametrize("roles", ["auditor", "guest", "auditor,guest"])
async def test_auditors_and_guests_pay_from_no_account(api: Api, roles: str) -> None:
    caller = await api.as_new_user(roles)
    own, other = await api.new_account(caller.user_id, balance_cents=1), await api.new_account()

    refused = await caller.transfer(own, other, 1)

    assert (403, ["authentication_forbidden"]) == (refused.status, refused.codes)
    assert (1, 0) == (await api.balance(own), await api.balance(other))


async def test_nobody_pays_without_a_token(api: Api) -> None:
    refused = await api.nobody.transfer(NOBODY, NOBODY, 1)

    assert (401, ["authentication_wrong_credentials"]) == (refused.status, refused.codes)


async def test_both_parties_and_auditors_see_a_transfer(api: Api) -> None:
    payer, payee = await api.as_new_user("customer"), await api.as_new_user("customer")
    auditor = await api.as_new_user("auditor")
    source = await api.new_account(payer.user_id, balance_cents=1)
    made = (await payer.transfer(source, await api.new_account(payee.user_id), 1)).body

    for reader in (payer, payee, auditor, api):
        assert made == (await reader.get(f"/v1/transactions/{made['id']}")).body


async def test_a_transfer_of_others_looks_unknown(api: Api) -> None:
    """Lesson 35."""
    customer = await api.as_new_user("customer")
    await api.new_account(customer.user_id)
    made = (await api.transfer(await api.new_account(balance_cents=1), await api.new_account(), 1)).body

    for transaction_id in (made["id"], NOBODY):
        refused = await customer.get(f"/v1/transactions/{transaction_id}")

        assert 404 == refused.status
        assert [
            {
                "code": "transaction_not_found",
                "kind": "resource_not_found",
                "message": f"transaction not found: {transaction_id}",
                "detail": {"transaction_id": transaction_id},
            }
        ] == entries(refused)


async def test_a_guest_sees_no_transfer(api: Api) -> None:
    guest = await api.as_new_user("guest")
    source = await api.new_account(guest.user_id, balance_cents=1)
    made = (await api.transfer(source, await api.new_account(), 1)).body

    refused = await guest.get(f"/v1/transactions/{made['id']}")

    assert (403, ["authentication_forbidden"]) == (refused.status, refused.codes)


async def test_an_unknown_transfer_is_not_found(api: Api) -> None:
    account = await api.new_account()

    for unknown in (NOBODY, account["id"]):
        refused = await api.get(f"/v1/transactions/{unknown}")

        assert (404, ["transaction_not_found"]) == (refused.status, refused.codes)
        assert {"transaction_id": unknown} == refused.body["errors"][0]["detail"]
