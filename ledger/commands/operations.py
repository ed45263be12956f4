"""Commands that record how operations ended, and when followers stopped and resumed.

The service sends them for what waits in the outbox. Nothing forbids them: what they record has happened.
"""

from collections.abc import Iterable
from typing import ClassVar, assert_never
from uuid import UUID

from ledger.commands.command import Command, Decision, States
from ledger.events.operations import (
    FollowerResumed,
    FollowerStopped,
    OperationEvent,
    RebuildEnded,
    VerificationEnded,
    stream_of,
)


class _Record(Command, frozen=True, kw_only=True):
    """Record an event of an operation as it is."""

    event: OperationEvent

    def streams(self) -> Iterable[UUID]:
        """Return the stream of what the event is about."""
        return (stream_of(self.event),)

    def decide(self, states: States) -> Decision:  # noqa: ARG002 - nothing forbids it
        """Return the event."""
        return Decision([(stream_of(self.event), self.event)], {})


class RecordRebuild(_Record, frozen=True, kw_only=True):
    """Record that a rebuild of a projection has ended."""

    name: ClassVar[str] = "RecordRebuild"
    always_appends: ClassVar[bool] = True

    event: RebuildEnded


class RecordVerification(_Record, frozen=True, kw_only=True):
    """Record that a verification has ended."""

    name: ClassVar[str] = "RecordVerification"
    always_appends: ClassVar[bool] = True

    event: VerificationEnded


class RecordFollowerStop(_Record, frozen=True, kw_only=True):
    """Record that a follower has stopped."""

    name: ClassVar[str] = "RecordFollowerStop"
    always_appends: ClassVar[bool] = True

    event: FollowerStopped


class RecordFollowerResumption(_Record, frozen=True, kw_only=True):
    """Record that a follower has resumed."""

    name: ClassVar[str] = "RecordFollowerResumption"
    always_appends: ClassVar[bool] = True

    event: FollowerResumed


def to_command(event: OperationEvent) -> Command:
    """Return the command that records an event."""
    match event:
        case RebuildEnded():
            return RecordRebuild(event=event)
        case VerificationEnded():
            return RecordVerification(event=event)
        case FollowerStopped():
            return RecordFollowerStop(event=event)
        case FollowerResumed():
            return RecordFollowerResumption(event=event)
        case _:
            assert_never(event)
