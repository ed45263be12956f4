"""Journal entries, references, descriptions and metadata, and reversals over HTTP."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ledger.events.accounts import world_account_id
from ledger.settings import Settings
from tests.support.controls import NOBODY, Api, new_id, transfer_body

Serve = Callable[[Settings], Awaitable[Api]]
Body = dict[str, Any]

WORLD = str(world_account_id("USD"))
DETAILS = {"description": "May", "metadata": {"cost-centre": "42"}, "effective_at": "2026-05-01T12:00:00.000000Z"}


def legs(*given: tuple[Body | str, int]) -> Body:
    return {
        "postings": [
            {"account_id": one if isinstance(one, str) else one["id"], "amount_cents": cents} for one, cents in given
        ]
    }


async def three_accounts(api: Api) -> list[Body]:
    return [await api.new_account(balance_cents=cents) for cents in (100, 50, 0)]


async def balances(api: Api, accounts: list[Body]) -> list[int]:
    return [await api.balance(account) for account in accounts]


async def read(api: Api, transaction: Body) -> Body:
    return dict((await api.get(f"/v1/transactions/{transaction['id']}")).body)


# Journal entries.


async def test_a_journal_entry_moves_money_between_several_accounts(api: Api) -> None:
    one, two, three_ = accounts = await three_accounts(api)

    answer = await api.post("/v1/transactions", {**legs((one, -70), (two, -30), (three_, 100)), **DETAILS})

    assert (200, "journal", "posted") == (answer.status, answer.body["kind"], answer.body["status"])
    assert DETAILS.items() <= answer.body.items()
    assert answer.body == await read(api, answer.body)
    assert [30, 20, 100] == await balances(api, accounts)
    (line,) = (await api.get(f"/v1/accounts/{three_['id']}/entries")).body
    assert (100, 100, None, "journal", answer.body["id"]) == tuple(
        line[name] for name in ("amount_cents", "balance_cents", "other_account_id", "kind", "transaction_id")
    )


async def test_each_currency_must_sum_to_zero(api: Api) -> None:
    dollars = [await api.new_account(balance_cents=10), await api.new_account()]
    euros = [await api.new_account(balance_cents=10, currency="EUR"), await api.new_account(currency="EUR")]

    mixed = await api.post("/v1/transactions", legs((dollars[0], -5), (euros[1], 5)))
    both = legs((dollars[0], -5), (euros[0], -7), (dollars[1], 5), (euros[1], 7))

    assert (422, ["/postings"]) == (mixed.status, mixed.pointers)
    assert 200 == (await api.post("/v1/transactions", both)).status
    assert [5, 5, 3, 7] == await balances(api, [*dollars, *euros])


async def test_all_refusals_of_an_entry_are_reported_and_nothing_moves(api: Api) -> None:
    """Lesson 5."""
    one, two, closed = await three_accounts(api)
    await api.delete(f"/v1/accounts/{closed['id']}")

    answer = await api.post("/v1/transactions", legs((one, -101), (NOBODY, -1), (two, 1), (closed, 101)))

    assert 422 == answer.status
    codes = ["transfer_insufficient_funds", "transfer_source_account_not_found", "account_closed"]
    assert codes == answer.codes
    assert [100, 50] == await balances(api, [one, two])


async def test_the_ledgers_own_account_can_take_part(api: Api) -> None:
    one, two, _ = await three_accounts(api)
    assert 200 == (await api.post("/v1/transactions", legs((WORLD, -30), (one, 10), (two, 20)))).status
    assert [110, 70] == await balances(api, [one, two])


async def test_a_hundred_accounts_can_take_part(api: Api) -> None:
    """Lesson 36: the strict parsing of requests refuses more."""
    owner = (await api.new_user())["id"]
    accounts = [await api.new_account(owner) for _ in range(99)]
    await api.new_account(owner, 1)  # the first money opens the ledger's own account

    answer = await api.post("/v1/transactions", legs((WORLD, -99), *((account, 1) for account in accounts)))

    assert (200, 100) == (answer.status, len(answer.body["postings"]))
    assert {1} == set(await balances(api, accounts[::33]))


async def test_a_customer_debits_only_own_accounts_and_sees_only_own_postings(api: Api) -> None:
    """Lesson 35."""
    customer, other = await api.as_new_user("customer"), await api.as_new_user("customer")
    own, theirs = await api.new_account(customer.user_id, 100), await api.new_account(other.user_id, 100)
    third = await api.new_account()

    paid = await customer.post("/v1/transactions", legs((own, -30), (theirs, 10), (third, 20)))
    stolen = await customer.post("/v1/transactions", legs((theirs, -30), (own, 30)))

    assert (422, ["transfer_source_account_not_found"]) == (stolen.status, stolen.codes)
    assert 200 == paid.status
    seen = [posting["account_id"] for posting in (await read(other, paid.body))["postings"]]
    assert [theirs["id"]] == seen
    assert 3 == len((await read(api, paid.body))["postings"])
    stranger = await api.as_new_user("customer")
    assert 404 == (await stranger.get(f"/v1/transactions/{paid.body['id']}")).status


# Descriptions and references.


async def test_a_transfer_has_a_description_metadata_and_an_effective_time(api: Api) -> None:
    one, two, _ = await three_accounts(api)

    answer = await api.post("/v1/transactions/transfer", {**transfer_body(one, two, 1), **DETAILS})

    assert DETAILS.items() <= answer.body.items()
    assert answer.body == await read(api, answer.body)
    assert DETAILS.keys().isdisjoint((await api.transfer(one, two, 1)).body)


async def test_a_body_that_was_read_can_be_sent_again_under_another_id(api: Api) -> None:
    one, two, three_ = await three_accounts(api)
    bodies = {
        "/v1/transactions/transfer": {**transfer_body(one, two, 1), **DETAILS},
        "/v1/transactions/hold": {**transfer_body(one, two, 1), **DETAILS},
        "/v1/transactions": {**legs((one, -2), (two, 1), (three_, 1)), **DETAILS},
    }
    for path, body in bodies.items():
        seen = await read(api, (await api.post(path, body)).body)
        again = await api.post(path, {**seen, "id": str(new_id())})
        assert 200 == again.status, again
        assert DETAILS.items() <= again.body.items()


@pytest.mark.parametrize("second", ["transfer", "hold", "entry"])
async def test_a_reference_can_be_used_once_across_all_kinds(api: Api, second: str) -> None:
    one, two, _ = await three_accounts(api)
    requests = {
        "transfer": ("/v1/transactions/transfer", transfer_body(one, two, 1)),
        "hold": ("/v1/transactions/hold", transfer_body(one, two, 1)),
        "entry": ("/v1/transactions", legs((one, -1), (two, 1))),
    }
    for number, (path, body) in enumerate(requests.values()):
        given = {**body, "reference": f"rent {number}"}
        assert 200 == (await api.post(path, given)).status
        path_again, body_again = requests[second]
        answer = await api.post(path_again, {**body_again, "reference": f"rent {number}"})
        assert (409, ["reference_already_exists"]) == (answer.status, answer.codes)
        assert ["/reference"] == answer.pointers


async def test_only_one_of_many_uses_of_a_reference_through_two_processes_wins(
    serve: Serve, settings: Settings
) -> None:
    apis = [await serve(settings), await serve(settings)]
    one, two, _ = await three_accounts(apis[0])
    body = {**transfer_body(one, two, 1), "reference": "rent"}

    answers = await asyncio.gather(*(apis[n % 2].post("/v1/transactions/transfer", body) for n in range(12)))

    assert [200, *[409] * 11] == sorted(answer.status for answer in answers)
    assert 99 == await apis[0].balance(one)


# Reversals.


async def reverse(api: Api, transaction: Body, **members: Any) -> Any:
    return await api.post(f"/v1/transactions/{transaction['id']}/reverse", members or None)


async def test_a_reversal_moves_everything_back_and_links_both_transactions(api: Api) -> None:
    one, two, three_ = accounts = await three_accounts(api)
    transfer = (await api.transfer(one, two, 30)).body
    entry = (await api.post("/v1/transactions", legs((two, -60), (one, 20), (three_, 40)))).body
    held = (await api.post("/v1/transactions/hold", transfer_body(one, three_, 50))).body
    await api.post(f"/v1/transactions/{held['id']}/capture", {"amount_cents": 10})

    for transaction in (held, entry, transfer):
        answer = await reverse(api, transaction, description="a mistake")

        assert (200, "reversal", "a mistake") == (answer.status, answer.body["kind"], answer.body["description"])
        assert transaction["id"] == answer.body["reverses"]
        assert answer.body == await read(api, answer.body)
        seen = await read(api, transaction)
        assert answer.body["id"] == seen["reversed_by"]
        assert ("captured" if transaction is held else "posted") == seen["status"]
    assert [100, 50, 0] == await balances(api, accounts)


async def test_a_transaction_can_be_reversed_once(api: Api) -> None:
    one, two, _ = await three_accounts(api)
    transfer = (await api.transfer(one, two, 30)).body
    first = await reverse(api, transfer)

    again = await reverse(api, transfer)

    assert (409, ["transaction_already_reversed"]) == (again.status, again.codes)
    assert {"transaction_id": transfer["id"], "reversed_by": first.body["id"]} == again.body["errors"][0]["detail"]


async def test_reversals_and_uncaptured_holds_cannot_be_reversed(api: Api) -> None:
    one, two, _ = await three_accounts(api)
    reversal = (await reverse(api, (await api.transfer(one, two, 30)).body)).body
    pending = (await api.post("/v1/transactions/hold", transfer_body(one, two, 1))).body
    voided = (await api.post("/v1/transactions/hold", transfer_body(one, two, 1))).body
    await api.post(f"/v1/transactions/{voided['id']}/void")

    for transaction in (reversal, pending, voided):
        answer = await reverse(api, transaction)
        assert (409, ["transaction_not_reversible"]) == (answer.status, answer.codes)
    assert 404 == (await reverse(api, {"id": NOBODY})).status


async def test_spent_money_can_be_reversed_only_with_force(api: Api) -> None:
    one, two, three_ = accounts = await three_accounts(api)
    transfer = (await api.transfer(one, two, 100)).body
    await api.transfer(two, three_, 150)

    refused = await reverse(api, transfer)
    forced = await reverse(api, transfer, force=True)

    assert (422, ["transfer_insufficient_funds"]) == (refused.status, refused.codes)
    assert 200 == forced.status
    assert [100, -100, 150] == await balances(api, accounts)
    body = (await api.get(f"/v1/accounts/{two['id']}")).body
    assert body == (await api.put(f"/v1/accounts/{two['id']}", body)).body


async def test_a_reversal_to_a_closed_account_is_refused(api: Api) -> None:
    one, two, _ = await three_accounts(api)
    transfer = (await api.transfer(one, two, 100)).body
    await api.delete(f"/v1/accounts/{one['id']}")

    answer = await reverse(api, transfer, force=True)

    assert (422, ["account_closed"]) == (answer.status, answer.codes)


async def test_only_one_of_many_reversals_through_two_processes_wins(serve: Serve, settings: Settings) -> None:
    """Lesson 8."""
    apis = [await serve(settings), await serve(settings)]
    one, two, _ = await three_accounts(apis[0])
    for _ in range(3):
        transfer = (await apis[0].transfer(one, two, 30)).body
        answers = await asyncio.gather(*(reverse(apis[number % 2], transfer) for number in range(8)))
        assert [200, *[409] * 7] == sorted(answer.status for answer in answers)
        assert [100, 50] == await balances(apis[1], [one, two])


async def test_only_admins_can_reverse(api: Api) -> None:
    customer = await api.as_new_user("customer")
    own, other = await api.new_account(customer.user_id, 100), await api.new_account()
    transfer = (await customer.transfer(own, other, 30)).body
    for members in ({}, {"force": True}):
        assert 403 == (await reverse(customer, transfer, **members)).status


async def test_a_repeated_reversal_gets_the_same_response(api: Api) -> None:
    """Lesson 4."""
    one, two, _ = await three_accounts(api)
    path = f"/v1/transactions/{(await api.transfer(one, two, 30)).body['id']}/reverse"

    first, again = [await api.post(path, headers={"Idempotency-Key": "one"}) for _ in range(2)]

    assert (200, first.body, "true") == (again.status, again.body, again.headers["Idempotent-Replayed"])
