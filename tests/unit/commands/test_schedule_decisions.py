"""The rules of scheduled transactions, without a database."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from ledger.commands.command import StreamEvent
from ledger.commands.holds import VoidHold
from ledger.commands.journal import NewPosting, PostJournalEntry
from ledger.commands.reversals import ReverseTransaction
from ledger.commands.schedules import CancelSchedule, ExecuteSchedule, ScheduleTransaction
from ledger.errors import StaleCommandError
from ledger.events.accounts import (
    AccountClosed,
    AccountCredited,
    AccountDebited,
    AccountFrozen,
    AccountOwnerChanged,
    AccountUnfrozen,
)
from ledger.events.amendments import TransactionAmended
from ledger.events.clients import ClientRegistered, ClientRevoked, ClientUpdated, Grants
from ledger.events.periods import PERIODS, PeriodClosed
from ledger.events.second_factors import (
    SecondFactorConfirmed,
    SecondFactorOffered,
    SecondFactorRemoved,
    second_factor_stream,
)
from ledger.events.transactions import (
    MoneyTransferred,
    ReferenceReleased,
    ReferenceUsed,
    ScheduleCancelled,
    ScheduleExecuted,
    ScheduleFailed,
    Transaction,
    TransactionScheduled,
    evolve,
    reference_stream,
)
from ledger.events.users import UserDeactivated, UserDeleted, UserRolesChanged
from tests.support.ledgers import (
    ALICE,
    BOB,
    NOON,
    PURSE,
    TILL,
    TRANSFER,
    TWO_ACCOUNTS,
    Given,
    commit_group,
    named_id,
    transfer_command,
)

LATER = NOON + timedelta(hours=1)
RENT = MoneyTransferred(
    source_account_id=PURSE,
    destination_account_id=TILL,
    amount_cents=30,
    currency="USD",
    kind="transfer",
    reference="rent",
    description="May",
)
SCHEDULED = TransactionScheduled(transfer=RENT, execute_at=LATER, actor_id=ALICE, only_owner_id=ALICE)
RENTS = reference_stream("rent", ALICE)
HISTORY: list[StreamEvent] = [*TWO_ACCOUNTS, (TRANSFER, SCHEDULED), (RENTS, ReferenceUsed(TRANSFER))]
MACHINE = named_id("machine")
POSTED: list[StreamEvent] = [
    (TRANSFER, ScheduleExecuted()),
    (TRANSFER, RENT),
    (PURSE, AccountDebited(TRANSFER, 30, 70)),
    (TILL, AccountCredited(TRANSFER, 30, 30)),
]


def schedule(amount_cents: int = 30, execute_at: datetime = LATER, **members: Any) -> ScheduleTransaction:
    named: dict[str, Any] = {"reference": "rent", "description": "May", "only_owner_id": ALICE, **members}
    return ScheduleTransaction(
        planned=transfer_command(amount_cents, **named),
        actor_id=ALICE,
        now=NOON,
        execute_at=execute_at,
        limit_seconds=3600,
    )


def execute(now: datetime = LATER, scheduled: TransactionScheduled = SCHEDULED, **members: Any) -> ExecuteSchedule:
    return ExecuteSchedule(transaction_id=TRANSFER, scheduled=scheduled, now=now, **members)


def cancel() -> CancelSchedule:
    return CancelSchedule(transaction_id=TRANSFER, scheduled=SCHEDULED)


def failure(*history: StreamEvent) -> tuple[str, ...]:
    """Return why a due transaction fails after this history."""
    events = Given([*HISTORY, *history]).when(execute())
    assert (RENTS, ReferenceReleased(TRANSFER)) == events[1]
    (_, failed), *_ = events
    assert isinstance(failed, ScheduleFailed)
    return failed.failure_codes


def test_a_schedule_says_what_will_follow_and_touches_no_account() -> None:
    assert HISTORY[-2:] == Given(TWO_ACCOUNTS).when(schedule())


def test_funds_are_not_checked_before_the_time() -> None:
    assert Given(TWO_ACCOUNTS).when(schedule(1_000_000))


@pytest.mark.parametrize(
    ("members", "codes"),
    [
        ({"only_owner_id": BOB}, ["transfer_source_account_not_found"]),
        ({"destination_account_id": named_id("nothing")}, ["transfer_destination_account_not_found"]),
        ({"destination_account_id": PURSE}, ["transfer_accounts_are_same"]),
        ({"execute_at": NOON}, ["validation_error"]),
        ({"execute_at": LATER + timedelta(microseconds=1)}, ["validation_error"]),
    ],
)
def test_what_can_be_refused_at_once_is(members: dict[str, Any], codes: list[str]) -> None:
    assert codes == Given(TWO_ACCOUNTS).refuses(schedule(**members))


def test_a_reference_is_reserved_for_a_schedule() -> None:
    other = schedule(transaction_id=named_id("second"))
    assert ["reference_already_exists"] == Given(HISTORY).refuses(other)


def test_the_time_comes_at_its_microsecond_and_not_before() -> None:
    assert [] == Given(HISTORY).when(execute(LATER - timedelta(microseconds=1)))
    assert POSTED == Given(HISTORY).when(execute())


def test_a_schedule_is_executed_once_and_not_after_its_end() -> None:
    assert [] == Given([*HISTORY, *POSTED]).when(execute())
    for end in (ScheduleFailed(("a reason",)), ScheduleCancelled()):
        assert [] == Given([*HISTORY, (TRANSFER, end)]).when(execute())


def test_a_schedule_of_other_content_is_looked_up_again() -> None:
    other = TransactionScheduled(transfer=RENT, execute_at=NOON, actor_id=ALICE)
    with pytest.raises(StaleCommandError):
        Given(HISTORY).decide(execute(scheduled=other))


def test_a_cancelled_schedule_gives_its_reference_back() -> None:
    assert [(TRANSFER, ScheduleCancelled()), (RENTS, ReferenceReleased(TRANSFER))] == Given(HISTORY).when(cancel())


@pytest.mark.parametrize("history", [POSTED, [(TRANSFER, ScheduleFailed(("a",)))], [(TRANSFER, ScheduleCancelled())]])
def test_what_has_ended_cannot_be_cancelled(history: list[StreamEvent]) -> None:
    assert ["transaction_not_scheduled"] == Given([*HISTORY, *history]).refuses(cancel())


def test_a_scheduled_transaction_is_no_hold_and_cannot_be_reversed() -> None:
    void = VoidHold(transaction_id=TRANSFER, source_account_id=PURSE, destination_account_id=TILL, now=NOON)
    assert ["hold_not_pending"] == Given(HISTORY).refuses(void)
    reversal = ReverseTransaction(
        reversal_id=named_id("reversal"), transaction_id=TRANSFER, account_ids=(PURSE, TILL), force=True
    )
    assert ["transaction_not_reversible"] == Given(HISTORY).refuses(reversal)


def test_a_journal_entry_is_planned_like_a_transfer() -> None:
    postings = (NewPosting(PURSE, -500), NewPosting(TILL, 500))
    entry = PostJournalEntry(transaction_id=TRANSFER, postings=postings, only_owner_id=ALICE)
    planned = ScheduleTransaction(planned=entry, actor_id=ALICE, now=NOON, execute_at=LATER, limit_seconds=3600)
    ((_, scheduled),) = Given(TWO_ACCOUNTS).when(planned)
    assert isinstance(scheduled, TransactionScheduled)
    history: list[StreamEvent] = [*TWO_ACCOUNTS, (TRANSFER, scheduled)]

    ((_, failed),) = Given(history).when(execute(scheduled=scheduled))
    assert ScheduleFailed(("transfer_insufficient_funds",)) == failed
    rich: StreamEvent = (PURSE, AccountCredited(named_id("salary"), 400, 500))
    assert [(TRANSFER, ScheduleExecuted()), (TRANSFER, scheduled.planned)] == Given([*history, rich]).when(
        execute(scheduled=scheduled)
    )[:2]


# Failures.


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ((PURSE, AccountDebited(named_id("spent"), 71, 29)), "transfer_insufficient_funds"),
        ((PURSE, AccountFrozen("debits")), "account_frozen"),
        ((TILL, AccountClosed()), "account_closed"),
        ((PURSE, AccountOwnerChanged(BOB)), "transfer_source_account_not_found"),
        ((ALICE, UserDeleted()), "authentication_forbidden"),
        ((ALICE, UserDeactivated()), "authentication_forbidden"),
        ((ALICE, UserRolesChanged(("guest",))), "authentication_forbidden"),
    ],
)
def test_a_transaction_fails_for_what_has_changed(change: StreamEvent, code: str) -> None:
    assert (code,) == failure(change)


def test_what_has_changed_back_is_no_reason() -> None:
    history = [*HISTORY, (PURSE, AccountFrozen("all")), (PURSE, AccountUnfrozen())]
    assert POSTED == Given(history).when(execute())


def test_an_admin_must_still_be_one() -> None:
    scheduled = TransactionScheduled(transfer=RENT, execute_at=LATER, actor_id=ALICE)
    ((_, failed),) = Given([*TWO_ACCOUNTS, (TRANSFER, scheduled)]).when(execute(scheduled=scheduled))
    assert ScheduleFailed(("authentication_forbidden",)) == failed
    history: list[StreamEvent] = [*TWO_ACCOUNTS, (TRANSFER, scheduled), (ALICE, UserRolesChanged(("admin",)))]
    assert POSTED == Given(history).when(execute(scheduled=scheduled))


@pytest.mark.parametrize(
    ("change", "codes"),
    [
        (ClientRevoked(), ("authentication_forbidden",)),
        (ClientUpdated("m", Grants(("customer",), ("accounts:read",), (PURSE,))), ("authentication_forbidden",)),
        (
            ClientUpdated("m", Grants(("customer",), ("transactions:write",), (TILL,))),
            ("transfer_source_account_not_found",),
        ),
    ],
)
def test_a_machine_must_still_be_allowed_to(change: Any, codes: tuple[str, ...]) -> None:
    scheduled = TransactionScheduled(
        transfer=RENT, execute_at=LATER, actor_id=MACHINE, only_owner_id=MACHINE, by_client=True
    )
    grants = Grants(("customer",), ("transactions:write",), (PURSE,))
    machine: list[StreamEvent] = [(MACHINE, ClientRegistered("m", grants, ())), (TRANSFER, scheduled)]

    assert POSTED == Given([*TWO_ACCOUNTS, *machine]).when(execute(scheduled=scheduled))
    ((_, failed),) = Given([*TWO_ACCOUNTS, *machine, (MACHINE, change)]).when(execute(scheduled=scheduled))
    assert ScheduleFailed(codes) == failed


def test_a_failure_asks_for_the_overdue_holds_of_its_accounts() -> None:
    poor: StreamEvent = (PURSE, AccountDebited(named_id("spent"), 71, 29))
    group = commit_group([*HISTORY, poor])
    group.decide(execute(), UUID(int=1))
    assert TRANSFER in group.suspects.transaction_ids


# Effective times, amendments and second factors.

MARCH = datetime(2026, 3, 31, tzinfo=UTC)
CLOSED: StreamEvent = (PERIODS, PeriodClosed(date(2026, 3, 31)))


def test_nothing_is_planned_for_a_closed_period() -> None:
    dated = schedule(effective_at=MARCH)
    assert Given(TWO_ACCOUNTS).when(dated)
    assert ["period_closed"] == Given([*TWO_ACCOUNTS, CLOSED]).refuses(dated)
    assert Given([*TWO_ACCOUNTS, CLOSED]).when(schedule(effective_at=MARCH + timedelta(days=1)))
    entry = PostJournalEntry(
        transaction_id=TRANSFER, postings=(NewPosting(PURSE, -1), NewPosting(TILL, 1)), effective_at=MARCH
    )
    planned = ScheduleTransaction(planned=entry, actor_id=ALICE, now=NOON, execute_at=LATER, limit_seconds=3600)
    assert ["period_closed"] == Given([*TWO_ACCOUNTS, CLOSED]).refuses(planned)


def test_a_period_that_is_closed_when_it_is_due_fails_it() -> None:
    dated = msgspec.structs.replace(SCHEDULED, transfer=msgspec.structs.replace(RENT, effective_at=MARCH))
    history: list[StreamEvent] = [*TWO_ACCOUNTS, (TRANSFER, dated)]
    assert (TRANSFER, dated.planned) == Given(history).when(execute(scheduled=dated))[1]
    ((_, failed),) = Given([*history, CLOSED]).when(execute(scheduled=dated))
    assert ScheduleFailed(("period_closed",)) == failed


def test_an_amendment_stays_when_the_transaction_is_posted() -> None:
    amended = TransactionAmended("June", {"unit": "4"})
    state = None
    for event in (SCHEDULED, amended, ScheduleExecuted(), RENT):
        state = evolve(state, event)
    assert Transaction(RENT, amended=amended) == state


def test_a_cancelled_transaction_is_described_with_its_amendments() -> None:
    result = Given([*HISTORY, (TRANSFER, TransactionAmended(None, {"unit": "4"}))]).decide(cancel()).result
    assert ({"unit": "4"}, False) == (result["metadata"], "description" in result)
    assert "May" == Given(HISTORY).decide(cancel()).result["description"]


def test_a_role_that_needs_a_second_factor_needs_one_when_the_time_comes() -> None:
    stream, factor = second_factor_stream(ALICE), named_id("factor")
    offered: StreamEvent = (stream, SecondFactorOffered(ALICE, factor))
    enrolled: list[StreamEvent] = [*HISTORY, offered, (stream, SecondFactorConfirmed(factor, 1, ()))]
    needing = execute(factored=("customer",))

    for history in (HISTORY, [*HISTORY, offered], [*enrolled, (stream, SecondFactorRemoved(factor))]):
        (_, failed), *_ = Given(history).when(needing)
        assert ScheduleFailed(("authentication_forbidden",)) == failed
    assert POSTED == Given(enrolled).when(needing)
    assert POSTED == Given(HISTORY).when(execute(factored=("admin",)))
