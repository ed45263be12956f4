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
    incoming: int = 0
    limit: int = 0
    maximum: int | None = None
    frozen: str = "none"
    closed: bool = False

    @property
    def available(self) -> int:
        return self.balance - self.held + self.limit

    def refusals_for(self, cents: int, *, force: bool, captured: int = 0) -> list[str]:
        if self.closed:
            return ["account_closed"]
        if self.frozen == "all" or (cents < 0 and self.frozen == "debits"):
            return ["account_frozen"]
        if cents > 0 and self.maximum is not None and self.balance + self.incoming - captured + cents > self.maximum:
            return ["account_limit_exceeded"]
        short = cents < 0 and self.available < -cents and not force
        return ["transfer_insufficient_funds"] if short else []


@dataclass
class Transaction:
    """Legs that have moved, or will move when a hold is captured; `held` is what a hold still holds."""

    legs: Legs
    status: str = "posted"
    is_reversal: bool = False
    reversed_by: str | None = None
    held: int = 0
    captured: int = 0
    reversed: int = 0


@dataclass
class Ledger:
    """The whole model. A method either applies its change completely or raises `RefusedError`."""

    users: set[str] = field(default_factory=set)
    accounts: dict[str, Account] = field(default_factory=dict)
    transactions: dict[str, Transaction] = field(default_factory=dict)
    references: dict[str, str] = field(default_factory=dict)

    def delete_user(self, user: str) -> None:
        self._check_user(user)
        own = [account for account in self.accounts.values() if account.owner == user and not account.closed]
        if any(account.balance or account.held or account.incoming for account in own):
            raise RefusedError("account_not_empty")
        for account in own:
            account.closed = True
        self.users.remove(user)

    def open(self, name: str, user: str, currency: str, balance: int) -> None:
        self._check_user(user)
        self.accounts[name] = Account(user, currency, balance)

    def change(
        self, name: str, owner: str | None, limit: int | None, frozen: str | None, maximum: int | None = None
    ) -> None:
        account = self._open_account(name)
        if owner is not None and owner != account.owner:
            self._check_user(owner)
        lowest = min(account.held - account.balance, account.limit)
        if limit is not None and limit != account.limit and limit < lowest:
            raise RefusedError("validation_error")
        is_lower = maximum is not None and (account.maximum is None or maximum < account.maximum)
        if maximum is not None and is_lower and maximum < account.balance + account.incoming:
            raise RefusedError("validation_error")
        account.owner = account.owner if owner is None else owner
        account.limit = account.limit if limit is None else limit
        account.maximum = account.maximum if maximum is None else maximum
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
        if account.balance or account.held or account.incoming:
            raise RefusedError("account_not_empty")
        account.closed = True

    def reopen(self, name: str) -> None:
        if name not in self.accounts:
            raise RefusedError("resource_not_found")
        account = self.accounts[name]
        if account.closed:
            self._check_user(account.owner)
            account.closed = False

    def transfer(
        self,
        number: str,
        source: str,
        destination: str,
        cents: int,
        *,
        hold: bool = False,
        reference: str | None = None,
    ) -> None:
        if source in self.accounts:
            self._check_reference(reference)
        codes = self._refusals_for(source, -cents)
        codes += ["transfer_accounts_are_same"] if source == destination else self._refusals_for(destination, cents)
        if codes:
            raise RefusedError(*codes)
        if self.accounts[source].currency != self.accounts[destination].currency:
            raise RefusedError("currency_mismatch")
        legs = [(source, -cents), (destination, cents)]
        self._use(reference, number)
        if hold:
            self.transactions[number] = Transaction(legs, status="pending", held=cents)
            self.accounts[source].held += cents
            self.accounts[destination].incoming += cents
        else:
            self.transactions[number] = Transaction(legs)
            self._move(legs)

    def post(self, number: str, legs: Legs) -> None:
        self._check(legs)
        for currency in {self.accounts[name].currency for name, _ in legs}:
            if sum(cents for name, cents in legs if self.accounts[name].currency == currency):
                raise RefusedError("validation_error")
        self._move(legs)
        self.transactions[number] = Transaction(legs)

    def capture(self, number: str, cents: int | None, *, final: bool = True, reference: str | None = None) -> None:
        hold = self._hold(number)
        if hold.status != "pending":
            raise RefusedError("hold_not_pending")
        (source, _), (destination, _) = hold.legs
        cents = hold.held if cents is None else cents
        if cents > hold.held:
            raise RefusedError("validation_error")
        self._check_reference(reference)
        legs = [(source, -cents), (destination, cents)]
        self._check(legs, force=True, captured=cents)
        self._use(reference, number)
        self._move(legs)
        hold.captured += cents
        hold.legs = [(source, -hold.captured), (destination, hold.captured)]
        self._release(hold, cents)
        if final or not hold.held:
            self._release(hold, hold.held)
            hold.status = "captured"

    def void(self, number: str) -> None:
        hold = self._hold(number)
        if hold.status == "expired":
            return
        if hold.status != "pending":
            raise RefusedError("hold_not_pending")
        self._end(number, hold, "voided")

    def expire(self, number: str) -> None:
        """Let time pass until the hold is overdue."""
        self._end(number, self.transactions[number], "expired")

    def reverse(
        self, number: str, reversal: str, *, force: bool, cents: int | None = None, destination: str | None = None
    ) -> None:
        first = self._transaction(number)
        if first.reversed_by is not None:
            raise RefusedError("transaction_already_reversed")
        if first.is_reversal or first.status not in {"posted", "captured"}:
            raise RefusedError("transaction_not_reversible")
        rest = abs(first.legs[0][1]) - first.reversed if len(first.legs) == 2 else None
        if cents is not None and (rest is None or cents > rest):
            raise RefusedError("validation_error")
        moved = cents or rest
        back = [(name, -one if moved is None else (moved if one < 0 else -moved)) for name, one in first.legs]
        if len({name for name, _ in back}) < len(back):
            back.reverse()
        back = self._redirect(back, destination)
        if len(back) == 2 and back[0][0] == back[1][0]:
            raise RefusedError("transfer_accounts_are_same")
        self._check(sorted(back, key=lambda leg: leg[1]) if len(back) == 2 else back, force=force)
        self._move(back)
        self.transactions[reversal] = Transaction(back, is_reversal=True)
        first.reversed += moved or 0
        first.reversed_by = reversal if moved == rest else None

    def _redirect(self, back: Legs, destination: str | None) -> Legs:
        """Return the legs with the named account in the place of closed ones that would get money."""
        if destination is None:
            return back
        closed = [name for name, cents in back if cents > 0 and self.accounts[name].closed]
        if not closed:
            raise RefusedError("validation_error")
        named = self.accounts.get(destination)
        if named is not None and any(self.accounts[name].currency != named.currency for name in closed):
            raise RefusedError("currency_mismatch")
        return [(destination if name in closed and cents > 0 else name, cents) for name, cents in back]

    def _end(self, number: str, hold: Transaction, status: str) -> None:
        self._release(hold, hold.held)
        hold.status = "captured" if hold.captured else status
        if not hold.captured:
            self.references = {name: owner for name, owner in self.references.items() if owner != number}

    def _release(self, hold: Transaction, cents: int) -> None:
        (source, _), (destination, _) = hold.legs
        self.accounts[source].held -= cents
        self.accounts[destination].incoming -= cents
        hold.held -= cents

    def _check_reference(self, reference: str | None) -> None:
        if reference in self.references:
            raise RefusedError("reference_already_exists")

    def _use(self, reference: str | None, number: str) -> None:
        if reference is not None:
            self.references[reference] = number

    def _check(self, legs: Legs, *, force: bool = False, captured: int = 0) -> None:
        """Check each leg after the ones before it."""
        codes: list[str] = []
        made: Legs = []
        for name, cents in legs:
            refusals = self._refusals_for(name, cents, force=force, captured=captured)
            if not refusals:
                made.append((name, cents))
                self._move([(name, cents)])
            codes += refusals
        self._move([(name, -cents) for name, cents in made])
        if codes:
            raise RefusedError(*codes)

    def _refusals_for(self, name: str, cents: int, *, force: bool = False, captured: int = 0) -> list[str]:
        account = self.accounts.get(name)
        if account is None:
            return [f"transfer_{'source' if cents < 0 else 'destination'}_account_not_found"]
        return account.refusals_for(cents, force=force, captured=captured)

    def _move(self, legs: Legs) -> None:
        for name, cents in legs:
            self.accounts[name].balance += cents

    def _hold(self, number: str) -> Transaction:
        transaction = self._transaction(number)
        if transaction.status == "posted":
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
