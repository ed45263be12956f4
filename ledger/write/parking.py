"""Commands set aside because another session has locked a row that they would change."""

import math
import time
from collections.abc import Sequence
from uuid import UUID

from ledger.projections import TABLES
from ledger.store.connections import UNREACHABLE
from ledger.store.heads import find_locked
from ledger.write.connection import WriteConnection
from ledger.write.group import streams_of
from ledger.write.pending import Pending

PROBE_SECONDS = 0.25  # between two looks at the locks

# The tables, and the columns with the stream's id, of which a write may update a row for each stream.
ROW_PER_STREAM = tuple((table.name, table.stream) for table in TABLES if table.key == (table.stream,))


class Parking:
    """Keeps commands out of commit groups while a stream of theirs is locked, so that only they wait for the lock."""

    def __init__(self) -> None:
        self._streams: set[UUID] = set()
        self._commands: list[Pending] = []
        self._probe_at = math.inf

    def is_empty(self) -> bool:
        """Return whether no commands are set aside."""
        return not self._commands

    def is_due(self) -> bool:
        """Return whether it is time to look for the locks again."""
        return time.monotonic() > self._probe_at

    async def probe(self, link: WriteConnection, group: Sequence[Pending] = ()) -> Sequence[Pending]:
        """Look for the locks that stop the commands set aside and a `group`, and return those that none stops."""
        commands = [pending for pending in (*self._commands, *group) if not pending.resolved]
        try:
            self._streams = await find_locked(await link.get(), ROW_PER_STREAM, streams_of(commands))
        except UNREACHABLE:
            link.drop()
        self._commands = []
        self._probe_at = time.monotonic() + PROBE_SECONDS if self._streams else math.inf
        return self.park(commands)

    def park(self, group: Sequence[Pending]) -> Sequence[Pending]:
        """Set aside the commands on locked streams, and return the others."""
        if not self._streams:
            return group
        stopped = [pending for pending in group if not self._streams.isdisjoint(streams_of((pending,)))]
        self._commands += stopped
        return [pending for pending in group if pending not in stopped]

    def clear(self) -> None:
        """Forget all commands and locks."""
        self._streams, self._commands, self._probe_at = set(), [], math.inf
