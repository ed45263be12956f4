"""The pure part of a group commit: commands are decided in order of arrival, each seeing what those before it did."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from ledger.commands.decider import Command, Decision
from ledger.errors import Refused
from ledger.events import Event, Recorded, evolve
from ledger.store import NO_STREAM, Head, Reservation


class Appended(NamedTuple):
    """An event on its way into the log: its place in its stream is known, its position is not yet."""

    stream_id: UUID
    version: int
    event: Event
    command_id: UUID


@dataclass(slots=True)
class Batch:
    """The heads of all streams that the commands read, and what the commands append to them."""

    heads: dict[UUID, Head]
    changed: dict[UUID, Head] = field(default_factory=dict)
    appended: list[Appended] = field(default_factory=list)

    def decide(self, command: Command, command_id: UUID) -> Decision | Refused | Exception:
        """Decide one command and take its events in; a refusal or a fault leaves all as it was."""
        states = {stream: self._head(stream).state for stream in command.streams()}
        try:
            decision = command.decide(states)
        except Exception as error:  # noqa: BLE001 - the submitter of this command gets it, its neighbours go on
            return error
        if not states.keys() >= {stream for stream, _ in decision.events}:
            return LookupError(f"{command.name} appends to streams that it did not read")
        for stream_id, event in decision.events:
            self._append(stream_id, event, command_id)
        return decision

    def recorded(self, reservation: Reservation) -> list[Recorded]:
        """The appended events with the positions that were reserved for them."""
        return [
            Recorded(position, row.stream_id, row.version, reservation.recorded_at, row.event)
            for position, row in enumerate(self.appended, reservation.first_position)
        ]

    def _head(self, stream_id: UUID) -> Head:
        return self.changed.get(stream_id) or self.heads.get(stream_id, NO_STREAM)

    def _append(self, stream_id: UUID, event: Event, command_id: UUID) -> None:
        head = self._head(stream_id)
        version = head.version + 1
        self.changed[stream_id] = Head(version, evolve(head.state, event))
        self.appended.append(Appended(stream_id, version, event, command_id))


def last_positions(appended: Iterable[Appended], reservation: Reservation) -> Mapping[UUID, int]:
    """The position of each command's last event."""
    return {row.command_id: position for position, row in enumerate(appended, reservation.first_position)}
