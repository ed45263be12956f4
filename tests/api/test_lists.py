"""Lists are paged with cursors, filtered and sorted."""

import base64
import importlib
import itertools
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import pytest
from yarl import URL

from benchmarks.history import grow
from ledger.identity.keys import new_private_pem
from ledger.projections import transaction_search
from ledger.projections.transaction_search import Filters
from ledger.projections.transactions import BANDS
from ledger.settings import Settings
from ledger.store.reader import MAX_POSITION
from tests.support.controls import Api, Response, transfer_body
from tests.support.paging import all_items, next_path


def authorization(api: Api) -> dict[str, str]:
    return {"Authorization": f"Bearer {api.token}"}


def cursor_of(answer: Response) -> str:
    path = next_path(answer)
    assert path is not None
    return URL(path).query["cursor"]


def assert_refused(answer: Response, parameter: str) -> None:
    expected = (422, ["validation_error"], [f"query {parameter}"])
    assert expected == (answer.status, answer.codes, answer.parameters)


@pytest.fixture
async def account(api: Api) -> dict[str, Any]:
    """Return an account with three entries."""
    source, sink = await api.new_account(balance_cents=100), await api.new_account()
    for cents in (1, 2):
        assert 200 == (await api.transfer(source, sink, cents)).status
    return source


@pytest.fixture
def lists(account: dict[str, Any], api: Api) -> list[str]:
    """Return every list that has more than one item."""
    del api
    return [
        "/v1/users?limit=1",
        "/v1/accounts?limit=1",
        "/v1/accounts?limit=1&at_position=100",
        f"/v1/accounts/{account['id']}/entries?limit=1",
        f"/v1/accounts/{account['id']}/entries?limit=1&order=asc",
        f"/v1/accounts/{account['id']}/events?limit=1",
        "/v1/events?limit=1",
        "/v1/events?limit=1&topic=AccountDebited",
        "/v1/transactions?limit=1",
        "/v1/transactions?limit=1&currency=USD",
    ]


async def test_the_pages_of_every_list_have_each_item_once(api: Api, lists: list[str]) -> None:
    for path in lists:
        whole = (await api.get(path.replace("limit=1", "limit=200"))).body
        assert len(whole) > 1, path
        assert whole == await all_items(api, path), path


async def test_a_cursor_of_one_list_is_refused_by_every_other(api: Api, lists: list[str]) -> None:
    cursors = {path: cursor_of(await api.get(path)) for path in lists}
    for path in lists:
        for other, cursor in cursors.items():
            answer = await api.get(f"{path}&cursor={cursor}")
            assert (path == other) == (answer.status == 200), (path, other)
            assert path == other or ["query cursor"] == answer.parameters


async def test_a_cursor_of_another_caller_is_refused(api: Api, lists: list[str]) -> None:
    """Lesson 35: not even an admin can continue another caller's list."""
    other = await api.as_new_user("admin")
    for path in lists:
        assert_refused(await other.get(f"{path}&cursor={cursor_of(await api.get(path))}"), "cursor")


async def test_a_customer_cannot_use_the_cursor_of_another(api: Api) -> None:
    """Lesson 35."""
    one, other = [await api.as_new_user("customer") for _ in range(2)]
    for owner in (one, other):
        for _ in range(2):
            await api.new_account(owner.user_id)

    cursor = cursor_of(await other.get("/v1/accounts?limit=1"))

    assert_refused(await one.get(f"/v1/accounts?limit=1&cursor={cursor}"), "cursor")


async def test_a_cursor_keeps_the_filters_it_was_created_with(
    api: Api, account: dict[str, Any], lists: list[str]
) -> None:
    del lists
    path = f"/v1/accounts/{account['id']}/entries"
    cursor = cursor_of(await api.get(f"{path}?limit=1&from_version=1"))

    assert 200 == (await api.get(f"{path}?limit=2&from_version=1&cursor={cursor}")).status  # the limit may change
    assert 200 == (await api.get(f"/v2{path[3:]}?from_version=1&cursor={cursor}")).status  # the same API
    for other in ("", "from_version=2&", "from_version=1&order=asc&", "from_version=1&before=9&"):
        assert_refused(await api.get(f"{path}?{other}limit=1&cursor={cursor}"), "cursor")


