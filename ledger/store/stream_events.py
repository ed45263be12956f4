"""Reads the events of one stream in order, page by page, and its version at a position."""

from uuid import UUID

from ledger.events import Recorded
from ledger.store.connections import Reader
from ledger.store.reader import SELECT_RECORDED, to_recorded


async def read_stream(reader: Reader, stream_id: UUID, after: int, upto: int, limit: int) -> list[Recorded]:
    """Return up to `limit` events of a stream after a version and up to another one, in order."""
    rows = await reader.fetch(
        f"""{SELECT_RECORDED} WHERE originator_id = $1 AND originator_version > $2 AND originator_version <= $3
            ORDER BY originator_version LIMIT $4""",
        stream_id,
        after,
        upto,
        limit,
    )
    return [to_recorded(row) for row in rows]


async def version_at(reader: Reader, stream_id: UUID, position: int) -> int:
    """Return the version that a stream had at a position; 0 if it had no event."""
    version: int | None = await reader.fetchval("SELECT version_at($1, $2)", stream_id, position)
    return version or 0
