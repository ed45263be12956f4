"""Reads rows of the log as stored, undecoded: the rows that seals commit to and receipts prove."""

from uuid import UUID

from ledger.events import StoredRow
from ledger.store.connections import Reader

# A time outside Python's range can only come from tampering: it is read as null.
_SELECT_ROWS = """SELECT originator_id, originator_version, topic, state, notification_id,
                         CASE WHEN recorded_at BETWEEN '0001-01-02Z' AND '9999-12-30Z'
                              THEN recorded_at END AS recorded_at, command_id
                  FROM stored_events"""
ROWS_BETWEEN = f"{_SELECT_ROWS} WHERE notification_id > $1 AND notification_id <= $2 ORDER BY notification_id LIMIT $3"


async def read_rows(reader: Reader, *, after_position: int, upto_position: int, limit: int) -> list[StoredRow]:
    """Return up to `limit` rows, in order of position, after one position and up to another."""
    rows = await reader.fetch(ROWS_BETWEEN, after_position, upto_position, limit)
    return [StoredRow(*row) for row in rows]


async def read_misplaced(reader: Reader) -> list[int | None]:
    """Return up to 100 positions that no append assigns: the rows there are invisible to readers of the log."""
    rows = await reader.fetch(
        "SELECT notification_id FROM stored_events WHERE notification_id < 1 OR notification_id IS NULL LIMIT 100"
    )
    return [row[0] for row in rows]


async def read_stream_rows(reader: Reader, stream_id: UUID, *, version: int | None, limit: int) -> list[StoredRow]:
    """Return the last `limit` rows of a stream, newest first; with `version`, only the row at that version."""
    rows = await reader.fetch(
        f"""{_SELECT_ROWS} WHERE originator_id = $1 AND ($2::bigint IS NULL OR originator_version = $2)
            ORDER BY originator_version DESC LIMIT $3""",
        stream_id,
        version,
        limit,
    )
    return [StoredRow(*row) for row in rows]


async def read_rows_beside(reader: Reader, stream_id: UUID, *, reach: int) -> list[StoredRow]:
    """Return the rows of a stream and the other rows of the same commands, in order of position.

    A command's events are next to each other in the log, so only rows at most `reach` positions away are searched.
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
