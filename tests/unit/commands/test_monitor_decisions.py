"""The rules of balance monitors, without a database."""

from typing import Any

import pytest

from ledger.commands.command import StreamEvent
from ledger.commands.expected_version import Versioned
from ledger.commands.monitors import CreateMonitor, Crossing, DeleteMonitor, RecordCrossings
from ledger.errors import Refused
from ledger.events.accounts import Account
from ledger.events.monitors import Condition, MonitorCreated, MonitorDeleted, MonitorReset, MonitorTriggered, Rule
from tests.support.ledgers import ALICE, PURSE, Given, named_id

MONITOR = named_id("monitor")
LOW = Rule(PURSE, "balance_cents", "<", 50)
WATCHING: list[StreamEvent] = [(MONITOR, MonitorCreated(LOW, triggered=False, seen_version=3))]


def is_met(rule: Rule, account: Account) -> bool:
    return rule.is_met(rule.measure(account))


def crossing(version: int, *, triggered: bool = True) -> Crossing:
    return Crossing(triggered, version, version + 100, 49)


def record(*crossings: Crossing) -> RecordCrossings:
    return RecordCrossings(monitor_id=MONITOR, crossings=crossings)


@pytest.mark.parametrize(("cents", "met"), [(49, "< <="), (50, "<= >="), (51, "> >=")])
@pytest.mark.parametrize("condition", ["balance_cents", "available_cents"])
def test_a_rule_compares_as_its_operator_says(condition: Condition, cents: int, met: str) -> None:
    held = Account(ALICE, "USD", balance_cents=60, held_cents=60 - cents)
    account = Account(ALICE, "USD", cents) if condition == "balance_cents" else held
    operators: tuple[Any, ...] = ("<", "<=", ">", ">=")
    assert met.split() == [one for one in operators if is_met(Rule(PURSE, condition, one, 50), account)]


@pytest.mark.parametrize(("cents", "triggered"), [(100, False), (10, True)])
def test_a_monitor_begins_with_the_present_state_of_the_account(cents: int, triggered: bool) -> None:
    states = Versioned({MONITOR: None, PURSE: Account(ALICE, "USD", cents)}, {PURSE: 3})
    assert [(MONITOR, MonitorCreated(LOW, triggered, 3))] == CreateMonitor(monitor_id=MONITOR, rule=LOW).decide(
        states
    ).events


def test_a_sum_is_judged_after_the_monitor_exists() -> None:
    rule = Rule(None, "balance_cents", ">", 0, code_prefix="users", currency="USD")
    command = CreateMonitor(monitor_id=MONITOR, rule=rule)
    assert [MONITOR] == [*command.streams()]
    assert [(MONITOR, MonitorCreated(rule, triggered=False, seen_version=0))] == command.decide({MONITOR: None}).events


def test_a_monitor_needs_an_account_and_a_new_id() -> None:
    for states, code in (
        ({MONITOR: None, PURSE: None}, "resource_not_found"),
        ({MONITOR: Account(ALICE, "USD"), PURSE: Account(ALICE, "USD")}, "monitor_already_exists"),
    ):
        with pytest.raises(Refused, match=code):
            CreateMonitor(monitor_id=MONITOR, rule=LOW).decide(Versioned(states, {PURSE: 3}))


def test_crossings_are_recorded_in_order() -> None:
    assert [
        (MONITOR, MonitorTriggered(4, 104, 49)),
        (MONITOR, MonitorReset(5, 105, 49)),
        (MONITOR, MonitorTriggered(9, 109, 49)),
    ] == Given(WATCHING).when(record(crossing(4), crossing(5, triggered=False), crossing(9)))


def test_what_is_recorded_is_not_recorded_again() -> None:
    history: list[StreamEvent] = [*WATCHING, (MONITOR, MonitorTriggered(4, 104, 49))]
    assert [] == Given(history).when(record(crossing(4)))
    again = record(crossing(4), crossing(5, triggered=False))
    assert [(MONITOR, MonitorReset(5, 105, 49))] == Given(history).when(again)


def test_a_deleted_monitor_records_nothing_and_is_not_deleted_again() -> None:
    assert [(MONITOR, MonitorDeleted())] == Given(WATCHING).when(DeleteMonitor(monitor_id=MONITOR))
    deleted = Given([*WATCHING, (MONITOR, MonitorDeleted())])
    assert [] == deleted.when(record(crossing(4)))
    assert ["resource_not_found"] == deleted.refuses(DeleteMonitor(monitor_id=MONITOR))
