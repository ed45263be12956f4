"""Open, change and close accounts. No command sets a balance: money comes from a `world` account and returns to it."""

from collections.abc import Iterable
from datetime import datetime
from typing import ClassVar
from uuid import UUID

import msgspec

from ledger import errors
from ledger.commands.account_labels import LabelChange
from ledger.commands.assets import check_asset, streams_of_asset
from ledger.commands.command import Command, Decision, States, StreamEvent, state_of
from ledger.commands.expected_version import Conditional, check_version
from ledger.commands.transfers import credit_refusal, debit_refusal, move
from ledger.errors import Refused, StaleCommandError
from ledger.events.account_labels import Labels
from ledger.events.accounts import (
    Account,
    AccountClosed,
    AccountEvent,
    AccountFrozen,
    AccountOpened,
    AccountOwnerChanged,
    AccountReopened,
    AccountUnfrozen,
    Freeze,
    MaxBalanceChanged,
    OverdraftLimitChanged,
    evolve,
    world_account_id,
)
from ledger.events.transactions import MoneyTransferred, TransferKind
from ledger.events.users import AccountAssigned, User

OWN_ACCOUNT = "must not be an account of the ledger itself, which only transfers change"


class OpenAccount(Command, frozen=True, kw_only=True):
    """Open an account; an opening balance (0 to `MAX_CENTS`) is the transfer `transaction_id` from `world`.

    The balance may fall below zero by `overdraft_limit_cents`, and may not rise above `max_balance_cents`. `frozen`
    applies after the opening balance is credited.
    """

    name: ClassVar[str] = "OpenAccount"
    always_appends: ClassVar[bool] = True

    account_id: UUID
    owner_id: UUID
    currency: str
    balance_cents: int
    transaction_id: UUID
    overdraft_limit_cents: int = 0
    frozen: Freeze = "none"
    max_balance_cents: int | None = None
    labels: Labels = Labels()

    @property
    def resource_id(self) -> UUID:
        """Return the id of the account."""
        return self.account_id

    def streams(self) -> Iterable[UUID]:
        """Return the account, which must be new, its owner, `world`, the asset unless a currency, and the code."""
        yield from (self.account_id, self.owner_id, world_account_id(self.currency))
        yield from streams_of_asset(self.currency)
        yield from LabelChange(self.labels).streams()

    def creates(self) -> Iterable[UUID]:
        """Return the transfer of the opening balance."""
        return (self.transaction_id,)

    def decide(self, states: States) -> Decision:
        """Return the events that open the account, set its policy and labels, and transfer the opening balance.

        The first account of a currency opens `world` too, so that transfers can bring money in.
        """
        if states[self.account_id] is not None:
            raise Refused(errors.account_already_exists(self.account_id))
        require_user(states, self.owner_id)
        check_asset(states, self.currency)
        account = Account(self.owner_id, self.currency)
        events: list[StreamEvent] = [
            (self.account_id, AccountOpened(self.owner_id, self.currency)),
            (self.owner_id, AccountAssigned(self.account_id)),
        ]
        if self.balance_cents:
            bounded = msgspec.structs.replace(account, max_balance_cents=self.max_balance_cents)
            events += adjust(states, self.account_id, bounded, self.balance_cents, self.transaction_id, "opening")
        else:
            events += _find_or_open_world(states, self.currency)[1]
        allowed, account = change_policy(account, self.overdraft_limit_cents, self.frozen, self.max_balance_cents)
        events += [(self.account_id, event) for event in allowed]
        events += LabelChange(self.labels).decide(states, self.account_id, account)
        result = {
            "id": str(self.account_id),
            "user_id": str(self.owner_id),
            **msgspec.structs.replace(account, balance_cents=self.balance_cents).funds(),
            **self.labels.members(),
            "currency": self.currency,
            "status": "open",
        }
        return Decision(events, result)


