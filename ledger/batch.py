"""The pure part of a group commit: commands are decided in order of arrival, each seeing what those before it did."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from ledger.commands.decider import Claim, Command, Decision
from ledger.errors import Refused, StaleClaimError
from ledger.events import Event, Recorded, evolve
from ledger.store import NO_STREAM, Head


@dataclass(slots=True)
class Batch:
    """The heads of all streams that the commands read, and what the commands append to them.

    `command_ids` names, for each appended event, the command that it came from.
    """

    heads: Mapping[UUID, Head]
    changed: dict[UUID, Head] = field(default_factory=dict)
    appended: list[Recorded] = field(default_factory=list)
    command_ids: list[UUID] = field(default_factory=list)

    def decide(self, command: Command, command_id: UUID, claim: Claim | None = None) -> Decision | Refused | Exception:
        """Decide one command and take its events in; a refusal or a fault leaves all as it was.

        A claim that does not hold is a `StaleClaimError`, whatever the command.
        """
        if claim is not None and not claim.holds(self._head(claim.user_id).state):
            return StaleClaimError()
        states = {stream: self._head(stream).state for stream in (*command.streams(), *command.creates())}
        try:
            decision = command.decide(states)
        except Exception as error:  # noqa: BLE001 - the submitter of this command gets it, its neighbours go on
            return error
        if not states.keys() >= {stream for stream, _ in decision.events}:
            return LookupError(f"{command.name} appends to streams that it did not read")
        for stream_id, event in decision.events:
            self._append(stream_id, event, command_id)
        return decision

    def _head(self, stream_id: UUID) -> Head:
        return self.changed.get(stream_id) or self.heads.get(stream_id, NO_STREAM)

    def _append(self, stream_id: UUID, event: Event, command_id: UUID) -> None:
        head = self._head(stream_id)
        version = head.version + 1
        self.changed[stream_id] = Head(version, evolve(head.state, event))
        self.appended.append(Recorded(len(self.appended), stream_id, version, None, event))
        self.command_ids.append(command_id)
