"""Moving money. Every movement is a transfer between two accounts, so all balances together are always zero."""

from collections.abc import Iterable
from typing import ClassVar
from uuid import UUID

import msgspec

from ledger import errors
from ledger.commands.decider import Decision, States, StreamEvent, state_of
from ledger.errors import Refusal, Refused
from ledger.events.accounts import Account, AccountCredited, AccountDebited
from ledger.events.transfers import MoneyTransferred
from ledger.money import MAX_CENTS


class TransferMoney(msgspec.Struct, frozen=True):
    """Move `amount_cents` (1 to `MAX_CENTS`). With `only_owner_id`, only from an account of that user."""

    name: ClassVar[str] = "TransferMoney"

    transfer_id: UUID
    source_account_id: UUID
    destination_account_id: UUID
    amount_cents: int
    reference: str | None = None
    only_owner_id: UUID | None = None
    id_was_chosen: bool = False

    def streams(self) -> Iterable[UUID]:
        """Both accounts, and the transfer itself if its id may be taken."""
        accounts = (self.source_account_id, self.destination_account_id)
        return (*accounts, self.transfer_id) if self.id_was_chosen else accounts

    def creates(self) -> Iterable[UUID]:
        """The transfer, unless its client chose the id."""
        return () if self.id_was_chosen else (self.transfer_id,)

    def decide(self, states: States) -> Decision:
        """Both entries, or all that stands against them at once, in the contract's order."""
        if states[self.transfer_id] is not None:
            raise Refused(errors.transaction_already_exists(self.transfer_id))
        source = state_of(states, self.source_account_id, Account)
        if source is not None and self.only_owner_id not in (None, source.owner_id):
            source = None
        destination = state_of(states, self.destination_account_id, Account)
        refusals = [*self._against_source(source), *self._against_destination(destination)]
        if refusals or source is None or destination is None:
            raise Refused(*refusals)
        transfer = MoneyTransferred(
            self.source_account_id,
            self.destination_account_id,
            self.amount_cents,
            source.currency,
            "transfer",
            self.reference,
        )
        return Decision(
            move(self.transfer_id, transfer, source, destination), transfer_result(self.transfer_id, transfer)
        )

    def _against_source(self, source: Account | None) -> Iterable[Refusal]:
        if source is None:
            yield errors.source_account_not_found(self.source_account_id)
        elif source.closed:
            yield errors.account_closed(self.source_account_id)
        elif not source.is_world and source.balance_cents < self.amount_cents:
            yield errors.insufficient_funds()

    def _against_destination(self, destination: Account | None) -> Iterable[Refusal]:
        if self.source_account_id == self.destination_account_id:
            yield errors.accounts_are_same()
        elif destination is None:
            yield errors.destination_account_not_found(self.destination_account_id)
        elif destination.closed:
            yield errors.account_closed(self.destination_account_id)


def move(
    transfer_id: UUID,
    transfer: MoneyTransferred,
    source: Account,
    destination: Account,
    *,
    pointer: str = "/amount_cents",
) -> list[StreamEvent]:
    """The transfer and its two entries. Raises `Refused` on two currencies, or a balance beyond `MAX_CENTS`.

    `pointer` is the member of the request that says how much.
    """
    if source.currency != destination.currency:
        raise Refused(errors.currency_mismatch())
    amount = transfer.amount_cents
    debited, credited = source.balance_cents - amount, destination.balance_cents + amount
    if debited < -MAX_CENTS or credited > MAX_CENTS:
        raise Refused(errors.invalid(pointer, "a balance would exceed 2^53 - 1"))
    return [
        (transfer_id, transfer),
        (transfer.source_account_id, AccountDebited(transfer_id, amount, debited)),
        (transfer.destination_account_id, AccountCredited(transfer_id, amount, credited)),
    ]


def transfer_result(transfer_id: UUID, transfer: MoneyTransferred) -> dict[str, object]:
    """A transfer as its client sees it."""
    return {
        "id": str(transfer_id),
        "source_account_id": str(transfer.source_account_id),
        "destination_account_id": str(transfer.destination_account_id),
        "amount_cents": transfer.amount_cents,
        "currency": transfer.currency,
        "kind": transfer.kind,
        "reference": transfer.reference,
    }
