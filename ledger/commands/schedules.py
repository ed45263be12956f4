"""Scheduled transactions: a transfer or a journal entry that is made when its time comes, or fails then.

Nothing is held for it. What can be refused when it is scheduled, except for insufficient funds, is refused at once.
When its time comes, everything is decided as if the same caller sent it then. The time comes in with the command.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import ClassVar, TypeAlias
from uuid import UUID

import msgspec

from ledger import errors
from ledger.commands.command import Command, Decision, Parties, States, StreamEvent, state_of
from ledger.commands.journal import NewPosting, PostJournalEntry, entry_result
from ledger.commands.periods import check_open
from ledger.commands.second_factors import find_factor, limit_roles
from ledger.commands.transfers import TransferMoney, check_transfer, transfer_result
from ledger.errors import Refusal, Refused, StaleCommandError
from ledger.events import evolve
from ledger.events.amendments import AMENDABLE
from ledger.events.clients import Client
from ledger.events.second_factors import second_factor_stream
from ledger.events.transactions import (
    JournalEntryPosted,
    MoneyTransferred,
    Reference,
    ReferenceReleased,
    ScheduleCancelled,
    ScheduleExecuted,
    ScheduleFailed,
    Status,
    Transaction,
    TransactionScheduled,
    copy_details,
    reference_streams,
)
from ledger.events.users import Role, User
from ledger.values.timestamps import rfc3339

PAYING_SCOPE = "transactions:write"  # which a machine client must still have
Planned: TypeAlias = TransferMoney | PostJournalEntry


class ScheduleTransaction(Command, frozen=True, kw_only=True):
    """Execute `planned`, which has no preconditions, at `execute_at`: after `now`, by at most `limit_seconds`.

    `actor_id` is the user or the client that schedules it.
    """

    name: ClassVar[str] = "ScheduleTransaction"
    always_appends: ClassVar[bool] = True

    planned: Planned
    actor_id: UUID
    now: datetime
    execute_at: datetime
    limit_seconds: int

    @property
    def resource_id(self) -> UUID:
        """Return the id of the transaction."""
        return self.planned.transaction_id

    def streams(self) -> Iterable[UUID]:
        """Return the streams of the planned command."""
        return self.planned.streams()

    def creates(self) -> Iterable[UUID]:
        """Return the transaction, unless the client chose its id."""
        return self.planned.creates()

    def doubts(self, states: States) -> Iterable[UUID]:
        """Return the doubts of the planned command."""
        return self.planned.doubts(states)

    def learn(self, parties: Mapping[UUID, Parties | None]) -> "ScheduleTransaction":
        """Return the command with a planned one that knows the parties of these transactions."""
        return msgspec.structs.replace(self, planned=self.planned.learn(parties))

    def decide(self, states: States) -> Decision:
        """Return the schedule. Raises `Refused` with every refusal of the planned command but insufficient funds."""
        event = _plan(self.planned, states)
        if not self.now < self.execute_at <= self.now + timedelta(seconds=self.limit_seconds):
            message = f"must be in the future, and no more than {self.limit_seconds} seconds away"
            raise Refused(errors.invalid("/execute_at", message))
        scheduled = TransactionScheduled(
            transfer=event if isinstance(event, MoneyTransferred) else None,
            journal_entry=event if isinstance(event, JournalEntryPosted) else None,
            execute_at=self.execute_at,
            actor_id=self.actor_id,
            only_owner_id=self.planned.only_owner_id,
            by_client=self.planned.by_client,
        )
        transaction_id = self.planned.transaction_id
        events: list[StreamEvent] = [(transaction_id, scheduled), *self.planned.use_reference(states)]
        return Decision(events, schedule_result(transaction_id, scheduled, "scheduled"))


class ScheduleCommand(Command, frozen=True, kw_only=True):
    """A command on a scheduled transaction. What was scheduled never changes, so the caller looks it up."""

    transaction_id: UUID
    scheduled: TransactionScheduled

    def streams(self) -> Iterable[UUID]:
        """Return the transaction, and the streams of its reference."""
        yield self.transaction_id
        reference, owner_id = self.scheduled.planned.reference, self.scheduled.only_owner_id
        if reference is not None:
            yield from reference_streams(reference, *(() if owner_id is None else (owner_id,)))

    def find(self, states: States) -> Transaction | None:
        """Return the transaction if it is still scheduled. Raises `StaleCommandError` if it is not what it was."""
        state = state_of(states, self.transaction_id, Transaction)
        if state is None or state.status != "scheduled":
            return None
        if state.scheduled != self.scheduled:
            raise StaleCommandError
        return state

    def end(self, states: States, event: ScheduleFailed | ScheduleCancelled) -> list[StreamEvent]:
        """Return the end of a transaction that moved no money, with the release of its reference."""
        ended: list[StreamEvent] = [(self.transaction_id, event)]
        for stream, state in states.items():
            if isinstance(state, Reference) and state.transaction_id == self.transaction_id:
                ended.append((stream, ReferenceReleased(self.transaction_id)))
        return ended


class CancelSchedule(ScheduleCommand, frozen=True, kw_only=True):
    """Cancel a scheduled transaction before it is executed."""

    name: ClassVar[str] = "CancelSchedule"
    always_appends: ClassVar[bool] = True

    def decide(self, states: States) -> Decision:
        """Return the end of the schedule. Raises `Refused` if the transaction was executed, failed or cancelled."""
        found = self.find(states)
        if found is None:
            state = state_of(states, self.transaction_id, Transaction)
            status = "posted" if state is None else state.status
            raise Refused(errors.transaction_not_scheduled(self.transaction_id, status))
        result = schedule_result(self.transaction_id, self.scheduled, "voided")
        texts = {name: getattr(found.texts, name) for name in AMENDABLE}
        result = {name: value for name, value in {**result, **texts}.items() if name not in texts or value}
        return Decision(self.end(states, ScheduleCancelled()), result)


class ExecuteSchedule(ScheduleCommand, frozen=True, kw_only=True):
    """Execute a scheduled transaction whose time has come at `now`. If it is refused, it fails.

    A user without a second factor does not have the `factored` roles.
    """

    name: ClassVar[str] = "ExecuteSchedule"
    always_appends: ClassVar[bool] = False

    now: datetime
    factored: tuple[Role, ...] = ()

    def streams(self) -> Iterable[UUID]:
        """Return the streams of the schedule, of the planned command, and of the user or client that sent it."""
        yield from super().streams()
        yield self.scheduled.actor_id
        if self.factored:
            yield second_factor_stream(self.scheduled.actor_id)
        yield from self._plan().streams()

    def decide(self, states: States) -> Decision:
        """Return the transaction or its failure, or no event if it is not due or has ended already."""
        if self.find(states) is None or self.now < self.scheduled.execute_at:
            return Decision([], {"id": str(self.transaction_id)})
        try:
            _check_actor(states, self.scheduled, self.factored)
            decision = self._plan().decide({**states, self.transaction_id: None})
        except Refused as refused:
            return self._fail(states, refused.refusals)
        events: list[StreamEvent] = [
            (self.transaction_id, ScheduleExecuted()),
            (self.transaction_id, self.scheduled.planned),
            *decision.events[1:],
        ]
        return Decision(events, schedule_result(self.transaction_id, self.scheduled, "posted"))

    def _fail(self, states: States, refusals: Sequence[Refusal]) -> Decision:
        """Return the failure. An overdue hold may be the reason: with `is_partly_refused`, it is looked up."""
        codes = tuple(dict.fromkeys(refusal.code for refusal in refusals))
        events = self.end(states, ScheduleFailed(codes))
        result = schedule_result(self.transaction_id, self.scheduled, "failed", codes)
        after = {stream: evolve(states[stream], event) for stream, event in events}
        return Decision(events, result, states={**states, **after}, is_partly_refused=True)

    def _plan(self) -> Planned:
        """Return the planned command, without the reference: the schedule has reserved it."""
        event = self.scheduled.planned
        if isinstance(event, MoneyTransferred):
            transfer = TransferMoney(
                transaction_id=self.transaction_id,
                source_account_id=event.source_account_id,
                destination_account_id=event.destination_account_id,
                amount_cents=event.amount_cents,
                only_owner_id=self.scheduled.only_owner_id,
                by_client=self.scheduled.by_client,
            )
            return copy_details(event, transfer)
        entry = PostJournalEntry(
            transaction_id=self.transaction_id,
            postings=tuple(NewPosting(posting.account_id, posting.amount_cents) for posting in event.postings),
            only_owner_id=self.scheduled.only_owner_id,
            by_client=self.scheduled.by_client,
        )
        return copy_details(event, entry)


def schedule_result(
    transaction_id: UUID, scheduled: TransactionScheduled, status: Status, failure_codes: Sequence[str] = ()
) -> dict[str, object]:
    """Return a scheduled transaction as clients see it."""
    event = scheduled.planned
    result = (
        transfer_result(transaction_id, event)
        if isinstance(event, MoneyTransferred)
        else entry_result(transaction_id, event)
    )
    result |= {"status": status, "execute_at": rfc3339(scheduled.execute_at)}
    return result | ({"failure_codes": list(failure_codes)} if failure_codes else {})


def _plan(planned: Planned, states: States) -> MoneyTransferred | JournalEntryPosted:
    """Return the event to append later. Raises `Refused` with every refusal but insufficient funds."""
    if isinstance(planned, PostJournalEntry):
        return planned.plan(states, force=True)[0]
    if planned.may_debit(states):
        planned.check_unreserved(states)
        check_open(states, planned.effective_at)
    source, destination = check_transfer(
        states,
        planned.source_account_id,
        planned.destination_account_id,
        planned.amount_cents,
        planned.only_owner_id,
        force=True,
    )
    if source.currency != destination.currency:
        raise Refused(errors.currency_mismatch())
    return planned.to_event(source.currency)


def _check_actor(states: States, scheduled: TransactionScheduled, factored: Collection[Role]) -> None:
    """Raise `Refused` unless the user or client that scheduled a transaction may still make one."""
    actor = states[scheduled.actor_id]
    if isinstance(actor, User):
        roles = {"admin"} if scheduled.only_owner_id is None else {"admin", "customer"}
        has_factor = bool(factored) and find_factor(states, scheduled.actor_id) is not None
        has = limit_roles(actor, factored, has_second_factor=has_factor).split(",")
        may_pay = actor.active and not actor.deleted and not roles.isdisjoint(has)
    elif isinstance(actor, Client):
        roles = {"admin", "customer"}
        may_pay = not actor.revoked and PAYING_SCOPE in actor.grants.scopes and not roles.isdisjoint(actor.grants.roles)
    else:
        may_pay = False
    if not may_pay:
        raise Refused(errors.forbidden())
