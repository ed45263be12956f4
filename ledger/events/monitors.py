"""The events of a balance monitor, which watches an account or the sum of several, and the state they fold into.

A monitor is triggered once when its condition becomes true, and reset once when that is over: what happens between two
crossings gives no event. Each crossing names the event that caused it.
"""

from typing import ClassVar, Literal, assert_never
from uuid import UUID

import msgspec

from ledger.events.accounts import Account

Condition = Literal["balance_cents", "available_cents"]
Operator = Literal["<", "<=", ">", ">="]


class Rule(msgspec.Struct, frozen=True, omit_defaults=True):
    """A condition: an amount of an account, an operator, and the amount that it is compared with.

    Without an account, the amount is the sum of the balances in a currency of all accounts with a code at or below
    `code_prefix`.
    """

    account_id: UUID | None
    condition: Condition
    operator: Operator
    amount_cents: int
    code_prefix: str | None = None
    currency: str | None = None

    def measure(self, account: Account) -> int:
        """Return the amount of the account that the rule is about."""
        return account.balance_cents if self.condition == "balance_cents" else account.available_cents

    def is_met(self, cents: int) -> bool:
        """Return whether the amount meets the condition."""
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
    """An admin created a monitor, which watches the account from after `seen_version`, or a sum from this event on.

    `triggered` says whether the account met the condition then. For a sum, it is false: the first crossing tells.
    """

    TOPIC: ClassVar[str] = "MonitorCreated"

    rule: Rule
    triggered: bool
    seen_version: int


class MonitorTriggered(msgspec.Struct, frozen=True):
    """The condition is met since the event at `seen_position`, after which the amount was `found_cents`.

    `seen_version` is the version of the account. For a sum, it is the position again.
    """

    TOPIC: ClassVar[str] = "MonitorTriggered"

    seen_version: int
    seen_position: int
    found_cents: int


class MonitorReset(msgspec.Struct, frozen=True):
    """The condition is no longer met since the event at `seen_position`, after which the amount was `found_cents`."""

    TOPIC: ClassVar[str] = "MonitorReset"

    seen_version: int
    seen_position: int
    found_cents: int


class MonitorDeleted(msgspec.Struct, frozen=True):
    """The monitor was deleted; the id is never used again."""

    TOPIC: ClassVar[str] = "MonitorDeleted"


MonitorEvent = MonitorCreated | MonitorTriggered | MonitorReset | MonitorDeleted


class Monitor(msgspec.Struct, frozen=True):
    """The state of one monitor. `seen_version` is that of the last crossing, or of the creation."""

    TOPIC: ClassVar[str] = "Monitor"

    rule: Rule
    triggered: bool
    seen_version: int
    deleted: bool = False


def evolve(state: Monitor | None, event: MonitorEvent) -> Monitor:
    """Fold one event into the state; the first event of a stream is the creation."""
    match event:
        case MonitorCreated():
            return Monitor(event.rule, event.triggered, event.seen_version)
        case MonitorTriggered():
            return _replace(state, triggered=True, seen_version=event.seen_version)
        case MonitorReset():
            return _replace(state, triggered=False, seen_version=event.seen_version)
        case MonitorDeleted():
            return _replace(state, deleted=True)
        case _:
            assert_never(event)


def _replace(state: Monitor | None, **changes: object) -> Monitor:
    if state is None:
        raise ValueError("the history of a monitor starts with its creation")
    return msgspec.structs.replace(state, **changes)
