"""Whether the database is what a worker needs, and how far behind the log the followers are."""

import asyncio
from typing import NamedTuple

from ledger.followers import follower
from ledger.followers.follower import FollowerStatus
from ledger.store import migrate
from ledger.store.connections import Reader
from ledger.store.sql import LOG_END

PATIENCE_SECONDS = 2.0


class Standing(NamedTuple):
    """How the database stands."""

    schema_version: str
    last_position: int
    followers: list[FollowerStatus]

    @property
    def is_migrated(self) -> bool:
        """Whether the schema is that of this program, or of a later one that is being rolled out."""
        return self.schema_version >= migrate.head()


async def standing(reader: Reader) -> Standing:
    """Ask PostgreSQL. Raises `TimeoutError`, or what PostgreSQL raises."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        row = await reader.fetchrow(_STANDING)
        assert row is not None  # noqa: S101 - it has no FROM
        return Standing(row[0], row[1], await follower.status(reader))


_STANDING = f"SELECT (SELECT version_num FROM alembic_version), {LOG_END}"
