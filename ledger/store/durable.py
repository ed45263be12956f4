"""The part of the log that no failover can take back."""

from ledger.concurrency.dataloader import DataLoader
from ledger.store.connections import UNREACHABLE, Pool
from ledger.store.tables import STORED_EVENTS

WAIT_SECONDS = 1.0


class DurableEnd:
    """Knows the last position that is as durable as PostgreSQL is configured to make commits.

    With synchronous standbys, an event can be visible that no standby has yet, because its backend was terminated while
    it waited. A commit of our own waits for all that comes before it. Without them, every visible event is durable.
    """

    def __init__(self, primary: Pool) -> None:
        self._primary = primary
        self._known = 0
        self._latest: DataLoader[None, int] = DataLoader(lambda _: self._read())

    async def get(self) -> int:
        """Return the position; while the standbys do not answer, that of the last time when they did."""
        end = await self._latest.get(None)
        return self._known if end is None else end

    async def _read(self) -> dict[None, int]:
        row = await self._primary.fetchrow(
            f"""SELECT coalesce(max(notification_id), 0), current_setting('synchronous_standby_names') <> ''
                FROM {STORED_EVENTS}"""
        )
        assert row is not None  # noqa: S101 - an aggregate has one row
        end, has_standbys = row
        if has_standbys and end > self._known:
            try:
                async with self._primary.acquire(seconds=WAIT_SECONDS) as lent:
                    await lent.connection.execute("SELECT pg_logical_emit_message(true, 'ledger', '')")
            except UNREACHABLE:  # the pool has dropped the connection, without cancelling the commit
                return {}
        self._known = end
        return {None: end}
