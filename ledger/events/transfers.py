"""A transfer: money that moved from one account to another. Its two entries are events of the two accounts."""

from typing import Literal
from uuid import UUID

import msgspec

TransferKind = Literal["transfer", "opening", "adjustment"]


class MoneyTransferred(msgspec.Struct, frozen=True):
    """`amount_cents` left the source for the destination; both are in `currency`."""

    source_account_id: UUID
    destination_account_id: UUID
    amount_cents: int
    currency: str
    kind: TransferKind
    reference: str | None = None


TransferEvent = MoneyTransferred


class Transfer(msgspec.Struct, frozen=True):
    """What the events of one transfer add up to: so far, only that it was made."""

    made: MoneyTransferred


def evolve(state: Transfer | None, event: TransferEvent) -> Transfer:  # noqa: ARG001 - the shape all folds share
    """Fold one event into the state."""
    return Transfer(event)
