"""A year of a shop's books: 200 accounts in a tree, two currencies, and months that are closed as the year goes.

Everything follows from a seed: what is sold and paid, when it is recorded, and when it takes effect. A transaction is
recorded on its day, because the books are written with a clock of their own (`tests.support.past`).
"""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

from tests.support.controls import Api
from tests.support.past import PastClock

YEAR = 2025
FIRST, LAST = date(YEAR, 1, 1), date(YEAR, 12, 31)
ENDS = [date(YEAR, month + 1, 1) - timedelta(days=1) for month in range(1, 12)] + [LAST]  # of the months
QUARTERS = ENDS[2::3]
CURRENCIES = ("USD", "EUR")
CREDIT = 10**12  # cents that an account may owe
CUSTOMERS, SUPPLIERS = 36, 12
GOODS = ("books", "music", "films", "games", "maps", "toys", "tea_2025", "e.books")
DEPARTMENTS = ("sales", "stores", "office", "it_and.cloud", "board")
FEES = ("card", "bank", "platform")
COSTS = ("goods", "freight", "adverts", "repairs", "paper", "phones")
EVERY_DAY_HAS = (time(0), time(9, 30), time(13, 37, 11, 123_456), time(23, 59, 59, 999_999))
TRAVEL, TRIPS = "expenses:travel", "expenses:trips"
TYPES = {"assets": "asset", "liabilities": "liability", "equity": "equity", "income": "income", "expenses": "expense"}
NAMES = {"assets:bank:{}": "Bank, in {}", "assets:receivable:{}:customer-00": "Customer 0; “{}”"}
BALANCES = {"assets:bank:{}": 500_000_000, "assets:bank:{}:savings": 10_000_001}  # at the start
PER_DAY = 18  # transfers of a day with business, at most


def list_codes(low: str) -> list[str]:
    """Return the codes of a currency, in the order of the accounts' opening. Some accounts have others below them."""
    return [
        *(f"assets:bank:{low}{part}" for part in ("", ":savings", ":till")),
        *(f"assets:{part}:{low}" for part in ("prepaid", "stock")),
        *(f"assets:receivable:{low}:customer-{number:02}" for number in range(CUSTOMERS)),
        *(f"liabilities:payable:{low}:supplier-{number:02}" for number in range(SUPPLIERS)),
        *(f"liabilities:payroll:{low}:{part}" for part in ("tax", "social", "pension", "net")),
        *(f"liabilities:{part}:{low}" for part in ("vat", "vouchers")),
        *(f"equity:{part}:{low}" for part in ("capital", "conversion")),
        *(f"income:sales:{low}{part}" for part in ("", *(f":{goods}" for goods in GOODS))),
        *(f"income:{part}:{low}" for part in ("refunds", "interest")),
        *(f"expenses:payroll:{low}:{name}:{part}" for name in DEPARTMENTS for part in ("gross", "social")),
        *(f"expenses:fees:{low}:{fee}" for fee in FEES),
        *(f"expenses:rent:{low}:{place}" for place in ("north", "south", "hall-2", "x.y_z")),
        *(f"expenses:{part}:{low}" for part in (*COSTS, "insurance")),
        f"{TRAVEL}:{low}",
    ]


class Account(NamedTuple):
    """An account to open. It may owe money, unless it is a bank's."""

    id: UUID
    currency: str
    code: str | None
    type: str | None
    name: str | None = None
    balance_cents: int = 0


class Step(NamedTuple):
    """A request, the time at which it is recorded, and the status of its response; a list is sent as JSON Lines."""

    at: datetime
    method: str
    path: str
    body: dict[str, Any] | list[dict[str, Any]] | None
    status: int = 200


