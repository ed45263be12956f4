"""What hledger and beancount themselves report from exported books, in cents.

The names of a journal stand for the ids of accounts, as the journal declares them.
"""

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import beanquery.parser  # type: ignore[import-untyped]  # it has no stubs

from tests.support.exports import NEEDS_HLEDGER, id_of, run_hledger

Balances: TypeAlias = dict[str, int]  # of accounts by id, without zeros
TOTAL, NET = "total", "Net:"


class Entry(NamedTuple):
    """A line of a statement: its day, its amount and the balance after it."""

    day: date
    amount_cents: int
    balance_cents: int


def to_cents(amount: Any) -> int:
    """Return an amount of a currency with two decimal places, to the cent."""
    cents = Decimal(amount) * 100
    assert cents == int(cents), amount
    return int(cents)


def _by_id(names: Mapping[str, str], rows: Iterable[tuple[str, Any]]) -> Balances:
    found: Balances = {}
    for name, amount in rows:
        cents = to_cents(amount)
        if cents:
            assert names[name] not in found, name
            found[names[name]] = cents
    return found


@cache
def _parse(query: str) -> Any:
    """Return a parsed query: parsing takes longer than executing."""
    return beanquery.parser.parse(query)


class Hledger:
    """A journal, as hledger reads it."""

    def __init__(self, path: Path, *options: str) -> None:
        self._path, self._options = path, options
        declared = re.findall(r"^account (\S+)(?:.*, account-id: ([0-9a-f-]{36}))?", path.read_text(), re.MULTILINE)
        self.names = {name: account_id or id_of(name) for name, account_id in declared}

    async def _run(self, *arguments: str) -> list[list[str]]:
        return [*csv.reader(io.StringIO(await run_hledger(self._path, *arguments, *self._options, "-O", "csv")))]

    async def balances_at_month_ends(self) -> dict[date, Balances]:
        """Return the balances at the end of each month."""
        header, *rows = await self._run("balance", "--flat", "-MH", "--no-total", "--layout=tidy")
        assert ["account", "period", "start_date", "end_date", "commodity", "value"] == header
        ends = sorted({row[3] for row in rows})
        return {
            date.fromisoformat(end): _by_id(self.names, ((row[0], row[5]) for row in rows if row[3] == end))
            for end in ends
        }

    async def sums_at(self, end: date, depth: int) -> dict[tuple[str, str], int]:
        """Return the sums of accounts with codes at the end of a day by currency and code, of at most `depth` parts."""
        options = (f"--depth={depth}", f"--end={end + timedelta(days=1)}")
        others = ("not:acct:^[a-z]+:accounts:.{36}$", "not:acct:^equity:world:")
        _, *rows = await self._run("balance", "--flat", "--no-total", "--layout=bare", *options, *others)
        found: dict[tuple[str, str], int] = {}
        for name, currency, amount in rows:
            key = (currency, name.lower())
            found[key] = found.get(key, 0) + to_cents(amount)
        return found

    async def report(self, command: str) -> dict[str, dict[tuple[str, str], dict[str, int]]]:
        """Return a monthly report: for each section and each line of a currency, the cents by month.

        A line is an account by its id, or `TOTAL`; the section `NET` has the difference of the other sections.
        """
        _, header, *rows = await self._run(command, "--flat", "-M", "--layout=bare")
        sections: dict[str, dict[tuple[str, str], dict[str, int]]] = {}
        section = ""
        for name, currency, *amounts in rows:
            if name == NET:
                section = NET
            if not any(amounts):
                section = name
                continue
            line = (TOTAL if name in {TOTAL, NET} else self.names[name], currency)
            months = zip(header[2:], map(to_cents, amounts), strict=True)
            sections.setdefault(section, {})[line] = {month[:7]: cents for month, cents in months}
        return sections

    async def postings(self) -> dict[str, list[tuple[date, int]]]:
        """Return the day and the amount of each posting in the order of the register, by account."""
        _, *rows = await self._run("register")
        found: dict[str, list[tuple[date, int]]] = {}
        for _, day, _, _, name, amount, _ in rows:
            found.setdefault(self.names[name], []).append((date.fromisoformat(day), to_cents(amount.split()[0])))
        return found

    async def register(self, account_id: str) -> list[Entry]:
        """Return the register of one account: a line for each of its postings."""
        name = next(name for name, one in self.names.items() if one == account_id)
        _, *rows = await self._run("register", f"acct:^{re.escape(name)}$")
        return [
            Entry(date.fromisoformat(day), to_cents(amount.split()[0]), to_cents(total.split()[0]))
            for _, day, _, _, _, amount, total in rows
        ]


