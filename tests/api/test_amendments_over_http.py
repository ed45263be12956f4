"""Admins amend the description and the metadata of transactions; what was said before stays visible."""

from typing import Any

import pytest

from tests.support.controls import Api, transfer_body

TEXTS = {"description": "rent, Mai", "metadata": {"unit": "4", "tenant": "A"}}


def texts_of(body: dict[str, Any]) -> dict[str, Any]:
    return {name: body[name] for name in TEXTS if name in body}


async def pay(api: Api, **members: Any) -> dict[str, Any]:
    source, destination = await api.new_account(balance_cents=100), await api.new_account()
    paid = await api.post("/v1/transactions/transfer", {**transfer_body(source, destination, 5), **members})
    return dict(paid.body)


async def test_an_amendment_changes_what_is_said_and_nothing_else(api: Api) -> None:
    paid = await pay(api, **TEXTS, reference="r")
    path = f"/v1/transactions/{paid['id']}"
    amended = await api.patch(path, {"description": "rent, May", "metadata": {"tenant": "B", "unit": None}})
    assert (200, {"description": "rent, May", "metadata": {"tenant": "B"}}) == (amended.status, texts_of(amended.body))
    assert {**paid, **texts_of(amended.body)} == amended.body == (await api.get(path)).body
    (entry,) = (await api.get(f"/v1/accounts/{paid['destination_account_id']}/entries")).body
    assert texts_of(amended.body) == texts_of(entry)
    (listed,) = (await api.get("/v1/transactions?reference=r")).body
    assert amended.body == listed


async def test_all_texts_stay_visible(api: Api) -> None:
    paid = await pay(api, **TEXTS)
    path = f"/v1/transactions/{paid['id']}"
    assert [(1, TEXTS)] == await history(api, path)
    await api.patch(path, {"description": "rent, May"})
    await api.patch(path, dict.fromkeys(TEXTS))
    expected = [(1, TEXTS), (2, {**TEXTS, "description": "rent, May"}), (3, {})]
    assert expected == await history(api, path)
    assert {} == texts_of((await api.get(path)).body)


async def history(api: Api, path: str) -> list[tuple[int, dict[str, Any]]]:
    return [(one["version"], texts_of(one)) for one in (await api.get(f"{path}/amendments")).body]


async def test_what_changes_nothing_is_no_event_and_a_version_can_be_required(api: Api) -> None:
    path = f"/v1/transactions/{(await pay(api, **TEXTS))['id']}"
    first = (await api.get(path)).headers["ETag"]
    assert first == (await api.patch(path, TEXTS)).headers["ETag"]
    changed = await api.patch(path, {"description": "x"}, headers={"If-Match": first})
    assert (200, True) == (changed.status, first != changed.headers["ETag"])
    assert 412 == (await api.patch(path, {"description": "y"}, headers={"If-Match": first})).status


async def test_every_kind_of_transaction_can_be_amended(api: Api) -> None:
    source, destination = await api.new_account(balance_cents=100), await api.new_account()
    body = transfer_body(source, destination, 5)
    legs = [
        {"account_id": source["id"], "amount_cents": -1},
        {"account_id": destination["id"], "amount_cents": 1},
    ]
    hold = (await api.post("/v1/transactions/hold", body)).body["id"]
    entry = (await api.post("/v1/transactions", {"postings": legs})).body["id"]
    reversal = (await api.post(f"/v1/transactions/{entry}/reverse", {})).body["id"]
    (opening,) = (await api.get("/v1/transactions?kind=opening")).body
    for one in (hold, entry, reversal, opening["id"]):
        amended = await api.patch(f"/v1/transactions/{one}", TEXTS)
        assert (200, TEXTS) == (amended.status, texts_of(amended.body))
    captured = await api.post(f"/v1/transactions/{hold}/capture", {})
    assert (200, "captured") == (captured.status, captured.body["status"])
    assert TEXTS == texts_of((await api.get(f"/v1/transactions/{hold}")).body)


async def test_a_repeated_transfer_is_still_the_one_that_was_made(api: Api) -> None:
    paid = await pay(api, **TEXTS)
    await api.patch(f"/v1/transactions/{paid['id']}", {"description": "other"})
    item = {name: paid[name] for name in ("id", "source_account_id", "destination_account_id", "amount_cents")}
    results = (await api.post("/v1/transactions/batch", {"atomic": False, "items": [{**item, **TEXTS}]})).body[
        "results"
    ]
    assert [(200, True, "other")] == [
        (one["status"], one["replayed"], one["transaction"]["description"]) for one in results
    ]


async def test_customers_see_the_texts_of_their_own_transactions(api: Api) -> None:
    customer = await api.as_new_user("customer")
    own = await api.new_account(customer.user_id, balance_cents=10)
    paid = (await api.transfer(own, await api.new_account(), 1)).body
    path = f"/v1/transactions/{paid['id']}"
    await api.patch(path, {"description": "a gift"})
    assert [(1, {}), (2, {"description": "a gift"})] == await history(customer, path)
    assert 403 == (await customer.patch(path, {"description": "mine"})).status
    other = await pay(api)
    assert 404 == (await customer.get(f"/v1/transactions/{other['id']}/amendments")).status


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"description": ""}, "/description"),
        ({"metadata": {"a": 1}}, "/metadata/a"),
        ({"metadata": {f"k{number}": "" for number in range(51)}}, "/metadata"),
        ({"amount_cents": 1}, "/amount_cents"),
        ({"reference": "r"}, "/reference"),
    ],
    ids=str,
)
async def test_only_texts_can_be_amended(api: Api, body: dict[str, Any], pointer: str) -> None:
    path = f"/v1/transactions/{(await pay(api))['id']}"
    refused = await api.patch(path, body)
    assert (422, [pointer]) == (refused.status, refused.pointers)
    assert 200 == (await api.patch(path, {"metadata": {f"k{number}": "" for number in range(50)}})).status
    assert ["/metadata"] == (await api.patch(path, {"metadata": {"one more": ""}})).pointers
