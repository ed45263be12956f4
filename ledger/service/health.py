"""The health of the database: whether its schema is recent enough, and how far the followers lag behind the log."""

import asyncio
from typing import NamedTuple

from ledger.followers import follower
from ledger.followers.follower import FollowerStatus
from ledger.store import migrate
from ledger.store.connections import Reader
from ledger.store.sql import LOG_END

PATIENCE_SECONDS = 2.0


class Health(NamedTuple):
    """The schema version, the last position of the log, and the state of each follower."""

    schema_version: str
    last_position: int
    followers: list[FollowerStatus]

    @property
    def is_migrated(self) -> bool:
        """Whether the schema is at least as recent as this program: a rollout migrates before it restarts workers."""
        return self.schema_version >= migrate.latest_migration()


async def read_health(reader: Reader) -> Health:
    """Return the health of the database. Raises `TimeoutError`, or what asyncpg raises."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        row = await reader.fetchrow(_HEALTH)
        assert row is not None  # noqa: S101 - it has no FROM
        return Health(row[0], row[1], await follower.status(reader))


_HEALTH = f"SELECT (SELECT version_num FROM alembic_version), {LOG_END}"
