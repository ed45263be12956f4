"""Balance monitors: admins create and delete them, and a follower of the log records each crossing once."""

from collections.abc import Iterable
from typing import Any, ClassVar
from uuid import UUID

import msgspec

from ledger import errors
from ledger.commands.command import Command, Decision, States, StreamEvent, state_of
from ledger.commands.expected_version import Conditional, Versioned, check_version
from ledger.errors import Refusal, Refused
from ledger.events.accounts import Account
from ledger.events.monitors import Monitor, MonitorCreated, MonitorDeleted, MonitorReset, MonitorTriggered, Rule


def monitor_already_exists(monitor_id: UUID) -> Refusal:
    """Refuse an id that was used before."""
    return Refusal("monitor_already_exists", f"monitor already exists: {monitor_id}", detail={"pointer": "/id"})


def monitor_not_found(monitor_id: UUID) -> Refusal:
    """Refuse a monitor that does not exist, or was deleted."""
    return Refusal("resource_not_found", f"monitor not found: {monitor_id}", detail={"monitor_id": str(monitor_id)})


class CreateMonitor(Command, frozen=True, kw_only=True):
    """Watch an account from its present version on, or a sum from the position of the event on."""

    name: ClassVar[str] = "CreateMonitor"
    always_appends: ClassVar[bool] = True

    monitor_id: UUID
    rule: Rule

    @property
    def resource_id(self) -> UUID:
        """Return the id of the monitor."""
        return self.monitor_id

    def streams(self) -> Iterable[UUID]:
        """Return the monitor, which must be new, and the account."""
        yield self.monitor_id
        if self.rule.account_id is not None:
            yield self.rule.account_id

    def depends_on_versions(self) -> bool:
        """Return True: the monitor begins at the version of the account."""
        return True

    def decide(self, states: States) -> Decision:
        """Return the creation, which says whether the account meets the condition now."""
        if states[self.monitor_id] is not None:
            raise Refused(monitor_already_exists(self.monitor_id))
        account_id = self.rule.account_id
        created = MonitorCreated(self.rule, triggered=False, seen_version=0)
        if account_id is not None:
            account = state_of(states, account_id, Account)
            if account is None:
                raise Refused(errors.account_not_found(account_id))
            assert isinstance(states, Versioned)  # noqa: S101 - the commit group passes versions to this command
            is_met = self.rule.is_met(self.rule.measure(account))
            created = MonitorCreated(self.rule, is_met, states.versions[account_id])
        return Decision([(self.monitor_id, created)], describe_monitor(self.monitor_id, self.rule, created.triggered))


class DeleteMonitor(Conditional, frozen=True, kw_only=True):
    """Stop watching."""

    name: ClassVar[str] = "DeleteMonitor"
    always_appends: ClassVar[bool] = True

    monitor_id: UUID

    def streams(self) -> Iterable[UUID]:
        """Return the monitor."""
        return (self.monitor_id,)

    def decide(self, states: States) -> Decision:
        """Return the deletion."""
        monitor = state_of(states, self.monitor_id, Monitor)
        if monitor is None or monitor.deleted:
            raise Refused(monitor_not_found(self.monitor_id))
        check_version(states, self.monitor_id, self.expected)
        return Decision([(self.monitor_id, MonitorDeleted())], {"id": str(self.monitor_id)})


class Crossing(msgspec.Struct, frozen=True, array_like=True):
    """An event after which the condition is met, or is no longer met. The members are those of `MonitorTriggered`."""

    triggered: bool
    seen_version: int
    seen_position: int
    found_cents: int

    def to_event(self) -> MonitorTriggered | MonitorReset:
        """Return the event of the monitor."""
        kind = MonitorTriggered if self.triggered else MonitorReset
        return kind(self.seen_version, self.seen_position, self.found_cents)


class RecordCrossings(Command, frozen=True, kw_only=True):
    """Record crossings, in the order of the events that caused them. What is recorded already is not recorded again."""

    name: ClassVar[str] = "RecordCrossings"
    always_appends: ClassVar[bool] = False

    monitor_id: UUID
    crossings: tuple[Crossing, ...]

    def streams(self) -> Iterable[UUID]:
        """Return the monitor."""
        return (self.monitor_id,)

    def decide(self, states: States) -> Decision:
        """Return an event for each new crossing."""
        monitor = state_of(states, self.monitor_id, Monitor)
        events: list[StreamEvent] = []
        if monitor is not None and not monitor.deleted:
            triggered = monitor.triggered
            for crossing in self.crossings:
                if crossing.seen_version > monitor.seen_version and crossing.triggered != triggered:
                    events.append((self.monitor_id, crossing.to_event()))
                    triggered = crossing.triggered
        return Decision(events, {"id": str(self.monitor_id)})


def describe_monitor(monitor_id: UUID, rule: Rule, triggered: bool) -> dict[str, Any]:
    """Return a monitor as admins see it."""
    watched = (
        {"code_prefix": rule.code_prefix, "currency": rule.currency}
        if rule.account_id is None
        else {"account_id": str(rule.account_id)}
    )
    return {
        "id": str(monitor_id),
        **watched,
        "condition": rule.condition,
        "operator": rule.operator,
        "amount_cents": rule.amount_cents,
        "triggered": triggered,
    }
