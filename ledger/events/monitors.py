"""The events of a balance monitor, which watches one account, and the state they fold into.

A monitor is triggered once when its condition becomes true, and reset once when that is over: what happens between two
crossings gives no event. Each crossing names the event of the account that caused it.
"""

from typing import ClassVar, Literal, assert_never
from uuid import UUID

import msgspec

from ledger.events.accounts import Account

Condition = Literal["balance_cents", "available_cents"]
Operator = Literal["<", "<=", ">", ">="]


class Rule(msgspec.Struct, frozen=True):
    """A condition on an account: an amount of it, an operator, and the amount that it is compared with."""

    account_id: UUID
    condition: Condition
    operator: Operator
    amount_cents: int

    def measure(self, account: Account) -> int:
        """Return the amount of the account that the rule is about."""
        return account.balance_cents if self.condition == "balance_cents" else account.available_cents

    def is_met(self, account: Account) -> bool:
        """Return whether the account meets the condition."""
        cents = self.measure(account)
        match self.operator:
            case "<":
                return cents < self.amount_cents
            case "<=":
                return cents <= self.amount_cents
            case ">":
                return cents > self.amount_cents
            case ">=":
                return cents >= self.amount_cents
            case _:
                assert_never(self.operator)


class MonitorCreated(msgspec.Struct, frozen=True):
    """An admin created a monitor, which watches the account from after `account_version`.

    `triggered` says whether the account met the condition then.
    """

    TOPIC: ClassVar[str] = "MonitorCreated"

    rule: Rule
    triggered: bool
    account_version: int


class MonitorTriggered(msgspec.Struct, frozen=True):
    """The account meets the condition since its event `account_version`, after which the amount was `found_cents`."""

    TOPIC: ClassVar[str] = "MonitorTriggered"

    account_version: int
    account_position: int
    found_cents: int


class MonitorReset(msgspec.Struct, frozen=True):
    """The account no longer meets the condition since its event `account_version`."""

    TOPIC: ClassVar[str] = "MonitorReset"

    account_version: int
    account_position: int
    found_cents: int


class MonitorDeleted(msgspec.Struct, frozen=True):
    """The monitor was deleted; the id is never used again."""

    TOPIC: ClassVar[str] = "MonitorDeleted"


MonitorEvent = MonitorCreated | MonitorTriggered | MonitorReset | MonitorDeleted


class Monitor(msgspec.Struct, frozen=True):
    """The state of one monitor. `account_version` is that of the last crossing, or of the creation."""

    TOPIC: ClassVar[str] = "Monitor"

    rule: Rule
    triggered: bool
    account_version: int
    deleted: bool = False


def evolve(state: Monitor | None, event: MonitorEvent) -> Monitor:
    """Fold one event into the state; the first event of a stream is the creation."""
    match event:
        case MonitorCreated():
            return Monitor(event.rule, event.triggered, event.account_version)
        case MonitorTriggered():
            return _replace(state, triggered=True, account_version=event.account_version)
        case MonitorReset():
            return _replace(state, triggered=False, account_version=event.account_version)
        case MonitorDeleted():
            return _replace(state, deleted=True)
        case _:
            assert_never(event)


def _replace(state: Monitor | None, **changes: object) -> Monitor:
    if state is None:
        raise ValueError("the history of a monitor starts with its creation")
    return msgspec.structs.replace(state, **changes)
