"""Accounts over HTTP: every balance is the sum of transfers, and access to accounts depends on the role."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from ledger.events.accounts import world_account_id
from ledger.money import MAX_CENTS
from ledger.settings import Settings
from tests.support.controls import NOBODY, Api, Response, new_id, transfer_body

Serve = Callable[[Settings], Awaitable[Api]]

FUNDS = {"balance_cents", "held_cents", "available_cents", "overdraft_limit_cents", "max_balance_cents", "frozen"}
MEMBERS = {"id", "user_id", *FUNDS, "currency", "status", "created_at", "updated_at"}
RFC3339 = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
WORLD = str(world_account_id("USD"))


def assert_not_found(answer: Response, account_id: str) -> None:
    assert 404 == answer.status
    (entry,) = answer.body["errors"]
    assert ("resource_not_found", "resource_not_found") == (entry["code"], entry["kind"])
    assert (f"account not found: {account_id}", {"account_id": account_id}) == (entry["message"], entry["detail"])


async def pages(api: Api, path: str) -> list[list[dict[str, Any]]]:
    """Return all pages, following the links."""
    found, answer = [], await api.get(path)
    while True:
        assert 200 == answer.status
        found.append(answer.body)
        link = re.fullmatch(r'<([^>]+)>; rel="next"', answer.headers.get("Link", ""))
        if link is None:
            return found
        answer = await api.get(link[1])


async def totals(api: Api) -> dict[str, int]:
    """Return the sum of all balances, by currency."""
    sums: dict[str, int] = {}
    for account in [account for page in await pages(api, "/v1/accounts?world=true") for account in page]:
        sums[account["currency"]] = sums.get(account["currency"], 0) + account["balance_cents"]
    return sums


async def transfers_of(connection: "asyncpg.Connection[Any]", account: dict[str, Any]) -> list[str]:
    rows = await connection.fetch(
        "SELECT id FROM transfers WHERE $1 IN (source_account_id, destination_account_id) ORDER BY position",
        account["id"],
    )
    return [str(row["id"]) for row in rows]


# Opening


async def test_an_opened_account_can_be_read_again(api: Api) -> None:
    user = await api.new_user()

    made = await api.post("/v1/accounts", {"user_id": user["id"]})

    assert (201, MEMBERS) == (made.status, made.body.keys())
    assert {"user_id": user["id"], "balance_cents": 0, "currency": "USD", "status": "open"}.items() <= made.body.items()
    assert made.body == (await api.get(f"/v1/accounts/{made.body['id']}")).body
    assert made.body["created_at"] == made.body["updated_at"]
    assert re.fullmatch(RFC3339, made.body["created_at"])


async def test_an_account_with_an_opening_balance_can_be_read_again(api: Api) -> None:
    account = await api.new_account(balance_cents=100, currency="EUR")

    assert (100, "EUR") == (account["balance_cents"], account["currency"])
    assert account == (await api.get(f"/v1/accounts/{account['id']}")).body


async def test_the_client_may_choose_the_id(api: Api) -> None:
    chosen = str(new_id())

    assert chosen == (await api.new_account(id=chosen))["id"]


async def test_the_settings_define_the_default_currency(serve: Serve, settings: Settings) -> None:
    api = await serve(settings.model_copy(update={"ledger_default_currency": "CHF"}))

    assert "CHF" == (await api.new_account())["currency"]


async def test_read_only_members_are_accepted_and_ignored_when_opening(api: Api) -> None:
    user = await api.new_user()
    body = {"id": None, "user_id": user["id"], "balance_cents": None, "currency": None}

    made = await api.post("/v1/accounts", {**body, "status": "closed", "created_at": None, "updated_at": "never"})

    assert (201, "open", 0, "USD") == (
        made.status,
        made.body["status"],
        made.body["balance_cents"],
        made.body["currency"],
    )


async def test_an_unknown_owner_is_not_found(api: Api) -> None:
    gone = await api.new_user()
    await api.delete(f"/v1/users/{gone['id']}")

    for owner in (NOBODY, gone["id"]):
        refused = await api.post("/v1/accounts", {"user_id": owner, "balance_cents": 5})

        assert (404, ["user_not_found"]) == (refused.status, refused.codes)
        assert {"user_id": owner} == refused.body["errors"][0]["detail"]
    assert [] == (await api.get("/v1/accounts")).body


async def test_the_id_of_a_closed_account_stays_taken(api: Api) -> None:
    taken, closed = await api.new_account(balance_cents=7), await api.new_account()
    await api.delete(f"/v1/accounts/{closed['id']}")

    for account in (taken, closed):
        refused = await api.post("/v1/accounts", {"id": account["id"], "user_id": account["user_id"]})

        assert (409, ["account_already_exists"]) == (refused.status, refused.codes)
        assert ("conflict", {"account_id": account["id"]}) == (
            refused.body["errors"][0]["kind"],
            refused.body["errors"][0]["detail"],
        )
    assert 7 == await api.balance(taken)


async def test_only_one_of_racing_accounts_gets_an_id(serve: Serve, settings: Settings) -> None:
    """The requests reach two workers."""
    workers = [await serve(settings), await serve(settings)]
    body = {"id": str(new_id()), "user_id": (await workers[0].new_user())["id"], "balance_cents": 10}

    answers = await asyncio.gather(*(workers[number % 2].post("/v1/accounts", body) for number in range(6)))

    assert [201, 409, 409, 409, 409, 409] == sorted(answer.status for answer in answers)
    assert 10 == await workers[0].balance(body)
    assert {"USD": 0} == await totals(workers[0])


@pytest.mark.parametrize("member", ["id", "user_id"])
async def test_an_id_of_another_kind_is_neither_account_nor_owner(api: Api, member: str) -> None:
    account, user = await api.new_account(), await api.new_user()
    members = {"id": {"id": user["id"]}, "user_id": {"user_id": account["id"]}}[member]

    refused = await api.post("/v1/accounts", {"user_id": user["id"], **members})

    assert (refused.status, refused.codes) == {
        "id": (409, ["account_already_exists"]),
        "user_id": (404, ["user_not_found"]),
    }[member]


# Where money comes from


async def test_an_opening_balance_is_transferred_from_world(api: Api, connection: "asyncpg.Connection[Any]") -> None:
    """Lesson 7."""
    account = await api.new_account(balance_cents=100)

    (transaction_id,) = await transfers_of(connection, account)
    transfer = await api.get(f"/v1/transactions/{transaction_id}")

    assert 200 == transfer.status
    assert {
        "source_account_id": WORLD,
        "destination_account_id": account["id"],
        "amount_cents": 100,
        "kind": "opening",
        "created_at": account["created_at"],
    }.items() <= transfer.body.items()


async def test_opening_an_account_at_zero_appends_no_transfer(api: Api, connection: "asyncpg.Connection[Any]") -> None:
    await api.new_account(balance_cents=0)

    assert 0 == await connection.fetchval("SELECT count(*) FROM transfers")


async def test_all_balances_sum_to_zero_in_every_currency(api: Api) -> None:
    """Lesson 7."""
    alice, bob = await api.new_account(balance_cents=100), await api.new_account(balance_cents=23)
    await api.new_account(balance_cents=5, currency="EUR")
    await api.transfer(alice, bob, 30)
    await api.put(f"/v1/accounts/{bob['id']}", {"balance_cents": 1000})
    await api.put(f"/v1/accounts/{alice['id']}", {"balance_cents": 0})

    world = (await api.get(f"/v1/accounts/{WORLD}")).body

    assert {"USD": 0, "EUR": 0} == await totals(api)
    assert (-1000, None, "open") == (world["balance_cents"], world["user_id"], world["status"])
    assert world in (await api.get("/v1/accounts?world=true")).body


@pytest.mark.parametrize(
    ("balance", "source", "destination", "amount"),
    [(150, WORLD, None, 50), (30, None, WORLD, 70), (0, None, WORLD, 100)],
)
async def test_setting_a_balance_appends_an_adjustment(
    api: Api,
    connection: "asyncpg.Connection[Any]",
    balance: int,
    source: str | None,
    destination: str | None,
    amount: int,
) -> None:
    """Lesson 7."""
    account = await api.new_account(balance_cents=100)

    changed = await api.put(f"/v1/accounts/{account['id']}", {**account, "balance_cents": balance})

    assert (200, balance) == (changed.status, changed.body["balance_cents"])
    _, transaction_id = await transfers_of(connection, account)
    transfer = (await api.get(f"/v1/transactions/{transaction_id}")).body
    assert ("adjustment", amount) == (transfer["kind"], transfer["amount_cents"])
    assert (source or account["id"], destination or account["id"]) == (
        transfer["source_account_id"],
        transfer["destination_account_id"],
    )
    assert {"USD": 0} == await totals(api)


async def test_racing_balance_changes_leave_one_balance_and_create_no_money(api: Api) -> None:
    """Lesson 1."""
    account, other = await api.new_account(balance_cents=100), await api.new_account()
    path = f"/v1/accounts/{account['id']}"

    answers = await asyncio.gather(
        *(api.put(path, {"balance_cents": cents}) for cents in (10, 20, 30)),
        *(api.transfer(account, other, 1) for _ in range(5)),
    )

    moved = sum(answer.status == 200 for answer in answers[3:])
    assert [200, 200, 200] == [answer.status for answer in answers[:3]]
    assert (moved, {"USD": 0}) == (await api.balance(other), await totals(api))


async def test_an_opening_balance_can_be_the_maximum(api: Api) -> None:
    account = await api.new_account(balance_cents=MAX_CENTS)

    assert (MAX_CENTS, -MAX_CENTS) == (await api.balance(account), await api.balance({"id": WORLD}))


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_money_beyond_the_maximum_is_refused_by_the_name_of_the_member(api: Api, method: str) -> None:
    """Lesson 7: world would fall below -(2^53 - 1)."""
    await api.new_account(balance_cents=MAX_CENTS)
    account = await api.new_account()
    path = "/v1/accounts" if method == "POST" else f"/v1/accounts/{account['id']}"

    refused = await api.call(method, path, {"user_id": account["user_id"], "balance_cents": 1})

    assert (422, ["validation_error"], ["/balance_cents"]) == (refused.status, refused.codes, refused.pointers)
    assert {"USD": 0} == await totals(api)


# The ledger's own account


@pytest.mark.parametrize("body", [{"balance_cents": 0}, {"user_id": "somebody"}, {}])
async def test_world_cannot_be_changed(api: Api, body: dict[str, Any]) -> None:
    await api.new_account(balance_cents=100)
    somebody = await api.new_user()
    world = (await api.get(f"/v1/accounts/{WORLD}")).body

    refused = await api.put(
        f"/v1/accounts/{WORLD}", {**body, **({"user_id": somebody["id"]} if "user_id" in body else {})}
    )

    assert (422, ["validation_error"]) == (refused.status, refused.codes)
    assert world == (await api.get(f"/v1/accounts/{WORLD}")).body


@pytest.mark.parametrize("balance", [0, 100])
async def test_world_cannot_be_closed_not_even_at_zero(api: Api, balance: int) -> None:
    account = await api.new_account(balance_cents=100)
    await api.put(f"/v1/accounts/{account['id']}", {"balance_cents": balance})

    refused = await api.delete(f"/v1/accounts/{WORLD}")

    assert (422, ["validation_error"]) == (refused.status, refused.codes)
    assert "open" == (await api.get(f"/v1/accounts/{WORLD}")).body["status"]


async def test_nobody_can_own_world_by_choosing_its_id(api: Api) -> None:
    """A currency has no world account until the first money, so its id is still free."""
    user = await api.new_user()
    world = str(world_account_id("EUR"))

    refused = await api.post("/v1/accounts", {"id": world, "user_id": user["id"], "currency": "EUR"})
    await api.new_account(balance_cents=5, currency="EUR")

    read = (await api.get(f"/v1/accounts/{world}")).body
    assert refused.status in {409, 422}
    assert (None, -5) == (read["user_id"], read["balance_cents"])


async def test_nobody_can_take_the_stream_of_world_by_choosing_the_id_of_a_transfer(api: Api) -> None:
    """A customer can choose transaction ids, but must not block an id that the ledger derives."""
    customer = await api.as_new_user("customer")
    source, destination = await api.new_account(customer.user_id, balance_cents=10), await api.new_account()
    world = str(world_account_id("EUR"))

    refused = await customer.post("/v1/transactions/transfer", {**transfer_body(source, destination, 1), "id": world})
    owner = (await api.new_user())["id"]
    opened = [
        await api.post("/v1/accounts", {"user_id": owner, "balance_cents": 5, "currency": "EUR"}) for _ in range(2)
    ]

    assert refused.status in {409, 422}
    assert [201, 201] == [answer.status for answer in opened]


# Changing


async def test_a_body_that_was_read_can_be_sent_back(api: Api, connection: "asyncpg.Connection[Any]") -> None:
    account = await api.new_account(balance_cents=100)
    before = await connection.fetchval("SELECT count(*) FROM stored_events")

    for nulls in [(), ("created_at", "updated_at", "status"), ("id", "user_id", "balance_cents", "currency")]:
        changed = await api.put(f"/v1/accounts/{account['id']}", {**account, **dict.fromkeys(nulls)})

        assert (200, account) == (changed.status, changed.body)
    assert before == await connection.fetchval("SELECT count(*) FROM stored_events")


async def test_the_status_cannot_be_set(api: Api) -> None:
    account = await api.new_account()

    changed = await api.put(f"/v1/accounts/{account['id']}", {**account, "status": "closed"})

    assert (200, "open") == (changed.status, changed.body["status"])


async def test_a_new_owner_gets_the_account_with_its_money(api: Api) -> None:
    before, after = await api.as_new_user("customer"), await api.as_new_user("customer")
    account = await api.new_account(before.user_id, balance_cents=100)
    path = f"/v1/accounts/{account['id']}"

    changed = await api.put(path, {**account, "user_id": after.user_id})

    assert (200, after.user_id, 100) == (changed.status, changed.body["user_id"], changed.body["balance_cents"])
    assert_not_found(await before.get(path), account["id"])
    assert changed.body == (await after.get(path)).body


async def test_owner_and_balance_change_together(api: Api) -> None:
    account, user = await api.new_account(balance_cents=1), await api.new_user()

    changed = await api.put(f"/v1/accounts/{account['id']}", {"user_id": user["id"], "balance_cents": 2})

    assert (200, user["id"], 2) == (changed.status, changed.body["user_id"], changed.body["balance_cents"])
    assert changed.body == (await api.get(f"/v1/accounts/{account['id']}")).body


async def test_an_account_cannot_be_given_to_an_unknown_owner(api: Api) -> None:
    account = await api.new_account(balance_cents=1)

    refused = await api.put(f"/v1/accounts/{account['id']}", {"user_id": NOBODY, "balance_cents": 2})

    assert (404, ["user_not_found"]) == (refused.status, refused.codes)
    assert account == (await api.get(f"/v1/accounts/{account['id']}")).body


async def test_an_account_keeps_its_currency(api: Api) -> None:
    account = await api.new_account(balance_cents=1)

    refused = await api.put(f"/v1/accounts/{account['id']}", {**account, "currency": "EUR"})

    assert (422, ["currency_mismatch"]) == (refused.status, refused.codes)
    assert account == (await api.get(f"/v1/accounts/{account['id']}")).body


async def test_an_id_in_the_body_that_differs_from_the_path_is_refused(api: Api) -> None:
    account, other = await api.new_account(), await api.new_account()

    refused = await api.put(f"/v1/accounts/{account['id']}", {**account, "id": other["id"]})

    assert (422, ["id_mismatch"], ["/id"]) == (refused.status, refused.codes, refused.pointers)


async def test_an_unknown_account_is_not_found(api: Api) -> None:
    user = await api.new_user()

    for unknown in (NOBODY, user["id"]):
        assert_not_found(await api.get(f"/v1/accounts/{unknown}"), unknown)
        assert_not_found(await api.put(f"/v1/accounts/{unknown}", {"balance_cents": 1}), unknown)
        assert_not_found(await api.delete(f"/v1/accounts/{unknown}"), unknown)


# Closing


async def test_a_closed_account_stays_readable(api: Api, connection: "asyncpg.Connection[Any]") -> None:
    account = await api.new_account(balance_cents=5)
    await api.put(f"/v1/accounts/{account['id']}", {"balance_cents": 0})

    closed = await api.delete(f"/v1/accounts/{account['id']}")

    assert (200, "") == (closed.status, closed.body)
    read = (await api.get(f"/v1/accounts/{account['id']}")).body
    assert ("closed", 0, account["user_id"]) == (read["status"], read["balance_cents"], read["user_id"])
    assert read in (await api.get("/v1/accounts")).body
    history = [(await api.get(f"/v1/transactions/{id_}")).status for id_ in await transfers_of(connection, account)]
    assert [200, 200] == history


async def test_an_account_with_money_cannot_be_closed(api: Api) -> None:
    account = await api.new_account(balance_cents=1)

    refused = await api.delete(f"/v1/accounts/{account['id']}")

    assert (409, ["account_not_empty"]) == (refused.status, refused.codes)
    entry = refused.body["errors"][0]
    assert ("conflict", {"account_id": account["id"]}) == (entry["kind"], entry["detail"])
    assert account == (await api.get(f"/v1/accounts/{account['id']}")).body


async def test_a_closed_account_cannot_be_changed_or_closed_again(api: Api) -> None:
    account = await api.new_account()
    path = f"/v1/accounts/{account['id']}"
    await api.delete(path)

    for refused in (await api.put(path, {"balance_cents": 1}), await api.put(path, account), await api.delete(path)):
        assert (422, ["account_closed"]) == (refused.status, refused.codes)
        entry = refused.body["errors"][0]
        assert ("validation_error", {"account_id": account["id"]}) == (entry["kind"], entry["detail"])


async def test_only_one_of_racing_closings_succeeds(api: Api) -> None:
    """Lesson 8: an account can be closed only once."""
    account = await api.new_account()

    answers = await asyncio.gather(*(api.delete(f"/v1/accounts/{account['id']}") for _ in range(4)))

    assert [200, 422, 422, 422] == sorted(answer.status for answer in answers)


async def test_a_transfer_racing_with_a_closing_loses_no_money(api: Api) -> None:
    source, closing = await api.new_account(balance_cents=10), await api.new_account()

    paid, closed = await asyncio.gather(api.transfer(source, closing, 4), api.delete(f"/v1/accounts/{closing['id']}"))

    assert (paid.status, closed.status) in {(200, 409), (422, 200)}
    assert 10 == await api.balance(source) + await api.balance(closing)


# Who sees what


async def test_a_customer_sees_only_own_accounts(api: Api) -> None:
    """Lesson 35."""
    customer = await api.as_new_user("customer")
    own = [await api.new_account(customer.user_id, balance_cents=cents) for cents in (1, 2)]
    other = await api.new_account(balance_cents=3)

    assert own[::-1] == (await customer.get("/v1/accounts")).body
    assert own[0] == (await customer.get(f"/v1/accounts/{own[0]['id']}")).body
    for hidden in (other["id"], WORLD, NOBODY):
        assert_not_found(await customer.get(f"/v1/accounts/{hidden}"), hidden)


async def test_following_the_pages_shows_a_customer_nothing_more(api: Api) -> None:
    """Lesson 35."""
    customer = await api.as_new_user("customer")
    first, _, second = [await api.new_account(owner) for owner in (customer.user_id, None, customer.user_id)]

    assert [[second], [first]] == await pages(customer, "/v1/accounts?limit=1")


async def test_an_auditor_reads_all_accounts(api: Api) -> None:
    auditor = await api.as_new_user("auditor")
    account = await api.new_account(balance_cents=1)

    assert (await api.get("/v1/accounts")).body == (await auditor.get("/v1/accounts")).body
    assert account == (await auditor.get(f"/v1/accounts/{account['id']}")).body
    assert -1 == await auditor.balance({"id": WORLD})


async def test_a_guest_sees_no_account(api: Api) -> None:
    guest = await api.as_new_user("guest")
    account = await api.new_account(guest.user_id)

    for refused in (await guest.get("/v1/accounts"), await guest.get(f"/v1/accounts/{account['id']}")):
        assert (403, ["authentication_forbidden"]) == (refused.status, refused.codes)


@pytest.mark.parametrize("roles", ["auditor", "customer", "guest", "auditor,customer,guest"])
async def test_only_admins_can_open_change_and_close_accounts(api: Api, roles: str) -> None:
    caller = await api.as_new_user(roles)
    account = await api.new_account(caller.user_id)
    path = f"/v1/accounts/{account['id']}"

    answers = [
        await caller.post("/v1/accounts", {"user_id": caller.user_id, "balance_cents": 100}),
        await caller.put(path, {**account, "balance_cents": 100}),
        await caller.delete(path),
        await caller.delete(f"/v1/accounts/{NOBODY}"),
    ]

    assert [(403, ["authentication_forbidden"])] * 4 == [(answer.status, answer.codes) for answer in answers]
    assert account == (await api.get(path)).body


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("POST", ""), ("GET", f"/{NOBODY}"), ("PUT", f"/{NOBODY}"), ("DELETE", f"/{NOBODY}")],
)
async def test_without_a_token_there_are_no_accounts(api: Api, method: str, path: str) -> None:
    refused = await api.nobody.call(method, f"/v1/accounts{path}", {} if method in {"POST", "PUT"} else None)

    assert (401, ["authentication_wrong_credentials"]) == (refused.status, refused.codes)


# Pages


@pytest.mark.parametrize("limit", [1, 2, 5, 200])
async def test_the_pages_list_every_account_once_newest_first(api: Api, limit: int) -> None:
    owner = (await api.new_user())["id"]
    accounts = [await api.new_account(owner) for _ in range(5)]

    found = await pages(api, f"/v1/accounts?limit={limit}")

    assert accounts[::-1] == [account for page in found for account in page]
    assert all(len(page) == limit for page in found[:-1])
    assert 1 <= len(found[-1]) <= limit


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "limit=1.0", "cursor=", "cursor=0", "cursor=" + "9" * 300]
)
async def test_a_page_out_of_bounds_is_refused(api: Api, query: str) -> None:
    """Lesson 36."""
    refused = await api.get(f"/v1/accounts?{query}")

    assert (422, ["validation_error"]) == (refused.status, refused.codes)
    assert ["query " + query.partition("=")[0]] == refused.parameters
