"""Balances, statements and sums by effective date, over HTTP."""

from typing import Any

import pytest

from tests.support.controls import Api, Response, transfer_body
from tests.support.dates import age
from tests.support.paging import all_items, next_path

Accounts = tuple[dict[str, Any], dict[str, Any]]
MARCH, APRIL, MAY = "2026-03-15", "2026-04-10T12:00:00Z", "2026-05-01"


@pytest.fixture
async def accounts(api: Api) -> Accounts:
    """Return two accounts, between which money moved with effective times that are not in order."""
    accounts = await api.new_account(balance_cents=1000), await api.new_account()
    for cents, effective_at in ((1, MAY), (20, MARCH), (300, None), (4, APRIL)):
        named = {} if effective_at is None else {"effective_at": effective_at}
        posted = await api.post("/v1/transactions/transfer", {**transfer_body(*accounts, cents), **named})
        assert 200 == posted.status
    return accounts


async def balance(api: Api, account: dict[str, Any], **parameters: Any) -> int:
    answer = await api.get(f"/v1/accounts/{account['id']}", params=parameters)
    assert 200 == answer.status, answer.body
    return int(answer.body["balance_cents"])


async def entries(api: Api, account: dict[str, Any], **parameters: Any) -> Response:
    return await api.get(f"/v1/accounts/{account['id']}/entries", params=parameters)


@pytest.mark.parametrize(
    ("effective_at", "cents"),
    [
        ("2026-03-14", 0),
        ("2026-03-14T23:59:59.999999Z", 0),
        ("2026-03-15T00:00:00Z", 20),
        (MARCH, 20),
        ("2026-04-09", 20),
        ("2026-04-10T11:59:59.999999Z", 20),
        (APRIL, 24),
        ("2026-04-10", 24),
        ("2026-04-30", 24),
        (MAY, 25),
        ("9999-12-31", 325),
        ("0001-01-01T00:00:00Z", 0),
    ],
)
async def test_a_balance_as_of_an_effective_date_is_that_of_what_counts_by_then(
    api: Api, accounts: Accounts, effective_at: str, cents: int
) -> None:
    assert cents == await balance(api, accounts[1], effective_at=effective_at)
    assert -cents == await balance(api, accounts[0], effective_at=effective_at) - (1000 if cents == 325 else 0)


async def test_an_effective_date_at_a_point_in_time_shows_what_was_known_then(api: Api, accounts: Accounts) -> None:
    rows = (await entries(api, accounts[1], order="asc")).body

    known = [await balance(api, accounts[1], effective_at=MAY, at_position=row["position"]) for row in rows]
    assert [1, 21, 21, 25] == known
    at = await api.get(
        f"/v1/accounts/{accounts[1]['id']}", params={"effective_at": MAY, "at_time": rows[1]["created_at"]}
    )
    assert (21, rows[1]["position"]) == (at.body["balance_cents"], at.body["position"])
    assert "2026-05-01T23:59:59.999999Z" == at.body["effective_at"]
    version = await balance(api, accounts[1], effective_at=MAY, at_version=rows[0]["version"])
    assert 1 == version


@pytest.mark.usefixtures("accounts")
async def test_the_list_and_the_trial_balance_are_those_of_the_effective_date(api: Api) -> None:
    listed = (await api.get("/v1/accounts", params={"effective_at": APRIL, "world": "true"})).body
    assert sorted([24, -24, 0]) == sorted(row["balance_cents"] for row in listed)
    sums = (await api.get("/v1/ledger/trial-balance", params={"effective_at": APRIL})).body
    assert (True, 24) == (sums["balanced"], sums["currencies"][0]["credit_cents"])
    refused = await api.get("/v1/accounts", params={"effective_at": APRIL, "currency": "USD"})
    assert (422, ["query currency"]) == (refused.status, refused.parameters)


