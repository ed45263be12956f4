"""The part that all commands that begin a transaction share: its id, its details, and the streams to reserve."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from ledger import errors
from ledger.commands.command import Command, States, StreamEvent, state_of
from ledger.errors import Refused
from ledger.events.transactions import (
    Details,
    HoldPlaced,
    JournalEntryPosted,
    MoneyTransferred,
    Reference,
    ReferenceUsed,
    optional_details,
    reference_stream,
    reference_streams,
)
from ledger.values.timestamps import rfc3339


class TransactionCommand(Details, Command, frozen=True, kw_only=True):
    """A command that begins a transaction, under a fresh id or the id that the client chose.

    With `only_owner_id`, it may debit only accounts of that user, or, `by_client`, those that the limits of that client
    include.
    """

    reference: str | None = None
    transaction_id: UUID
    only_owner_id: UUID | None = None
    id_was_chosen: bool = False
    by_client: bool = False

    @property
    def resource_id(self) -> UUID:
        """Return the id of the transaction."""
        return self.transaction_id

    def creates(self) -> Iterable[UUID]:
        """Return the transaction, unless the client chose its id."""
        return () if self.id_was_chosen else (self.transaction_id,)

    def reserves(self) -> Iterable[UUID]:
        """Return the streams of the id and the reference that the client chose."""
        return reservations(self.transaction_id, self.reference, id_was_chosen=self.id_was_chosen)

    def payer_streams(self) -> tuple[UUID, ...]:
        """Return the stream that says which accounts the payer may debit, if there is one."""
        return (self.only_owner_id,) if self.by_client and self.only_owner_id is not None else ()

    def use_reference(self) -> list[StreamEvent]:
        """Return the event that reserves the reference, if there is one."""
        if self.reference is None:
            return []
        return [(reference_stream(self.reference), ReferenceUsed(self.transaction_id))]


def reservations(transaction_id: UUID, reference: str | None, *, id_was_chosen: bool) -> Iterable[UUID]:
    """Return the streams of a chosen id and a reference, which another transaction may have reserved."""
    if id_was_chosen:
        yield transaction_id
    if reference is not None:
        yield from reference_streams(reference)


def check_unreserved(states: States, transaction_id: UUID, reference: str | None) -> None:
    """Raise `Refused` if another transaction has reserved the id or the reference."""
    if states[transaction_id] is not None:
        raise Refused(errors.transaction_already_exists(transaction_id))
    if reference is not None and is_reference_taken(states, reference):
        raise Refused(errors.reference_already_exists())


def is_reference_taken(states: States, reference: str) -> bool:
    """Return whether a transaction has a reference, in any spelling."""
    owners = (state_of(states, stream, Reference) for stream in reference_streams(reference))
    return any(owner is not None and owner.transaction_id is not None for owner in owners)


def add_details(
    result: dict[str, object], event: MoneyTransferred | JournalEntryPosted | HoldPlaced
) -> dict[str, object]:
    """Add the optional details of a transaction to its result, and return the result."""
    for name, value in optional_details(event).items():
        result[name] = rfc3339(value) if isinstance(value, datetime) else value
    return result
