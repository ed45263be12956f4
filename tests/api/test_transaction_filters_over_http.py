"""Lists of transactions are filtered by description, metadata, effective times, reversals and codes of accounts."""

from typing import Any, NamedTuple

import asyncpg
import pytest

from ledger.projections import transaction_candidates, transaction_search
from tests.support.controls import Api, transfer_body
from tests.support.paging import all_items

RENT: dict[str, Any] = {"description": "Rent for May, flat 7", "metadata": {"flat": "7", "kind": "rent"}}


class Books(NamedTuple):
    """Transactions by their names, and the customer who owns the first account."""

    customer: Api
    other: Api
    names: dict[str, str]
    accounts: dict[str, dict[str, Any]]


@pytest.fixture
async def books(api: Api) -> Books:
    customer, other = [await api.as_new_user("customer") for _ in range(2)]
    bank = await api.new_account(customer.user_id, balance_cents=10_000, code="assets:bank:main")
    till = await api.new_account(customer.user_id, code="assets:till")
    sales = await api.new_account(other.user_id, balance_cents=500, code="income:sales")
    ids: dict[str, str] = {}

    async def make(name: str, path: str, **body: Any) -> None:
        answer = await api.post(f"/v1/transactions{path}", body)
        assert 200 == answer.status, answer
        ids[name] = answer.body["id"]

    await make("plain", "/transfer", **transfer_body(bank, sales, 1))
    await make("rent", "/transfer", **transfer_body(bank, sales, 100), **RENT, effective_at="2025-04-30T22:00:00Z")
    later = {"description": "RENT for June", "metadata": {"flat": "8", "kind": "rent"}, "effective_at": "2025-06-01"}
    await make("later", "/transfer", **transfer_body(bank, till, 100), **later)
    await make("back", f"/{ids['rent']}/reverse", amount_cents=40, description="Korrektur: Straße 東京の請求書")
    await make("again", f"/{ids['rent']}/reverse", metadata={"kind": "rent"})
    await make("held", "/hold", **transfer_body(bank, sales, 30), description="deposit", metadata={"kind": "hold"})
    await make("taken", "/hold", **transfer_body(bank, sales, 60), description="deposit of May")
    await make("part", f"/{ids['taken']}/capture", amount_cents=10, final=False, description="first part")
    last = {"metadata": {"kind": "rent", "part": "2"}, "effective_at": "2025-06-15T12:00:00Z"}
    await make("part", f"/{ids['taken']}/capture", amount_cents=10, final=False, description="last", **last)
    postings = [{"account_id": one["id"], "amount_cents": cents} for one, cents in ((bank, -5), (till, 2), (sales, 3))]
    await make("entry", "", postings=postings, description="closing of May", effective_at="2025-05-31")
    planned = {"description": "planned rent", "execute_at": "2027-03-31T10:00:00Z"}
    await make("planned", "/transfer", **transfer_body(bank, sales, 7), **planned)
    amended = {"description": "Miete", "metadata": {"kind": None, "flat": None, "floor": "2"}}
    assert 200 == (await api.patch(f"/v1/transactions/{ids['later']}", amended)).status
    assert 200 == (await api.patch(f"/v1/transactions/{ids['plain']}", {"description": "coffee"})).status
    names = {value: name for name, value in ids.items() if name != "part"}
    return Books(customer, other, names, {"bank": bank, "till": till, "sales": sales})


async def find(api: Api, books: Books, query: str) -> str:
    """Return the names of what a query finds, which pages of any size must agree on."""
    listed = await all_items(api, f"/v1/transactions?{query}")
    assert listed == await all_items(api, f"/v1/transactions?limit=1&{query}")
    return " ".join(books.names.get(row["id"], "opening") for row in listed)