async def test_a_statement_by_effective_date_has_the_balance_after_each_entry(api: Api, accounts: Accounts) -> None:
    ascending = (await entries(api, accounts[1], by="effective", order="asc")).body
    assert [(20, 20), (4, 24), (1, 25), (300, 325)] == [
        (row["amount_cents"], row["balance_cents"]) for row in ascending
    ]
    assert ascending[::-1] == (await entries(api, accounts[1], by="effective")).body
    assert ascending[-1]["created_at"] == ascending[-1]["effective_at"]
    period = {"from_time": "2026-04-01", "to_time": "2026-04-30", "by": "effective"}
    assert [ascending[1]] == (await entries(api, accounts[1], **period)).body
    assert ascending[1::-1] == (await entries(api, accounts[1], effective_at="2026-04-30")).body
    then = await entries(api, accounts[1], by="effective", at_position=ascending[0]["position"])
    assert [(1, 21), (20, 20)] == [(row["amount_cents"], row["balance_cents"]) for row in then.body]


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_the_pages_of_a_statement_show_what_was_known_at_the_first(
    api: Api, accounts: Accounts, order: str
) -> None:
    whole = (await entries(api, accounts[1], by="effective", order=order)).body
    first = await entries(api, accounts[1], by="effective", order=order, limit=1)
    backdated = {**transfer_body(*accounts, 7), "effective_at": "2026-04-20"}
    assert 200 == (await api.post("/v1/transactions/transfer", backdated)).status

    assert whole == [*first.body, *await all_items(api, next_path(first))]


async def test_captures_and_reversals_count_at_their_own_effective_times(api: Api) -> None:
    source, destination = await api.new_account(balance_cents=100), await api.new_account()
    placed = {**transfer_body(source, destination, 50), "effective_at": "2026-01-01"}
    held = (await api.post("/v1/transactions/hold", placed)).body
    path = f"/v1/transactions/{held['id']}"
    await api.post(f"{path}/capture", {"amount_cents": 10, "final": False, "effective_at": "2026-02-01"})
    await api.post(f"{path}/capture", {"amount_cents": 5, "final": True})
    await api.post(f"{path}/reverse", {"amount_cents": 3, "effective_at": "2026-02-03"})

    days = ("2026-01-31", "2026-02-01", "2026-02-03")
    assert [0, 10, 7] == [await balance(api, destination, effective_at=day) for day in days]
    assert 12 == await balance(api, destination)
    rows = (await entries(api, destination, order="asc")).body
    assert ["2026-02-01T00:00:00.000000Z", None, "2026-02-03T00:00:00.000000Z"] == [
        row.get("effective_at") for row in rows
    ]


async def test_a_customer_sees_nothing_of_the_time_of_another_owner(
    api: Api, accounts: Accounts, connection: Any
) -> None:
    """A transfer that the new owner dates back would otherwise show the balance of that day."""
    customer = await api.as_new_user("customer")
    me = (await customer.get("/v1/auth/sessions")).body[0]["user_id"]
    changed = await api.patch(f"/v1/accounts/{accounts[1]['id']}", {"user_id": me})
    assert 200 == changed.status
    early = "2020-01-15T00:00:00Z"
    for dated in ({"effective_at": early}, {}):
        body = {**transfer_body(accounts[1], accounts[0], 2), **dated}
        assert 200 == (await customer.post("/v1/transactions/transfer", body)).status
    await age(connection)  # the account changed hands after that day

    path = f"/v1/accounts/{accounts[1]['id']}"
    assert [(-2, 296)] == [
        (row["amount_cents"], row["balance_cents"])
        for row in (await entries(customer, accounts[1], by="effective")).body
    ]
    assert 2 == len((await entries(customer, accounts[1])).body)
    assert [404, 200] == [
        (await customer.get(path, params={"effective_at": moment})).status for moment in (early, "9999-12-31")
    ]
    assert [] == (await customer.get("/v1/accounts", params={"effective_at": early})).body


@pytest.mark.parametrize(
    "parameters",
    [
        {"by": "effective", "from_version": 1},
        {"by": "effective", "before": 3},
        {"effective_at": MAY, "after": 3},
        {"by": "recorded", "effective_at": MAY},
    ],
)
async def test_parameters_of_both_orders_are_not_mixed(
    api: Api, accounts: Accounts, parameters: dict[str, Any]
) -> None:
    refused = await entries(api, accounts[1], **parameters)
    assert (422, [f"query {list(parameters)[-1]}"]) == (refused.status, refused.parameters)
