"""Assets beside the currencies of ISO 4217: registered once, then accepted wherever a currency is."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ledger.settings import Settings
from tests.support.controls import Api, Response, new_id

Body = dict[str, Any]
Serve = Callable[..., Awaitable[Api]]
HOURS: Body = {"code": "HOURS", "name": "Hours of work", "digits": 4}


async def register(api: Api, **members: Any) -> Response:
    return await api.post("/v1/assets", {**HOURS, **members})


async def test_accounts_hold_a_registered_asset(api: Api) -> None:
    registered = await register(api)
    first = await api.new_account(balance_cents=7_5000, currency="HOURS")
    second = await api.new_account(currency="HOURS")
    moved = await api.transfer(first, second, 2_5000)

    assert (201, "/v1/assets/HOURS", '"1"') == (
        registered.status,
        registered.headers["Location"],
        registered.headers["ETag"],
    )
    assert {**HOURS, "source": "registered", "created_at": registered.body["created_at"]} == registered.body
    assert registered.body == (await api.get("/v1/assets/HOURS")).body
    assert (200, "HOURS") == (moved.status, moved.body["currency"])
    (sums,) = (await api.get("/v1/ledger/trial-balance")).body["currencies"]
    assert ("HOURS", 7_5000, 0) == (sums["currency"], sums["credit_cents"], sums["sum_cents"])


async def test_a_currency_without_registration_is_refused(api: Api) -> None:
    user = await api.new_user()
    refused = await api.post("/v1/accounts", {"user_id": user["id"], "currency": "HOURS"})
    assert (422, ["/currency"]) == (refused.status, refused.pointers)
    await register(api)
    assert 201 == (await api.post("/v1/accounts", {"user_id": user["id"], "currency": "HOURS"})).status


@pytest.mark.parametrize("code", ["HOURS", "EUR", "BGN"])
async def test_a_code_is_registered_once_and_is_no_currency(api: Api, code: str) -> None:
    await register(api)
    again = await register(api, code=code)
    assert (409, ["asset_already_exists"], ["/code"]) == (again.status, again.codes, again.pointers)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        *(("code", code) for code in ("", "hours", "1A", "A" * 17, "A.", "A B", "Ä", "TRUE", "FALSE", "NULL", 7)),
        *(("digits", digits) for digits in (-1, 19, "2", 2.0, None)),
        *(("name", name) for name in ("", "x" * 201, "a\nb", None)),
    ],
)
async def test_an_asset_has_a_code_a_name_and_digits(api: Api, member: str, value: object) -> None:
    refused = await register(api, **{member: value})
    assert (422, [f"/{member}"]) == (refused.status, refused.pointers)


async def test_currencies_are_listed_after_registered_assets(api: Api) -> None:
    for code in ("HOURS", "X", "A.B-C_D9"):
        await register(api, code=code)

    everything = (await api.get("/v1/assets")).body
    pages, path = list[Body](), "/v1/assets?limit=50"
    while path:
        page = await api.get(path)
        pages += page.body
        path = page.headers["Link"].partition(">")[0].removeprefix("<") if "Link" in page.headers else ""

    assert everything == pages
    assert ["A.B-C_D9", "X", "HOURS", "AED", "AFN"] == [asset["code"] for asset in everything[:5]]
    assert {"code": "JPY", "digits": 0, "source": "iso4217"} == (await api.get("/v1/assets/JPY")).body
    missing = await api.get("/v1/assets/POINTS")
    assert (404, ["resource_not_found"]) == (missing.status, missing.codes)
    assert {"code": "POINTS"} == missing.body["errors"][0]["detail"]


async def test_lists_are_filtered_by_an_asset(api: Api) -> None:
    await register(api)
    account, other = await api.new_account(balance_cents=5, currency="HOURS"), await api.new_account(currency="HOURS")
    await api.new_account(balance_cents=5)
    moved = (await api.transfer(account, other, 1)).body

    accounts = (await api.get("/v1/accounts?currency=HOURS")).body
    transactions = (await api.get("/v1/transactions?currency=HOURS&min_amount_cents=1&max_amount_cents=1")).body

    assert [other["id"], account["id"]] == [each["id"] for each in accounts]
    assert [moved["id"]] == [each["id"] for each in transactions]
    for path in ("/v1/accounts", "/v1/transactions"):
        refused = await api.get(f"{path}?currency=POINTS")
        assert (422, ["query currency"]) == (refused.status, refused.parameters)


async def test_money_does_not_become_another_asset(api: Api) -> None:
    await register(api)
    hours, dollars = await api.new_account(balance_cents=5, currency="HOURS"), await api.new_account(balance_cents=5)
    refused = await api.transfer(hours, dollars, 1)
    changed = await api.put(f"/v1/accounts/{hours['id']}", {"currency": "USD"})
    assert [(422, ["currency_mismatch"])] * 2 == [(each.status, each.codes) for each in (refused, changed)]


async def test_a_registration_can_be_repeated_under_its_key(api: Api) -> None:
    key = {"Idempotency-Key": str(new_id())}
    first, second = [await api.post("/v1/assets", HOURS, headers=key) for _ in range(2)]
    assert (201, first.body, "true") == (second.status, second.body, second.headers["Idempotent-Replayed"])
    sent_back = await api.post("/v1/assets", {**first.body, "code": "DAYS"})
    assert 201 == sent_back.status


async def test_an_asset_can_be_the_default_currency(api: Api, serve: Serve, settings: Settings) -> None:
    await register(api)
    other = await serve(settings.model_copy(update={"ledger_default_currency": "HOURS"}))
    assert "HOURS" == (await other.new_account())["currency"]


async def test_of_registrations_at_once_one_succeeds(api: Api) -> None:
    answers = await asyncio.gather(*(register(api, digits=digits) for digits in range(5)))
    (first,) = (answer for answer in answers if answer.status == 201)
    assert [409] * 4 == [answer.status for answer in answers if answer is not first]
    assert first.body == (await api.get("/v1/assets/HOURS")).body
