"""The part that all commands that begin a transaction share: its id, its details, and the streams to reserve."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from uuid import UUID

import msgspec

from ledger import errors
from ledger.commands.command import Command, Parties, States, StreamEvent, state_of
from ledger.errors import Refusal, Refused
from ledger.events.accounts import Account
from ledger.events.clients import Client
from ledger.events.transactions import (
    Details,
    HoldPlaced,
    JournalEntryPosted,
    MoneyTransferred,
    Reference,
    ReferenceUsed,
    Transaction,
    optional_details,
    reference_stream,
    reference_streams,
)
from ledger.values.timestamps import rfc3339

ID_TAKEN = "must not be taken"


class TransactionCommand(Details, Command, frozen=True, kw_only=True):
    """A command that begins a transaction, under a fresh id or the id that the client chose.

    With `only_owner_id`, it may debit only accounts of that user, and its reference is one of that user. With
    `by_client`, the id is that of a client, which may debit what its limits include, and has references of its own.
    Otherwise an admin has sent it, and the reference is one of the ledger; so is that of a client without limits.
    `parties` are those of transactions that have its id or reference, as far as they were looked up; None stands for a
    transaction that was not found.
    """

    reference: str | None = None
    transaction_id: UUID
    only_owner_id: UUID | None = None
    id_was_chosen: bool = False
    by_client: bool = False
    parties: dict[UUID, Parties | None] | None = None

    @property
    def resource_id(self) -> UUID:
        """Return the id of the transaction."""
        return self.transaction_id

    def creates(self) -> Iterable[UUID]:
        """Return the transaction, unless the client chose its id."""
        return () if self.id_was_chosen else (self.transaction_id,)

    def reserves(self) -> Iterable[UUID]:
        """Return the streams of the id and the reference that the client chose."""
        return reservations(self.transaction_id, self.reference, self.only_owner_id, id_was_chosen=self.id_was_chosen)

    def payer_streams(self) -> tuple[UUID, ...]:
        """Return the stream that says which accounts the payer may debit, if there is one."""
        return (self.only_owner_id,) if self.by_client and self.only_owner_id is not None else ()

    def use_reference(self, states: States) -> list[StreamEvent]:
        """Return the event that reserves the reference, if there is one."""
        if self.reference is None:
            return []
        owner_id = None if self._find_payers(states) is None else self.only_owner_id
        return [(reference_stream(self.reference, owner_id), ReferenceUsed(self.transaction_id))]

    def doubts(self, states: States) -> Iterable[UUID]:
        """Return the transactions that have the id or the reference, and of which the parties are not known."""
        if self._find_payers(states) is None:
            return
        known, found = self.parties or {}, set(self._find_ledger_holders(states))
        if isinstance(states[self.transaction_id], Transaction):
            found.add(self.transaction_id)
        yield from found - known.keys()

    def learn(self, parties: Mapping[UUID, Parties | None]) -> "TransactionCommand":
        """Return the command that knows the parties of these transactions."""
        return msgspec.structs.replace(self, parties={**(self.parties or {}), **parties})

    def check_unreserved(self, states: States) -> None:
        """Raise `Refused` if another transaction has reserved the id or the reference."""
        if states[self.transaction_id] is not None:
            seen = self.sees_taken_id(states)
            raise Refused(errors.transaction_already_exists(self.transaction_id) if seen else refuse_id())
        if self.reference is not None and self._is_reference_taken(states, self.reference):
            raise Refused(errors.reference_already_exists())

    def sees_taken_id(self, states: States) -> bool:
        """Return whether the caller may see what has the id: for a customer, a transaction of own accounts."""
        payers = self._find_payers(states)
        if payers is None:
            return True
        parties = (self.parties or {}).get(self.transaction_id)
        if parties is not None:
            return not parties.readers.isdisjoint(payers)
        earlier = state_of(states, self.transaction_id, Transaction)  # of the same commit group or batch
        accounts = {} if earlier is None else {one: states.get(one) for one in earlier.account_ids}
        owners = {account.owner_id for account in accounts.values() if isinstance(account, Account)}
        return not (accounts.keys() | owners).isdisjoint(payers)

    def _is_reference_taken(self, states: States, reference: str) -> bool:
        """Return whether the reference is taken. One of the ledger concerns a customer only if the customer has paid.

        Before references had owners, all were references of the ledger.
        """
        payers = self._find_payers(states)
        if payers is None:
            return is_reference_taken(states, reference)
        own = state_of(states, reference_stream(reference, self.only_owner_id), Reference)
        if own is not None and own.transaction_id is not None:
            return True
        parties = [(self.parties or {}).get(holder) for holder in self._find_ledger_holders(states)]
        return any(known is None or not known.payers.isdisjoint(payers) for known in parties)

    def _find_payers(self, states: States) -> tuple[UUID, ...] | None:
        """Return the users and accounts whose money the caller may spend; None for all."""
        if self.only_owner_id is None or not self.by_client:
            return None if self.only_owner_id is None else (self.only_owner_id,)
        client = state_of(states, self.only_owner_id, Client)
        return () if client is None else client.grants.payers

    def _find_ledger_holders(self, states: States) -> Iterable[UUID]:
        """Return the transactions that have the reference among those of the ledger."""
        for stream in () if self.reference is None else reference_streams(self.reference):
            reference = state_of(states, stream, Reference)
            if reference is not None and reference.transaction_id is not None:
                yield reference.transaction_id


def reservations(
    transaction_id: UUID, reference: str | None, owner_id: UUID | None, *, id_was_chosen: bool
) -> Iterable[UUID]:
    """Return the streams of a chosen id and an owner's reference, which another transaction may have reserved."""
    if id_was_chosen:
        yield transaction_id
    if reference is not None:
        yield from reference_streams(reference, *(() if owner_id is None else (owner_id,)))


def check_unreserved(states: States, transaction_id: UUID, reference: str | None) -> None:
    """Raise `Refused` if another transaction has reserved the id, or the reference of an admin."""
    if states[transaction_id] is not None:
        raise Refused(errors.transaction_already_exists(transaction_id))
    if reference is not None and is_reference_taken(states, reference):
        raise Refused(errors.reference_already_exists())


def is_reference_taken(states: States, reference: str) -> bool:
    """Return whether a transaction has a reference of the ledger, in any spelling."""
    owners = (state_of(states, stream, Reference) for stream in reference_streams(reference))
    return any(owner is not None and owner.transaction_id is not None for owner in owners)


def refuse_id() -> Refusal:
    """Refuse an id that something has which the caller may not see: a transaction, an account, a user or a session."""
    return errors.invalid("/id", ID_TAKEN)


def add_details(
    result: dict[str, object], event: MoneyTransferred | JournalEntryPosted | HoldPlaced
) -> dict[str, object]:
    """Add the optional details of a transaction to its result, and return the result."""
    for name, value in optional_details(event).items():
        result[name] = rfc3339(value) if isinstance(value, datetime) else value
    return result
