"""Check the log itself, by position and stream by stream, without I/O.

The state of each stream is folded again with `ledger.events.evolve`, from its events alone.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple, get_args
from uuid import UUID

import msgspec

from ledger.audit.verify.findings import Finding
from ledger.events import HEADLESS, TOPICS, Event, Recorded, State, decode_event, decode_state, evolve
from ledger.events.second_factors import SecondFactor
from ledger.events.users import User
from ledger.events.webhooks import Webhook
from ledger.store.credentials import StoredCredential
from ledger.store.second_factors import StoredFactor
from ledger.store.tables import STORED_EVENTS, STREAM_HEADS

_EVENTS = frozenset(get_args(Event))

DECODES = "every event decodes under its topic"


class RawEvent(NamedTuple):
    """An event as stored, decodable or not."""

    position: int
    stream_id: UUID
    version: int
    recorded_at: datetime
    topic: str
    state: bytes


class RawHead(NamedTuple):
    """A head as stored, decodable or not."""

    version: int
    topic: str
    state: bytes


class FoldedStream(NamedTuple):
    """The state of a stream after its events; None if none of the events could be decoded."""

    stream_id: UUID
    version: int
    position: int
    state: State | None


def decode(raw: RawEvent) -> Recorded | Finding:
    """Decode an event, or return the finding about it. Only the fixed table of topics names event types (lesson 15)."""
    try:
        event = decode_event(raw.topic, raw.state)
    except (ValueError, msgspec.MsgspecError) as error:
        return _report_event(raw, DECODES, f"a valid {raw.topic}", str(error))
    if type(event) not in _EVENTS:
        return _report_event(raw, DECODES, "an event", f"a state: {raw.topic}")
    return Recorded(raw.position, raw.stream_id, raw.version, raw.recorded_at, event)


def report_time(previous_time: datetime, raw: RawEvent) -> Finding:
    """Return the finding that an event was recorded before its predecessor in the log, at `previous_time`."""
    return _report_event(
        raw,
        "times never decrease from one position to the next",
        f"{previous_time.isoformat()} or later",
        raw.recorded_at,
    )


def report_unfit(row: Recorded, error: Exception) -> Finding:
    """Return the finding that a projection cannot apply an event."""
    return Finding(
        "the projections can apply every event",
        TOPICS[type(row.event)],
        f"{type(error).__name__}: {error}",
        stream_id=row.stream_id,
        version=row.version,
        position=row.position,
        table=STORED_EVENTS,
    )


class StreamFold:
    """Folds one stream event by event, and reports events that do not fit."""

    __slots__ = ("position", "state", "stream_id", "version")

    def __init__(self, stream_id: UUID) -> None:
        self.stream_id = stream_id
        self.version = self.position = 0
        self.state: State | None = None

    @property
    def folded(self) -> FoldedStream:
        """The stream after the events so far."""
        return FoldedStream(self.stream_id, self.version, self.position, self.state)

    def take(self, raw: RawEvent, decoded: Recorded | Finding) -> list[Finding]:
        """Apply the next event and return the findings about its place. An undecodable one changes no state."""
        is_next = raw.version == self.version + 1 and raw.position > self.position
        findings = [] if is_next else [*self._judge_place(raw)]
        if isinstance(decoded, Recorded):
            try:
                self.state = evolve(self.state, decoded.event)
            except (ValueError, TypeError, AttributeError) as error:
                rule = "every event can follow the earlier events of its stream"
                findings.append(_report_event(raw, rule, raw.topic, str(error)))
        self.version, self.position = raw.version, raw.position
        return findings

    def _judge_place(self, raw: RawEvent) -> Iterator[Finding]:
        if raw.version != self.version + 1:
            yield _report_event(raw, "the versions of a stream have no gaps", self.version + 1, raw.version)
        if raw.position <= self.position:
            rule = "the positions in a stream increase with its versions"
            yield _report_event(raw, rule, f"more than {self.position}", raw.position)


def check_head(folded: FoldedStream, head: RawHead | None) -> Iterator[Finding]:
    """Yield the findings for a stored head that differs from the stream's events. `HEADLESS` streams need no head."""
    version, state = folded.version, folded.state
    if head is None:
        if state is not None and not isinstance(state, HEADLESS):
            yield _report_head(folded, "every stream that needs a head has one", "a head", None, None)
        return
    if head.version != version:
        yield _report_head(folded, "the head has the version of the last event", version, head.version, "version")
    try:
        found = decode_state(head.topic, head.state)
    except (ValueError, msgspec.MsgspecError) as error:
        yield _report_head(folded, "every head decodes under its topic", f"a valid {head.topic}", str(error), "state")
        return
    if type(found) is not type(state):
        expected = None if state is None else TOPICS[type(state)]
        yield _report_head(folded, "the head matches the events of its stream", expected, head.topic, "topic")
        return
    if state is not None:
        yield from _compare_states(folded, state, found)