class UpdateAccount(Conditional, frozen=True, kw_only=True):
    """Change an account's owner, policy, labels or balance; a new balance is a transfer with `world`.

    None leaves a member unchanged; `is_unbounded` ends the limit that `max_balance_cents` sets. Of a closed account,
    only the labels can change. The policy changes first, because it limits the balance. `currency` must be that of the
    account, which the caller looks up; it decides which `world` account takes part in the transfer `transaction_id`.
    With `balance_expected`, the balance changes only at one of these versions: a balance that was read before a
    transfer must not undo the transfer.
    """

    name: ClassVar[str] = "UpdateAccount"
    always_appends: ClassVar[bool] = False

    account_id: UUID
    owner_id: UUID | None
    balance_cents: int | None
    currency: str
    transaction_id: UUID
    overdraft_limit_cents: int | None = None
    frozen: Freeze | None = None
    balance_expected: frozenset[int] | None = None
    max_balance_cents: int | None = None
    is_unbounded: bool = False
    labels: LabelChange | None = None

    def depends_on_versions(self) -> bool:
        """Return whether the decision needs the account's version."""
        return self.expected is not None or self.balance_expected is not None

    def streams(self) -> Iterable[UUID]:
        """Return the account, its next owner, `world` if a balance is given, and codes that change."""
        yield self.account_id
        if self.owner_id is not None:
            yield self.owner_id
        if self.balance_cents is not None:
            yield world_account_id(self.currency)
        if self.labels is not None:
            yield from self.labels.streams()

    def creates(self) -> Iterable[UUID]:
        """Return the adjusting transfer."""
        return (self.transaction_id,)

    def decide(self, states: States) -> Decision:
        """Return changes of owner, policy and labels, and an adjusting transfer, each only if it changes something."""
        account = require_open_account(states, self.account_id, or_closed=self._only_labels)
        check_version(states, self.account_id, self.expected)
        if account.currency != self.currency:
            raise Refused(errors.currency_mismatch())
        events: list[StreamEvent] = []
        if self.owner_id is not None and self.owner_id != account.owner_id:
            require_user(states, self.owner_id)
            events += [
                (self.account_id, AccountOwnerChanged(self.owner_id)),
                (self.owner_id, AccountAssigned(self.account_id)),
            ]
        allowed, account = change_policy(
            account,
            self.overdraft_limit_cents,
            self.frozen,
            self.max_balance_cents,
            is_unbounded=self.is_unbounded,
        )
        events += [(self.account_id, event) for event in allowed]
        if self.balance_cents is not None and self.balance_cents != account.balance_cents:
            check_version(states, self.account_id, self.balance_expected)
            difference = self.balance_cents - account.balance_cents
            if difference < 0 and self.balance_cents < -account.overdraft_limit_cents:
                raise Refused(errors.invalid("/balance_cents", "must not be below the overdraft limit"))
            events += adjust(states, self.account_id, account, difference, self.transaction_id, "adjustment")
        if self.labels is not None:
            events += self.labels.decide(states, self.account_id, account)
        return Decision(events, {"id": str(self.account_id)})

    @property
    def _only_labels(self) -> bool:
        others = (self.owner_id, self.balance_cents, self.overdraft_limit_cents, self.frozen, self.max_balance_cents)
        is_same = not self.is_unbounded and all(value is None for value in others)
        return self.labels is not None and is_same


class CloseAccount(Conditional, frozen=True):
    """Close an account whose balance is zero, and that no pending hold debits or credits.

    `expects_money` says that a read table has a pending hold that pays to the account. The account itself knows of
    every such hold, unless an earlier version placed it.
    """

    name: ClassVar[str] = "CloseAccount"
    always_appends: ClassVar[bool] = True

    account_id: UUID
    expects_money: bool = False

    def streams(self) -> Iterable[UUID]:
        """Return the account."""
        return (self.account_id,)

    def decide(self, states: States) -> Decision:
        """Return the event that closes the account."""
        account = require_open_account(states, self.account_id)
        check_version(states, self.account_id, self.expected)
        event = close(self.account_id, account, expects_money=self.expects_money)
        return Decision([event], {"id": str(self.account_id)})


class ReopenAccount(Conditional, frozen=True):
    """Open a closed account again, for the owner and with the policy that it had. An open account stays as it is.

    The owner, which never changes while the account is closed, is looked up by the caller.
    """

    name: ClassVar[str] = "ReopenAccount"
    always_appends: ClassVar[bool] = False

    account_id: UUID
    owner_id: UUID

    def streams(self) -> Iterable[UUID]:
        """Return the account and its owner."""
        return (self.account_id, self.owner_id)

    def decide(self, states: States) -> Decision:
        """Return the reopening, or no event. Raises `Refused` if the account is missing, or its owner deleted."""
        account = state_of(states, self.account_id, Account)
        if account is None:
            raise Refused(errors.account_not_found(self.account_id))
        check_version(states, self.account_id, self.expected)
        result = {"id": str(self.account_id)}
        if not account.closed:
            return Decision([], result)
        if account.owner_id != self.owner_id:
            raise StaleCommandError
        require_user(states, self.owner_id)
        assigned = AccountAssigned(self.account_id)  # a deletion of the owner must close this account as well
        return Decision([(self.account_id, AccountReopened()), (self.owner_id, assigned)], result)