class Year:
    """The accounts and the requests of a year."""

    def __init__(self, seed: int = 17, *, per_day: int = PER_DAY) -> None:
        self._random, self._per_day = Random(seed), per_day  # noqa: S311 - it makes up no secrets
        self._sales: list[tuple[datetime, dict[str, Any]]] = []
        self._loans: dict[str, UUID] = {}
        self._untitled: dict[str, UUID] = {}
        self.accounts = [account for currency in CURRENCIES for account in self._open(currency)]
        self._ids = {account.code: str(account.id) for account in self.accounts if account.code}

    def steps(self) -> list[Step]:
        """Return the requests in the order in which they are recorded."""
        found = [*self._trade(), *self._correct_labels()]
        for number, end in enumerate(ENDS):
            found += [*self._run_month(number, end), *self._end_month(end)]
        return sorted(found, key=lambda step: step.at)

    # Accounts.

    def _open(self, currency: str) -> Iterator[Account]:
        """Yield the accounts of a currency: with codes, without, and some whose type follows from the code alone."""
        low = currency.lower()
        for code in list_codes(low):
            kind = TYPES[code.partition(":")[0]]
            name, cents = NAMES.get(code.replace(low, "{}")), BALANCES.get(code.replace(low, "{}"), 0)
            yield Account(self._new_id(), currency, code, kind, name and name.format(currency), cents)
        yield Account(self._new_id(), currency, f"ASSETS:Old_Till.{low}", None)
        self._loans[low], self._untitled[low] = self._new_id(), self._new_id()
        yield Account(self._loans[low], currency, None, "liability", "A loan")
        yield Account(self._untitled[low], currency, None, None)

    def _new_id(self) -> UUID:
        return UUID(int=self._random.getrandbits(128), version=4)

    # Business.

    def _trade(self) -> Iterator[Step]:
        """Yield the sales, payments and costs of about every second day."""
        for number in range((LAST - FIRST).days + 1):
            day = FIRST + timedelta(days=number)
            if self._random.random() < 0.55:
                at = datetime.combine(day, self._random.choice(EVERY_DAY_HAS), UTC)
                count = self._random.randint(1, self._per_day)
                yield Step(at, "POST", "/v1/transactions/batch", [self._trade_once(at) for _ in range(count)])

    def _trade_once(self, at: datetime) -> dict[str, Any]:
        low = self._random.choice(("usd", "eur"))
        bank, customer = f"assets:bank:{low}", self._customer(low)
        supplier = f"liabilities:payable:{low}:supplier-{self._random.randrange(SUPPLIERS):02}"
        till, stock = f"assets:bank:{low}:till", f"assets:stock:{low}"
        goods = f"income:sales:{low}:{self._random.choice(GOODS)}"
        fee = f"expenses:fees:{low}:{self._random.choice(FEES)}"
        cost = f"expenses:{self._random.choice(COSTS)}:{low}"
        kind, source, destination, most = self._random.choices(
            (
                ("sale", goods, customer, 90_000),
                ("payment", customer, bank, 80_000),
                ("cash", f"income:sales:{low}", till, 5_000),
                ("fee", bank, fee, 199),
                ("purchase", supplier, stock, 40_000),
                ("cost", supplier, cost, 9_000),
                ("bill", bank, supplier, 30_000),
                ("odd", str(self._untitled[low]), till, 77),
                ("loan", str(self._loans[low]), bank, 7_000),
                ("old till", f"assets:old_till.{low}", till, 50),
            ),
            weights=(30, 22, 10, 16, 6, 8, 8, 2, 2, 2),
        )[0]
        transfer = self._transfer(source, destination, self._random.randint(1, most), f"{kind}; {at:%d|%m}")
        if self._random.random() < 0.08:  # known late, within the same month, or ahead
            transfer["effective_at"] = self._shift(at)
        if kind == "sale":
            self._sales.append((at, transfer))
        return transfer

    def _customer(self, low: str) -> str:
        return f"assets:receivable:{low}:customer-{self._random.randrange(CUSTOMERS):02}"

    def _transfer(self, source: str, destination: str, cents: int, text: str | None = None) -> dict[str, Any]:
        named = {} if text is None else {"description": text, "metadata": {"kind": text.partition(";")[0]}}
        return {
            "id": str(self._new_id()),
            "source_account_id": source,
            "destination_account_id": destination,
            "amount_cents": cents,
            **named,
        }

    def _shift(self, at: datetime) -> str:
        """Return an effective time in the same month or later, in one of the forms in which it can be given."""
        early = at.replace(day=self._random.randint(1, at.day))
        late = at + timedelta(days=self._random.randint(1, 20))
        return self._spell(self._random.choice((early, early, late)))

    def _spell(self, moment: datetime) -> str:
        """Return a time of this day in UTC: a date, a day's first or last instant, or a time of another zone."""
        day = moment.date()
        after = day + timedelta(days=1)
        return self._random.choice(
            (
                f"{day}",
                f"{day}T00:00:00Z",
                f"{day}T23:59:59.999999Z",
                f"{after}T01:30:00+02:00",
                f"{day}T12:00:00-05:00",
            )
        )

    # Months.

    def _run_month(self, number: int, end: date) -> Iterator[Step]:
        """Yield what happens once a month: salaries, rent, savings, conversions, orders, returns and refunds."""
        first = end.replace(day=1)
        yield self._post(self._at(first, 25, 10), self._salaries(), f"salaries of {first:%B}")
        for low in ("usd", "eur"):
            rent = self._transfer(
                f"assets:prepaid:{low}", f"expenses:rent:{low}:{('north', 'south')[number % 2]}", 150_050
            )
            ahead = {**rent, "effective_at": str(end + timedelta(days=1)), "reference": f"rent {low} {first:%m}"}
            yield Step(self._at(first, 28, 8), "POST", "/v1/transactions/transfer", ahead)
            paid = self._transfer(f"assets:bank:{low}", f"assets:prepaid:{low}", 150_050)
            yield Step(self._at(first, 27, 8), "POST", "/v1/transactions/transfer", paid)
            yield from self._order(first, low)
        batch = [
            self._transfer(f"income:sales:{low}", f"liabilities:vat:{low}", 1)
            for low in ("usd", "eur")
            for _ in range(3)
        ]
        yield Step(self._at(first, 20, 7), "POST", "/v1/transactions/batch", {"atomic": True, "items": batch})
        yield self._post(self._at(first, 15, 11), self._conversion(), None)
        yield from self._return_goods(first)

    def _at(self, first: date, day: int, hour: int) -> datetime:
        return datetime.combine(first.replace(day=day), time(hour), UTC)

    def _post(self, at: datetime, postings: list[dict[str, Any]], text: str | None, **details: Any) -> Step:
        named = {} if text is None else {"description": text}
        body = {"id": str(self._new_id()), "postings": postings, **named, **details}
        return Step(at, "POST", "/v1/transactions", body)

    def _salaries(self) -> list[dict[str, Any]]:
        """Return postings in both currencies: gross pay and social costs by department, and where they go."""
        postings = []
        for low in ("usd", "eur"):
            owed = dict.fromkeys(("tax", "social", "pension", "net"), 0)
            for department in DEPARTMENTS:
                gross = self._random.randint(200_000, 900_000)
                tax, pension, social = gross * 19 // 100, gross * 7 // 100, gross * 11 // 100
                postings += [
                    _posting(f"expenses:payroll:{low}:{department}:gross", gross),
                    _posting(f"expenses:payroll:{low}:{department}:social", social),
                ]
                for part, cents in (("tax", tax), ("pension", pension), ("social", social)):
                    owed[part] += cents
                owed["net"] += gross - tax - pension
            postings += [_posting(f"liabilities:payroll:{low}:{part}", -cents) for part, cents in owed.items()]
            postings += [  # the wages are paid at once, so this account has two postings
                _posting(f"liabilities:payroll:{low}:net", owed["net"]),
                _posting(f"assets:bank:{low}", -owed["net"]),
            ]
        return postings

    def _conversion(self) -> list[dict[str, Any]]:
        dollars = self._random.randint(1_000, 99_999)
        euros = dollars * 91 // 100
        return [
            _posting("assets:bank:usd", -dollars),
            _posting("equity:conversion:usd", dollars),
            _posting("equity:conversion:eur", -euros),
            _posting("assets:bank:eur:savings", euros),
        ]

    def _order(self, first: date, low: str) -> Iterator[Step]:
        """Yield an order that is paid in two parts, the first of which counts earlier, and one that ends unpaid."""
        placed = self._transfer(f"income:sales:{low}", f"assets:bank:{low}:till", 10_000)
        hold = f"/v1/transactions/{placed['id']}"
        dated = {**placed, "effective_at": str(first), "reference": f"order {low} {first:%m}"}
        yield Step(self._at(first, 10, 9), "POST", "/v1/transactions/hold", dated)
        part = {"amount_cents": 3_333, "final": False, "effective_at": f"{first:%Y-%m}-02"}
        yield Step(self._at(first, 12, 9), "POST", f"{hold}/capture", part)
        yield Step(self._at(first, 16, 9), "POST", f"{hold}/capture", {"amount_cents": 1_111})
        yield Step(self._at(first, 18, 9), "POST", f"{hold}/reverse", {"amount_cents": 444})
        given_up = self._transfer(f"income:sales:{low}", f"assets:bank:{low}:till", 999)
        yield Step(self._at(first, 10, 10), "POST", "/v1/transactions/hold", given_up)
        yield Step(self._at(first, 11, 9), "POST", f"/v1/transactions/{given_up['id']}/void", None)

    def _return_goods(self, first: date) -> Iterator[Step]:
        """Yield reversals, in part and in full, of sales of this month and earlier, and a refund of another kind."""
        at = self._at(first, 24, 16)
        before = [transfer for time, transfer in self._sales if time < at]
        for transfer in self._random.sample(before, min(4, len(before))):
            self._sales = [(time, sale) for time, sale in self._sales if sale is not transfer]
            path, cents = f"/v1/transactions/{transfer['id']}/reverse", transfer["amount_cents"]
            parts: Sequence[dict[str, Any]] = [{}]
            if cents > 1 and self._random.random() < 0.5:
                parts = [{"amount_cents": cents // 2}, {"effective_at": f"{first}", "description": "the rest"}]
            for part in parts:
                yield Step(at, "POST", path, {"id": str(self._new_id()), "force": True, **part})
        low = self._random.choice(("usd", "eur"))
        refund = self._transfer(self._customer(low), f"income:refunds:{low}", 1_234, "goodwill")
        yield Step(at, "POST", "/v1/transactions/transfer", refund)

    # The ends of months.

    def _end_month(self, end: date) -> Iterator[Step]:
        """Yield late corrections, the closing, and what the closing then refuses; December stays open."""
        begin = datetime.combine(end + timedelta(days=1), time(9), UTC)
        for number in range(4):
            low = ("usd", "eur")[number % 2]
            accounts = (f"liabilities:payable:{low}:supplier-01", f"expenses:{('goods', 'paper')[number // 2]}:{low}")
            late = self._transfer(*accounts, self._random.randint(1, 9_999), "a late bill")
            late["effective_at"] = self._spell(begin - timedelta(days=self._random.randint(1, 20)))
            yield Step(begin + timedelta(hours=12 * number), "POST", "/v1/transactions/transfer", late)
        for low in ("usd", "eur"):
            interest = [_posting(f"income:interest:{low}", -777), _posting(f"assets:bank:{low}:savings", 777)]
            at = begin + timedelta(days=2)
            yield self._post(at, interest, "interest", effective_at=f"{end}T23:59:59.999999Z")
        if end != LAST:
            yield from self._close(end, begin + timedelta(days=3))

    def _close(self, end: date, at: datetime) -> Iterator[Step]:
        yield Step(at, "POST", "/v1/periods/close", {"through": str(end)})
        hour = timedelta(hours=1)
        too_late = {**self._transfer("assets:stock:usd", "expenses:goods:usd", 5), "effective_at": str(end)}
        yield Step(at + hour, "POST", "/v1/transactions/transfer", too_late, 409)
        first_open = {**too_late, "id": str(self._new_id()), "effective_at": str(end + timedelta(days=1))}
        yield Step(at + 2 * hour, "POST", "/v1/transactions/transfer", first_open)
        moved = {"id": str(self._new_id()), "amount_cents": 2, "effective_at": str(end)}  # to the first open day
        yield Step(at + 3 * hour, "POST", f"/v1/transactions/{first_open['id']}/reverse", moved)
        yield Step(
            at + 4 * hour,
            "PATCH",
            f"/v1/transactions/{first_open['id']}",
            {"description": f"amended; {end:%B}", "metadata": {"amended": "yes"}},
        )
        if end.month in {3, 8}:
            yield Step(at + 5 * hour, "POST", "/v1/periods/reopen", {})
            yield Step(at + 6 * hour, "POST", "/v1/transactions/transfer", too_late)
            yield Step(at + 7 * hour, "POST", "/v1/periods/close", {"through": str(end)})

    def _correct_labels(self) -> Iterator[Step]:
        """Yield a change of a code in the summer; another account gets the old code."""
        for low in ("usd", "eur"):
            travel, phones = f"/v1/accounts/{self._ids[f'{TRAVEL}:{low}']}", f"expenses:phones:{low}"
            at = self._at(FIRST.replace(month=7), 1, 7)
            spent = self._transfer(f"assets:bank:{low}", self._ids[f"{TRAVEL}:{low}"], 4_321, "a journey")
            yield Step(at, "POST", "/v1/transactions/transfer", spent)
            yield Step(at, "PATCH", travel, {"code": f"{TRIPS}:{low}"})
            yield Step(
                at, "PATCH", f"/v1/accounts/{self._ids[f'expenses:insurance:{low}']}", {"code": f"{TRAVEL}:{low}"}
            )
            yield Step(at, "PATCH", f"/v1/accounts/{phones}", {"name": f"Telephones ({low})"})
            spent = self._transfer(f"assets:bank:{low}", f"{TRAVEL}:{low}", 99, "an insurance")
            yield Step(at + timedelta(hours=1), "POST", "/v1/transactions/transfer", spent)


def _posting(code: str, cents: int) -> dict[str, Any]:
    return {"account_id": code, "amount_cents": cents}


async def open_accounts(api: Api, accounts: Sequence[Account]) -> None:
    """Open the accounts for an owner of their own."""
    owner = (await api.new_user())["id"]
    for account in accounts:
        named = {name: value for name, value in account._asdict().items() if value is not None}
        credit = 0 if account.balance_cents else CREDIT
        await api.new_account(owner, **{**named, "id": str(account.id)}, overdraft_limit_cents=credit)


async def write_books(api: Api, clock: PastClock, year: Year) -> None:
    """Open the accounts on the first day, and send each request at its time."""
    await clock.set(datetime.combine(FIRST, time(0), UTC))
    await open_accounts(api, year.accounts)
    for step in year.steps():
        await clock.set(step.at)
        await send(api, step)


async def send(api: Api, step: Step) -> None:
    """Send a request, and check that its response is the one that the generator expects."""
    if isinstance(step.body, list):
        data = "".join(f"{json.dumps(line)}\n" for line in step.body)
        answer = await api.call(step.method, step.path, data=data, headers={"Content-Type": "application/jsonl"})
        lines = [json.loads(line) for line in answer.body.splitlines()]
        assert [step.status] * len(step.body) == [line["status"] for line in lines], (step.at, lines)
        return
    answer = await api.call(step.method, step.path, step.body)
    assert step.status == answer.status, (step, answer.body)
