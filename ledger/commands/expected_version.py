"""Commands that are meant for a resource as their client last saw it.

The version of a stream is part of what such a command depends on, like its state: when it has changed until the command
is written, it is decided anew.
"""

from collections.abc import Mapping
from uuid import UUID

from ledger import errors
from ledger.commands.command import Command, States
from ledger.errors import Refused
from ledger.events import State


class Conditional(Command, frozen=True, kw_only=True):
    """A command that may say at which versions the stream must be that it is about; None: at any."""

    expected: frozenset[int] | None = None

    def depends_on_versions(self) -> bool:
        """Return whether the decision needs the versions of its streams, and not only their states."""
        return self.expected is not None


class Versioned(dict[UUID, State | None]):
    """States with the versions of their streams, for a command that says which it expects."""

    def __init__(self, states: States, versions: Mapping[UUID, int]) -> None:
        super().__init__(states)
        self.versions = versions


def check_version(states: States, stream_id: UUID, expected: frozenset[int] | None) -> None:
    """Raise `Refused` if the stream is at another version than expected."""
    if expected is None:
        return
    assert isinstance(states, Versioned)  # noqa: S101 - the batch saw that it is expected
    if states.versions[stream_id] not in expected:
        raise Refused(errors.precondition_failed(states.versions[stream_id]))