def close(account_id: UUID, account: Account, *, expects_money: bool = False) -> StreamEvent:
    """Return the event that closes an account.

    Raises `Refused` unless its balance is zero, and no pending hold debits or credits it.
    """
    if account.balance_cents != 0 or account.held_cents != 0 or account.incoming_cents != 0 or expects_money:
        raise Refused(errors.account_not_empty(account_id))
    return (account_id, AccountClosed())


def require_open_account(states: States, account_id: UUID, *, or_closed: bool = False) -> Account:
    """Return a user's account. Raises `Refused` if it is missing, `world`, or closed, unless `or_closed`."""
    account = state_of(states, account_id, Account)
    if account is None:
        raise Refused(errors.account_not_found(account_id))
    if account.closed and not or_closed:
        raise Refused(errors.account_closed(account_id))
    if account.is_world:
        raise Refused(errors.invalid_parameter("id", OWN_ACCOUNT, "path"))
    return account


def require_user(states: States, user_id: UUID) -> User:
    """Return a user. Raises `Refused` if the user is missing or deleted."""
    user = state_of(states, user_id, User)
    if user is None or user.deleted:
        raise Refused(errors.user_not_found(user_id))
    return user


def change_policy(
    account: Account,
    overdraft_limit_cents: int | None,
    frozen: Freeze | None,
    max_balance_cents: int | None,
    *,
    is_unbounded: bool = False,
) -> tuple[list[AccountEvent], Account]:
    """Return the events that set an account's policy, and the account afterwards. Raises `Refused`.

    None keeps a part of the policy as it is; `is_unbounded` ends the limit of the balance.
    """
    events: list[AccountEvent] = []
    if overdraft_limit_cents is not None and overdraft_limit_cents != account.overdraft_limit_cents:
        needed = account.held_cents - account.balance_cents
        if overdraft_limit_cents < min(needed, account.overdraft_limit_cents):
            raise Refused(
                errors.invalid("/overdraft_limit_cents", "must cover the amount that is already overdrawn or held")
            )
        events.append(OverdraftLimitChanged(overdraft_limit_cents))
    if max_balance_cents is not None and max_balance_cents != account.max_balance_cents:
        _check_max_balance(account, max_balance_cents)
        events.append(MaxBalanceChanged(max_balance_cents))
    elif is_unbounded and account.max_balance_cents is not None:
        events.append(MaxBalanceChanged(None))
    if frozen is not None and frozen != account.frozen:
        events.append(AccountUnfrozen() if frozen == "none" else AccountFrozen(frozen))
    for event in events:
        account = evolve(account, event)
    return events, account


def _check_max_balance(account: Account, max_balance_cents: int) -> None:
    """Raise `Refused` if a limit is lowered below what the account has and will get."""
    is_lower = account.max_balance_cents is None or max_balance_cents < account.max_balance_cents
    if is_lower and max_balance_cents < account.balance_cents + account.incoming_cents:
        message = "must not be below the balance, with what pending holds will pay to the account"
        raise Refused(errors.invalid("/max_balance_cents", message))


def adjust(
    states: States,
    account_id: UUID,
    account: Account,
    cents: int,
    transaction_id: UUID,
    kind: TransferKind,
    *,
    force: bool = False,
    description: str | None = None,
    effective_at: datetime | None = None,
) -> list[StreamEvent]:
    """Return the transfer from or to `world` that changes a balance by `cents`; open `world` if it is missing.

    With `force`, ignore insufficient funds. Raises `Refused` if the account does not allow the change.
    """
    world_id = world_account_id(account.currency)
    world, opening = _find_or_open_world(states, account.currency)
    source, destination = (world_id, account_id) if cents > 0 else (account_id, world_id)
    refusal = (
        credit_refusal(account_id, account, cents)
        if cents > 0
        else debit_refusal(account_id, account, -cents, force=force)
    )
    if refusal is not None:
        raise Refused(refusal)
    transfer = MoneyTransferred(
        source_account_id=source,
        destination_account_id=destination,
        amount_cents=abs(cents),
        currency=account.currency,
        kind=kind,
        reference=None,
        description=description,
        effective_at=effective_at,
    )
    sides = (world, account) if cents > 0 else (account, world)
    return opening + move(transaction_id, transfer, *sides, pointer="/balance_cents")


def _find_or_open_world(states: States, currency: str) -> tuple[Account, list[StreamEvent]]:
    """Return `world`, and the event that opens it if it is missing."""
    world = state_of(states, world_account_id(currency), Account)
    if world is not None:
        return world, []
    return Account(None, currency), [(world_account_id(currency), AccountOpened(None, currency))]
