"""`GET /v1/ledger/flows`: what moved between groups of accounts adds up to what their balances have gained."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.controls import Api
from tests.support.holds import hold
from web.handlers import flows

Body = dict[str, Any]
CODES = ("assets:bank:main", "assets:bank:savings", "Assets:cash", "income:sales", "expenses:rent")


@pytest.fixture
async def accounts(api: Api) -> dict[str, Body]:
    """Return accounts by their codes, each with 1,000; under "" is one without a code."""
    owner = (await api.new_user())["id"]
    found = {code: await api.new_account(owner, balance_cents=1000, code=code) for code in CODES}
    return {**found, "": await api.new_account(owner, balance_cents=1000)}


async def read(api: Api, query: str = "") -> Body:
    answer = await api.get(f"/v1/ledger/flows{query}")
    assert 200 == answer.status, answer
    return dict(answer.body)


def name(node: Body) -> str:
    return str(node.get("code") or node.get("account_id") or f"({node['kind']})")


def sums(found: Body) -> dict[tuple[str, str], int]:
    return {(name(one["source"]), name(one["destination"])): one["amount_cents"] for one in found["flows"]}


async def end(api: Api) -> int:
    return int((await api.get("/v1/ledger/trial-balance")).body["position"])


async def test_groups_are_those_of_the_first_segments(api: Api, accounts: dict[str, Body]) -> None:
    bank, savings, cash, sales, rent = (accounts[code] for code in CODES)
    for pair, cents in (((bank, rent), 100), ((cash, rent), 20), ((sales, bank), 300), ((bank, savings), 7)):
        await api.transfer(*pair, cents)
    await api.transfer(accounts[""], sales, 5)
    found = sums(await read(api))

    openings = {("(world)", group): 1000 for group in ("expenses", "income", "(uncoded)")}
    assert openings | {
        ("(world)", "Assets"): 3000,
        ("Assets", "expenses"): 120,
        ("income", "Assets"): 300,
        ("(uncoded)", "income"): 5,
    } == {tuple(one.replace("assets", "Assets") for one in pair): cents for pair, cents in found.items()}
    below = sums(await read(api, "?depth=2"))
    assert {100, 20} == {cents for pair, cents in below.items() if pair[1] == "expenses:rent" and pair[0] != "(world)"}


async def test_accounts_can_be_the_sides(api: Api, accounts: dict[str, Body]) -> None:
    one, other = accounts["income:sales"], accounts["assets:bank:main"]
    await api.transfer(one, other, 30)
    await api.transfer(one, other, 12)
    found = await read(api, "?by=account")

    assert 42 == sums(found)[one["id"], other["id"]]
    assert [2] == [flow["movements"] for flow in found["flows"] if flow["source"].get("account_id") == one["id"]]


async def test_with_a_prefix_others_are_outside(api: Api, accounts: dict[str, Body]) -> None:
    bank, savings, cash, sales, rent = (accounts[code] for code in CODES)
    await api.transfer(bank, savings, 7)
    await api.transfer(bank, cash, 8)
    await api.transfer(sales, rent, 9)
    found = sums(await read(api, "?prefix=assets:bank"))

    assert {
        ("assets:bank:main", "assets:bank:savings"): 7,
        ("assets:bank:main", "(outside)"): 8,
        ("(outside)", "assets:bank:main"): 1000,
        ("(outside)", "assets:bank:savings"): 1000,
    } == found


async def test_a_journal_entry_is_split_among_its_postings_exactly(api: Api, accounts: dict[str, Body]) -> None:
    amounts = dict(zip(CODES, (-100, -50, 80, 60, 10), strict=True))
    postings = [{"account_id": accounts[code]["id"], "amount_cents": cents} for code, cents in amounts.items()]
    assert 200 == (await api.post("/v1/transactions", {"postings": postings})).status
    split = {
        pair: cents
        for pair, cents in sums(await read(api, "?by=account")).items()
        if pair[0] in {accounts[code]["id"] for code in CODES[:2]}
    }
    ids = [accounts[code]["id"] for code in CODES]

    assert {(ids[0], ids[2]): 80, (ids[0], ids[3]): 20, (ids[1], ids[3]): 40, (ids[1], ids[4]): 10} == split


async def test_captures_move_money_and_holds_do_not(api: Api, accounts: dict[str, Body]) -> None:
    one, other = accounts["income:sales"], accounts["expenses:rent"]
    placed = await hold(api, (one, other), 60)
    assert ("income", "expenses") not in sums(await read(api))
    await api.post(f"/v1/transactions/{placed['id']}/capture", {"amount_cents": 20, "final": False})
    await api.post(f"/v1/transactions/{placed['id']}/capture", {"amount_cents": 5})

    assert 25 == sums(await read(api))["income", "expenses"]


async def test_scheduled_transactions_are_no_flow_yet(api: Api, accounts: dict[str, Body]) -> None:
    one, other = accounts["income:sales"], accounts["expenses:rent"]
    body = {"source_account_id": one["id"], "destination_account_id": other["id"], "amount_cents": 5}
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    planned = await api.post("/v1/transactions/transfer", {**body, "execute_at": tomorrow})
    assert "scheduled" == planned.body["status"]

    assert ("income", "expenses") not in sums(await read(api))


async def test_a_period_and_a_point_in_time_leave_out_the_rest(api: Api, accounts: dict[str, Body]) -> None:
    one, other = accounts["income:sales"], accounts["expenses:rent"]
    first = (await api.transfer(one, other, 1)).body
    second = (await api.transfer(one, other, 2)).body
    middle = await end(api)
    await api.transfer(one, other, 4)

    assert {("income", "expenses"): 6} == sums(await read(api, f"?from={second['created_at']}"))
    assert 1 == sums(await read(api, f"?to={first['created_at']}"))["income", "expenses"]
    assert 3 == sums(await read(api, f"?at_position={middle}"))["income", "expenses"]
    assert {"flows": [], "others": []}.items() <= (await read(api, "?to=2020-01-01")).items()


async def test_codes_are_those_of_the_point_in_time(api: Api, accounts: dict[str, Body]) -> None:
    one, other = accounts["income:sales"], accounts["expenses:rent"]
    await api.transfer(one, other, 3)
    then = await end(api)
    await api.patch(f"/v1/accounts/{other['id']}", {"code": "costs:rent"})

    assert ("income", "expenses") in sums(await read(api, f"?at_position={then}"))
    assert ("income", "costs") in sums(await read(api))


async def test_the_rest_is_added_up_by_currency(api: Api, accounts: dict[str, Body]) -> None:
    del accounts
    euros = [await api.new_account(balance_cents=100, currency="EUR") for _ in range(3)]
    await api.transfer(euros[0], euros[1], 50)
    await api.transfer(euros[1], euros[2], 20)
    whole = await read(api, "?by=account")
    found = await read(api, "?by=account&most=3")

    assert ([], 3) == (whole["others"], len(found["flows"]))
    for currency in ("EUR", "USD"):
        every = sum(one["amount_cents"] for one in whole["flows"] if one["currency"] == currency)
        shown = sum(one["amount_cents"] for one in found["flows"] if one["currency"] == currency)
        others = [one for one in found["others"] if one["currency"] == currency]
        assert every == shown + sum(one["amount_cents"] for one in others)
    assert len(whole["flows"]) == 3 + sum(one["flows"] for one in found["others"])
    only = await read(api, "?by=account&currency=EUR")
    assert {"EUR"} == {one["currency"] for one in only["flows"]}


async def test_flows_add_up_to_the_balances(api: Api, accounts: dict[str, Body]) -> None:
    ids = [account["id"] for account in accounts.values()]
    for number in range(6):
        await api.transfer(ids[number % 6], ids[(number * 2 + 1) % 6], number + 1)
    postings = [
        {"account_id": one, "amount_cents": cents} for one, cents in zip(ids, (-9, 4, -3, 6, 1, 1), strict=True)
    ]
    await api.post("/v1/transactions", {"postings": postings})
    found = sums(await read(api, "?by=account&most=200"))

    for account_id in ids:
        gained = sum(cents for pair, cents in found.items() if pair[1] == account_id)
        spent = sum(cents for pair, cents in found.items() if pair[0] == account_id)
        assert await api.balance({"id": account_id}) == gained - spent


async def test_a_period_of_too_many_events_is_refused(
    api: Api, accounts: dict[str, Body], monkeypatch: pytest.MonkeyPatch
) -> None:
    del accounts
    monkeypatch.setattr(flows, "MAX_EVENTS", 3)
    answer = await api.get("/v1/ledger/flows")

    assert (422, ["query from"]) == (answer.status, answer.parameters)
    assert 200 == (await api.get("/v1/ledger/flows?to=2020-01-01")).status
