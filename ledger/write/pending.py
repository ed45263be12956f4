"""Commands that wait for an outcome."""

import asyncio
from abc import abstractmethod
from collections.abc import Sequence
from uuid import UUID

from ledger.commands.command import Command
from ledger.errors import DatabaseError, OutcomeUnknownError
from ledger.write.group import Origin, Outcome, OutcomeOrError, Submission

MAX_RECENT = 10_000


class Pending(Submission):
    """A submitted command. At `deadline`, a time of the event loop, its caller gets an outcome or an error.

    `sent` is set while PostgreSQL may be executing it, and stays set if a connection was lost with it. `may_be_known`
    is set if the command log has to be asked for it before it is executed.
    """

    __slots__ = ("attempts", "deadline", "lost", "may_be_known", "resolved", "revoked", "sent", "weight")

    def __init__(self, command: Command, origin: Origin, *, weight: int, deadline: float) -> None:
        super().__init__(command, origin)
        self.weight = weight
        self.deadline = deadline
        self.attempts = 0
        self.resolved = False
        self.sent = False
        self.lost = False
        self.may_be_known = False
        self.revoked = False  # tokens, or attempted to

    @abstractmethod
    def deliver(self, outcome: OutcomeOrError) -> None:
        """Pass the outcome on to the caller."""

    def settle(self) -> None:
        """Note that PostgreSQL has rolled the command back. It takes nothing for granted when it is decided again."""
        self.sent = self.lost
        self.command = self.command.doubt()

    def count_attempt(self) -> int:
        """Count an attempt that has failed, and return how many there were."""
        self.attempts += 1
        return self.attempts

    def lose(self) -> None:
        """Note that the connection was lost, so only the command log can tell whether the command was executed."""
        self.lost = self.may_be_known = self.sent

    def resolve(self, outcome: OutcomeOrError) -> None:
        """Return an outcome to the caller, unless there is one already. A failure after sending leaves it unknown."""
        if self.resolved:
            return
        self.resolved = True
        if isinstance(outcome, DatabaseError) and self.sent:
            outcome = OutcomeUnknownError(self.command.resource_id)
        self.deliver(outcome)

    def expire(self) -> None:
        """Fail the command at its deadline."""
        self.resolve(DatabaseError("PostgreSQL did not answer in time"))


class Awaited(Pending):
    """A command whose caller awaits `future`."""

    __slots__ = ("future",)

    def __init__(self, command: Command, origin: Origin, *, weight: int, deadline: float) -> None:
        super().__init__(command, origin, weight=weight, deadline=deadline)
        self.future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def deliver(self, outcome: OutcomeOrError) -> None:
        """Complete the future, unless the caller has stopped waiting."""
        if self.future.done():
            return
        if isinstance(outcome, Outcome):
            self.future.set_result(outcome)
        else:
            self.future.set_exception(outcome)


class RecentCommands:
    """The ids of the last commands with an idempotency key, which a client may repeat; at most `MAX_RECENT`."""

    def __init__(self) -> None:
        self._ids: dict[UUID, None] = {}

    def __contains__(self, command_id: UUID) -> bool:
        return command_id in self._ids

    def add(self, origin: Origin) -> None:
        """Remember a command, if it has a key."""
        if origin.request_hash is not None:
            self._ids[origin.command_id] = None
            if len(self._ids) > MAX_RECENT:
                del self._ids[next(iter(self._ids))]


def look_up(group: Sequence[Pending]) -> Sequence[Pending]:
    """Let the command log be asked for each of these commands before they are executed, and return them."""
    for pending in group:
        pending.may_be_known = True
    return group
