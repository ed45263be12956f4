"""The pure part of a group commit: commands are decided in order of arrival, each seeing what those before it did."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

import msgspec

from ledger.commands.caller import Caller
from ledger.commands.command import Command, Decision, States, StreamEvent
from ledger.commands.expected_version import Versioned
from ledger.errors import Refused, StaleCallerError
from ledger.events import Recorded, encode, evolve
from ledger.identity import passwords
from ledger.projections import INLINE, apply_all
from ledger.projections.tokens import REVOKING
from ledger.store import log as event_log
from ledger.store.commands import LoggedCommand, log_commands
from ledger.store.heads import NO_STREAM, Head, replace_heads
from ledger.store.log import Reservation
from ledger.store.statements import Statement


class Origin(msgspec.Struct, frozen=True):
    """Where a command comes from, for the command log. `request_hash` is there if its client may repeat it.

    A `caller` is checked in the transaction itself, so it needs no look-up before. It is for new commands only: what a
    repeated one is answered does not depend on it.
    """

    command_id: UUID
    actor_id: UUID | None = None
    session_id: UUID | None = None
    jti: UUID | None = None
    request_id: str | None = None
    request_hash: bytes | None = None
    caller: Caller | None = None


class Outcome(msgspec.Struct, frozen=True):
    """A command was carried out. `position` is that of its last event, if it has any and they are new."""

    result: Mapping[str, Any]
    recorded_at: datetime
    position: int | None = None
    replayed: bool = False


Answer = Outcome | Exception


class Submission:
    """A command, and where it comes from."""

    __slots__ = ("command", "origin")

    def __init__(self, command: Command, origin: Origin) -> None:
        self.command = command
        self.origin = origin


SubmissionT = TypeVar("SubmissionT", bound=Submission)


@dataclass(slots=True)
class CommitGroup:
    """The heads of all streams that the commands read, and what the commands append to them.

    `command_ids` names, for each appended event, the command that it came from.
    """

    heads: Mapping[UUID, Head]
    changed: dict[UUID, Head] = field(default_factory=dict)
    appended: list[Recorded] = field(default_factory=list)
    command_ids: list[UUID] = field(default_factory=list)
    _valid: set[Caller] = field(default_factory=set)  # of those that were looked at, since their streams changed
    _claimed: set[UUID] = field(default_factory=set)

    def decide(
        self, command: Command, command_id: UUID, caller: Caller | None = None
    ) -> Decision | Refused | Exception:
        """Decide one command and take its events in; a refusal or a fault leaves all as it was.

        A caller that is not valid is a `StaleCallerError`, whatever the command.
        """
        if caller is not None and not self._is_valid(caller):
            return StaleCallerError()
        states: States = {stream: self._head(stream).state for stream in (*command.streams(), *command.creates())}
        if command.depends_on_versions():
            states = Versioned(states, {stream: self._head(stream).version for stream in states})
        try:
            decision = command.decide(states)
        except Exception as error:  # noqa: BLE001 - the submitter of this command gets it, its neighbours go on
            return error
        if not states.keys() >= {stream for stream, _ in decision.events}:
            return LookupError(f"{command.name} appends to streams that it did not read")
        if decision.states is None:
            self._append(decision.events, command_id)
        else:
            self._append_folded(decision.events, decision.states, command_id)
        return decision

    def _is_valid(self, caller: Caller) -> bool:
        """Return whether a caller is valid; remembered, because a batch has many commands of one client."""
        if caller in self._valid:
            return True
        streams = caller.streams()
        if not caller.is_valid({stream: self._head(stream).state for stream in streams}):
            return False
        self._valid.add(caller)
        self._claimed.update(streams)
        return True

    def _head(self, stream_id: UUID) -> Head:
        return self.changed.get(stream_id) or self.heads.get(stream_id, NO_STREAM)

    def _append(self, events: Sequence[StreamEvent], command_id: UUID) -> None:
        changed, appended, claimed = self.changed, self.appended, self._claimed
        for stream_id, event in events:
            head = changed.get(stream_id) or self.heads.get(stream_id, NO_STREAM)
            version = head.version + 1
            if stream_id in claimed:
                self._valid.clear()
            changed[stream_id] = Head(version, evolve(head.state, event))
            appended.append(Recorded(len(appended), stream_id, version, None, event))
            self.command_ids.append(command_id)

    def _append_folded(self, events: Sequence[StreamEvent], states: States, command_id: UUID) -> None:
        versions: dict[UUID, int] = {}
        for stream_id, event in events:
            versions[stream_id] = version = (versions.get(stream_id) or self._head(stream_id).version) + 1
            self.appended.append(Recorded(len(self.appended), stream_id, version, None, event))
            self.command_ids.append(command_id)
        if not self._claimed.isdisjoint(versions):
            self._valid.clear()
        self.changed |= {stream_id: Head(version, states[stream_id]) for stream_id, version in versions.items()}


class Prepared(NamedTuple, Generic[SubmissionT]):
    """Commands that were decided from heads, and what there is to write. `heads` are those that the write leaves."""

    commands: Sequence[SubmissionT]
    verdicts: Sequence[Decision | Exception]
    read: Mapping[UUID, int]
    command_ids: Sequence[UUID]
    statements: Sequence[Statement]
    heads: Mapping[UUID, Head]
    revoking: frozenset[UUID]  # the commands, by id, that killed tokens

    def answers(self, reservation: Reservation | None) -> list[Answer]:
        """Each command's answer, once what there is to write is written."""
        if reservation is None:
            return [verdict for verdict in self.verdicts if isinstance(verdict, Exception)]
        first, recorded_at = reservation
        last = {command_id: number for number, command_id in enumerate(self.command_ids, first)}
        return [
            _answer(verdict, recorded_at, last.get(submission.origin.command_id))
            for submission, verdict in zip(self.commands, self.verdicts, strict=True)
        ]