async def test_a_modified_cursor_is_refused(api: Api, lists: list[str]) -> None:
    path = lists[0]
    cursor = cursor_of(await api.get(path))
    raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    forged = [raw[:16] + b"1", raw[:15] + bytes([raw[15] ^ 1]) + raw[16:], raw[:16], raw[16:], raw + b" ", b""]

    for text in (
        *(base64.urlsafe_b64encode(some).decode().rstrip("=") for some in forged),
        *("", "1", "%00", "ü", "=", "a" * 257, cursor[:-1], cursor + "=", cursor + "&cursor=" + cursor),
    ):
        assert_refused(await api.get(f"{path}&cursor={text}"), "cursor")


async def test_cursors_need_no_shared_secret(
    serve: Callable[[Settings], Awaitable[Api]], settings: Settings, tmp_path: Path
) -> None:
    """Cursors depend on the signing key: all workers create the same, and another key creates others."""
    apis = []
    for name in ("one", "one", "another"):
        file = tmp_path / name
        if not file.exists():
            file.write_text(new_private_pem())
        apis.append(await serve(settings.model_copy(update={"ledger_jwt_key_file": file, "jwt_secret": None})))
    for _ in range(2):
        await apis[0].new_user()

    cursor = cursor_of(await apis[0].get("/v1/users?limit=1"))

    assert [200, 200, 422] == [(await api.get(f"/v1/users?limit=1&cursor={cursor}")).status for api in apis]


async def ids_of(api: Api, query: str = "") -> list[str]:
    """Return the ids of the transactions that a query finds, in pages of any size; each must occur once."""
    whole = [row["id"] for row in await all_items(api, f"/v1/transactions?{query}")]
    assert whole == [row["id"] for row in await all_items(api, f"/v1/transactions?limit=1&{query}")]
    assert len(whole) == len(set(whole))
    return whole


class Books(NamedTuple):
    """Transactions of every kind, in order, with their parties."""

    alice: Api
    bob: Api
    alices: dict[str, Any]
    bobs: dict[str, Any]
    of_alice: list[str]
    of_bob: list[str]
    every: dict[str, str]


@pytest.fixture
async def books(api: Api, connection: "asyncpg.Connection[Any]") -> Books:
    alice, bob = [await api.as_new_user("customer") for _ in range(2)]
    alices, alices_other = [await api.new_account(alice.user_id, balance_cents=1000) for _ in range(2)]
    bobs, euros = await api.new_account(bob.user_id), await api.new_account(balance_cents=7, currency="EUR")

    async def done(path: str, **body: Any) -> str:
        answer = await api.post(f"/v1/transactions{path}", body)
        assert 200 == answer.status, answer
        return str(answer.body["id"])

    def between(source: dict[str, Any], destination: dict[str, Any], cents: int, **more: Any) -> dict[str, Any]:
        return {**transfer_body(source, destination, cents), **more}

    every = {
        "paid": await done("/transfer", **between(alices, bobs, 100, reference="rent, May")),
        "moved": await done("/transfer", **between(alices, alices_other, 5)),
        "pending": await done("/hold", **between(alices, bobs, 20)),
        "captured": await done("/hold", **between(alices, bobs, 30)),
        "voided": await done("/hold", **between(alices_other, bobs, 40)),
    }
    await done(f"/{every['captured']}/capture", amount_cents=25)
    await done(f"/{every['voided']}/void")
    postings = [(alices, -9), (alices_other, 4), (bobs, 5)]
    every["entry"] = await done(
        "", postings=[{"account_id": account["id"], "amount_cents": cents} for account, cents in postings]
    )
    every["back"] = await done(f"/{every['moved']}/reverse")
    openings = await connection.fetch("SELECT id, destination_account_id FROM transfers WHERE kind = 'opening'")
    into = {str(row["destination_account_id"]): str(row["id"]) for row in openings}
    every |= {f"opened-{n}": into[one["id"]] for n, one in enumerate((alices, alices_other, euros))}
    order = ["opened-0", "opened-1", "paid", "moved", "pending", "voided", "captured", "entry", "back"]
    of_alice = [every[name] for name in order][::-1]
    of_bob = [every[name] for name in ("entry", "captured", "voided", "pending", "paid")]
    return Books(alice, bob, alices, bobs, of_alice, of_bob, every)


