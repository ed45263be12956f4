"""Transfers: the contract's answers, one test a rule."""

from tests.controls import NOBODY, Api


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


async def test_all_that_is_wrong_is_reported_at_once_in_order(api: Api) -> None:
    other = "018f0000-0000-7000-8000-000000000001"

    two_unknown = await api.transfer(NOBODY, other, 1)
    one_unknown_twice = await api.transfer(NOBODY, NOBODY, 1)

    assert ["transfer_source_account_not_found", "transfer_destination_account_not_found"] == two_unknown.codes
    assert ["transfer_source_account_not_found", "transfer_accounts_are_same"] == one_unknown_twice.codes
