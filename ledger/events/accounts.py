"""What can have happened to an account, and what it adds up to.

Every entry carries the balance after it, so a balance at any version is one row; `evolve` takes it over and checks
nothing: a rule that is tightened later must not make old history unreadable.
"""

from typing import assert_never
from uuid import UUID

import msgspec

from ledger.derived import derived_id


class AccountOpened(msgspec.Struct, frozen=True):
    """An account exists from now on. The ledger's own `world` accounts have no owner."""

    owner_id: UUID | None
    currency: str


class AccountOwnerChanged(msgspec.Struct, frozen=True):
    """The account, with its balance and history, belongs to another user."""

    owner_id: UUID


class AccountDebited(msgspec.Struct, frozen=True):
    """Money left the account; `balance_cents` is what was left."""

    transfer_id: UUID
    amount_cents: int
    balance_cents: int


class AccountCredited(msgspec.Struct, frozen=True):
    """Money came in; `balance_cents` is what there was then."""

    transfer_id: UUID
    amount_cents: int
    balance_cents: int


class AccountClosed(msgspec.Struct, frozen=True):
    """The account, at zero, takes part in nothing any more."""


AccountEvent = AccountOpened | AccountOwnerChanged | AccountDebited | AccountCredited | AccountClosed


class Account(msgspec.Struct, frozen=True):
    """What the events of one account add up to."""

    owner_id: UUID | None
    currency: str
    balance_cents: int = 0
    closed: bool = False

    @property
    def is_world(self) -> bool:
        """Whether this is the ledger's own account, the other side of all money that comes in or goes out."""
        return self.owner_id is None


def world_account_id(currency: str) -> UUID:
    """The stream of the ledger's own account in a currency: what it lacks is what all others have together."""
    return derived_id("world", currency)


def evolve(state: Account | None, event: AccountEvent) -> Account:
    """Fold one event into the state; the first event of a stream is its opening."""
    match event:
        case AccountOpened(owner_id=owner_id, currency=currency):
            return Account(owner_id, currency)
        case AccountDebited(balance_cents=balance) | AccountCredited(balance_cents=balance):
            return _changed(state, balance_cents=balance)
        case AccountOwnerChanged(owner_id=owner_id):
            return _changed(state, owner_id=owner_id)
        case AccountClosed():
            return _changed(state, closed=True)
        case _:
            assert_never(event)


def _changed(state: Account | None, **changes: object) -> Account:
    if state is None:
        raise ValueError("the history of an account starts with its opening")
    return msgspec.structs.replace(state, **changes)
