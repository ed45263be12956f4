"""Rows of the log as they are stored, not decoded: what a seal commits to and a receipt proves."""

from uuid import UUID

from ledger.events import StoredRow
from ledger.store.connections import Reader

# A time that Python has no value for is left out: it was never recorded.
_SELECT_ROWS = """SELECT originator_id, originator_version, topic, state, notification_id,
                         CASE WHEN recorded_at BETWEEN '0001-01-02Z' AND '9999-12-30Z'
                              THEN recorded_at END AS recorded_at, command_id
                  FROM stored_events"""
ROWS_BETWEEN = f"{_SELECT_ROWS} WHERE notification_id > $1 AND notification_id <= $2 ORDER BY notification_id LIMIT $3"


async def read_rows(reader: Reader, *, after_position: int, upto_position: int, limit: int) -> list[StoredRow]:
    """Up to `limit` rows of the log, in order, after one position and up to another."""
    rows = await reader.fetch(ROWS_BETWEEN, after_position, upto_position, limit)
    return [StoredRow(*row) for row in rows]


async def read_misplaced(reader: Reader) -> list[int | None]:
    """Positions that no event can have got: rows that no reader of the log would ever see."""
    rows = await reader.fetch(
        "SELECT notification_id FROM stored_events WHERE notification_id < 1 OR notification_id IS NULL LIMIT 100"
    )
    return [row[0] for row in rows]


async def read_stream_rows(reader: Reader, stream_id: UUID, *, version: int | None, limit: int) -> list[StoredRow]:
    """The last `limit` rows of a stream, the newest first; with `version`, only that one."""
    rows = await reader.fetch(
        f"""{_SELECT_ROWS} WHERE originator_id = $1 AND ($2::bigint IS NULL OR originator_version = $2)
            ORDER BY originator_version DESC LIMIT $3""",
        stream_id,
        version,
        limit,
    )
    return [StoredRow(*row) for row in rows]


async def read_rows_beside(reader: Reader, stream_id: UUID, *, reach: int) -> list[StoredRow]:
    """The rows of a stream, and those of others that the same commands wrote at most `reach` positions away, in order.

    A command's events are next to each other in the log.
    """
    rows = await reader.fetch(
        f"""{_SELECT_ROWS} WHERE notification_id IN (
                SELECT beside.notification_id FROM stored_events AS own JOIN stored_events AS beside
                    ON beside.notification_id BETWEEN own.notification_id - $2 AND own.notification_id + $2
                    AND (beside.command_id = own.command_id OR beside.originator_id = own.originator_id)
                WHERE own.originator_id = $1)
            ORDER BY notification_id""",
        stream_id,
        reach,
    )
    return [StoredRow(*row) for row in rows]
