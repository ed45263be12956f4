"""The command that accepts the chain of seals as it is."""

from collections.abc import Iterable
from typing import ClassVar
from uuid import UUID

from ledger.commands.command import Command, Decision, States
from ledger.events.seals import SEALS, SealHeadAccepted


class AcceptSealHead(Command, frozen=True, kw_only=True):
    """Accept the last block of the chain as the one to continue from."""

    name: ClassVar[str] = "AcceptSealHead"
    always_appends: ClassVar[bool] = True

    accepted: SealHeadAccepted

    def streams(self) -> Iterable[UUID]:
        """Return the stream of the chain."""
        return (SEALS,)

    def decide(self, states: States) -> Decision:  # noqa: ARG002 - nothing forbids it
        """Return the acceptance."""
        return Decision([(SEALS, self.accepted)], {})
