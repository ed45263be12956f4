"""A demo ledger for pictures: three months of a coffee roaster's books, and what customers pay in the last hour.

Everything follows from a seed and from the current time. Events are recorded by a clock that goes through these months
(`tests.support.past`), so that curves, periods and points in time have something to show.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, NamedTuple

from tests.support.controls import PASSWORD, Api
from tests.support.past import PastClock

DAYS = 90
CREDIT = 10**9  # cents that an account may owe, but for a bank's
HOLD_DAYS = (52, 74, 81, 85, 87, 88, 89)  # on which a customer places one
ORDER = 1  # of these holds, the one that is captured and reversed in parts
USERS = {"harbour": "customer", "carol": "auditor", "alice": "customer", "ben": "customer", "mira": "customer"}
WALLETS = {"alice": 18_250, "ben": 42_075, "mira": 9_600}  # cents at the start
TYPES = {"assets": "asset", "liabilities": "liability", "equity": "equity", "income": "income", "expenses": "expense"}
ACCOUNTS = {  # code: name, owned by the roaster
    "assets:bank:main": "Harbour Bank, current",
    "assets:bank:savings": "Harbour Bank, savings",
    "assets:cash:till": "Till, Pier 4",
    "assets:receivable:cafe-luna": "Café Luna",
    "assets:receivable:hotel-astoria": "Hotel Astoria",
    "assets:receivable:office-north": "North Office Supplies",
    "assets:stock:beans": "Green beans",
    "assets:stock:packaging": "Bags and boxes",
    "liabilities:payable:finca-la-luz": "Finca La Luz",
    "liabilities:payable:power": "City Power",
    "liabilities:vat": "VAT",
    "liabilities:gift-cards": "Gift cards",
    "equity:capital": "Capital",
    "equity:conversion:usd": "Conversion",
    "income:sales:beans": "Beans",
    "income:sales:cups": "Cups at the bar",
    "income:sales:subscriptions": "Subscriptions",
    "income:courses": "Barista courses",
    "expenses:goods": "Goods sold",
    "expenses:wages:roastery": "Roastery",
    "expenses:wages:bar": "Bar",
    "expenses:rent": "Rent",
    "expenses:power": "Power",
    "expenses:freight": "Freight",
    "expenses:fees:card": "Card fees",
}
EURO_ACCOUNTS = {
    "assets:bank:euro": "Harbour Bank, euro",
    "equity:conversion:eur": "Conversion",
    "liabilities:payable:importer": "Hamburg Imports",
    "expenses:freight:eur": "Freight",
}
DAILY = (  # source, destination, least and most cents, description, how often a day
    ("income:sales:cups", "assets:cash:till", 28_000, 61_000, "cups of the day", 1.0),
    ("income:sales:beans", "assets:receivable:cafe-luna", 9_000, 24_000, "beans, 12 kg", 0.5),
    ("income:sales:beans", "assets:receivable:hotel-astoria", 22_000, 48_000, "beans, 30 kg", 0.35),
    ("income:sales:subscriptions", "assets:bank:main", 6_000, 15_500, "subscriptions", 0.8),
    ("income:courses", "assets:bank:main", 24_000, 36_000, "course, six people", 0.15),
    ("assets:stock:beans", "expenses:goods", 9_500, 21_000, "roasted", 0.9),
    ("assets:bank:main", "expenses:fees:card", 420, 1_950, "card fees", 0.6),
    ("assets:cash:till", "assets:bank:main", 40_000, 120_000, "till to the bank", 0.3),
)
WEEKLY = (
    ("assets:receivable:cafe-luna", "assets:bank:main", 38_000, 64_000, "invoices of the week"),
    ("assets:receivable:hotel-astoria", "assets:bank:main", 52_000, 94_000, "invoices of the week"),
    ("liabilities:payable:finca-la-luz", "assets:stock:beans", 70_000, 110_000, "lot 14, washed"),
    ("assets:bank:main", "expenses:wages:roastery", 118_000, 124_000, "wages"),
    ("assets:bank:main", "expenses:wages:bar", 81_000, 96_000, "wages"),
)
MONTHLY = (
    ("assets:bank:main", "expenses:rent", 185_000, 185_000, "rent"),
    ("liabilities:payable:power", "expenses:power", 31_000, 44_000, "power"),
    ("assets:bank:main", "liabilities:payable:power", 30_000, 40_000, "power, last month"),
    ("assets:bank:main", "liabilities:payable:finca-la-luz", 240_000, 320_000, "lots 11 to 13"),
    ("assets:bank:main", "assets:bank:savings", 90_000, 120_000, "put aside"),
    ("assets:bank:main", "assets:stock:packaging", 22_000, 36_000, "bags, 250 g"),
)


class Demo(NamedTuple):
    """What pictures of views with an id are about."""

    account_id: str
    transaction_id: str
    user_id: str
    past_position: int


async def write_demo(admin: Api, clock: PastClock) -> Demo:
    """Write the books until now, and return what is worth a picture."""
    chance, end = Random(4), datetime.now(UTC).replace(microsecond=0)  # noqa: S311 - it makes up no secrets
    begin = end - timedelta(days=DAYS)
    await clock.set(begin)
    owners = {name: (await _new_user(admin, name, roles))["id"] for name, roles in USERS.items()}
    accounts = await _open_accounts(admin, owners)
    await _start(admin)
    holds, past = list[str](), 0
    for day in range(DAYS):
        for hours, items in _trade(chance, day):
            await clock.set(begin + timedelta(days=day, hours=hours))
            await _send(admin, items)
        if day in HOLD_DAYS:
            holds.append(await _hold(admin, HOLD_DAYS.index(day), end))
        if day == DAYS // 2:
            past = int((await admin.get("/v1/ledger/trial-balance")).body["position"])
    await clock.set(end - timedelta(hours=2))
    await _settle(admin, holds[ORDER])
    await _last_hour(admin, clock, chance, end)
    for name in ("carol", "alice", "mira"):
        await admin.logged_in(name)
    await admin.post("/v1/clients", {"name": "web shop", "roles": "admin", "scope": "transactions:write"})
    await admin.post("/v1/clients", {"name": "bookkeeping", "roles": "auditor", "scope": "accounts:read ledger:read"})
    return Demo(accounts["assets:bank:main"], holds[ORDER], owners["alice"], past)


async def _new_user(admin: Api, name: str, roles: str) -> dict[str, Any]:
    return await admin.new_user(username=name, email=f"{name}@harbour.example", password=PASSWORD, roles=roles)


async def _open_accounts(admin: Api, owners: dict[str, str]) -> dict[str, str]:
    found = {}
    for currency, accounts in (("USD", ACCOUNTS), ("EUR", EURO_ACCOUNTS)):
        for code, name in accounts.items():
            credit = 0 if code.startswith("assets:bank") else CREDIT
            typed: dict[str, Any] = {
                "type": TYPES[code.partition(":")[0]],
                "overdraft_limit_cents": credit,
                "currency": currency,
            }
            found[code] = (await admin.new_account(owners["harbour"], code=code, name=name, **typed))["id"]
    for name, cents in WALLETS.items():
        wallet: dict[str, Any] = {
            "code": f"users:{name}:wallet",
            "name": f"{name.title()}'s wallet",
            "metadata": {"tier": "gold"},
        }
        found[wallet["code"]] = (await admin.new_account(owners[name], cents, **wallet))["id"]
    return found


async def _start(admin: Api) -> None:
    """Pay in the capital, and buy euros for the first freight."""
    await _send(admin, [_transfer("equity:capital", "assets:bank:main", 2_500_000, "founders")])
    changed = {
        "assets:bank:main": -300_000,
        "equity:conversion:usd": 300_000,
        "equity:conversion:eur": -273_000,
        "assets:bank:euro": 273_000,
    }
    postings = [{"account_id": code, "amount_cents": cents} for code, cents in changed.items()]
    answer = await admin.post("/v1/transactions", {"postings": postings, "description": "euros at 0.91"})
    assert answer.status == 200, answer
    await _send(
        admin,
        [
            _transfer("assets:bank:main", "assets:stock:beans", 620_000, "first lots"),
            _transfer("liabilities:payable:importer", "expenses:freight:eur", 64_000, "container"),
            _transfer("assets:bank:euro", "liabilities:payable:importer", 40_000, "container, part"),
        ],
    )


def _trade(chance: Random, day: int) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Yield the hours of a day with what is recorded then."""
    daily = [each[:5] for each in DAILY if chance.random() < each[5]]
    rows = [*daily, *(WEEKLY if day % 7 == 4 else ()), *(MONTHLY if day % 30 == 3 else ())]
    for hour, some in ((9, rows[::2]), (17, rows[1::2])):
        if some:
            yield hour, [_transfer(one, other, chance.randint(*most), text) for one, other, *most, text in some]


