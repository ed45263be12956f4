"""What executes commands, as its callers see it: a committer in this process, or the writer process of this host."""

from typing import Protocol

from ledger.commands.command import Command
from ledger.write.group import Origin, Outcome


class Health(Protocol):
    """Whether writes succeed. `reason` is one or two words for operators, None while writes succeed."""

    @property
    def reason(self) -> str | None:
        """What is wrong."""

    def seconds_since_success(self) -> float:
        """Return how long ago a write or a heartbeat last succeeded."""


class Writer(Protocol):
    """Executes commands. Its times are those of the event loop, which all processes of a host share."""

    @property
    def health(self) -> Health:
        """Whether writes succeed."""

    @property
    def waiting(self) -> int:
        """Number of commands in the queue."""

    @property
    def in_flight(self) -> int:
        """Number of commands without an outcome, those in the queue included."""

    def oldest_seconds(self) -> float:
        """Return for how long the oldest command without an outcome has been waiting; 0 if there is none."""

    async def submit(
        self, command: Command, origin: Origin, *, weight: int = 1, deadline: float | None = None
    ) -> Outcome:
        """Execute one command. Raises `Refused` or a `LedgerError`."""

    async def close(self) -> None:
        """Refuse new commands, and return once those submitted before have an outcome."""
