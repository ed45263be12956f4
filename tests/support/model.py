"""A model of the ledger: plain dictionaries that each request changes in place."""

from dataclasses import dataclass, field
from typing import TypeAlias

Legs: TypeAlias = list[tuple[str, int]]  # the amount each account gains or loses


class RefusedError(Exception):
    """The request is refused with these codes; nothing has changed."""

    def __init__(self, *codes: str) -> None:
        super().__init__(*codes)
        self.codes = list(codes)


@dataclass
class Account:
    """A user's account."""

    owner: str
    currency: str
    balance: int = 0
    held: int = 0
    limit: int = 0
    frozen: str = "none"
    closed: bool = False

    @property
    def available(self) -> int:
        return self.balance - self.held + self.limit

    def refusals_for(self, cents: int, *, force: bool) -> list[str]:
        if self.closed:
            return ["account_closed"]
        if self.frozen == "all" or (cents < 0 and self.frozen == "debits"):
            return ["account_frozen"]
        short = cents < 0 and self.available < -cents and not force
        return ["transfer_insufficient_funds"] if short else []


@dataclass
class Transaction:
    """Legs that have moved, or will move when a hold is captured."""

    legs: Legs
    status: str = "posted"
    is_reversal: bool = False
    reversed_by: str | None = None


@dataclass
class Ledger:
    """The whole model. A method either applies its change completely or raises `RefusedError`."""

    users: set[str] = field(default_factory=set)
    accounts: dict[str, Account] = field(default_factory=dict)
    transactions: dict[str, Transaction] = field(default_factory=dict)

    def delete_user(self, user: str) -> None:
        self._check_user(user)
        own = [account for account in self.accounts.values() if account.owner == user and not account.closed]
        if any(account.balance or account.held for account in own):
            raise RefusedError("account_not_empty")
        for account in own:
            account.closed = True
        self.users.remove(user)

    def open(self, name: str, user: str, currency: str, balance: int) -> None:
        self._check_user(user)
        self.accounts[name] = Account(user, currency, balance)

    def change(self, name: str, owner: str | None, limit: int | None, frozen: str | None) -> None:
        account = self._open_account(name)
        if owner is not None and owner != account.owner:
            self._check_user(owner)
        lowest = min(account.held - account.balance, account.limit)
        if limit is not None and limit != account.limit and limit < lowest:
            raise RefusedError("validation_error")
        account.owner = account.owner if owner is None else owner
        account.limit = account.limit if limit is None else limit
        account.frozen = account.frozen if frozen is None else frozen

    def adjust(self, name: str, balance: int) -> None:
        account = self._open_account(name)
        difference = balance - account.balance
        if difference < 0 and balance < -account.limit:
            raise RefusedError("validation_error")
        if difference and (codes := account.refusals_for(difference, force=False)):
            raise RefusedError(*codes)
        account.balance = balance

    def close(self, name: str) -> None:
        account = self._open_account(name)
        if account.balance or account.held:
            raise RefusedError("account_not_empty")
        account.closed = True

    def transfer(self, number: str, source: str, destination: str, cents: int, *, hold: bool = False) -> None:
        codes = self._refusals_for(source, -cents)
        codes += ["transfer_accounts_are_same"] if source == destination else self._refusals_for(destination, cents)
        if codes:
            raise RefusedError(*codes)
        if self.accounts[source].currency != self.accounts[destination].currency:
            raise RefusedError("currency_mismatch")
        legs = [(source, -cents), (destination, cents)]
        self.transactions[number] = Transaction(legs, status="pending" if hold else "posted")
        if hold:
            self.accounts[source].held += cents
        else:
            self._move(legs)

    def post(self, number: str, legs: Legs) -> None:
        self._check(legs)
        for currency in {self.accounts[name].currency for name, _ in legs}:
            if sum(cents for name, cents in legs if self.accounts[name].currency == currency):
                raise RefusedError("validation_error")
        self._move(legs)
        self.transactions[number] = Transaction(legs)

    def capture(self, number: str, cents: int | None) -> None:
        hold = self._pending(number)
        (source, _), (destination, held) = hold.legs
        cents = held if cents is None else cents
        if cents > held:
            raise RefusedError("validation_error")
        hold_legs = [(source, -cents), (destination, cents)]
        self._check(hold_legs, force=True)
        self._move(hold_legs)
        self.accounts[source].held -= held
        hold.legs, hold.status = hold_legs, "captured"

    def void(self, number: str) -> None:
        hold = self._pending(number)
        source, held = hold.legs[0]
        self.accounts[source].held += held
        hold.status = "voided"

    def reverse(self, number: str, reversal: str, *, force: bool) -> None:
        first = self._transaction(number)
        if first.reversed_by is not None:
            raise RefusedError("transaction_already_reversed")
        if first.is_reversal or first.status not in {"posted", "captured"}:
            raise RefusedError("transaction_not_reversible")
        back = [(name, -cents) for name, cents in first.legs]
        self._check(sorted(back, key=lambda leg: leg[1]) if len(back) == 2 else back, force=force)
        self._move(back)
        self.transactions[reversal] = Transaction(back, is_reversal=True)
        first.reversed_by = reversal

    def _check(self, legs: Legs, *, force: bool = False) -> None:
        if codes := [code for name, cents in legs for code in self._refusals_for(name, cents, force=force)]:
            raise RefusedError(*codes)

    def _refusals_for(self, name: str, cents: int, *, force: bool = False) -> list[str]:
        account = self.accounts.get(name)
        if account is None:
            return [f"transfer_{'source' if cents < 0 else 'destination'}_account_not_found"]
        return account.refusals_for(cents, force=force)

    def _move(self, legs: Legs) -> None:
        for name, cents in legs:
            self.accounts[name].balance += cents

    def _pending(self, number: str) -> Transaction:
        transaction = self._transaction(number)
        if transaction.status != "pending":
            raise RefusedError("hold_not_pending")
        return transaction

    def _transaction(self, number: str) -> Transaction:
        if number not in self.transactions:
            raise RefusedError("transaction_not_found")
        return self.transactions[number]

    def _open_account(self, name: str) -> Account:
        if name not in self.accounts:
            raise RefusedError("resource_not_found")
        if self.accounts[name].closed:
            raise RefusedError("account_closed")
        return self.accounts[name]

    def _check_user(self, name: str) -> None:
        if name not in self.users:
            raise RefusedError("user_not_found")
