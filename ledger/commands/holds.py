"""Holds: set money aside first, and move all, part or none of it later. A hold ends exactly once.

The time comes in with the command, so an expired hold cannot be captured even before its expiry is recorded.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import ClassVar
from uuid import UUID

from ledger import errors
from ledger.commands.command import Command, Decision, States, StreamEvent, state_of
from ledger.commands.journal import NewPosting, check_postings
from ledger.commands.transaction import TransactionCommand, add_details, check_unreserved
from ledger.commands.transfers import check_transfer, credit, debit
from ledger.errors import Refused, StaleCommandError
from ledger.events.accounts import Account, FundsHeld, FundsReleased
from ledger.events.transactions import (
    HoldCaptured,
    HoldExpired,
    HoldPlaced,
    HoldVoided,
    Transaction,
    copy_details,
    evolve,
)
from ledger.money import MAX_CENTS
from ledger.values.timestamps import rfc3339


class PlaceHold(TransactionCommand, frozen=True, kw_only=True):
    """Set `amount_cents` aside until `expires_at`, which is after `now` by at most `limit_seconds`.

    `expiry_pointer` names the member of the request that gives the expiry.
    """

    name: ClassVar[str] = "PlaceHold"
    always_appends: ClassVar[bool] = True

    source_account_id: UUID
    destination_account_id: UUID
    amount_cents: int
    now: datetime
    expires_at: datetime
    limit_seconds: int
    expiry_pointer: str = "/expires_at"

    def streams(self) -> Iterable[UUID]:
        """Return both accounts, and the streams to reserve."""
        yield from (self.source_account_id, self.destination_account_id)
        yield from self.reserves()

    def decide(self, states: States) -> Decision:
        """Return the hold. Raises `Refused` with every refusal, as a transfer does."""
        check_unreserved(states, self.transaction_id, self.reference)
        if not self.now < self.expires_at <= self.now + timedelta(seconds=self.limit_seconds):
            message = f"must be in the future, and no more than {self.limit_seconds} seconds away"
            raise Refused(errors.invalid(self.expiry_pointer, message))
        source, destination = check_transfer(
            states, self.source_account_id, self.destination_account_id, self.amount_cents, self.only_owner_id
        )
        if source.currency != destination.currency:
            raise Refused(errors.currency_mismatch())
        held = source.held_cents + self.amount_cents
        if held > MAX_CENTS:
            raise Refused(errors.invalid("/amount_cents", "must not bring the amount held above 2^53 - 1"))
        placed = HoldPlaced(
            source_account_id=self.source_account_id,
            destination_account_id=self.destination_account_id,
            amount_cents=self.amount_cents,
            currency=source.currency,
            expires_at=self.expires_at,
            reference=self.reference,
        )
        placed = copy_details(self, placed)
        events: list[StreamEvent] = [
            (self.transaction_id, placed),
            (self.source_account_id, FundsHeld(self.transaction_id, self.amount_cents, held)),
            *self.use_reference(),
        ]
        return Decision(events, hold_result(self.transaction_id, placed, evolve(None, placed)))


class CaptureHold(Command, frozen=True, kw_only=True):
    """Move the funds held, or `amount_cents` of them, and release the rest. The accounts of a hold never change."""

    name: ClassVar[str] = "CaptureHold"
    always_appends: ClassVar[bool] = True

    transaction_id: UUID
    source_account_id: UUID
    destination_account_id: UUID
    amount_cents: int | None
    now: datetime

    def streams(self) -> Iterable[UUID]:
        """Return the transaction and both accounts."""
        return (self.transaction_id, self.source_account_id, self.destination_account_id)

    def decide(self, states: States) -> Decision:
        """Return the capture, the release of the funds held, and both entries."""
        hold = require_pending(states, self.transaction_id, self.now)
        if (hold.source_account_id, hold.destination_account_id) != (
            self.source_account_id,
            self.destination_account_id,
        ):
            raise StaleCommandError
        cents = hold.amount_cents if self.amount_cents is None else self.amount_cents
        if cents > hold.amount_cents:
            raise Refused(errors.invalid("/amount_cents", "must not be more than the amount held"))
        postings = (NewPosting(self.source_account_id, -cents), NewPosting(self.destination_account_id, cents))
        accounts = check_postings(states, postings, force=True)  # the hold has set the funds aside
        source, destination = accounts[self.source_account_id], accounts[self.destination_account_id]
        captured = HoldCaptured(cents)
        events: list[StreamEvent] = [
            (self.transaction_id, captured),
            release(self.transaction_id, hold, source),
            (self.source_account_id, debit(self.transaction_id, source, cents, "/amount_cents")),
            (self.destination_account_id, credit(self.transaction_id, destination, cents, "/amount_cents")),
        ]
        return Decision(
            events,
            hold_result(
                self.transaction_id, hold, evolve(state_of(states, self.transaction_id, Transaction), captured)
            ),
        )


class EndHold(Command, frozen=True):
    """A command that releases the funds of a hold without moving money."""

    transaction_id: UUID
    source_account_id: UUID
    now: datetime

    def streams(self) -> Iterable[UUID]:
        """Return the transaction and its source account."""
        return (self.transaction_id, self.source_account_id)

    def release(self, states: States, hold: HoldPlaced, event: HoldVoided | HoldExpired) -> list[StreamEvent]:
        """Return the end of the hold, and the release of its funds."""
        source = require_source(states, hold, self.source_account_id)
        return [(self.transaction_id, event), release(self.transaction_id, hold, source)]


class VoidHold(EndHold, frozen=True):
    """Release a hold before it expires."""

    name: ClassVar[str] = "VoidHold"
    always_appends: ClassVar[bool] = True

    def decide(self, states: States) -> Decision:
        """Return the end of the hold."""
        hold = require_pending(states, self.transaction_id, self.now)
        voided = HoldVoided()
        events = self.release(states, hold, voided)
        state = evolve(state_of(states, self.transaction_id, Transaction), voided)
        return Decision(events, hold_result(self.transaction_id, hold, state))


class ExpireHold(EndHold, frozen=True):
    """Release an expired hold, unless it has ended already."""

    name: ClassVar[str] = "ExpireHold"
    always_appends: ClassVar[bool] = False

    def decide(self, states: States) -> Decision:
        """Return the end of the hold, or no event if the hold has ended or has not expired."""
        state = state_of(states, self.transaction_id, Transaction)
        if state is None or state.hold is None or state.status != "pending" or self.now < state.hold.expires_at:
            return Decision([], {"id": str(self.transaction_id)})
        return Decision(self.release(states, state.hold, HoldExpired()), {"id": str(self.transaction_id)})


def require_pending(states: States, transaction_id: UUID, now: datetime) -> HoldPlaced:
    """Return a hold that is pending at `now`. Raises `Refused` on any other transaction."""
    state = state_of(states, transaction_id, Transaction)
    if state is None:
        raise Refused(errors.transaction_not_found(transaction_id))
    if state.hold is None or state.status != "pending":
        raise Refused(errors.hold_not_pending(transaction_id, state.status))
    if state.hold.expires_at <= now:
        raise Refused(errors.hold_not_pending(transaction_id, "expired"))
    return state.hold


def require_source(states: States, hold: HoldPlaced, known_id: UUID) -> Account:
    """Return the account whose money is held. Raises `StaleCommandError` unless its id is `known_id`."""
    source = state_of(states, known_id, Account)
    if source is None or hold.source_account_id != known_id:
        raise StaleCommandError
    return source


def release(transaction_id: UUID, hold: HoldPlaced, source: Account) -> StreamEvent:
    """Return the event that releases the funds of a hold."""
    held = source.held_cents - hold.amount_cents
    return (hold.source_account_id, FundsReleased(transaction_id, hold.amount_cents, held))


def hold_result(transaction_id: UUID, hold: HoldPlaced, state: Transaction) -> dict[str, object]:
    """Return a hold as clients see it."""
    result: dict[str, object] = {
        "id": str(transaction_id),
        "source_account_id": str(hold.source_account_id),
        "destination_account_id": str(hold.destination_account_id),
        "amount_cents": hold.amount_cents,
        "currency": hold.currency,
        "kind": "hold",
        "reference": hold.reference,
        "status": state.status,
        "expires_at": rfc3339(hold.expires_at),
    }
    if state.captured_cents is not None:
        result["captured_cents"] = state.captured_cents
    return add_details(result, hold)
