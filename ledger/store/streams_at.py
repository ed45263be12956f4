"""Streams as they were at a position of the log: the events that say what their state was, however long they are.

All events of a stream are read, except those of an account that a later one replaces: its entries, and what was held.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from uuid import UUID

from ledger.events import TOPICS, Recorded
from ledger.events.accounts import (
    BALANCE_EVENTS,
    EVENT_GROUPS,
    FUNDS_EVENTS,
    INCOMING_EVENTS,
    LANDMARK_EVENTS,
    AccountOpened,
)
from ledger.store.connections import Connection, Reader
from ledger.store.reader import SELECT_RECORDED, to_recorded
from ledger.store.sql import LOG_END

_REPLACING = (*FUNDS_EVENTS, *INCOMING_EVENTS)  # each says all that the one before it said


def _list_topics(group: Iterable[type]) -> str:
    return ", ".join(f"'{TOPICS[cls]}'" for cls in group)


def _select_last(topic: type, group: Iterable[type]) -> str:
    """Return SQL for an account's last event of a topic; `group` is the one that the topic's index is on."""
    return f"""(SELECT * FROM stored_events
                WHERE originator_id = id AND topic = '{TOPICS[topic]}' AND topic IN ({_list_topics(group)})
                  AND notification_id <= $2 ORDER BY notification_id DESC LIMIT 1)"""


_OTHERS = [cls for group in EVENT_GROUPS for cls in group if cls not in {*BALANCE_EVENTS, *_REPLACING}]
_UNLISTED = [cls for cls in _OTHERS if cls not in LANDMARK_EVENTS]
_OF_ACCOUNTS = " UNION ALL ".join(
    [
        *(
            f"SELECT * FROM stored_events WHERE originator_id = id AND topic IN ({_list_topics(group)})"
            " AND notification_id <= $2"
            for group in (LANDMARK_EVENTS, _UNLISTED)
            if group
        ),
        *(_select_last(topic, group) for group in (FUNDS_EVENTS, INCOMING_EVENTS) for topic in group),
        f"""(SELECT * FROM stored_events
             WHERE originator_id = id AND topic IN ({_list_topics(BALANCE_EVENTS)})
               AND originator_version <= (SELECT version_at(id, $2)) ORDER BY originator_version DESC LIMIT 1)""",
    ]
)
_COLUMNS = "notification_id, originator_id, originator_version, recorded_at, topic, state"


async def read_streams_at(reader: Reader, stream_ids: Collection[UUID], position: int) -> list[Recorded]:
    """Return the events that make up the states of these streams at a position, in the order of the log."""
    account_ids = await _find_accounts(reader, stream_ids)
    rows = await reader.fetch(
        f"{SELECT_RECORDED} WHERE originator_id = ANY($1) AND notification_id <= $2",
        [stream_id for stream_id in stream_ids if stream_id not in account_ids],
        position,
    )
    rows += await reader.fetch(
        f"""SELECT {_COLUMNS} FROM unnest($1::uuid[]) AS id, LATERAL ({_OF_ACCOUNTS}) AS event""",
        list(account_ids),
        position,
    )
    return _sort([to_recorded(row) for row in rows])


async def read_events_at(
    reader: Reader, stream_ids: Collection[UUID], events: Iterable[type], position: int
) -> dict[UUID, list[Recorded]]:
    """Return the events of these classes up to a position, in order, by stream."""
    rows = await reader.fetch(
        f"""{SELECT_RECORDED} WHERE originator_id = ANY($1) AND notification_id <= $2
            AND topic IN ({_list_topics(events)}) ORDER BY notification_id""",
        stream_ids,
        position,
    )
    found: dict[UUID, list[Recorded]] = {}
    for row in rows:
        found.setdefault(row[1], []).append(to_recorded(row))
    return found


async def read_present(connection: Connection) -> tuple[int, datetime]:
    """Return the last position of the log, and the time."""
    row = await connection.fetchrow(f"SELECT {LOG_END}, clock_timestamp()")
    assert row is not None  # noqa: S101 - the query returns one row
    return row[0], row[1]


async def find_changed_streams(reader: Reader, position: int, max_events: int) -> set[UUID] | None:
    """Return the streams with events after a position; None if there are more events than `max_events`."""
    rows = await reader.fetch(
        "SELECT originator_id FROM stored_events WHERE notification_id > $1 ORDER BY notification_id LIMIT $2",
        position,
        max_events + 1,
    )
    return None if len(rows) > max_events else {row[0] for row in rows}


async def _find_accounts(reader: Reader, stream_ids: Collection[UUID]) -> set[UUID]:
    rows = await reader.fetch(
        """SELECT originator_id FROM stored_events
           WHERE originator_id = ANY($1) AND originator_version = 1 AND topic = $2""",
        stream_ids,
        TOPICS[AccountOpened],
    )
    return {row[0] for row in rows}


def _sort(events: Sequence[Recorded]) -> list[Recorded]:
    return sorted(events, key=lambda row: row.position)
