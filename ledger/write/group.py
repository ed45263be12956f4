"""The pure part of a group commit. Commands are decided in order of arrival; each sees the effects of earlier ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar
from uuid import UUID

import msgspec

from ledger.commands.caller import Caller
from ledger.commands.command import Command, Credential, Decision, FactorSecret, States, StreamEvent, WebhookSecrets
from ledger.commands.expected_version import Versioned
from ledger.errors import Refused, StaleCallerError
from ledger.events import Recorded, encode, evolve
from ledger.events.accounts import Account
from ledger.events.transactions import Reference, Transaction
from ledger.identity import passwords, second_factors, webhook_secrets
from ledger.projections import INLINE, apply_all
from ledger.projections.tokens import REVOKING
from ledger.store import log as event_log
from ledger.store.commands import LoggedCommand, log_commands
from ledger.store.heads import NO_STREAM, Head, replace_heads
from ledger.store.log import Reservation
from ledger.store.statements import Statement


class Origin(msgspec.Struct, frozen=True):
    """Where a command comes from, for the command log. `request_hash` is set if the client may retry the command.

    A `caller` is checked in the database transaction itself, so it needs no earlier look-up. Only new commands check
    it: the outcome of a retry does not depend on it.
    """

    command_id: UUID
    actor_id: UUID | None = None
    session_id: UUID | None = None
    jti: UUID | None = None
    request_id: str | None = None
    request_hash: bytes | None = None
    caller: Caller | None = None


class Outcome(msgspec.Struct, frozen=True):
    """The result of an accepted command. `position` is that of its last event; None for a replay or without events."""

    result: Mapping[str, Any]
    recorded_at: datetime
    position: int | None = None
    replayed: bool = False


OutcomeOrError: TypeAlias = Outcome | Exception


class Submission:
    """A command and its origin."""

    __slots__ = ("command", "origin")

    def __init__(self, command: Command, origin: Origin) -> None:
        self.command = command
        self.origin = origin


class Suspects(NamedTuple):
    """What to look up before a command is refused.

    An overdue hold may keep funds of accounts from it, or a reference of transactions. A refusal may also depend on who
    is a party to transactions that are in `doubts`.
    """

    account_ids: set[UUID]
    transaction_ids: set[UUID]
    doubts: set[UUID]

    def __bool__(self) -> bool:
        """Return whether anything is suspected."""
        return bool(self.account_ids or self.transaction_ids or self.doubts)

    def add(self, command: Command, states: States) -> None:
        """Add what a refused command has read, and its doubts."""
        self.doubts.update(command.doubts(states))
        for stream_id, state in states.items():
            match state:
                case Account(held_cents=held, incoming_cents=incoming) if held or incoming:
                    self.account_ids.add(stream_id)
                case Transaction(status="pending"):
                    self.transaction_ids.add(stream_id)
                case Reference(transaction_id=UUID() as owner_id):
                    self.transaction_ids.add(owner_id)
                case _:
                    pass


SubmissionT = TypeVar("SubmissionT", bound=Submission)


@dataclass(slots=True)
class CommitGroup:
    """Commands that share a database transaction: the heads of the streams they read and the events they append.

    `command_ids` has the id of the command of each appended event.
    """

    heads: Mapping[UUID, Head]
    changed: dict[UUID, Head] = field(default_factory=dict)
    appended: list[Recorded] = field(default_factory=list)
    command_ids: list[UUID] = field(default_factory=list)
    suspects: Suspects = field(default_factory=lambda: Suspects(set(), set(), set()))
    _valid: set[Caller] = field(default_factory=set)  # since a stream of any valid caller last changed
    _caller_streams: set[UUID] = field(default_factory=set)

    def decide(
        self, command: Command, command_id: UUID, caller: Caller | None = None
    ) -> Decision | Refused | Exception:
        """Decide one command and append its events. A refusal or an error changes nothing.

        Return `StaleCallerError` for a caller that is not valid, whatever the command.
        """
        if caller is not None and not self._is_valid(caller):
            return StaleCallerError()
        changed, heads = self.changed, self.heads
        streams = (*command.streams(), *command.creates())
        states: States = {stream: (changed.get(stream) or heads.get(stream, NO_STREAM)).state for stream in streams}
        if command.depends_on_versions():
            states = Versioned(states, {stream: self._head(stream).version for stream in states})
        try:
            decision = command.decide(states)
        except Exception as error:  # noqa: BLE001 - only this command fails, not the group
            if isinstance(error, Refused):
                self.suspects.add(command, states)
            return error
        if any([stream not in states for stream, _ in decision.events]):  # noqa: C419 - twice as fast as a generator
            return LookupError(f"{command.name} appends to streams that it did not read")
        if decision.states is None:
            self._append(decision.events, command_id)
        else:
            self._append_folded(decision.events, decision.states, command_id)
            if decision.is_partly_refused:
                self.suspects.add(command, states)
        return decision

    def _is_valid(self, caller: Caller) -> bool:
        """Return whether a caller is valid. This is cached because a group has many commands of the same caller."""
        if caller in self._valid:
            return True
        streams = caller.streams()
        if not caller.is_valid({stream: self._head(stream).state for stream in streams}):
            return False
        self._valid.add(caller)
        self._caller_streams.update(streams)
        return True

    def _head(self, stream_id: UUID) -> Head:
        return self.changed.get(stream_id) or self.heads.get(stream_id, NO_STREAM)

    def _append(self, events: Sequence[StreamEvent], command_id: UUID) -> None:
        changed, heads, appended, caller_streams = self.changed, self.heads, self.appended, self._caller_streams
        for stream_id, event in events:
            head = changed.get(stream_id) or heads.get(stream_id, NO_STREAM)
            version = head.version + 1
            if stream_id in caller_streams:
                self._valid.clear()
            changed[stream_id] = Head(version, evolve(head.state, event))
            appended.append(Recorded(len(appended), stream_id, version, None, event))
        self.command_ids += [command_id] * len(events)

    def _append_folded(self, events: Sequence[StreamEvent], states: States, command_id: UUID) -> None:
        versions: dict[UUID, int] = {}
        for stream_id, event in events:
            versions[stream_id] = version = (versions.get(stream_id) or self._head(stream_id).version) + 1
            self.appended.append(Recorded(len(self.appended), stream_id, version, None, event))
            self.command_ids.append(command_id)
        if not self._caller_streams.isdisjoint(versions):
            self._valid.clear()
        self.changed |= {stream_id: Head(version, states[stream_id]) for stream_id, version in versions.items()}


class PreparedGroup(NamedTuple, Generic[SubmissionT]):
    """A decided commit group with the statements that write it. `heads` are the heads after the write."""

    commands: Sequence[SubmissionT]
    decisions: Sequence[Decision | Exception]
    read: Mapping[UUID, int]
    command_ids: Sequence[UUID]
    statements: Sequence[Statement]
    heads: Mapping[UUID, Head]
    revoking: frozenset[UUID]  # the ids of commands that revoke tokens
    suspects: Suspects
    appended: Sequence[Recorded]

    def build_outcomes(self, reservation: Reservation | None) -> list[OutcomeOrError]:
        """Return each command's outcome after the write. Without a reservation nothing was written: all have failed."""
        if reservation is None:
            return [decision for decision in self.decisions if isinstance(decision, Exception)]
        first, recorded_at = reservation
        last = {command_id: number for number, command_id in enumerate(self.command_ids, first)}
        return [
            _build_outcome(decision, recorded_at, last.get(submission.origin.command_id))
            for submission, decision in zip(self.commands, self.decisions, strict=True)
        ]


