"""Several captures of a hold, reversals in parts, references that are free again, and accounts that come back."""

import asyncio
from typing import Any

import pytest

from tests.support.controls import NOBODY, Api, Response, new_id, transfer_body
from tests.support.holds import Body, funds, hold, read

DETAILS = {
    "reference": "parcel 1",
    "description": "the first parcel",
    "metadata": {"carrier": "mail"},
    "effective_at": "2026-05-01T00:00:00.000000Z",
}


@pytest.fixture
async def accounts(api: Api) -> tuple[Body, Body]:
    """Return two accounts, with 100 and with 0."""
    return await api.new_account(balance_cents=100), await api.new_account()


async def capture(api: Api, held: Body, **members: Any) -> Response:
    return await api.post(f"/v1/transactions/{held['id']}/capture", members)


async def reverse(api: Api, transaction: Body, **members: Any) -> Response:
    return await api.post(f"/v1/transactions/{transaction['id']}/reverse", members)


async def entries_of(api: Api, account: Body) -> list[int]:
    rows = (await api.get(f"/v1/accounts/{account['id']}/entries", params={"order": "asc"})).body
    return [row["amount_cents"] for row in rows]


# Captures.


async def test_a_hold_can_be_captured_in_parts(api: Api, accounts: tuple[Body, Body]) -> None:
    held = await hold(api, accounts, 60)

    first = await capture(api, held, amount_cents=20, final=False, **DETAILS)
    assert ("pending", 20) == (first.body["status"], first.body["captured_cents"])
    assert first.body == await read(api, held)
    assert (80, 40, 40) == await funds(api, accounts[0])
    second = await capture(api, held, amount_cents=15, final=False)
    assert ("pending", 35) == (second.body["status"], second.body["captured_cents"])
    last = await capture(api, held, amount_cents=5)

    assert ("captured", 40) == (last.body["status"], last.body["captured_cents"])
    assert last.body == await read(api, held)
    assert [20, 15, 5] == [part["amount_cents"] for part in last.body["captures"]]
    assert DETAILS.items() <= last.body["captures"][0].items()
    assert last.body["captures"][-1]["created_at"] == last.body["settled_at"]
    assert (60, 0, 60) == await funds(api, accounts[0])
    assert [20, 15, 5] == await entries_of(api, accounts[1])
    lines = (await api.get(f"/v1/accounts/{accounts[1]['id']}/entries", params={"order": "asc"})).body
    parts = [line for line in lines if line["transaction_id"] == held["id"]]
    assert [DETAILS["description"], None, None] == [line.get("description") for line in parts]


async def test_the_rest_of_a_partly_captured_hold_can_be_voided(api: Api, accounts: tuple[Body, Body]) -> None:
    held = await hold(api, accounts, 60, reference="room 7")
    await capture(api, held, amount_cents=20, final=False)

    voided = await api.post(f"/v1/transactions/{held['id']}/void")

    assert ("captured", 20) == (voided.body["status"], voided.body["captured_cents"])
    assert voided.body == await read(api, held)
    assert (80, 0, 80) == await funds(api, accounts[0])
    again = await api.post("/v1/transactions/hold", {**transfer_body(*accounts, 1), "reference": "room 7"})
    assert ["reference_already_exists"] == again.codes, "money moved under it"


async def test_a_capture_of_the_whole_rest_is_the_last(api: Api, accounts: tuple[Body, Body]) -> None:
    held = await hold(api, accounts, 60)
    await capture(api, held, amount_cents=20, final=False)

    too_much = await capture(api, held, amount_cents=41)
    assert (422, ["/amount_cents"]) == (too_much.status, too_much.pointers)
    last = await capture(api, held, final=False)

    assert ("captured", 60) == (last.body["status"], last.body["captured_cents"])
    again = await capture(api, held)
    assert (409, ["hold_not_pending"]) == (again.status, again.codes)


async def test_a_repeated_capture_gets_the_response_of_the_first(api: Api, accounts: tuple[Body, Body]) -> None:
    held = await hold(api, accounts, 60)
    path, key = f"/v1/transactions/{held['id']}/capture", {"Idempotency-Key": "part"}
    first = await api.post(path, {"amount_cents": 20, "final": False}, headers=key)
    await capture(api, held, amount_cents=5)

    again = await api.post(path, {"amount_cents": 20, "final": False}, headers=key)

    assert (first.body, "true") == (again.body, again.headers["Idempotent-Replayed"])
    assert [20, 5] == await entries_of(api, accounts[1])


