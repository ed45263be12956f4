"""Reversals: a new transaction moves money back, all of it or parts until nothing is left. Events are never undone."""

from collections.abc import Iterable, Sequence
from typing import ClassVar
from uuid import UUID

import msgspec

from ledger import errors
from ledger.commands.command import Command, Decision, States, StreamEvent, state_of
from ledger.commands.journal import NewPosting, check_postings, entry_result, post
from ledger.commands.periods import move_to_open, period_streams
from ledger.commands.transaction import check_unreserved, reservations
from ledger.commands.transfers import move, transfer_result
from ledger.errors import Refused, StaleCommandError
from ledger.events.accounts import Account
from ledger.events.transactions import (
    Details,
    JournalEntryPosted,
    MoneyTransferred,
    Posting,
    ReferenceUsed,
    Transaction,
    TransactionReversed,
    copy_details,
    reference_stream,
)
from ledger.values.timestamps import rfc3339

NOT_CLOSED = "must not be given unless an account that gets its money back is closed"
NOT_IN_PARTS = "must not be given for a journal entry of more than two postings"
TOO_MUCH = "must not be more than what is left to reverse"


class ReverseTransaction(Details, Command, frozen=True, kw_only=True):
    """Move back the money that a transaction has moved, or `amount_cents` of it. With `force`, ignore missing funds.

    `account_ids` are all of its accounts, which the caller looks up and which never change. Raises `StaleCommandError`
    if one is missing. What a closed account would get back goes to `destination_account_id`.
    """

    name: ClassVar[str] = "ReverseTransfer"
    always_appends: ClassVar[bool] = True

    reference: str | None = None
    reversal_id: UUID
    transaction_id: UUID
    account_ids: tuple[UUID, ...]
    amount_cents: int | None = None
    destination_account_id: UUID | None = None
    force: bool = False
    id_was_chosen: bool = False

    @property
    def resource_id(self) -> UUID:
        """Return the id of the reversal."""
        return self.reversal_id

    def streams(self) -> Iterable[UUID]:
        """Return the transaction, all accounts, and what the reversal's id, reference and effective time need."""
        yield from (self.transaction_id, *self.account_ids)
        if self.destination_account_id is not None:
            yield self.destination_account_id
        yield from period_streams(self.effective_at)
        yield from reservations(self.reversal_id, self.reference, None, id_was_chosen=self.id_was_chosen)

    def creates(self) -> Iterable[UUID]:
        """Return the reversal, unless the client chose its id."""
        return () if self.id_was_chosen else (self.reversal_id,)

    def decide(self, states: States) -> Decision:
        """Return the opposite transaction; each of the two names the other.

        If its effective time is in a closed period, it takes effect on the first open day, and the result says so.
        """
        effective_at = move_to_open(states, self.effective_at)
        if self.effective_at is not None and effective_at != self.effective_at:
            decision = msgspec.structs.replace(self, effective_at=effective_at).decide(states)
            decision.result["requested_effective_at"] = rfc3339(self.effective_at)
            return decision
        check_unreserved(states, self.reversal_id, self.reference)
        first = _require_reversible(self.transaction_id, state_of(states, self.transaction_id, Transaction))
        if not {posting.account_id for posting in first.postings} <= set(self.account_ids):
            raise StaleCommandError
        back = self._redirect(states, self._build_postings(first))
        decision = (self._reverse_transfer if first.journal_entry is None else self._reverse_entry)(states, back)
        link: StreamEvent = (self.transaction_id, self._link(first))
        reserved: list[StreamEvent] = []
        if self.reference is not None:
            reserved = [(reference_stream(self.reference), ReferenceUsed(self.reversal_id))]
        return Decision([*decision.events, link, *reserved], decision.result)

    def _build_postings(self, first: Transaction) -> list[Posting]:
        """Return the opposite postings. An account with several gets them in the opposite order, to retrace its steps.

        Raises `Refused` if more than the rest is asked for.
        """
        moved, rest = first.postings, first.reversible_cents
        cents = self.amount_cents or rest
        if cents is None:
            back = [msgspec.structs.replace(posting, amount_cents=-posting.amount_cents) for posting in moved]
            return back if len({posting.account_id for posting in moved}) == len(moved) else back[::-1]
        if rest is None:
            raise Refused(errors.invalid("/amount_cents", NOT_IN_PARTS))
        if cents > rest:
            raise Refused(errors.invalid("/amount_cents", TOO_MUCH))
        return [
            msgspec.structs.replace(posting, amount_cents=-cents if posting.amount_cents > 0 else cents)
            for posting in moved
        ]

    def _redirect(self, states: States, back: list[Posting]) -> list[Posting]:
        """Return the postings with the named account in the place of closed ones that would get money."""
        if self.destination_account_id is None:
            return back
        closed = {
            posting.account_id
            for posting in back
            if posting.amount_cents > 0
            and (account := state_of(states, posting.account_id, Account)) is not None
            and account.closed
        }
        if not closed:
            raise Refused(errors.invalid("/destination_account_id", NOT_CLOSED))
        named = state_of(states, self.destination_account_id, Account)
        redirected = [posting for posting in back if posting.account_id in closed and posting.amount_cents > 0]
        if named is not None and any(posting.currency != named.currency for posting in redirected):
            raise Refused(errors.currency_mismatch())
        return [
            msgspec.structs.replace(posting, account_id=self.destination_account_id)
            if posting in redirected
            else posting
            for posting in back
        ]

    def _reverse_transfer(self, states: States, back: Sequence[Posting]) -> Decision:
        payer, payee = sorted(back, key=lambda posting: posting.amount_cents)
        if payer.account_id == payee.account_id:
            raise Refused(errors.accounts_are_same())
        postings = [NewPosting(posting.account_id, posting.amount_cents) for posting in (payer, payee)]
        accounts = check_postings(states, postings, force=self.force)
        transfer = MoneyTransferred(
            source_account_id=payer.account_id,
            destination_account_id=payee.account_id,
            amount_cents=payee.amount_cents,
            currency=payee.currency,
            kind="reversal",
            reference=self.reference,
            reverses=self.transaction_id,
        )
        transfer = copy_details(self, transfer)
        events = move(self.reversal_id, transfer, accounts[payer.account_id], accounts[payee.account_id])
        return Decision(events, transfer_result(self.reversal_id, transfer))

    def _reverse_entry(self, states: States, back: Sequence[Posting]) -> Decision:
        new = [NewPosting(posting.account_id, posting.amount_cents) for posting in back]
        accounts = check_postings(states, new, force=self.force)
        entry = JournalEntryPosted(
            postings=tuple(back), kind="reversal", reference=self.reference, reverses=self.transaction_id
        )
        entry = copy_details(self, entry)
        return Decision(post(self.reversal_id, entry, accounts), entry_result(self.reversal_id, entry))

    def _link(self, first: Transaction) -> TransactionReversed:
        """Return the event by which the transaction names its reversal."""
        cents, rest = self.amount_cents, first.reversible_cents
        if cents is None and first.reversed_cents is None:
            return TransactionReversed(self.reversal_id)
        cents = cents or rest or 0
        return TransactionReversed(self.reversal_id, (first.reversed_cents or 0) + cents, is_partial=cents != rest)


def _require_reversible(transaction_id: UUID, transaction: Transaction | None) -> Transaction:
    """Return the transaction. Raises `Refused` unless it has moved money that was not moved back."""
    if transaction is None:
        raise Refused(errors.transaction_not_found(transaction_id))
    if transaction.reversed_by is not None:
        raise Refused(errors.transaction_already_reversed(transaction_id, transaction.reversed_by))
    if transaction.reverses is not None:
        raise Refused(errors.transaction_not_reversible(transaction_id, "a reversal is final"))
    if not transaction.postings:
        kind = "transaction" if transaction.hold is None else "hold"
        raise Refused(
            errors.transaction_not_reversible(transaction_id, f"the {kind} is {transaction.status}: no money moved")
        )
    if transaction.status == "pending":
        reason = "the hold is pending: capture or void the rest first"
        raise Refused(errors.transaction_not_reversible(transaction_id, reason))
    return transaction
