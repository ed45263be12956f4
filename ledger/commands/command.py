"""The base of all commands: a command names the streams that it reads, and decides from their states alone.

Deciding is pure. All that a decision needs from outside (ids, expiry times, hashes) comes in with the command, so a
decision can be repeated, and tested in microseconds.
"""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar
from uuid import UUID

import msgspec

from ledger.errors import Refusal
from ledger.events import Event, State
from ledger.values.derived import text_digest

States = Mapping[UUID, State | None]
StreamEvent = tuple[UUID, Event]
StateT = TypeVar("StateT", bound=State)


@dataclass(frozen=True, slots=True)
class Credential:
    """A hashed secret, which is stored beside the log and never in it.

    It `is_genuine` unless its stored hash was swapped: then the events name the digest of another one.
    """

    id: UUID
    user_id: UUID
    hash: str = field(repr=False)
    is_genuine: bool = True

    @property
    def digest(self) -> str:
        """Return the digest of the hash, which the events name."""
        return text_digest(self.hash)


@dataclass(frozen=True, slots=True)
class FactorSecret:
    """The encrypted secret of a second factor, which is stored beside the log; None deletes it.

    `stream_id` is the stream of the user's second factor, which has one secret at most.
    """

    id: UUID
    stream_id: UUID
    sealed: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class SealedSecret:
    """An encrypted secret, which is stored beside the log."""

    id: UUID
    sealed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class WebhookSecrets:
    """The secrets that a webhook has after a command: those that are `kept`, one of which may be new."""

    webhook_id: UUID
    kept: tuple[UUID, ...]
    added: SealedSecret | None = None


class Decision(msgspec.Struct, frozen=True):
    """The outcome of a command: events in order, each with its stream, and the result for the client.

    `result` is plain JSON without times, because the response has the time at which the command was recorded. With
    `refusals`, the client is refused, and yet the events are appended. `states` are the states after the events, if the
    command had to fold them. A batch `is_partly_refused` if an item of it is refused.
    """

    events: list[StreamEvent]
    result: dict[str, Any]
    credential: Credential | FactorSecret | WebhookSecrets | None = None
    refusals: tuple[Refusal, ...] = ()
    states: States | None = None
    is_partly_refused: bool = False


class Parties(msgspec.Struct, frozen=True, array_like=True):
    """The accounts of a transaction that paid, with their users, and the accounts and users that may see it."""

    payers: frozenset[UUID]
    readers: frozenset[UUID]


class Command(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A request to change something. `name` is stored in the command log, so it outlives a renaming of the class.

    Encoded, a command is an array that begins with the name of its class, so that its class need not be known before.
    Each command says in `always_appends` whether it is never accepted without an event: `ledger audit verify` then
    reports an accepted command whose events are missing. With `derives_result`, the command log does not store the
    result of an accepted command: `derive_result` returns the same one from its events.
    """

    name: ClassVar[str]
    always_appends: ClassVar[bool]
    derives_result: ClassVar[bool] = False

    @property
    def resource_id(self) -> UUID | None:
        """Return the id of the one resource that the command creates or changes, to look it up; None for several."""
        return None

    @abstractmethod
    def streams(self) -> Iterable[UUID]:
        """Return the streams that the decision depends on. If one changes before the write, decide again."""

    def creates(self) -> Iterable[UUID]:
        """Return streams with fresh ids. They are not read, but must not exist when the events are written."""
        return ()

    def doubt(self) -> "Command":
        """Return the command without what it takes for granted, to decide it again after a conflict."""
        return self

    def doubts(self, states: States) -> Iterable[UUID]:  # noqa: ARG002 - for commands that have doubts
        """Return the transactions whose parties a refusal depends on, and are not known to the command."""
        return ()

    def learn(self, parties: Mapping[UUID, Parties | None]) -> "Command":  # noqa: ARG002 - as above
        """Return the command that knows the parties of these transactions; None stands for one that was not found."""
        return self

    def depends_on_versions(self) -> bool:
        """Return whether the decision needs the versions of its streams, and not only their states."""
        return False

    @abstractmethod
    def decide(self, states: States) -> Decision:
        """Return the events and the result. Raises `Refused` if a rule forbids the command."""

    @classmethod
    def derive_result(cls, events: Sequence[StreamEvent]) -> dict[str, Any]:
        """Return the result of an accepted command from its events, equal to that of `decide` to the last byte."""
        raise LookupError(f"the result of {cls.name} does not follow from {len(events)} events")


def state_of(states: States, stream_id: UUID, kind: type[StateT]) -> StateT | None:
    """Return the state of a stream, or None if the stream is missing or of another kind."""
    state = states[stream_id]
    return state if isinstance(state, kind) else None