async def test_racing_captures_never_move_more_than_is_held(api: Api, accounts: tuple[Body, Body]) -> None:
    held = await hold(api, accounts, 60)

    answers = await asyncio.gather(*(capture(api, held, amount_cents=25, final=False) for _ in range(6)))

    assert [200, 200, 422, 422, 422, 422] == sorted(answer.status for answer in answers)
    assert (50, 10, 40) == await funds(api, accounts[0])


async def test_a_capture_is_found_by_its_own_reference(api: Api, accounts: tuple[Body, Body]) -> None:
    held = await hold(api, accounts, 60, reference="room 7")
    await capture(api, held, amount_cents=20, final=False, reference="parcel 1")

    for reference in ("room 7", "parcel 1"):
        listed = (await api.get("/v1/transactions", params={"reference": reference})).body
        assert [held["id"]] == [row["id"] for row in listed]
        again = await api.post("/v1/transactions/transfer", {**transfer_body(*accounts, 1), "reference": reference})
        assert (409, ["reference_already_exists"]) == (again.status, again.codes)
    assert ["reference_already_exists"] == (await capture(api, held, amount_cents=1, reference="parcel 1")).codes


async def test_a_captured_hold_counts_from_its_capture_and_is_found_by_its_authorization(
    api: Api, accounts: tuple[Body, Body]
) -> None:
    held = await hold(api, accounts, 60)
    between = (await api.transfer(*accounts, 1)).body
    captured = (await capture(api, held, amount_cents=20)).body

    listed = (await api.get("/v1/transactions", params={"account_id": accounts[1]["id"]})).body
    assert [held["id"], between["id"]] == [row["id"] for row in listed]
    moved, placed = captured["settled_at"], captured["created_at"]
    for query, is_found in (
        ({"from_time": moved, "to_time": moved}, True),
        ({"from_time": placed, "to_time": placed}, False),
        ({"authorized_from": placed, "authorized_to": placed}, True),
        ({"authorized_from": placed, "authorized_to": placed, "from_time": moved}, True),
        ({"authorized_from": placed, "authorized_to": placed, "to_time": placed}, False),
        ({"authorized_from": moved}, False),
        ({"min_amount_cents": 20, "max_amount_cents": 20}, True),
        ({"min_amount_cents": 60, "max_amount_cents": 60}, False),
    ):
        for more in ({}, {"account_id": accounts[0]["id"]}, {"currency": "USD"}):
            rows = (await api.get("/v1/transactions", params={**query, **more})).body
            assert is_found == (held["id"] in [row["id"] for row in rows]), (query, more)


# References.


@pytest.mark.parametrize("spelling", ["room 7", "caf\u00e9"])
async def test_the_reference_of_a_voided_hold_is_free_again(
    api: Api, accounts: tuple[Body, Body], spelling: str
) -> None:
    for _ in range(2):
        held = await hold(api, accounts, 10, reference=spelling)
        assert 200 == (await api.post(f"/v1/transactions/{held['id']}/void")).status
    answer = await api.post("/v1/transactions/transfer", {**transfer_body(*accounts, 1), "reference": spelling})
    assert 200 == answer.status
    again = await api.post("/v1/transactions/transfer", {**transfer_body(*accounts, 1), "reference": spelling})
    assert ["reference_already_exists"] == again.codes
    listed = (await api.get("/v1/transactions", params={"reference": spelling})).body
    assert ["posted", "voided", "voided"] == [row["status"] for row in listed]


# Reversals.


async def test_a_transfer_can_be_reversed_in_parts(api: Api, accounts: tuple[Body, Body]) -> None:
    paid = (await api.transfer(*accounts, 60)).body

    first = await reverse(api, paid, amount_cents=20, **DETAILS)
    assert {**DETAILS, "amount_cents": 20, "kind": "reversal", "reverses": paid["id"]}.items() <= first.body.items()
    assert first.body == await read(api, first.body)
    shown = await read(api, paid)
    assert (20, None) == (shown["reversed_cents"], shown.get("reversed_by"))
    too_much = await reverse(api, paid, amount_cents=41)
    assert (422, ["/amount_cents"]) == (too_much.status, too_much.pointers)
    last = await reverse(api, paid)

    assert 40 == last.body["amount_cents"]
    shown = await read(api, paid)
    assert (60, last.body["id"]) == (shown["reversed_cents"], shown["reversed_by"])
    again = await reverse(api, paid, amount_cents=1)
    assert (409, ["transaction_already_reversed"]) == (again.status, again.codes)
    assert (100, 0, 100) == await funds(api, accounts[0])


async def test_racing_reversals_never_move_back_more_than_was_moved(api: Api, accounts: tuple[Body, Body]) -> None:
    paid = (await api.transfer(*accounts, 60)).body
    other = (await api.transfer(*accounts, 40)).body

    answers = await asyncio.gather(*(reverse(api, paid, amount_cents=25) for _ in range(6)))

    assert [200, 200, 422, 422, 422, 422] == sorted(answer.status for answer in answers)
    assert (50, 0, 50) == await funds(api, accounts[0])
    assert "reversed_cents" not in await read(api, other)


