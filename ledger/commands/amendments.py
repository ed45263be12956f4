"""Amend what a transaction says. The money, the reference and the dates never change, and the log keeps every text."""

from collections.abc import Iterable
from typing import ClassVar
from uuid import UUID

import msgspec

from ledger import errors
from ledger.commands.command import Decision, States, state_of
from ledger.commands.expected_version import Conditional, check_version
from ledger.errors import Refused
from ledger.events.amendments import TransactionAmended
from ledger.events.transactions import Transaction
from ledger.values.text import MAX_METADATA_KEYS


class Amendment(msgspec.Struct, frozen=True, array_like=True):
    """What to change: a new description, or none; and members of the metadata, of which None removes one.

    `metadata` None removes all members. An amendment without `describes` or `annotates` leaves that part as it is.
    """

    describes: bool = False
    description: str | None = None
    annotates: bool = False
    metadata: dict[str, str | None] | None = None

    def apply(self, known: TransactionAmended) -> TransactionAmended:
        """Return the texts after the amendment. Raises `Refused` if there is too much metadata."""
        metadata = _merge(known.metadata or {}, self.metadata) if self.annotates else known.metadata
        return TransactionAmended(self.description if self.describes else known.description, metadata or None)


class AmendTransaction(Conditional, frozen=True, kw_only=True):
    """Amend the description and the metadata of a transaction."""

    name: ClassVar[str] = "AmendTransaction"
    always_appends: ClassVar[bool] = False

    transaction_id: UUID
    amendment: Amendment

    @property
    def resource_id(self) -> UUID:
        """Return the id of the transaction."""
        return self.transaction_id

    def streams(self) -> Iterable[UUID]:
        """Return the transaction."""
        return (self.transaction_id,)

    def decide(self, states: States) -> Decision:
        """Return the amendment, or no event if it changes nothing. Raises `Refused` if there is no such transaction."""
        transaction = state_of(states, self.transaction_id, Transaction)
        if transaction is None:
            raise Refused(errors.transaction_not_found(self.transaction_id))
        check_version(states, self.transaction_id, self.expected)
        known = transaction.texts
        amended = self.amendment.apply(known)
        events = [] if amended == known else [(self.transaction_id, amended)]
        return Decision([*events], {"id": str(self.transaction_id)})


def _merge(known: dict[str, str], patch: dict[str, str | None] | None) -> dict[str, str]:
    merged: dict[str, str | None] = {} if patch is None else {**known, **patch}
    metadata = {key: value for key, value in merged.items() if value is not None}
    if len(metadata) > MAX_METADATA_KEYS:
        raise Refused(errors.invalid("/metadata", f"must have at most {MAX_METADATA_KEYS} members"))
    return metadata