class Beancount:
    """A journal, as beancount reads it and its query language sums it up."""

    def __init__(self, path: Path) -> None:
        self._connection = beanquery.connect(f"beancount:{path}")
        assert [] == self._connection.errors
        self._balances: dict[date, Balances] = {}
        declared = self._query("SELECT account, open.meta['account-id'] FROM #accounts")
        self.names = {name: account_id or id_of(name) for name, account_id in declared}

    def _query(self, text: str, *parameters: Any) -> list[Any]:
        return list(self._connection.execute(_parse(text), parameters).fetchall())

    def balances_at(self, end: date) -> Balances:
        """Return the balances at the end of a day."""
        if end in self._balances:
            return self._balances[end]
        rows = self._query("SELECT account, sum(number) WHERE date <= %s GROUP BY account, currency", end)
        return self._balances.setdefault(end, _by_id(self.names, rows))

    def balance_sheet(self, after: date) -> tuple[Balances, Balances]:
        """Return the balances before a day without income and expenses, and the result so far by currency.

        The result is what beancount moves to the equity: negative if it is a profit.
        """
        rows = self._query(
            f"SELECT account, currency, sum(number) FROM CLOSE ON {after} CLEAR GROUP BY account, currency"
        )
        result = {currency: to_cents(number) for name, currency, number in rows if name == "Equity:Earnings:Current"}
        kept = [(name, number) for name, _, number in rows if name in self.names]
        return _by_id(self.names, kept), result

    def changes(self, begin: date, after: date) -> Balances:
        """Return what income and expenses have changed from one day to the day before another."""
        rows = self._query(
            f"""SELECT account, sum(number) FROM OPEN ON {begin} CLOSE ON {after}
                WHERE account ~ '^(Income|Expenses):' GROUP BY account, currency"""
        )
        return _by_id(self.names, rows)

    def postings(self) -> dict[str, list[tuple[date, int]]]:
        """Return the day and the amount of each posting in the order of the journal, by account."""
        found: dict[str, list[tuple[date, int]]] = {}
        for name, day, number in self._query("SELECT account, date, number"):
            found.setdefault(self.names[name], []).append((day, to_cents(number)))
        return found

    def register(self, account_id: str) -> list[Entry]:
        """Return the register of one account: a line for each of its postings."""
        name = next(name for name, one in self.names.items() if one == account_id)
        rows = self._query("SELECT date, number, balance WHERE account = %s", name)
        return [Entry(day, to_cents(number), _only(balance, to_cents)) for day, number, balance in rows]


class Journals:
    """The journals of the same books for both tools. Where hledger is missing, tests go without it."""

    def __init__(self, stem: Path) -> None:
        self._stem = stem
        self.hledger = Hledger(stem.with_suffix(".journal")) if NEEDS_HLEDGER else None

    @cached_property
    def beancount(self) -> Beancount:
        """Return what beancount reads; that takes it a second."""
        return Beancount(self._stem.with_suffix(".beancount"))

    def by_other_date(self) -> Hledger:
        """Return what hledger reads by the secondary dates."""
        return Hledger(self._stem.with_suffix(".journal"), "--date2")


def _only(balance: Any, convert: Callable[[Any], int]) -> int:
    """Return the amount of an inventory of one currency at most."""
    numbers = [position.units.number for position in balance]
    assert 1 >= len(numbers)
    return convert(numbers[0]) if numbers else 0