def streams_of(batch: Sequence[Submission]) -> set[UUID]:
    """The streams that deciding these commands takes."""
    streams = {stream for submission in batch for stream in submission.command.streams()}
    claims = {submission.origin.caller for submission in batch}
    return streams.union(*(caller.streams() for caller in claims if caller is not None))


def prepare(commands: Sequence[SubmissionT], streams: set[UUID], heads: Mapping[UUID, Head]) -> Prepared[SubmissionT]:
    """Decide the commands from the heads of their streams, those that there are, and say what there is to write."""
    batch = CommitGroup(heads)
    verdicts = [batch.decide(one.command, one.origin.command_id, one.origin.caller) for one in commands]
    logged = [
        _logged(submission, verdict)
        for submission, verdict in zip(commands, verdicts, strict=True)
        if isinstance(verdict, Decision | Refused)
    ]
    secrets = [verdict.credential for verdict in verdicts if isinstance(verdict, Decision) and verdict.credential]
    return Prepared(
        commands,
        verdicts,
        {stream: heads.get(stream, NO_STREAM).version for stream in streams - batch.changed.keys()},
        batch.command_ids,
        [log_commands(logged), *_appends(batch), *passwords.store(secrets, batch.appended)] if logged else [],
        {stream: head for stream, head in batch.changed.items() if stream in streams},
        frozenset(
            command_id
            for command_id, row in zip(batch.command_ids, batch.appended, strict=True)
            if type(row.event) in REVOKING
        ),
    )


def _answer(verdict: Decision | Exception, recorded_at: datetime, position: int | None) -> Answer:
    if isinstance(verdict, Exception):
        return verdict
    return Refused(*verdict.refusals) if verdict.refusals else Outcome(verdict.result, recorded_at, position)


def _appends(batch: CommitGroup) -> list[Statement]:
    if not batch.appended:
        return []
    return [
        event_log.append_events(batch.appended, batch.command_ids),
        *replace_heads(batch.changed, {stream for stream, head in batch.heads.items() if head.version}),
        *apply_all(INLINE, batch.appended),
    ]


def _logged(submission: Submission, verdict: Decision | Refused) -> LoggedCommand:
    origin = submission.origin
    refusals = verdict.refusals
    return LoggedCommand(
        origin.command_id,
        submission.command.name,
        origin.actor_id,
        origin.session_id,
        origin.jti,
        origin.request_id,
        origin.request_hash,
        "refused" if refusals else "accepted",
        encode(refusals or verdict.result) if isinstance(verdict, Decision) else encode(refusals),
    )
