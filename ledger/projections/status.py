"""How far projections are, and what their last rebuilds met with."""

from typing import NamedTuple

from asyncpg import Record, UndefinedTableError

from ledger.database import connect
from ledger.errors import DatabaseError
from ledger.projections import INLINE, Projection
from ledger.settings import Settings


class Status(NamedTuple):
    """A projection. `lag_events` is at most how many events its tables, or its shadows in a rebuild, lack.

    `state` is `inline` (the live tables are always at the head), `rebuilding` or `kept old`.
    """

    projection: str
    tables: tuple[str, ...]
    rows: int
    state: str
    position: int
    lag_events: int
    lag_seconds: float
    last_error: str | None


async def status(settings: Settings) -> list[Status]:
    """How each projection is; the number of rows is an estimate."""
    connection = await connect(settings)
    try:
        head = await connection.fetchval("SELECT coalesce(max(notification_id), 0) FROM stored_events")
        rows = await connection.fetch(_QUERY, settings.ledger_schema, [_tables(one) for one in INLINE])
    except UndefinedTableError as error:
        raise DatabaseError("the database has no ledger of this version: run `ledger migrate`") from error
    finally:
        await connection.close()
    found = {row["projection"]: row for row in rows}
    return [_status(projection, found[projection.name], head) for projection in INLINE]


def _status(projection: Projection, row: Record, head: int) -> Status:
    position = head if row["position"] is None else row["position"]
    return Status(
        projection.name,
        projection.tables,
        row["rows"],
        row["state"],
        position,
        head - position,
        row["lag_seconds"],
        row["error"],
    )


def _tables(projection: Projection) -> str:
    return " ".join([projection.name, *projection.tables])


_QUERY = """
SELECT named.projection, rebuilds.position, error,
       CASE WHEN rebuilds.position IS NOT NULL THEN 'rebuilding'
            WHEN kept_position IS NOT NULL THEN 'kept old' ELSE 'inline' END AS state,
       (SELECT coalesce(sum(greatest(reltuples, 0)), 0)::bigint FROM pg_class
        WHERE relnamespace = $1::text::regnamespace AND relname = ANY(named.tables)) AS rows,
       coalesce((SELECT extract(epoch FROM clock_timestamp() - recorded_at) FROM stored_events
                 WHERE notification_id > rebuilds.position ORDER BY notification_id LIMIT 1), 0)::float8 AS lag_seconds
FROM (SELECT words[1] AS projection, words[2:] AS tables
      FROM unnest($2::text[]) AS given(line), string_to_array(line, ' ') AS words) AS named
LEFT JOIN rebuilds USING (projection)
"""