def streams_of(submissions: Sequence[Submission]) -> set[UUID]:
    """Return the streams that deciding these commands reads."""
    streams = {stream for submission in submissions for stream in submission.command.streams()}
    callers = {submission.origin.caller for submission in submissions}
    return streams.union(*(caller.streams() for caller in callers if caller is not None))


def prepare(
    commands: Sequence[SubmissionT], streams: set[UUID], heads: Mapping[UUID, Head]
) -> PreparedGroup[SubmissionT]:
    """Decide commands from the heads of their streams and return what to write; a stream without a head is empty."""
    group = CommitGroup(heads)
    decisions = [
        group.decide(pending.command, pending.origin.command_id, pending.origin.caller) for pending in commands
    ]
    logged = [
        _to_logged(submission, decision)
        for submission, decision in zip(commands, decisions, strict=True)
        if isinstance(decision, Decision | Refused)
    ]
    secrets = [decision.credential for decision in decisions if isinstance(decision, Decision) and decision.credential]
    credentials = [secret for secret in secrets if isinstance(secret, Credential)]
    factors = [secret for secret in secrets if isinstance(secret, FactorSecret)]
    of_webhooks = [secret for secret in secrets if isinstance(secret, WebhookSecrets)]
    return PreparedGroup(
        commands,
        decisions,
        {stream: heads.get(stream, NO_STREAM).version for stream in streams - group.changed.keys()},
        group.command_ids,
        [
            log_commands(logged),
            *_build_appends(group),
            *passwords.store(credentials, group.appended),
            *second_factors.store(factors),
            *webhook_secrets.store(of_webhooks),
        ]
        if logged
        else [],
        {stream: head for stream, head in group.changed.items() if stream in streams},
        frozenset(
            command_id
            for command_id, row in zip(group.command_ids, group.appended, strict=True)
            if type(row.event) in REVOKING
        ),
        group.suspects,
        group.appended,
    )


def _build_outcome(decision: Decision | Exception, recorded_at: datetime, position: int | None) -> OutcomeOrError:
    if isinstance(decision, Exception):
        return decision
    return Refused(*decision.refusals) if decision.refusals else Outcome(decision.result, recorded_at, position)


def _build_appends(group: CommitGroup) -> list[Statement]:
    if not group.appended:
        return []
    return [
        event_log.append_events(group.appended, group.command_ids),
        *replace_heads(group.changed, {stream for stream, head in group.heads.items() if head.version}),
        *apply_all(INLINE, group.appended),
    ]


def _to_logged(submission: Submission, decision: Decision | Refused) -> LoggedCommand:
    origin = submission.origin
    refusals = decision.refusals
    return LoggedCommand(
        origin.command_id,
        submission.command.name,
        origin.actor_id,
        origin.session_id,
        origin.jti,
        origin.request_id,
        origin.request_hash,
        "refused" if refusals else "accepted",
        _encode_result(submission.command, decision),
    )


def _encode_result(command: Command, decision: Decision | Refused) -> bytes | None:
    if decision.refusals or isinstance(decision, Refused):
        return encode(decision.refusals)
    return None if command.derives_result else encode(decision.result)