def check_credential(folded: FoldedStream, stored: StoredCredential | None) -> Iterator[Finding]:
    """Yield the findings if a user does not have the credential named by the events; a deleted user must have none."""
    if not isinstance(folded.state, User):
        return
    place: dict[str, Any] = {"stream_id": folded.stream_id, "table": "credentials", "row": str(folded.stream_id)}
    expected, found = None if folded.state.deleted else folded.state.credential_id, stored and stored.id
    if found != expected:
        yield Finding("a user has the credential that the events name", expected, found, column="id", **place)
    if stored is not None and not stored.is_genuine:
        rule = "the password hash of a user has the digest that the events name"
        yield Finding(rule, stored.named_digest, stored.digest, column="hash", **place)


def check_factor(folded: FoldedStream, stored: StoredFactor | None) -> Iterator[Finding]:
    """Yield a finding if a user does not have the secret of the second factor that the events name."""
    if not isinstance(folded.state, SecondFactor):
        return
    expected, found, row = folded.state.secret_id, stored and stored.id, str(folded.stream_id)
    if found != expected:
        rule = "a user has the secret of the second factor that the events name"
        place: dict[str, Any] = {"stream_id": folded.stream_id, "table": "second_factors", "row": row}
        yield Finding(rule, expected, found, column="id", **place)


def check_webhook_secrets(folded: FoldedStream, stored: Collection[UUID]) -> Iterator[Finding]:
    """Yield a finding if a webhook does not have the secrets that the events name."""
    if not isinstance(folded.state, Webhook):
        return
    expected, found = sorted(one.id for one in folded.state.secrets), sorted(stored)
    if found != expected:
        rule = "a webhook has the secrets that the events name"
        place: dict[str, Any] = {"table": "webhook_secrets", "row": str(folded.stream_id), "column": "id"}
        yield Finding(rule, _join(expected), _join(found), stream_id=folded.stream_id, **place)


def split_runs(events: Sequence[Recorded], begins_run: type[Event]) -> Iterator[Sequence[Recorded]]:
    """Yield the events in runs; each event of the type `begins_run` starts another run."""
    begin = 0
    for number, row in enumerate(events):
        if number > begin and isinstance(row.event, begins_run):
            yield events[begin:number]
            begin = number
    if begin < len(events):
        yield events[begin:]


def _join(ids: Iterable[UUID]) -> str | None:
    return ",".join(map(str, ids)) or None


def _compare_states(folded: FoldedStream, state: State, found: State) -> Iterator[Finding]:
    for name, expected in msgspec.structs.asdict(state).items():
        value = getattr(found, name)
        if value != expected:
            yield _report_head(folded, "the head matches the events of its stream", expected, value, f"state.{name}")


def _report_head(folded: FoldedStream, rule: str, expected: object, found: object, column: str | None) -> Finding:
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


def _report_event(raw: RawEvent, rule: str, expected: object, found: object) -> Finding:
    return Finding(
        rule,
        expected,
        found,
        stream_id=raw.stream_id,
        version=raw.version,
        position=raw.position,
        table=STORED_EVENTS,
    )
