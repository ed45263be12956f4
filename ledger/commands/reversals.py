"""Reversals: another transaction that moves everything back, once. Nothing that was recorded is ever undone."""

from collections.abc import Iterable, Sequence
from typing import ClassVar
from uuid import UUID

import msgspec

from ledger import errors
from ledger.commands.command import Command, Decision, States, StreamEvent, state_of
from ledger.commands.journal import Leg, check_legs, entry_result, post
from ledger.commands.transaction import check_unreserved, reservations
from ledger.commands.transfers import move, transfer_result
from ledger.errors import Refused, StaleCommandError
from ledger.events.transactions import JournalEntryPosted, MoneyTransferred, Posting, Transaction, TransactionReversed


class ReverseTransaction(Command, frozen=True, kw_only=True):
    """Move back what a transaction has moved. With `force`, ignore insufficient funds.

    `account_ids` are all of its accounts, which the caller looks up: they never change. Raises `StaleCommandError` if
    they are others.
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
        """Return the transaction, its accounts, and the reversal itself if its client chose the id."""
        yield from (self.transaction_id, *self.account_ids)
        yield from reservations(self.reversal_id, None, id_was_chosen=self.id_was_chosen)

    def creates(self) -> Iterable[UUID]:
        """Return the reversal, unless its client chose the id."""
        return () if self.id_was_chosen else (self.reversal_id,)

    def decide(self, states: States) -> Decision:
        """Return the opposite transaction, linked with the first both ways."""
        check_unreserved(states, self.reversal_id, None)
        first = _reversible(self.transaction_id, state_of(states, self.transaction_id, Transaction))
        if not {posting.account_id for posting in first.postings} <= set(self.account_ids):
            raise StaleCommandError
        opposite = self._opposite_transfer if first.posted is None else self._opposite_entry
        return opposite(states, first.postings)

    def _opposite_transfer(self, states: States, moved: Sequence[Posting]) -> Decision:
        destination_id, source_id = (posting.account_id for posting in moved)
        cents = moved[1].amount_cents
        accounts = check_legs(states, (Leg(source_id, -cents), Leg(destination_id, cents)), force=self.force)
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

    def _opposite_entry(self, states: States, moved: Sequence[Posting]) -> Decision:
        postings = tuple(msgspec.structs.replace(posting, amount_cents=-posting.amount_cents) for posting in moved)
        legs = [Leg(posting.account_id, posting.amount_cents) for posting in postings]
        accounts = check_legs(states, legs, force=self.force)
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


def _reversible(transaction_id: UUID, transfer: Transaction | None) -> Transaction:
    """Return the transaction, if there is something to move back. Raises `Refused`."""
    if transfer is None:
        raise Refused(errors.transaction_not_found(transaction_id))
    if transfer.reversed_by is not None:
        raise Refused(errors.transaction_already_reversed(transaction_id, transfer.reversed_by))
    if transfer.reverses is not None:
        raise Refused(errors.transaction_not_reversible(transaction_id, "a reversal is final"))
    if not transfer.postings:
        raise Refused(
            errors.transaction_not_reversible(transaction_id, f"the hold is {transfer.status}: no money moved")
        )
    return transfer