async def test_a_hold_with_several_captures_can_be_reversed_once_it_is_over(
    api: Api, accounts: tuple[Body, Body]
) -> None:
    held = await hold(api, accounts, 60)
    await capture(api, held, amount_cents=20, final=False)
    pending = await reverse(api, held)
    assert (409, ["transaction_not_reversible"]) == (pending.status, pending.codes)
    await capture(api, held, amount_cents=10)

    assert [25, 5] == [(await reverse(api, held, **more)).body["amount_cents"] for more in ({"amount_cents": 25}, {})]
    assert (100, 0, 100) == await funds(api, accounts[0])


async def test_a_journal_entry_of_two_postings_has_parts_and_one_of_more_has_none(
    api: Api, accounts: tuple[Body, Body]
) -> None:
    third = await api.new_account()

    async def post(*cents: int) -> Body:
        ids = [accounts[0]["id"], accounts[1]["id"], third["id"]]
        postings = [{"account_id": key, "amount_cents": one} for key, one in zip(ids, cents, strict=False)]
        return dict((await api.post("/v1/transactions", {"postings": postings})).body)

    two, three = await post(-30, 30), await post(-30, 20, 10)

    part = await reverse(api, two, amount_cents=10)
    assert [10, -10] == [posting["amount_cents"] for posting in part.body["postings"]]
    assert 20 == (await reverse(api, two)).body["postings"][0]["amount_cents"]
    refused = await reverse(api, three, amount_cents=10)
    assert (422, ["/amount_cents"]) == (refused.status, refused.pointers)


async def test_the_reversal_to_a_closed_account_goes_to_a_named_one(api: Api, accounts: tuple[Body, Body]) -> None:
    payer, payee = accounts
    other, euros = await api.new_account(), await api.new_account(currency="EUR")
    paid = (await api.transfer(payer, payee, 100)).body
    early = await reverse(api, paid, destination_account_id=other["id"])
    assert (422, ["/destination_account_id"]) == (early.status, early.pointers)
    assert 200 == (await api.delete(f"/v1/accounts/{payer['id']}")).status

    refused = {
        ("account_closed",): {},
        ("currency_mismatch",): {"destination_account_id": euros["id"]},
        ("transfer_destination_account_not_found",): {"destination_account_id": NOBODY},
        ("transfer_accounts_are_same",): {"destination_account_id": payee["id"]},
    }
    for codes, members in refused.items():
        answer = await reverse(api, paid, **members)
        assert (422, list(codes)) == (answer.status, answer.codes)
    back = await reverse(api, paid, destination_account_id=other["id"])

    assert (payee["id"], other["id"]) == (back.body["source_account_id"], back.body["destination_account_id"])
    assert (100, 0, 100) == await funds(api, other)


async def test_the_reversal_of_an_entry_also_goes_to_the_named_account(api: Api, accounts: tuple[Body, Body]) -> None:
    payer, payee = accounts
    other, third = await api.new_account(), await api.new_account(balance_cents=5)
    postings = [
        {"account_id": payer["id"], "amount_cents": -100},
        {"account_id": third["id"], "amount_cents": -5},
        {"account_id": payee["id"], "amount_cents": 105},
    ]
    entry = (await api.post("/v1/transactions", {"postings": postings})).body
    assert 200 == (await api.delete(f"/v1/accounts/{payer['id']}")).status

    back = await reverse(api, entry, destination_account_id=other["id"])

    assert [(other["id"], 100), (third["id"], 5), (payee["id"], -105)] == [
        (posting["account_id"], posting["amount_cents"]) for posting in back.body["postings"]
    ]


# Accounts.


async def test_an_account_that_a_hold_pays_to_cannot_be_closed(api: Api) -> None:
    user = await api.as_new_user("customer")
    accounts = await api.new_account(overdraft_limit_cents=10), await api.new_account(user.user_id)
    held = await hold(api, accounts, 10)

    for path in (f"/v1/accounts/{accounts[1]['id']}", f"/v1/users/{user.user_id}"):
        answer = await api.delete(path)
        assert (409, ["account_not_empty"]) == (answer.status, answer.codes)
    await api.post(f"/v1/transactions/{held['id']}/void")
    assert 200 == (await api.delete(f"/v1/users/{user.user_id}")).status


