"""Queries on the store's tables for verifying the books. Rows are returned as stored, decodable or not."""

from collections.abc import Collection
from uuid import UUID

from asyncpg import Record

from ledger.store.citus import find_table
from ledger.store.connections import Connection

SAMPLE = 20_000  # events in the sample by which the log is divided

EVENTS = """SELECT notification_id, originator_id, originator_version, recorded_at, topic, state
            FROM stored_events"""

HEADS_AND_LAST_VERSIONS = """
SELECT originator_id, version, topic, state, coalesce(originator_version, 0) AS last_version
FROM stream_heads
LEFT JOIN LATERAL (SELECT originator_version FROM stored_events
                   WHERE stored_events.originator_id = stream_heads.originator_id
                   ORDER BY originator_version DESC LIMIT 1) AS last ON true
"""

# Each row begins with the name of its table.
ROWS_WITHOUT_STREAM = """
SELECT 'stream_heads', originator_id FROM stream_heads
WHERE NOT EXISTS (SELECT FROM stored_events WHERE stored_events.originator_id = stream_heads.originator_id)
UNION ALL
SELECT 'credentials', user_id FROM credentials
WHERE NOT EXISTS (SELECT FROM stored_events WHERE originator_id = user_id)
UNION ALL
SELECT 'second_factors', stream_id FROM second_factors
WHERE NOT EXISTS (SELECT FROM stored_events WHERE originator_id = stream_id)
UNION ALL
SELECT 'webhook_secrets', webhook_id FROM webhook_secrets
WHERE NOT EXISTS (SELECT FROM stored_events WHERE originator_id = webhook_id)
"""

EVENTS_UNLIKE_THEIR_COMMAND = """
SELECT notification_id, originator_id, originator_version, stored_events.command_id, stored_events.recorded_at,
       command_log.recorded_at AS logged_at
FROM stored_events LEFT JOIN command_log USING (command_id)
WHERE notification_id > $1
  AND command_log.recorded_at IS DISTINCT FROM stored_events.recorded_at
"""

ACCEPTED_WITHOUT_EVENTS = """
SELECT command_id, name FROM command_log
WHERE outcome = 'accepted' AND (name = ANY($2) OR answer IS NULL AND result IS NULL)
  AND recorded_at >= coalesce((SELECT recorded_at FROM stored_events WHERE notification_id > $1
                               ORDER BY notification_id LIMIT 1), '-infinity')
  AND NOT EXISTS (SELECT FROM stored_events WHERE stored_events.command_id = command_log.command_id)
"""


CHANGED_STREAMS = "changed_streams"  # the temporary table of `note_changed_streams`
TIMES_THAT_DECREASE = f"""
SELECT events.*, previous_time
FROM (SELECT notification_id, recorded_at,
             coalesce(lag(recorded_at) OVER (ORDER BY notification_id),
                      (SELECT recorded_at FROM stored_events WHERE notification_id <= $1
                       ORDER BY notification_id DESC LIMIT 1)) AS previous_time
      FROM stored_events WHERE notification_id > $1) AS timed
JOIN ({EVENTS}) AS events USING (notification_id)
WHERE timed.recorded_at < previous_time ORDER BY notification_id
"""


async def note_changed_streams(connection: Connection, since: int) -> None:
    """Create a temporary table of the streams that have an event after a position."""
    await connection.execute(f"CREATE TEMPORARY TABLE {CHANGED_STREAMS} (stream_id uuid PRIMARY KEY) ON COMMIT DROP")
    await connection.execute(
        f"""INSERT INTO {CHANGED_STREAMS} SELECT DISTINCT originator_id FROM stored_events
            WHERE notification_id > {since}; ANALYZE {CHANGED_STREAMS}"""
    )


async def split_streams(connection: Connection, shares: int, *, events: int) -> list[UUID]:
    """Return the ids, in order, at which shares of the streams with about as many events each begin, but for the first.

    It looks at a sample of the pages of a log of so many events.
    """
    percent = min(100.0, 100.0 * SAMPLE / max(events, 1))
    log = await find_table(connection, "stored_events")
    rows = await connection.fetch(
        f"""SELECT DISTINCT unnest(percentile_disc($1::float8[]) WITHIN GROUP (ORDER BY originator_id)) AS id
            FROM {log} TABLESAMPLE SYSTEM ({percent}) ORDER BY id""",
        [number / shares for number in range(1, shares)],
    )
    return [row[0] for row in rows if row[0] is not None]


def ids_without_head(table: str) -> str:
    """Return the query for ids in a read table whose stream has no head."""
    return f"SELECT id FROM {table} WHERE NOT EXISTS (SELECT FROM stream_heads WHERE originator_id = id)"


async def read_stored_heads(connection: Connection, stream_ids: Collection[UUID]) -> list[Record]:
    """Return the stored heads of streams; a stream without a head has no row."""
    return await connection.fetch(
        "SELECT originator_id, version, topic, state FROM stream_heads WHERE originator_id = ANY($1)", stream_ids
    )


async def count_heads(connection: Connection) -> int:
    """Return the number of heads."""
    count: int = await connection.fetchval("SELECT count(*) FROM stream_heads")
    return count


async def count_events(connection: Connection, *, after_position: int) -> int:
    """Return the number of events after a position."""
    sql = "SELECT count(*) FROM stored_events WHERE notification_id > $1"
    count: int = await connection.fetchval(sql, after_position)
    return count


async def start_of_transaction(connection: Connection, position: int) -> int:
    """Return the last position before the database transaction of the next event, whose events share one time."""
    next_time = await connection.fetchval(
        "SELECT recorded_at FROM stored_events WHERE notification_id > $1 ORDER BY notification_id LIMIT 1", position
    )
    if next_time is None:
        return position
    before: int | None = await connection.fetchval(
        """SELECT notification_id FROM stored_events WHERE notification_id <= $1 AND recorded_at < $2
           ORDER BY notification_id DESC LIMIT 1""",
        position,
        next_time,
    )
    return before or 0
