"""Holds: set money aside first, and move all, part or none of it later. A hold ends exactly once.

The time comes in with the command, so an expired hold cannot be captured even before its expiry is recorded. Both
accounts know of a pending hold, so neither can be closed.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import ClassVar
from uuid import UUID

import msgspec

from ledger import errors
from ledger.commands.command import Command, Decision, States, StreamEvent, state_of
from ledger.commands.journal import NewPosting, check_postings
from ledger.commands.periods import check_open, period_streams
from ledger.commands.transaction import TransactionCommand, add_details, is_reference_taken
from ledger.commands.transfers import check_transfer, credit, debit, find_payable
from ledger.errors import Refused, StaleCommandError
from ledger.events.accounts import Account, FundsHeld, FundsReleased, IncomingHeld, IncomingReleased
from ledger.events.transactions import (
    CaptureDetails,
    HoldCaptured,
    HoldExpired,
    HoldPlaced,
    HoldVoided,
    Reference,
    ReferenceReleased,
    ReferenceUsed,
    Transaction,
    copy_details,
    evolve,
    reference_stream,
    reference_streams,
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
        """Return both accounts, the client that pays and the periods, if needed, and the streams to reserve."""
        yield from (self.source_account_id, self.destination_account_id, *self.payer_streams())
        yield from period_streams(self.effective_at)
        yield from self.reserves()

    def decide(self, states: States) -> Decision:
        """Return the hold. Raises `Refused` with every refusal, as a transfer does."""
        if find_payable(states, self.source_account_id, self.only_owner_id) is not None:
            self.check_unreserved(states)
            check_open(states, self.effective_at)
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
        incoming = destination.incoming_cents + self.amount_cents
        if incoming > MAX_CENTS:
            raise Refused(
                errors.invalid("/amount_cents", "must not bring the amount held for an account above 2^53 - 1")
            )
        placed = HoldPlaced(
            source_account_id=self.source_account_id,
            destination_account_id=self.destination_account_id,
            amount_cents=self.amount_cents,
            currency=source.currency,
            expires_at=self.expires_at,
            is_announced=True,
            reference=self.reference,
        )
        placed = copy_details(self, placed)
        events: list[StreamEvent] = [
            (self.transaction_id, placed),
            (self.source_account_id, FundsHeld(self.transaction_id, self.amount_cents, held)),
            (self.destination_account_id, IncomingHeld(self.transaction_id, self.amount_cents, incoming)),
            *self.use_reference(states),
        ]
        return Decision(events, hold_result(self.transaction_id, placed, evolve(None, placed)))


class HoldCommand(CaptureDetails, Command, frozen=True, kw_only=True):
    """A command on a hold. Its accounts, its reference and who paid it never change, so the caller looks them up.

    `payer_ids` are the user who owned the source when the hold was placed, and the caller who placed it. One of
    them may own its reference. Only a capture has details.
    """

    transaction_id: UUID
    source_account_id: UUID
    destination_account_id: UUID
    hold_reference: str | None = None
    payer_ids: tuple[UUID, ...] = ()
    now: datetime

    def streams(self) -> Iterable[UUID]:
        """Return the transaction, both accounts, and the streams of the hold's reference."""
        yield from (self.transaction_id, self.source_account_id, self.destination_account_id)
        if self.hold_reference is not None:
            yield from reference_streams(self.hold_reference, *self.payer_ids)

    def check_known(self, hold: HoldPlaced) -> None:
        """Raise `StaleCommandError` unless the caller has looked up this hold."""
        known = (self.source_account_id, self.destination_account_id, self.hold_reference)
        if known != (hold.source_account_id, hold.destination_account_id, hold.reference):
            raise StaleCommandError

    def release(self, states: States, hold: HoldPlaced, cents: int) -> list[StreamEvent]:
        """Return the release of `cents` of the hold, for both of its accounts."""
        source, destination = (
            state_of(states, key, Account) for key in (self.source_account_id, hold.destination_account_id)
        )
        if source is None or destination is None:
            raise StaleCommandError
        events: list[StreamEvent] = [
            (self.source_account_id, FundsReleased(self.transaction_id, cents, source.held_cents - cents))
        ]
        if hold.is_announced:
            incoming = destination.incoming_cents - cents
            events.append((self.destination_account_id, IncomingReleased(self.transaction_id, cents, incoming)))
        return events

    def end(self, states: States, event: HoldVoided | HoldExpired) -> list[StreamEvent]:
        """Return the end of a pending hold: the release of its rest, and of its reference if it has moved no money."""
        state = require_hold(states, self.transaction_id)
        assert state.hold is not None  # noqa: S101 - `require_hold` returns holds only
        self.check_known(state.hold)
        rest = self.release(states, state.hold, state.held_cents)
        return [(self.transaction_id, event), *rest, *([] if event.captured_cents else self.release_reference(states))]

    def release_reference(self, states: States) -> list[StreamEvent]:
        """Return the release of the hold's reference, if the hold still has it."""
        reference = self.hold_reference
        return [
            (stream, ReferenceReleased(self.transaction_id))
            for stream in (() if reference is None else reference_streams(reference, *self.payer_ids))
            if (owner := state_of(states, stream, Reference)) is not None
            and owner.transaction_id == self.transaction_id
        ]