async def test_racing_holds_and_closings_leave_no_hold_for_a_closed_account(api: Api) -> None:
    payer = await api.new_account(balance_cents=100)
    for _ in range(10):
        payee = await api.new_account()
        held, closed = await asyncio.gather(
            api.post("/v1/transactions/hold", transfer_body(payer, payee, 1)),
            api.delete(f"/v1/accounts/{payee['id']}"),
        )
        assert sorted((held.status, closed.status)) in [[200, 409], [200, 422]]


async def test_a_closed_account_can_be_reopened(api: Api) -> None:
    user = await api.as_new_user("customer")
    account = await api.new_account(user.user_id)
    path = f"/v1/accounts/{account['id']}"
    await api.delete(path)
    closed = (await api.get(path)).body

    opened = await api.post(f"{path}/reopen")

    assert (200, "open") == (opened.status, opened.body["status"])
    assert opened.body == (await api.get(path)).body
    assert ("closed", "open") == (closed["status"], (await api.get(path, params={"at_version": 99})).body["status"])
    assert "closed" == (await api.get(path, params={"at_version": 2})).body["status"]
    assert opened.headers["ETag"] == (await api.post(f"{path}/reopen")).headers["ETag"], "it changes nothing"
    assert 200 == (await api.transfer(await api.new_account(balance_cents=1), account, 1)).status
    assert 404 == (await api.post(f"/v1/accounts/{NOBODY}/reopen")).status


async def test_an_account_of_a_deleted_user_stays_closed(api: Api) -> None:
    user = await api.as_new_user("customer")
    account = await api.new_account(user.user_id)
    await api.delete(f"/v1/users/{user.user_id}")

    answer = await api.post(f"/v1/accounts/{account['id']}/reopen")

    assert (404, ["user_not_found"]) == (answer.status, answer.codes)


async def test_no_new_account_is_in_a_withdrawn_currency(api: Api) -> None:
    user = await api.as_new_user("customer")

    answer = await api.post("/v1/accounts", {"user_id": user.user_id, "currency": "BGN"})

    assert (422, ["/currency"]) == (answer.status, answer.pointers)
    assert 200 == (await api.get("/v1/transactions", params={"currency": "BGN"})).status


# Entries.


async def test_an_account_can_have_several_postings_of_an_entry(api: Api, accounts: tuple[Body, Body]) -> None:
    payer, payee = (account["id"] for account in accounts)
    bank = (await api.new_account())["id"]
    legs = [(payer, -90), (payee, 90), (payer, -10), (bank, 10)]
    postings = [{"account_id": key, "amount_cents": cents} for key, cents in legs]

    entry = await api.post("/v1/transactions", {"postings": postings})

    assert legs == [(row["account_id"], row["amount_cents"]) for row in entry.body["postings"]]
    rows = (await api.get(f"/v1/accounts/{payer}/entries", params={"order": "asc"})).body
    assert [(100, 100), (-90, 10), (-10, 0)] == [(row["amount_cents"], row["balance_cents"]) for row in rows]
    back = await reverse(api, entry.body)
    assert 200 == back.status, back
    assert (100, 0, 100) == await funds(api, accounts[0])


async def test_postings_apply_in_order_and_refusals_name_posting_and_account(
    api: Api, accounts: tuple[Body, Body]
) -> None:
    payer, payee = (account["id"] for account in accounts)
    legs = [(payee, -10), (payer, -101), (payee, 60), (payee, 51), (str(new_id()), -1), (payee, 1)]
    postings = [{"account_id": key, "amount_cents": cents} for key, cents in legs]

    answer = await api.post("/v1/transactions", {"postings": postings})

    assert ["/postings/0", "/postings/1", "/postings/4"] == answer.pointers
    details = [error["detail"] for error in answer.body["errors"]]
    assert [payee, payer, legs[4][0]] == [
        next(value for name, value in detail.items() if name.endswith("account_id")) for detail in details
    ]


async def test_an_entry_of_one_account_is_refused(api: Api, accounts: tuple[Body, Body]) -> None:
    postings = [{"account_id": accounts[0]["id"], "amount_cents": cents} for cents in (-1, 1)]

    answer = await api.post("/v1/transactions", {"postings": postings})

    assert (422, ["transfer_accounts_are_same"]) == (answer.status, answer.codes)


async def test_a_refused_item_of_a_batch_names_the_account_that_is_short(api: Api, accounts: tuple[Body, Body]) -> None:
    items = [transfer_body(*accounts, 1), transfer_body(accounts[1], accounts[0], 5)]
    for atomic in (True, False):
        answer = await api.post("/v1/transactions/batch", {"atomic": atomic, "items": items})
        error = answer.body["errors"][0] if atomic else answer.body["results"][1]["errors"][0]
        assert accounts[1]["id"] == error["detail"]["account_id"]
        assert ("/items/1" if atomic else None) == error["detail"].get("pointer")
