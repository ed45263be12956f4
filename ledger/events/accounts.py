"""The events of an account, and the state they fold into.

Every entry carries the balance after it, so the balance at any version is one row. `evolve` copies that balance and
checks nothing: a rule that is tightened later must not make old history unreadable.
"""

from typing import ClassVar, Literal, assert_never
from uuid import UUID

import msgspec

from ledger.events.account_labels import AccountDescribed
from ledger.money import MAX_CENTS
from ledger.values.derived import derived_id


class AccountOpened(msgspec.Struct, frozen=True):
    """An account was opened. The ledger's own `world` accounts have no owner."""

    TOPIC: ClassVar[str] = "AccountOpened"

    owner_id: UUID | None
    currency: str


class AccountOwnerChanged(msgspec.Struct, frozen=True):
    """The account, with its balance and history, now belongs to another user."""

    TOPIC: ClassVar[str] = "AccountOwnerChanged"

    owner_id: UUID


class AccountDebited(msgspec.Struct, frozen=True):
    """Money left the account; `balance_cents` is the balance afterwards."""

    TOPIC: ClassVar[str] = "AccountDebited"

    transaction_id: UUID = msgspec.field(name="transfer_id")
    amount_cents: int
    balance_cents: int


class AccountCredited(msgspec.Struct, frozen=True):
    """Money entered the account; `balance_cents` is the balance afterwards."""

    TOPIC: ClassVar[str] = "AccountCredited"

    transaction_id: UUID = msgspec.field(name="transfer_id")
    amount_cents: int
    balance_cents: int


class AccountClosed(msgspec.Struct, frozen=True):
    """The account was closed at balance zero, and takes part in no transaction until it is reopened."""

    TOPIC: ClassVar[str] = "AccountClosed"


class AccountReopened(msgspec.Struct, frozen=True):
    """The account is open again, with the owner and policy that it had when it was closed."""

    TOPIC: ClassVar[str] = "AccountReopened"


class FundsHeld(msgspec.Struct, frozen=True):
    """A hold set funds of the account aside; `held_cents` is the total held afterwards."""

    TOPIC: ClassVar[str] = "FundsHeld"

    transaction_id: UUID = msgspec.field(name="transfer_id")
    amount_cents: int
    held_cents: int


class FundsReleased(msgspec.Struct, frozen=True):
    """A hold, or the captured part of one, holds no more funds; `held_cents` is the total held afterwards."""

    TOPIC: ClassVar[str] = "FundsReleased"

    transaction_id: UUID = msgspec.field(name="transfer_id")
    amount_cents: int
    held_cents: int


class IncomingHeld(msgspec.Struct, frozen=True):
    """A hold set funds of another account aside for this one; `incoming_cents` is the total held for it afterwards."""

    TOPIC: ClassVar[str] = "IncomingHeld"

    transaction_id: UUID = msgspec.field(name="transfer_id")
    amount_cents: int
    incoming_cents: int


class IncomingReleased(msgspec.Struct, frozen=True):
    """A hold for this account, or the captured part of one, is over; `incoming_cents` is the total held afterwards."""

    TOPIC: ClassVar[str] = "IncomingReleased"

    transaction_id: UUID = msgspec.field(name="transfer_id")
    amount_cents: int
    incoming_cents: int


class OverdraftLimitChanged(msgspec.Struct, frozen=True):
    """The balance may now fall below zero by this limit."""

    TOPIC: ClassVar[str] = "OverdraftLimitChanged"

    overdraft_limit_cents: int


class MaxBalanceChanged(msgspec.Struct, frozen=True):
    """The balance may no longer rise above this limit, or may rise again if there is none."""

    TOPIC: ClassVar[str] = "MaxBalanceChanged"

    max_balance_cents: int | None


class AccountFrozen(msgspec.Struct, frozen=True):
    """From now on money cannot leave the account (`debits`), or can neither leave nor enter it (`all`)."""

    TOPIC: ClassVar[str] = "AccountFrozen"

    frozen: Literal["debits", "all"]


class AccountUnfrozen(msgspec.Struct, frozen=True):
    """Money may enter and leave the account again."""

    TOPIC: ClassVar[str] = "AccountUnfrozen"


