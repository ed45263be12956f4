"""The event of the chain of seals, and the state it folds into."""

from typing import ClassVar

import msgspec

from ledger.values.derived import derived_id

SEALS = derived_id("seals", "chain")


class SealHeadAccepted(msgspec.Struct, frozen=True):
    """An operator accepted the chain of blocks as it is, although the kept head says otherwise.

    A block is named by its number and the hash of its header, in hexadecimal digits; without a block, 0 and "". The
    previous one is the last block according to the file of the kept head, which is None without such a file.
    """

    TOPIC: ClassVar[str] = "SealHeadAccepted"

    number: int
    hash: str
    previous_number: int | None
    previous_hash: str
    reason: str


class SealChain(msgspec.Struct, frozen=True):
    """The number of times that an operator accepted the chain."""

    TOPIC: ClassVar[str] = "SealChain"

    count: int


def evolve(state: SealChain | None, event: SealHeadAccepted) -> SealChain:  # noqa: ARG001 - the shape all folds share
    """Count an acceptance."""
    return SealChain((state.count if state else 0) + 1)