async def _hold(admin: Api, number: int, end: datetime) -> str:
    """Place an order of the web shop, and return its id."""
    name = list(WALLETS)[number % len(WALLETS)]
    body = _transfer(f"users:{name}:wallet", "income:sales:beans", 1_350 + 610 * number, "web order")
    terms = {"reference": f"order-{2041 + number}", "expires_at": (end + timedelta(hours=40 * number + 20)).isoformat()}
    answer = await admin.post("/v1/transactions/hold", {**body, **terms})
    assert answer.status == 200, answer
    return str(answer.body["id"])


async def _settle(admin: Api, hold_id: str) -> None:
    """Capture an order in two parts, and give something back."""
    steps = (
        ("capture", {"amount_cents": 1_200, "final": False}),
        ("capture", {"amount_cents": 500}),
        ("reverse", {"amount_cents": 300, "description": "one bag was torn"}),
    )
    for path, body in steps:
        answer = await admin.post(f"/v1/transactions/{hold_id}/{path}", body)
        assert answer.status == 200, answer


async def _last_hour(admin: Api, clock: PastClock, chance: Random, end: datetime) -> None:
    """Sell cups for an hour."""
    for minute in range(59, -1, -1):
        await clock.set(end - timedelta(minutes=minute))
        count = chance.choice((0, 1, 1, 2, 3, 4, 6))
        cups = [
            ("income:sales:cups", "assets:cash:till", 390 * chance.randint(1, 4), "flat white") for _ in range(count)
        ]
        if minute % 11 == 0:
            cups.append(("users:ben:wallet", "income:sales:subscriptions", 1_450, "beans, 250 g"))
        await _send(admin, [_transfer(*cup) for cup in cups])


def _transfer(source: str, destination: str, cents: int, text: str) -> dict[str, Any]:
    return {
        "source_account_id": source,
        "destination_account_id": destination,
        "amount_cents": cents,
        "description": text,
    }


async def _send(admin: Api, items: list[dict[str, Any]]) -> None:
    if items:
        answer = await admin.post("/v1/transactions/batch", {"atomic": True, "items": items})
        assert answer.status == 200, answer
