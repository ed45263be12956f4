"""The base of all commands: a command names the streams that it reads, and decides from their states alone.

Deciding is pure. Whatever a decision needs from the world (ids, expiry times, hashes) comes in with the command, so
that it can be repeated, and tested in microseconds.
"""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar
from uuid import UUID

import msgspec

from ledger.errors import Refusal
from ledger.events import Event, State

States = Mapping[UUID, State | None]
StreamEvent = tuple[UUID, Event]
StateT = TypeVar("StateT", bound=State)


@dataclass(frozen=True, slots=True)
class Credential:
    """A secret that was hashed, to be stored beside the log and never in it."""

    id: UUID
    user_id: UUID
    hash: str = field(repr=False)


class Decision(msgspec.Struct, frozen=True):
    """What a command leads to: events in order, each with its stream, and the answer that its client gets.

    `result` is plain JSON without times; the time of the answer is the one at which the command was recorded. With
    `refusals`, the client is refused, and the events happen all the same. `states` are those that the events lead to,
    from a command that had to fold them.
    """

    events: list[StreamEvent]
    result: dict[str, Any]
    credential: Credential | None = None
    refusals: tuple[Refusal, ...] = ()
    states: States | None = None


class Command(msgspec.Struct, frozen=True):
    """A request to change something. `name` is stored in the command log, so it outlives a renaming of the class.

    Set `always_appends` if the command is never accepted without an event: `ledger audit verify` then reports an
    accepted command whose events are missing.
    """

    name: ClassVar[str]
    always_appends: ClassVar[bool] = False

    @property
    def resource_id(self) -> UUID | None:
        """Return the id of the one resource that the command creates or changes, to look it up; None for several."""
        return None

    @abstractmethod
    def streams(self) -> Iterable[UUID]:
        """Return the streams whose states the decision depends on. If one changes first, it is decided again."""

    def creates(self) -> Iterable[UUID]:
        """Return streams under fresh ids. They are not read, but must still be missing when the events are written."""
        return ()

    def depends_on_versions(self) -> bool:
        """Return whether the decision needs the versions of its streams, and not only their states."""
        return False

    @abstractmethod
    def decide(self, states: States) -> Decision:
        """Return the events and the result. Raises `Refused` if a rule forbids the command."""


def state_of(states: States, stream_id: UUID, kind: type[StateT]) -> StateT | None:
    """Return the state of a stream, if it exists and is of this kind: an id of another kind of stream is no match."""
    state = states[stream_id]
    return state if isinstance(state, kind) else None