def moved_at(row: dict[str, Any]) -> str:
    """Return the time from which a transaction counts: a captured hold from its last capture."""
    return str(row["settled_at"] if row["status"] == "captured" else row["created_at"])


async def test_all_transactions_are_listed_newest_first(api: Api, books: Books) -> None:
    auditor = await api.as_new_user("auditor")
    found = await ids_of(auditor)

    assert set(books.every.values()) == set(found)
    times = [moved_at(row) for row in await all_items(auditor, "/v1/transactions")]
    assert sorted(times, reverse=True) == times
    for row in await all_items(api, "/v1/transactions"):
        assert row == (await api.get(f"/v1/transactions/{row['id']}")).body


async def test_a_customer_lists_only_own_transactions_and_their_visible_parts(books: Books) -> None:
    """Lesson 35: exactly the transactions that the customer can read singly, with the same bodies."""
    assert books.of_alice == await ids_of(books.alice)
    assert books.of_bob == await ids_of(books.bob)
    for customer in (books.alice, books.bob):
        for row in await all_items(customer, "/v1/transactions"):
            assert row == (await customer.get(f"/v1/transactions/{row['id']}")).body


async def test_no_filter_shows_a_customer_others_transactions(books: Books) -> None:
    """Lesson 35."""
    assert [] == await ids_of(books.bob, f"account_id={books.alices['id']}")
    assert [] == await ids_of(books.bob, f"user_id={books.alice.user_id}")
    assert [] == await ids_of(books.bob, "kind=opening")
    assert books.of_bob == await ids_of(books.bob, f"user_id={books.bob.user_id}")
    assert [] == await ids_of(books.bob, "kind=journal&min_amount_cents=6"), "a leg of another"
    assert [books.every["entry"]] == await ids_of(books.alice, "kind=journal&min_amount_cents=9")


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("status=pending", ["pending"]),
        ("status=captured", ["captured"]),
        ("status=voided", ["voided"]),
        ("status=expired", []),
        ("status=posted&kind=transfer", ["moved", "paid"]),
        ("kind=hold", ["captured", "voided", "pending"]),
        ("kind=hold&max_amount_cents=25", ["captured", "pending"]),
        ("min_amount_cents=26&max_amount_cents=30", []),
        ("authorized_from=2001-01-01", ["voided", "captured", "pending"]),
        ("authorized_from=2001-01-01&status=captured&from_time=2001-01-01", ["captured"]),
        ("authorized_to=2001-01-01T00:00:00Z", []),
        ("kind=journal", ["entry"]),
        ("kind=reversal", ["back"]),
        ("kind=transfer&status=pending", []),
        ("reference=rent,%20May", ["paid"]),
        ("reference=rent", []),
        ("currency=EUR", ["opened-2"]),
        ("min_amount_cents=100&max_amount_cents=999", ["paid"]),
        ("max_amount_cents=4", ["entry"]),
        ("min_amount_cents=20&max_amount_cents=30&status=pending", ["pending"]),
        ("to_time=2001-01-01T00:00:00Z", []),
        ("from_time=2001-01-01T00:00:00Z&kind=journal", ["entry"]),
    ],
)
async def test_transactions_can_be_filtered(api: Api, books: Books, query: str, names: list[str]) -> None:
    wanted = [books.every[name] for name in names]

    assert wanted == await ids_of(api, query)
    assert [one for one in wanted if one in books.of_alice] == await ids_of(books.alice, query)
    own = [one for one in wanted if one in books.of_bob]
    if "amount" not in query:
        assert own == await ids_of(books.bob, query)
        assert own == await ids_of(api, f"{query}&account_id={books.bobs['id']}")


async def test_transactions_can_be_filtered_by_time(api: Api, books: Books) -> None:
    rows = await all_items(api, "/v1/transactions")
    first, last = moved_at(rows[-3]), moved_at(rows[2])
    inside = [row["id"] for row in rows if first <= moved_at(row) <= last]

    assert inside == await ids_of(api, f"from_time={first}&to_time={last}")
    assert [one for one in inside if one in books.of_bob] == await ids_of(
        books.bob, f"from_time={first}&to_time={last}"
    )


