"""Books for tests of the console: typed accounts with codes, names that attack, transfers and a hold."""

from typing import Any

from tests.support.controls import Api
from tests.support.holds import hold

Body = dict[str, Any]
HOSTILE = '=<img src=x onerror="alert(1)"> \u05d0\u05d1'
TYPED = {
    "assets:bank:main": "asset",
    "assets:cash": "asset",
    "liabilities:card": "liability",
    "income:sales": "income",
    "expenses:rent": "expense",
    "expenses:wages": "expense",
}


async def open_books(api: Api) -> dict[str, Body]:
    """Return accounts by their codes. They have bought, sold and paid rent, and one has a hostile name."""
    owner = (await api.new_user())["id"]
    limit = 10_000_000
    found = {
        code: await api.new_account(owner, code=code, type=type_, overdraft_limit_cents=limit)
        for code, type_ in TYPED.items()
    }
    found["users:alice"] = await api.new_account(owner, 7500, code="users:alice", name=HOSTILE)
    found["users:kuwait"] = await api.new_account(owner, 1250, code="users:kuwait", currency="KWD")
    paid = (("income:sales", "assets:bank:main", 123_456), ("assets:bank:main", "expenses:rent", 40_000))
    for source, destination, cents in (*paid, ("liabilities:card", "expenses:wages", 2500)):
        answer = await api.transfer(found[source], found[destination], cents)
        assert answer.status == 200, answer
    await hold(api, (found["users:alice"], found["assets:cash"]), 600, reference="order-17")
    return found


async def log_end(api: Api) -> int:
    """Return the last position of the log."""
    return int((await api.get("/v1/ledger/trial-balance")).body["position"])


def shown(cents: int | str, digits: int = 2) -> str:
    """Return an amount as the console shows it."""
    text = str(abs(int(cents))).rjust(digits + 1, "0")
    sign = "\N{MINUS SIGN}" if int(cents) < 0 else ""
    return f"{sign}{int(text[:-digits]):,}.{text[-digits:]}"
