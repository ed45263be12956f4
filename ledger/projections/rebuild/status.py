"""The status of projections and followers: their positions, and the last errors of them or of their rebuilds."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from asyncpg import Record, UndefinedColumnError, UndefinedTableError

from ledger.errors import DatabaseError
from ledger.followers import follower
from ledger.followers.follower import FOLLOWERS, FollowerStatus
from ledger.projections import INLINE, Projection
from ledger.settings import Settings
from ledger.store.citus import without_shard
from ledger.store.connections import Connection, Reader
from ledger.store.pool import connect
from ledger.store.reader import log_end
from ledger.store.sql import lag_seconds


class Status(NamedTuple):
    """The status of a projection or follower. It lacks at most `lag_events` events; in a rebuild, its shadows do.

    `state` is `inline` (the live tables are always at the end of the log), `rebuilding` or `kept old`; or that of a
    follower. `per_second` is its recent speed in events; if it is inline, the growth of the log in the last minute.
    `rows` is an estimate. `error_position` and `error_topic` name the event that a follower could not apply.
    """

    projection: str
    tables: tuple[str, ...]
    rows: int | None
    state: str
    position: int
    lag_events: int
    lag_seconds: float
    per_second: float | None
    last_error: str | None
    error_position: int | None = None
    error_topic: str | None = None


async def status(settings: Settings) -> list[Status]:
    """Return the status of each projection and follower."""
    async with _open_connection(settings) as connection:
        return await read_statuses(connection, settings.ledger_schema)


async def resume(settings: Settings, name: str, *, request_id: str | None = None) -> int | None:
    """Resume a follower that has stopped, and return the position it resumes after, or None if it has not stopped.

    `request_id` names the command that an operator ran, for the log.
    """
    async with _open_connection(settings) as connection:
        return await follower.resume(connection, name, request_id=request_id)


@asynccontextmanager
async def _open_connection(settings: Settings) -> AsyncIterator[Connection]:
    connection = await connect(settings)
    try:
        yield connection
    except (UndefinedTableError, UndefinedColumnError) as error:
        raise DatabaseError("the database has no ledger of this version: run `ledger migrate`") from error
    finally:
        await connection.close()


async def read_statuses(connection: Reader, schema: str) -> list[Status]:
    """Return the status of each projection and follower of the ledger in a schema."""
    followers = await follower.status(connection)
    end = await log_end(connection)
    before = await connection.fetchval("SELECT position_at(clock_timestamp() - interval '1 minute')")
    rows = await connection.fetch(_QUERY, schema, [_join_names(projection) for projection in INLINE])
    found = {row["projection"]: row for row in rows}
    return [
        *(_inline_status(projection, found[projection.name], end, (end - before) / 60) for projection in INLINE),
        *(_follower_status(state, end) for state in followers),
    ]


def _inline_status(projection: Projection, row: Record, end: int, per_second: float) -> Status:
    position = end if row["position"] is None else row["position"]
    return Status(
        projection.name,
        projection.table_names,
        row["rows"],
        row["state"],
        position,
        end - position,
        row["lag_seconds"],
        per_second if row["position"] is None else row["per_second"],
        row["error"],
    )


def _follower_status(state: FollowerStatus, end: int) -> Status:
    return Status(
        state.name,
        (FOLLOWERS[state.name],),
        None,
        state.state,
        state.position,
        max(end - state.position, 0),
        state.lag_seconds,
        state.per_second,
        state.error,
        state.error_position,
        state.error_topic,
    )


def _join_names(projection: Projection) -> str:
    return " ".join([projection.name, *projection.table_names])


_QUERY = f"""
SELECT named.projection, rebuilds.position, error,
       (position - started_position) / nullif(extract(epoch FROM updated_at - started_at), 0)::float8 AS per_second,
       CASE WHEN rebuilds.position IS NOT NULL THEN 'rebuilding'
            WHEN kept_position IS NOT NULL THEN 'kept old' ELSE 'inline' END AS state,
       (SELECT coalesce(sum(greatest(reltuples, pg_stat_get_live_tuples(oid))), 0)::bigint FROM pg_class
        WHERE relnamespace = $1::text::regnamespace AND {without_shard("relname")} = ANY(named.tables)) AS rows,
       {lag_seconds("rebuilds.position")} AS lag_seconds
FROM (SELECT words[1] AS projection, words[2:] AS tables
      FROM unnest($2::text[]) AS given(line), string_to_array(line, ' ') AS words) AS named
LEFT JOIN rebuilds USING (projection)
"""
