"""Lists of accounts are filtered by code, name, type and metadata."""

from typing import Any

import pytest

from tests.support.controls import Api

BOOKS: dict[str, dict[str, Any]] = {
    "bank": {"code": "assets:bank", "type": "asset", "name": "All banks"},
    "main": {
        "code": "Assets:Bank:Main",
        "type": "asset",
        "name": "Zürcher Kantonalbank, Hauptkonto",
        "metadata": {"branch": "042", "open": ""},
    },
    "banker": {"code": "assets:banker", "type": "asset", "name": "STRASSE der Banken", "metadata": {"branch": "7"}},
    "sales": {
        "code": "income:sales",
        "type": "income",
        "name": "東京銀行 हिन्दी",
        "metadata": {"branch": "042", "key.with=odd & name": "a b"},
    },
    "plain": {},
}


@pytest.fixture
async def books(api: Api) -> dict[str, str]:
    owner = (await api.new_user())["id"]
    return {(await api.new_account(owner, **labels))["id"]: name for name, labels in BOOKS.items()}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"code": "assets:bank"}, "main bank"),
        ({"code": "ASSETS:bank:"}, "main"),
        ({"code": "assets"}, "banker main bank"),
        ({"code": "assets:"}, "banker main bank"),
        ({"code": "assets:ban"}, ""),
        ({"code": "income:sales:"}, ""),
        ({"name": "bank"}, "banker bank"),
        ({"name": "hauptkonto zurcher"}, ""),
        ({"name": "HAUPT zürcher"}, "main"),
        ({"name": "strasse"}, "banker"),
        ({"name": "straße"}, "banker"),
        ({"name": "all, banks!"}, "bank"),
        ({"name": "ank"}, ""),
        ({"name": "銀行"}, "sales"),
        ({"name": "हिन्"}, "sales"),
        ({"name": "हन्द"}, ""),
        ({"type": "asset"}, "banker main bank"),
        ({"type": "expense"}, ""),
        ({"metadata.branch": "042"}, "sales main"),
        ({"metadata.branch": "042", "metadata.open": ""}, "main"),
        ({"metadata.open": "x"}, ""),
        ({"metadata.key.with=odd & name": "a b"}, "sales"),
        ({"metadata.branch": "042", "type": "asset", "name": "konto haupt", "code": "assets"}, ""),
        ({"metadata.branch": "042", "type": "asset", "name": "haupt", "code": "assets", "status": "open"}, "main"),
    ],
    ids=str,
)
async def test_filters_all_apply(api: Api, books: dict[str, str], query: dict[str, str], expected: str) -> None:
    found = await api.get("/v1/accounts", params=query)
    assert (200, expected) == (found.status, " ".join(books[account["id"]] for account in found.body))
    if expected:
        page = await api.get("/v1/accounts", params={**query, "limit": "1"})
        assert [found.body[0]] == page.body
        assert ('rel="next"' in page.headers.get("Link", "")) == (len(found.body) > 1)


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ({"code": ""}, "code"),
        ({"code": ":"}, "code"),
        ({"code": "a::"}, "code"),
        ({"code": "a b"}, "code"),
        ({"name": ""}, "name"),
        ({"name": "!!!"}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"type": "debt"}, "type"),
        ({"metadata.a": "x" * 501}, "metadata.a"),
        ({"metadata.": "x"}, "metadata."),
        ({"metadata": "x"}, "metadata"),
    ],
    ids=str,
)
async def test_invalid_filters_are_refused_by_name(api: Api, query: dict[str, str], parameter: str) -> None:
    refused = await api.get("/v1/accounts", params=query)
    assert (422, [f"query {parameter}"]) == (refused.status, refused.parameters)


async def test_filters_are_not_for_points_in_time(api: Api) -> None:
    for name, value in {"code": "a", "name": "a", "type": "asset", "metadata.a": "b"}.items():
        refused = await api.get("/v1/accounts", params={name: value, "at_position": "1"})
        assert (422, [f"query {name}"]) == (refused.status, refused.parameters)


async def test_other_lists_have_no_filters_of_metadata(api: Api) -> None:
    refused = await api.get("/v1/users?metadata.a=b")
    assert (422, ["query metadata.a"]) == (refused.status, refused.parameters)


async def test_a_customer_finds_own_accounts_only(api: Api) -> None:
    customer = await api.as_new_user("customer")
    own = await api.new_account(customer.user_id, code="users:1", name="Wallet")
    await api.new_account(code="users:2", name="Wallet")
    for query in ("code=users", "name=wallet"):
        assert [own["id"]] == [account["id"] for account in (await customer.get(f"/v1/accounts?{query}")).body]
