"""The events of operations: how rebuilds and verifications ended, and when a follower stopped and resumed.

No rule decides about them: they tell operators what has happened. Each projection and each follower has a stream, and
all verifications share one.
"""

from datetime import datetime
from typing import ClassVar, Literal, TypeAlias, assert_never
from uuid import UUID

import msgspec

from ledger.values.derived import derived_id

RebuildOutcome: TypeAlias = Literal["swapped", "rolled_back", "compared", "failed", "cancelled"]
Extent: TypeAlias = Literal["whole", "fast", "since"]  # of a verification
VerificationOutcome: TypeAlias = Literal["succeeded", "failed", "cancelled"]

VERIFICATIONS = derived_id("verifications", "")
MAX_ERROR_LENGTH = 500


def projection_stream(name: str) -> UUID:
    """Return the stream of a projection."""
    return derived_id("projection", name)


def follower_stream(name: str) -> UUID:
    """Return the stream of a follower."""
    return derived_id("follower", name)


class RebuildEnded(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A rebuild of a projection has ended, with all events up to `position`.

    Its tables were `swapped` with the live ones, or `compared` with them; `differing` rows of the live ones were wrong.
    It is `rolled_back` if older tables are live again. `reason` says in a few words why it failed.
    """

    TOPIC: ClassVar[str] = "RebuildEnded"

    operation_id: UUID
    projection: str
    outcome: RebuildOutcome
    ended_at: datetime
    position: int | None = None
    differing: int | None = None
    reason: str | None = None


class Rebuilds(msgspec.Struct, frozen=True):
    """The number of the rebuilds of a projection that have ended, and the last one."""

    TOPIC: ClassVar[str] = "Rebuilds"

    count: int
    last: RebuildEnded


class VerificationEnded(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A verification has ended with a number of findings; none if it failed or was cancelled.

    It is of the `whole` ledger, or `fast` and trusts the log, or of what changed `since` a position. `position` is that
    of the last event when it began.
    """

    TOPIC: ClassVar[str] = "VerificationEnded"

    operation_id: UUID
    extent: Extent
    outcome: VerificationOutcome
    ended_at: datetime
    since: int | None = None
    position: int | None = None
    findings: int | None = None
    reason: str | None = None


class Verifications(msgspec.Struct, frozen=True, omit_defaults=True):
    """The number of the verifications that have ended, and the last one of each extent."""

    TOPIC: ClassVar[str] = "Verifications"

    count: int
    whole: VerificationEnded | None = None
    fast: VerificationEnded | None = None
    since: VerificationEnded | None = None


class FollowerStopped(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A follower that had reached `position` has stopped.

    `error_position` and `error_topic` name the event that it cannot apply, if an event is the reason.
    """

    TOPIC: ClassVar[str] = "FollowerStopped"

    stop_id: UUID
    follower: str
    stopped_at: datetime
    position: int
    error: str
    error_position: int | None = None
    error_topic: str | None = None


class FollowerResumed(msgspec.Struct, frozen=True, kw_only=True):
    """A follower has resumed after `position`: an operator resumed it, or a process got past what had stopped it."""

    TOPIC: ClassVar[str] = "FollowerResumed"

    stop_id: UUID
    follower: str
    resumed_at: datetime
    position: int
    by: Literal["operator", "process"]


class FollowerStops(msgspec.Struct, frozen=True):
    """The number of times that a follower has stopped, and the stop that lasts."""

    TOPIC: ClassVar[str] = "FollowerStops"

    count: int
    stop: FollowerStopped | None


FollowerEvent: TypeAlias = FollowerStopped | FollowerResumed
OperationEvent: TypeAlias = RebuildEnded | VerificationEnded | FollowerEvent


def stream_of(event: OperationEvent) -> UUID:
    """Return the stream of what the event is about."""
    match event:
        case RebuildEnded():
            return projection_stream(event.projection)
        case VerificationEnded():
            return VERIFICATIONS
        case FollowerStopped() | FollowerResumed():
            return follower_stream(event.follower)
        case _:
            assert_never(event)


def evolve_rebuilds(state: Rebuilds | None, event: RebuildEnded) -> Rebuilds:
    """Fold one event into the state of a projection's rebuilds."""
    return Rebuilds((state.count if state else 0) + 1, event)


def evolve_verifications(state: Verifications | None, event: VerificationEnded) -> Verifications:
    """Fold one event into the state of all verifications."""
    before = state or Verifications(0)
    return msgspec.structs.replace(before, count=before.count + 1, **{event.extent: event})


def evolve_follower(state: FollowerStops | None, event: FollowerEvent) -> FollowerStops:
    """Fold one event into the state of a follower's stops."""
    count = state.count if state else 0
    match event:
        case FollowerStopped():
            return FollowerStops(count + 1, event)
        case FollowerResumed():
            return FollowerStops(count, None)
        case _:
            assert_never(event)