AccountEvent = (
    AccountOpened
    | AccountOwnerChanged
    | AccountDebited
    | AccountCredited
    | FundsHeld
    | FundsReleased
    | IncomingHeld
    | IncomingReleased
    | OverdraftLimitChanged
    | MaxBalanceChanged
    | AccountFrozen
    | AccountUnfrozen
    | AccountClosed
    | AccountReopened
    | AccountDescribed
)
BALANCE_EVENTS = (AccountDebited, AccountCredited)
OWNERSHIP_EVENTS = (AccountOpened, AccountOwnerChanged)
FUNDS_EVENTS = (
    *(FundsHeld, FundsReleased, OverdraftLimitChanged),
    *(AccountFrozen, AccountUnfrozen, MaxBalanceChanged),
)
INCOMING_EVENTS = (IncomingHeld, IncomingReleased)
CLOSING_EVENTS = (AccountClosed, AccountReopened)
DESCRIPTION_EVENTS = (AccountDescribed,)
# Every account event is in one of these groups. Point-in-time reads depend on it: see ledger/store/reader.py.
EVENT_GROUPS = (BALANCE_EVENTS, OWNERSHIP_EVENTS, FUNDS_EVENTS, INCOMING_EVENTS, CLOSING_EVENTS, DESCRIPTION_EVENTS)
FOLLOWING_EVENTS = (*BALANCE_EVENTS, FundsHeld, FundsReleased, *INCOMING_EVENTS)  # that of their transaction
LANDMARK_EVENTS = (*OWNERSHIP_EVENTS, *CLOSING_EVENTS)

Freeze = Literal["none", "debits", "all"]


class Account(msgspec.Struct, frozen=True, omit_defaults=True):
    """The state of one account. `incoming_cents` is what pending holds will pay to it, if they are captured.

    `label_changes` counts the changes of its labels: while it is unchanged, labels that were read earlier are in force.
    """

    TOPIC: ClassVar[str] = "Account"

    owner_id: UUID | None
    currency: str
    balance_cents: int = 0
    closed: bool = False
    held_cents: int = 0
    overdraft_limit_cents: int = 0
    frozen: Freeze = "none"
    incoming_cents: int = 0
    label_changes: int = 0
    max_balance_cents: int | None = None

    @property
    def available_cents(self) -> int:
        """Return the funds that can be spent: the balance, less the funds held, plus the overdraft limit."""
        return self.balance_cents - self.held_cents + self.overdraft_limit_cents

    def has_room_for(self, cents: int) -> bool:
        """Return whether a credit keeps the balance within its limit, with what pending holds will pay to it."""
        limit = self.max_balance_cents
        return limit is None or self.balance_cents + self.incoming_cents + cents <= limit

    @property
    def is_world(self) -> bool:
        """Return whether the ledger owns the account: it is the other side of all money that enters or leaves."""
        return self.owner_id is None

    def funds(self) -> dict[str, int | str | None]:
        """Return balance, funds and policy as clients see them, limited to integers that JSON readers keep exactly."""
        return {
            "balance_cents": self.balance_cents,
            "held_cents": self.held_cents,
            "available_cents": max(-MAX_CENTS, min(self.available_cents, MAX_CENTS)),
            "overdraft_limit_cents": self.overdraft_limit_cents,
            "max_balance_cents": self.max_balance_cents,
            "frozen": self.frozen,
        }


def world_account_id(currency: str) -> UUID:
    """Return the id of the ledger's own account in a currency. Its balance is minus the sum of all others."""
    return derived_id("world", currency)


def evolve(state: Account | None, event: AccountEvent) -> Account:  # noqa: C901, PLR0911, PLR0912 - one arm per event
    """Fold one event into the state; the first event of a stream is its opening."""
    if isinstance(event, BALANCE_EVENTS):  # by far the most frequent, so without `_replace` if there is an account
        balance = event.balance_cents
        return _replace(None) if state is None else msgspec.structs.replace(state, balance_cents=balance)
    match event:
        case AccountOpened(owner_id=owner_id, currency=currency):
            return Account(owner_id, currency)
        case FundsHeld(held_cents=held) | FundsReleased(held_cents=held):
            return _replace(state, held_cents=held)
        case IncomingHeld(incoming_cents=incoming) | IncomingReleased(incoming_cents=incoming):
            return _replace(state, incoming_cents=incoming)
        case AccountOwnerChanged(owner_id=owner_id):
            return _replace(state, owner_id=owner_id)
        case OverdraftLimitChanged(overdraft_limit_cents=limit):
            return _replace(state, overdraft_limit_cents=limit)
        case MaxBalanceChanged(max_balance_cents=limit):
            return _replace(state, max_balance_cents=limit)
        case AccountFrozen(frozen=frozen):
            return _replace(state, frozen=frozen)
        case AccountUnfrozen():
            return _replace(state, frozen="none")
        case AccountClosed():
            return _replace(state, closed=True)
        case AccountReopened():
            return _replace(state, closed=False)
        case AccountDescribed(changes=changes):
            return _replace(state, label_changes=changes)
        case _:
            assert_never(event)


def _replace(state: Account | None, **changes: object) -> Account:
    if state is None:
        raise ValueError("the history of an account starts with its opening")
    return msgspec.structs.replace(state, **changes)