CASES = [
    ("description=rent", "planned rent"),
    ("description=MAY%20rent", "rent"),
    ("description=may", "entry taken rent"),
    ("description=ren", ""),
    ("description=june", ""),
    ("description=miete", "later"),
    ("description=coffee", "plain"),
    ("description=strasse", "back"),
    ("description=%E8%AB%8B%E6%B1%82", "back"),
    ("description=%E4%BA%AC%E6%9D%B1", ""),
    ("description=first", "taken"),
    ("description=first%20last", ""),
    ("metadata.kind=rent", "taken again rent"),
    ("metadata.kind=rent&metadata.flat=7", "rent"),
    ("metadata.kind=rent&metadata.flat=8", ""),
    ("metadata.floor=2", "later"),
    ("metadata.kind=Rent", ""),
    ("metadata.part=2&description=deposit", "taken"),
    ("reverses={rent}", "again back"),
    ("reverses={rent}&description=korrektur", "back"),
    ("reverses={plain}", ""),
    ("effective_from=2025-04-01&effective_to=2025-04-30", "rent"),
    ("effective_from=2025-04-30T22:00:00.000001Z&effective_to=2025-05-31", "entry"),
    ("effective_to=2025-05-31", "entry rent"),
    ("effective_from=2025-01-01&effective_to=2025-12-31", "entry taken later rent"),
    ("effective_from=2025-06-15&effective_to=2025-06-15", "taken"),
    ("effective_from=2026-12-31", "planned"),
    ("effective_from=2025-06-02&effective_to=2025-06-01", ""),
    ("effective_from=2026-01-01&description=deposit", "held"),
    ("effective_to=2025-12-31&kind=transfer", "later rent"),
    ("account_code=income&description=rent", "planned rent"),
    ("account_code=assets:till", "entry later"),
    ("account_code=ASSETS:&kind=hold", "taken held"),
    ("account_code=assets:till:", ""),
    ("account_code=assets:till&account_id=income:sales", ""),
    ("metadata.kind=rent&status=posted&max_amount_cents=50", ""),
    ("metadata.kind=rent&status=posted&min_amount_cents=100&currency=USD&kind=transfer", "rent"),
]
BOUNDS = [{}, {"SCAN": 2, "SCANNED_EVENTS": 3, "MAX_ACCOUNTS": 0}]


@pytest.mark.parametrize("bounds", BOUNDS, ids=["", "small"])
async def test_filters_combine_and_page(
    api: Api, books: Books, bounds: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However little a page examines, all pages have everything."""
    for name, value in bounds.items():
        monkeypatch.setattr(transaction_candidates if name == "SCANNED_EVENTS" else transaction_search, name, value)
    ids = {name: id_ for id_, name in books.names.items()}
    found = {query: await find(api, books, query.format(**ids)) for query, _ in CASES}
    assert dict(CASES) == found
    for query, expected in CASES:
        if "account" not in query:
            query = query.format(**ids)  # noqa: PLW2901 - the same query
            of_customer = await find(books.customer, books, query)
            assert (
                expected == of_customer == await find(api, books, f"{query}&account_id={books.accounts['bank']['id']}")
            )
            assert expected == await find(api, books, f"{query}&account_code=assets:bank")
            assert expected == await find(api, books, f"{query}&account_code=assets&from_time=2001-01-01")
            assert "" == await find(api, books, f"{query}&to_time=2001-01-01")


async def test_everything_counts_in_some_period(api: Api, books: Books) -> None:
    """Without an effective time, a transaction counts when it was recorded."""
    everything = await find(api, books, "")
    assert everything == await find(api, books, "effective_from=0001-01-01")
    assert everything == await find(api, books, "effective_to=9999-12-31")
    recorded = [name for name in everything.split() if name not in {"rent", "later", "taken", "entry", "planned"}]
    assert recorded == (await find(api, books, "effective_from=2026-01-01&effective_to=2026-12-31")).split()


async def test_a_customer_learns_nothing_of_the_codes_of_others(books: Books) -> None:
    assert "" == await find(books.customer, books, "account_code=income")
    assert "" == await find(books.customer, books, "account_code=income&description=rent")
    assert "entry later" == await find(books.customer, books, "account_code=assets:till")
    assert "entry taken rent" == await find(books.other, books, "account_code=income&description=may")


async def test_how_far_a_search_gets_tells_nothing_of_the_transactions_of_others(
    api: Api, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, destination = await api.new_account(balance_cents=100), await api.new_account()
    for _ in range(3):
        await api.post("/v1/transactions/transfer", {**transfer_body(source, destination, 1), "description": "secret"})
    monkeypatch.setattr(transaction_search, "SCAN", 100)
    monkeypatch.setattr(transaction_candidates, "SCANNED_EVENTS", 1)
    for query in ("description=secret", "effective_to=2001-01-01"):
        answer = await books.customer.get(f"/v1/transactions?limit=1&{query}")
        assert ([], None) == (answer.body, answer.headers.get("Link"))


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("description=", "description"),
        ("description=!!", "description"),
        (f"description={'x' * 501}", "description"),
        ("description=a&description=b", "description"),
        (f"metadata.a={'x' * 501}", "metadata.a"),
        ("metadata.=a", "metadata."),
        ("reverses=rent", "reverses"),
        ("effective_from=now", "effective_from"),
        ("effective_to=2026-13-01", "effective_to"),
        ("account_code=a b", "account_code"),
    ],
)
async def test_invalid_filters_are_refused_by_name(api: Api, query: str, parameter: str) -> None:
    refused = await api.get(f"/v1/transactions?{query}")
    assert (422, [f"query {parameter}"]) == (refused.status, refused.parameters)


async def test_a_plain_transfer_has_no_terms(api: Api, connection: "asyncpg.Connection[Any]") -> None:
    source, destination = await api.new_account(balance_cents=100), await api.new_account()
    await api.transfer(source, destination, 5)
    assert 0 == await connection.fetchval("SELECT count(*) FROM transaction_terms")
