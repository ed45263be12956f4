"""Commands that apply only to a resource as the client last saw it.

Such a command depends on the version of a stream as well as on its state: if the version changes before the command is
written, the command is decided again.
"""

from collections.abc import Mapping
from uuid import UUID

from ledger import errors
from ledger.commands.command import Command, States
from ledger.errors import Refused
from ledger.events import State


class Conditional(Command, frozen=True, kw_only=True):
    """A command that may require its stream to be at one of these versions; None accepts any version."""

    expected: frozenset[int] | None = None

    def depends_on_versions(self) -> bool:
        """Return whether the decision needs the versions of its streams, and not only their states."""
        return self.expected is not None


class Versioned(dict[UUID, State | None]):
    """States with the versions of their streams, for commands that expect a version."""

    def __init__(self, states: States, versions: Mapping[UUID, int]) -> None:
        super().__init__(states)
        self.versions = versions


def check_version(states: States, stream_id: UUID, expected: frozenset[int] | None) -> None:
    """Raise `Refused` if the stream is at another version than expected."""
    if expected is None:
        return
    assert isinstance(states, Versioned)  # noqa: S101 - the commit group passes versions if they are expected
    if states.versions[stream_id] not in expected:
        raise Refused(errors.precondition_failed(states.versions[stream_id]))
