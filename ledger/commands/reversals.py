"""Reversals: a new transaction moves everything back, once. Recorded events are never undone."""

from collections.abc import Iterable, Sequence
from typing import ClassVar
from uuid import UUID

import msgspec

from ledger import errors
from ledger.commands.command import Command, Decision, States, StreamEvent, state_of
from ledger.commands.journal import NewPosting, check_postings, entry_result, post
from ledger.commands.transaction import check_unreserved, reservations
from ledger.commands.transfers import move, transfer_result
from ledger.errors import Refused, StaleCommandError
from ledger.events.transactions import JournalEntryPosted, MoneyTransferred, Posting, Transaction, TransactionReversed


class ReverseTransaction(Command, frozen=True, kw_only=True):
    """Move back the money that a transaction has moved. With `force`, ignore insufficient funds.

    `account_ids` are all of its accounts, which the caller looks up and which never change. Raises `StaleCommandError`
    if one is missing.
    """

    name: ClassVar[str] = "ReverseTransfer"
    always_appends: ClassVar[bool] = True

    reversal_id: UUID
    transaction_id: UUID
    account_ids: tuple[UUID, ...]
    force: bool = False
    description: str | None = None
    id_was_chosen: bool = False

    @property
    def resource_id(self) -> UUID:
        """Return the id of the reversal."""
        return self.reversal_id

    def streams(self) -> Iterable[UUID]:
        """Return the transaction, its accounts, and the reversal itself if the client chose its id."""
        yield from (self.transaction_id, *self.account_ids)
        yield from reservations(self.reversal_id, None, id_was_chosen=self.id_was_chosen)

    def creates(self) -> Iterable[UUID]:
        """Return the reversal, unless the client chose its id."""
        return () if self.id_was_chosen else (self.reversal_id,)

    def decide(self, states: States) -> Decision:
        """Return the opposite transaction; each of the two names the other."""
        check_unreserved(states, self.reversal_id, None)
        first = _require_reversible(self.transaction_id, state_of(states, self.transaction_id, Transaction))
        if not {posting.account_id for posting in first.postings} <= set(self.account_ids):
            raise StaleCommandError
        reverse = self._reverse_transfer if first.journal_entry is None else self._reverse_entry
        return reverse(states, first.postings)

    def _reverse_transfer(self, states: States, moved: Sequence[Posting]) -> Decision:
        destination_id, source_id = (posting.account_id for posting in moved)
        cents = moved[1].amount_cents
        postings = (NewPosting(source_id, -cents), NewPosting(destination_id, cents))
        accounts = check_postings(states, postings, force=self.force)
        transfer = MoneyTransferred(
            source_account_id=source_id,
            destination_account_id=destination_id,
            amount_cents=cents,
            currency=moved[1].currency,
            kind="reversal",
            reference=None,
            description=self.description,
            reverses=self.transaction_id,
        )
        events = move(self.reversal_id, transfer, accounts[source_id], accounts[destination_id])
        return Decision([*events, self._link()], transfer_result(self.reversal_id, transfer))

    def _reverse_entry(self, states: States, moved: Sequence[Posting]) -> Decision:
        postings = tuple(msgspec.structs.replace(posting, amount_cents=-posting.amount_cents) for posting in moved)
        new = [NewPosting(posting.account_id, posting.amount_cents) for posting in postings]
        accounts = check_postings(states, new, force=self.force)
        entry = JournalEntryPosted(
            postings=postings,
            kind="reversal",
            reference=None,
            description=self.description,
            reverses=self.transaction_id,
        )
        return Decision([*post(self.reversal_id, entry, accounts), self._link()], entry_result(self.reversal_id, entry))

    def _link(self) -> StreamEvent:
        return (self.transaction_id, TransactionReversed(self.reversal_id))


def _require_reversible(transaction_id: UUID, transaction: Transaction | None) -> Transaction:
    """Return the transaction. Raises `Refused` unless it has moved money that was not moved back."""
    if transaction is None:
        raise Refused(errors.transaction_not_found(transaction_id))
    if transaction.reversed_by is not None:
        raise Refused(errors.transaction_already_reversed(transaction_id, transaction.reversed_by))
    if transaction.reverses is not None:
        raise Refused(errors.transaction_not_reversible(transaction_id, "a reversal is final"))
    if not transaction.postings:
        raise Refused(
            errors.transaction_not_reversible(transaction_id, f"the hold is {transaction.status}: no money moved")
        )
    return transaction