class CaptureHold(HoldCommand, frozen=True, kw_only=True):
    """Move the funds held, or `amount_cents` of them. If the capture is `final`, release the rest.

    The capture may have a `reference` and details of its own.
    """

    name: ClassVar[str] = "CaptureHold"
    always_appends: ClassVar[bool] = True

    amount_cents: int | None
    final: bool = True

    def streams(self) -> Iterable[UUID]:
        """Return the streams of the hold, and those of the capture's reference and effective time."""
        yield from super().streams()
        yield from period_streams(self.effective_at)
        if self.reference is not None:
            yield from reference_streams(self.reference)

    def decide(self, states: States) -> Decision:
        """Return the capture, the release of the funds, and both entries."""
        state = require_pending(states, self.transaction_id, self.now)
        hold = state.hold
        assert hold is not None  # noqa: S101 - `require_pending` returns holds only
        self.check_known(hold)
        held = state.held_cents
        cents = held if self.amount_cents is None else self.amount_cents
        if cents > held:
            raise Refused(errors.invalid("/amount_cents", "must not be more than the amount held"))
        self._check_reference(states)
        check_open(states, self.effective_at)
        postings = (NewPosting(self.source_account_id, -cents), NewPosting(self.destination_account_id, cents))
        accounts = check_postings(self._without(states, hold, cents), postings, force=True)  # the hold has the funds
        source, destination = accounts[self.source_account_id], accounts[self.destination_account_id]
        final = self.final or cents == held
        captured = HoldCaptured(cents, state.captured_cents or 0, final, reference=self.reference)
        captured = copy_details(self, captured)
        events: list[StreamEvent] = [
            (self.transaction_id, captured),
            *self.release(states, hold, held if final else cents),
            (self.source_account_id, debit(self.transaction_id, source, cents, "/amount_cents")),
            (self.destination_account_id, credit(self.transaction_id, destination, cents, "/amount_cents")),
        ]
        if self.reference is not None:
            events.append((reference_stream(self.reference), ReferenceUsed(self.transaction_id)))
        return Decision(events, hold_result(self.transaction_id, hold, evolve(state, captured)))

    def _without(self, states: States, hold: HoldPlaced, cents: int) -> States:
        """Return the states without `cents` that the hold will pay: what is captured counts once for a limit."""
        destination = state_of(states, hold.destination_account_id, Account)
        if destination is None or not hold.is_announced:
            return states
        rest = msgspec.structs.replace(destination, incoming_cents=destination.incoming_cents - cents)
        return {**states, hold.destination_account_id: rest}

    def _check_reference(self, states: States) -> None:
        if self.reference is not None and is_reference_taken(states, self.reference):
            raise Refused(errors.reference_already_exists())


class VoidHold(HoldCommand, frozen=True, kw_only=True):
    """Release a hold. One that has expired holds no more funds: it expires now, unless its expiry is recorded."""

    name: ClassVar[str] = "VoidHold"
    always_appends: ClassVar[bool] = False

    def decide(self, states: States) -> Decision:
        """Return the end of the hold, or no event if it has expired already."""
        state = require_hold(states, self.transaction_id)
        hold = state.hold
        assert hold is not None  # noqa: S101 - `require_hold` returns holds only
        if state.status == "expired":
            return Decision([], hold_result(self.transaction_id, hold, state))
        if state.status != "pending":
            raise Refused(errors.hold_not_pending(self.transaction_id, state.status))
        captured = state.captured_cents or 0
        event = HoldExpired(captured) if state.is_overdue(self.now) else HoldVoided(captured)
        events = self.end(states, event)
        return Decision(events, hold_result(self.transaction_id, hold, evolve(state, event)))


class ExpireHold(HoldCommand, frozen=True, kw_only=True):
    """End an overdue hold, and free the reference of a hold that ended without moving money in an earlier version."""

    name: ClassVar[str] = "ExpireHold"
    always_appends: ClassVar[bool] = False

    def decide(self, states: States) -> Decision:
        """Return the end of the hold or the release of its reference, or no event if there is nothing to do."""
        state, events = state_of(states, self.transaction_id, Transaction), list[StreamEvent]()
        if state is not None and state.hold is not None and state.hold.reference == self.hold_reference:
            if state.is_overdue(self.now):
                events = self.end(states, HoldExpired(state.captured_cents or 0))
            elif state.status in {"voided", "expired"}:
                events = self.release_reference(states)
        return Decision(events, {"id": str(self.transaction_id)})


def require_hold(states: States, transaction_id: UUID) -> Transaction:
    """Return a hold, whatever its status. Raises `Refused` on any other transaction."""
    state = state_of(states, transaction_id, Transaction)
    if state is None:
        raise Refused(errors.transaction_not_found(transaction_id))
    if state.hold is None:
        raise Refused(errors.hold_not_pending(transaction_id, state.status))
    return state


def require_pending(states: States, transaction_id: UUID, now: datetime) -> Transaction:
    """Return a hold that is pending at `now`. Raises `Refused` on any other transaction."""
    state = require_hold(states, transaction_id)
    if state.status != "pending":
        raise Refused(errors.hold_not_pending(transaction_id, state.status))
    if state.is_overdue(now):
        raise Refused(errors.hold_not_pending(transaction_id, state.status_at(now)))
    return state


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
