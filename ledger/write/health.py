"""Whether writes succeed, for readiness: as the last write or heartbeat showed."""

import time

import asyncpg
import structlog

from ledger.store import log as event_log
from ledger.store.connections import UNREACHABLE, Connection

log = structlog.get_logger(__name__)


class WriteHealth:
    """The state of a committer's writes. `reason` is one or two words for operators, None while writes succeed.

    A change of state is logged once; what fails in between is counted.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self._succeeded_at = time.monotonic()
        self._failures = 0
        self._full = False

    def seconds_since_success(self) -> float:
        """Return how long ago a write or a heartbeat last succeeded."""
        return time.monotonic() - self._succeeded_at

    def succeed(self) -> None:
        """Record a write that has succeeded."""
        self._succeeded_at = time.monotonic()
        if self.reason is not None:
            log.warning("writes succeed again", reason=self.reason, failures=self._failures)
            self.reason, self._failures, self._full = None, 0, False

    def fail(self, error: Exception) -> None:
        """Record a write that has failed for a reason that has nothing to do with what was written."""
        self._full = isinstance(error, asyncpg.DiskFullError)
        reason = _describe(error)
        self._failures += 1
        if self.reason != reason:
            log.warning("writes fail", reason=reason, error=type(error).__name__)
        self.reason = reason

    async def beat(self, connection: Connection) -> None:
        """Write a heartbeat. After a full disk, write enough to learn whether there is space. Raises what fails."""
        if self._full:
            await event_log.probe_space(connection)
        await event_log.beat(connection)
        self.succeed()


def _describe(error: Exception) -> str:
    match error:
        case asyncpg.DiskFullError():
            return "disk full"
        case asyncpg.ReadOnlySQLTransactionError():
            return "read-only"
        case asyncpg.LockNotAvailableError():
            return "locked"
        case _ if isinstance(error, UNREACHABLE):
            return "unreachable"
        case _:
            return "failing"
