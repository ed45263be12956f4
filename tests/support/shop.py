"""The books of a shop, in which some transactions count on earlier days than they were recorded."""

from typing import Any

from tests.support.controls import Api, transfer_body

OPENED = 10_000  # at the bank; from `world`


async def open_shop(api: Api) -> dict[str, Any]:
    """Open the accounts of a shop, move money between them, and return the accounts by code."""
    owner = (await api.new_user())["id"]
    accounts: dict[str, Any] = {}
    for code, kind in (
        ("assets:bank:main", "asset"),
        ("assets:bank:savings", "asset"),
        ("assets:cash", "asset"),
        ("liabilities:card", "liability"),
        ("equity:owner", "equity"),
        ("income:sales", "income"),
        ("expenses:rent", "expense"),
    ):
        cents = OPENED if code == "assets:bank:main" else 0
        labels = {"code": code, "type": kind, "name": code.rpartition(":")[2]}
        accounts[code] = await api.new_account(owner, cents, overdraft_limit_cents=10**9, **labels)
    accounts["misc:other"] = await api.new_account(owner, code="misc:other")
    accounts["plain"] = await api.new_account(owner)
    for source, destination, cents, day in (
        ("income:sales", "assets:bank:main", 5_000, "2026-01-10"),
        ("income:sales", "assets:cash", 700, "2026-02-10"),
        ("assets:bank:main", "expenses:rent", 1_200, "2026-02-01"),
        ("liabilities:card", "expenses:rent", 300, None),
        ("equity:owner", "assets:bank:savings", 400, "2026-03-01"),
        ("assets:cash", "misc:other", 50, None),
        ("assets:cash", "plain", 30, None),
    ):
        dated = {} if day is None else {"effective_at": day}
        body = {**transfer_body(accounts[source], accounts[destination], cents), **dated}
        posted = await api.post("/v1/transactions/transfer", body)
        assert 200 == posted.status, posted
    return accounts
