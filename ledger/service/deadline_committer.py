"""An adapter until the committer itself keeps deadlines: delete it then, and use `Committer` in its place."""

import asyncio
from types import SimpleNamespace

from ledger.commands.command import Command
from ledger.errors import OutcomeUnknownError
from ledger.write.committer import Committer
from ledger.write.group import Origin, Outcome


class DeadlineCommitter(Committer):
    """A committer whose callers are answered by their deadline."""

    health = SimpleNamespace(reason=None, seconds_since_success=lambda: 0.0)

    def oldest_seconds(self) -> float:
        """Return for how long the oldest command without an outcome has been waiting; unknown here."""
        return 0.0

    async def submit(
        self, command: Command, origin: Origin, *, weight: int = 1, deadline: float | None = None
    ) -> Outcome:
        """Execute one command. Raises `OutcomeUnknownError` at the deadline."""
        submitted = asyncio.ensure_future(super().submit(command, origin, weight=weight))
        if deadline is not None:
            await asyncio.wait({submitted}, timeout=deadline - asyncio.get_running_loop().time())
            if not submitted.done():
                raise OutcomeUnknownError(getattr(command, "resource_id", None))
        return await submitted