async def test_selective_filters_are_bounded_and_complete(
    api: Api, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lesson 36: a page reads a bounded number of rows and links to the next."""
    monkeypatch.setattr(transaction_search, "SCAN", 2)
    monkeypatch.setattr(transaction_search, "SCANNED_EVENTS", 3)

    assert [books.every["paid"]] == await ids_of(api, "min_amount_cents=100&max_amount_cents=999")
    assert [books.every["paid"]] == await ids_of(books.alice, "min_amount_cents=100&max_amount_cents=999")
    assert set(books.every.values()) == set(await ids_of(api))
    assert books.of_alice == await ids_of(books.alice)
    assert books.of_bob == await ids_of(books.bob, "min_amount_cents=0")


async def test_amounts_and_currencies_are_found_in_every_band(
    api: Api, connection: "asyncpg.Connection[Any]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page reads candidates from each band without omissions, duplicates or other currencies."""
    pairs = {
        currency: [await api.new_account(balance_cents=10**6, currency=currency) for _ in range(2)]
        for currency in ("USD", "EUR")
    }
    for cents in (1, 2, 4, 5, 9, 10, 19, 20, 50, 99, 100, 199, 200, 5000):
        for currency in (*pairs, "USD"):
            first, second = pairs[currency]
            assert 200 == (await api.transfer(first, second, cents)).status
        held = transfer_body(pairs["USD"][0], pairs["USD"][1], cents)
        assert 200 == (await api.post("/v1/transactions/hold", held)).status
        source, sink = (account["id"] for account in pairs["EUR"])
        postings = [{"account_id": source, "amount_cents": -cents}, {"account_id": sink, "amount_cents": cents}]
        assert 200 == (await api.post("/v1/transactions", {"postings": postings})).status
    await connection.execute("ANALYZE transfers")
    rows = await all_items(api, "/v1/transactions")
    monkeypatch.setattr(transaction_search, "SCAN", 3)

    def is_wanted(row: dict[str, Any], query: dict[str, Any]) -> bool:
        low, high = query.get("min_amount_cents", 0), query.get("max_amount_cents", 10**9)
        return query.get("status") in {None, row["status"]} and any(
            query.get("currency") in {None, leg["currency"]} and low <= abs(leg["amount_cents"]) <= high
            for leg in row.get("postings", [row])
        )

    ranges = [(None, None), (1, 1), (2, 5), (3, 4), (5, 9), (10, 100), (100, None), (None, 19), (6000, None)]
    for wanted, (low, high), status in itertools.product((None, "USD", "EUR", "CHF"), ranges, (None, "posted")):
        filters = {"currency": wanted, "min_amount_cents": low, "max_amount_cents": high, "status": status}
        query = {name: value for name, value in filters.items() if value is not None}
        found = await ids_of(api, "&".join(f"{name}={value}" for name, value in query.items()))
        assert [row["id"] for row in rows if is_wanted(row, query)] == found, query


async def test_a_page_across_many_bands_reads_a_bounded_number_of_candidates(
    api: Api, connection: "asyncpg.Connection[Any]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lesson 36."""
    source, destination = [await api.new_account(balance_cents=10**9) for _ in range(2)]
    for power in range(8):
        for _ in range(3):
            assert 200 == (await api.transfer(source, destination, 10**power)).status
    taken: list[int] = []

    class Counting:
        async def fetch(self, sql: str, *values: object) -> list[asyncpg.Record]:
            rows = await connection.fetch(sql, *values)
            taken.append(len(rows))
            return list(rows)

        async def fetchval(self, sql: str, *values: object) -> Any:
            return await connection.fetchval(sql, *values)

    monkeypatch.setattr(transaction_search, "SCAN", 5)
    found = await transaction_search.page(Counting(), Filters(min_amount_cents=2), before=MAX_POSITION, limit=4)  # type: ignore[arg-type]

    assert 4 == len(found.bodies)
    assert max(taken) <= 5


def test_queries_and_index_use_the_same_bands() -> None:
    migration = importlib.import_module("migrations.versions.0011_amounts")
    assert ",".join(map(str, BANDS)) == migration.BANDS


@pytest.mark.parametrize(
    "query",
    ["user_id=x", "account_id=:1", "currency=usd", "status=done", "kind=none", "min_amount_cents=-1", "from_time=noon"],
)
async def test_an_invalid_filter_is_refused(api: Api, query: str) -> None:
    assert_refused(await api.get(f"/v1/transactions?{query}"), query.partition("=")[0])


async def test_accounts_can_be_filtered_by_user_currency_status_and_time(api: Api) -> None:
    owner = (await api.new_user())["id"]
    euros = await api.new_account(owner, currency="EUR")
    closed = await api.new_account(owner)
    other = await api.new_account(currency="EUR")
    await api.delete(f"/v1/accounts/{closed['id']}")

    async def found(query: str) -> list[str]:
        whole = [row["id"] for row in await all_items(api, f"/v1/accounts?{query}")]
        assert whole == [row["id"] for row in await all_items(api, f"/v1/accounts?limit=1&{query}")]
        return whole

    assert [closed["id"], euros["id"]] == await found(f"user_id={owner}")
    assert [euros["id"]] == await found(f"user_id={owner}&status=open")
    assert [closed["id"]] == await found("status=closed")
    assert [other["id"], euros["id"]] == await found("currency=EUR")
    assert [] == await found("currency=EUR&status=closed")
    since = other["created_at"]
    assert [other["id"]] == await found(f"from_time={since}")
    assert [euros["id"]] == await found(f"from_time={euros['created_at']}&to_time={euros['created_at']}")
    for query in ("status=none", "currency=EURO", "user_id=me", "to_time=now"):
        assert_refused(await api.get(f"/v1/accounts?{query}"), query.partition("=")[0])
    assert_refused(await api.get("/v1/accounts?at_position=1&status=open"), "status")


async def test_users_can_be_filtered_by_name_and_activity(api: Api) -> None:
    user, inactive = await api.new_user(username="Anna"), await api.new_user(active=False)

    async def found(query: str) -> list[str]:
        return [row["id"] for row in await all_items(api, f"/v1/users?limit=1&{query}")]

    assert [user["id"]] == await found("username=aNNA") == await found("username=anna&active=true")
    assert [] == await found("username=anna&active=false") == await found("username=nobody")
    assert [inactive["id"]] == await found("active=false")
    assert user["id"] in await found("active=true")
    assert [inactive["id"]] == await found(f"from_time={inactive['created_at']}")
    assert_refused(await api.get("/v1/users?active=yes"), "active")


async def test_the_cost_of_a_page_does_not_depend_on_depth_or_length(
    api: Api, connection: "asyncpg.Connection[Any]"
) -> None:
    """Lesson 19: no page reads newer or older items that it leaves out."""
    accounts = [await api.new_account(balance_cents=100_000) for _ in range(4)]
    await grow(connection, [UUID(account["id"]) for account in accounts], 9_000)

    async def blocks(wanted: Filters, before: int) -> int:
        plans: list[int] = []

        class Explained:
            async def fetch(self, sql: str, *values: object) -> list[asyncpg.Record]:
                row = await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", *values)
                plan = json.loads(row)[0]["Plan"]
                plans.append(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])
                return await connection.fetch(sql, *values)

            async def fetchval(self, sql: str, *values: object) -> Any:
                return await connection.fetchval(sql, *values)

        found = await transaction_search.page(Explained(), wanted, before=before, limit=20)  # type: ignore[arg-type]
        assert 20 == len(found.bodies)
        return sum(plans)

    end = await connection.fetchval("SELECT max(notification_id) FROM stored_events")
    for wanted in (
        Filters(),
        Filters(account_id=UUID(accounts[0]["id"])),
        Filters(user_id=UUID(accounts[0]["user_id"])),
        Filters(currency="USD"),
    ):
        for before in (end, end // 2, 200):
            assert await blocks(wanted, before) < 400, (wanted, before)


@pytest.mark.parametrize("text", ["", "%00", "%20x", "a" * 201])
@pytest.mark.parametrize("path", ["/v1/transactions?reference", "/v1/users?username"])
async def test_a_filter_with_an_impossible_text_is_refused(api: Api, path: str, text: str) -> None:
    """Lesson 33."""
    name = path.partition("?")[2]
    async with api.client.get(URL(f"{path}={text}", encoded=True), headers=authorization(api)) as response:
        body = await response.json()
        assert (422, [name]) == (response.status, [one["detail"]["parameter"] for one in body["errors"]])
