"""The log itself, judged without I/O: event by event in the order of positions, and stream by stream.

What a stream adds up to is folded anew (`ledger.events.evolve`), from nothing but its events.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple, get_args
from uuid import UUID

import msgspec

from ledger.audit.verify.findings import Finding
from ledger.events import HEADLESS, Event, Recorded, State, decode_event, decode_state, evolve
from ledger.events.users import User
from ledger.store.tables import STORED_EVENTS, STREAM_HEADS

_EVENTS = frozenset(get_args(Event))


class Stored(NamedTuple):
    """An event as it is stored, decodable or not."""

    position: int
    stream_id: UUID
    version: int
    recorded_at: datetime
    topic: str
    state: bytes


class StoredHead(NamedTuple):
    """A stream's head as it is stored, decodable or not."""

    version: int
    topic: str
    state: bytes


class Folded(NamedTuple):
    """What the events of a stream add up to. `state` is None if none of them could be read."""

    stream_id: UUID
    version: int
    position: int
    state: State | None


def decoded(stored: Stored) -> Recorded | Finding:
    """The event, or what is wrong with it. Only the closed table of topics decides what is an event (lesson 15)."""
    try:
        event = decode_event(stored.topic, stored.state)
    except (ValueError, msgspec.MsgspecError) as error:
        return _at(stored, "every event decodes under its topic", f"a {stored.topic}", str(error))
    if type(event) not in _EVENTS:
        return _at(stored, "every event decodes under its topic", "an event", f"a state: {stored.topic}")
    return Recorded(stored.position, stored.stream_id, stored.version, stored.recorded_at, event)


def time_goes_on(before: datetime | None, stored: Stored) -> Iterator[Finding]:
    """Of two neighbours in the log, the later was not recorded earlier."""
    if before is not None and stored.recorded_at < before:
        yield _at(
            stored, "times never decrease with the position", f"{before.isoformat()} or later", stored.recorded_at
        )


class StreamFold:
    """Folds one stream, event by event, and says where it is not as a stream must be."""

    def __init__(self, stream_id: UUID) -> None:
        self._folded = Folded(stream_id, 0, 0, None)

    @property
    def folded(self) -> Folded:
        """What the events so far add up to."""
        return self._folded

    def take(self, stored: Stored) -> Iterator[Finding]:
        """Take the next event in. One that cannot be read is left out; `decoded` says so where the log is read."""
        before = self._folded
        if stored.version != before.version + 1:
            yield _at(stored, "versions of a stream have no gap", before.version + 1, stored.version)
        if stored.position <= before.position:
            yield _at(
                stored,
                "positions increase with the versions of a stream",
                f"more than {before.position}",
                stored.position,
            )
        state = before.state
        event = decoded(stored)
        if isinstance(event, Recorded):
            try:
                state = evolve(state, event.event)
            except (ValueError, TypeError, AttributeError) as error:
                yield _at(stored, "an event can follow what happened to its stream before", stored.topic, str(error))
        self._folded = Folded(before.stream_id, stored.version, stored.position, state)


def head_of(folded: Folded, head: StoredHead | None) -> Iterator[Finding]:
    """A stored head says what the stream's events add up to; only short streams need none."""
    version, state = folded.version, folded.state
    if head is None:
        if state is not None and not isinstance(state, HEADLESS):
            yield _head_finding(folded, "every stream but a short one has a head", "a head", None, None)
        return
    if head.version != version:
        yield _head_finding(folded, "the head has the version of the last event", version, head.version, "version")
    try:
        found = decode_state(head.topic, head.state)
    except (ValueError, msgspec.MsgspecError) as error:
        yield _head_finding(folded, "every head decodes under its topic", f"a {head.topic}", str(error), "state")
        return
    if type(found) is not type(state):
        expected = None if state is None else type(state).__name__
        yield _head_finding(folded, "the head says what the events add up to", expected, head.topic, "topic")
        return
    if state is not None:
        yield from _fields(folded, state, found)


def credential_of(folded: Folded, credential_id: UUID | None) -> Iterator[Finding]:
    """A user who was not deleted has the credential that the events name, and nobody else has any."""
    if isinstance(folded.state, User):
        expected = None if folded.state.deleted else folded.state.credential_id
        if credential_id != expected:
            yield Finding(
                "a user has the credential that the events name",
                expected,
                credential_id,
                stream_id=folded.stream_id,
                table="credentials",
                row=str(folded.stream_id),
                column="id",
            )


def runs(events: Sequence[Recorded], begins_run: type[Event]) -> Iterator[Sequence[Recorded]]:
    """The events, cut before each of a kind that projections want at the beginning of a run."""
    begin = 0
    for number, row in enumerate(events):
        if number > begin and isinstance(row.event, begins_run):
            yield events[begin:number]
            begin = number
    if begin < len(events):
        yield events[begin:]


def _fields(folded: Folded, state: State, found: State) -> Iterator[Finding]:
    for name, expected in msgspec.structs.asdict(state).items():
        value = getattr(found, name)
        if value != expected:
            yield _head_finding(folded, "the head says what the events add up to", expected, value, f"state.{name}")


def _head_finding(folded: Folded, rule: str, expected: object, found: object, column: str | None) -> Finding:
    return Finding(
        rule,
        expected,
        found,
        stream_id=folded.stream_id,
        version=folded.version,
        position=folded.position or None,
        table=STREAM_HEADS,
        row=str(folded.stream_id),
        column=column,
    )


def _at(stored: Stored, rule: str, expected: object, found: object) -> Finding:
    return Finding(
        rule,
        expected,
        found,
        stream_id=stored.stream_id,
        version=stored.version,
        position=stored.position,
        table=STORED_EVENTS,
    )
