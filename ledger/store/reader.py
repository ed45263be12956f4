"""Reads events from the log: by stream, topic or position, with the positions of times and accounts' landmarks.

Positions become visible in order, so a reader that continues after the last position it saw misses no event. The cost
of each query is bounded and does not grow with the log or the stream.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, get_args
from uuid import UUID

import msgspec
from asyncpg import Record

from ledger.events import DECODERS, FREQUENT_EVENTS, TOPICS, UPCASTS, Event, Recorded, decode_event, to_json
from ledger.events.accounts import (
    FOLLOWING_EVENTS,
    FUNDS_EVENTS,
    INCOMING_EVENTS,
    LANDMARK_EVENTS,
    OWNERSHIP_EVENTS,
    AccountClosed,
    AccountOpened,
    AccountOwnerChanged,
)
from ledger.store.connections import Connection, Reader
from ledger.store.tables import STORED_EVENTS, log_table

EVENT_TOPICS = frozenset({*(TOPICS[cls] for cls in get_args(Event)), *UPCASTS})
MAX_POSITION = 2**63 - 1  # PostgreSQL's largest bigint, so also the largest version
SCAN = 2000  # events that are read for one stretch if no index finds the matching ones
READ_LIMIT = 10_000
FOLLOWING = 110  # events; more than the account events that follow the event of their transaction
CREATION = 10  # versions; the command that creates a stream appends no more than that to it


def _topic_list(group: Iterable[type[Event]]) -> str:
    """Return the topics of a group as an SQL list."""
    return "({})".format(", ".join(f"'{TOPICS[cls]}'" for cls in group))


# The partial indexes of migrations 0004, 0009 and 0017 have the same lists in the same order, which a test compares.
FREQUENT = _topic_list(FREQUENT_EVENTS)
LANDMARKS = _topic_list(LANDMARK_EVENTS)
FUNDS = _topic_list(FUNDS_EVENTS)
INCOMING = _topic_list(INCOMING_EVENTS)
_OWNERS = _topic_list(OWNERSHIP_EVENTS)
_FOLLOWING_TOPICS = _topic_list(FOLLOWING_EVENTS)
_FREQUENT_TOPICS = frozenset(TOPICS[cls] for cls in FREQUENT_EVENTS)

SELECT_RECORDED = """SELECT notification_id, originator_id, originator_version, recorded_at, topic, state
             FROM stored_events"""
_SELECT_STORED = """SELECT notification_id, originator_id, originator_version, recorded_at, topic, state, command_id
             FROM stored_events"""


class StoredEvent(NamedTuple):
    """An event with its envelope; `state` is as stored. `command_id` is None if no command appended it."""

    position: int
    stream_id: UUID
    version: int
    recorded_at: datetime
    topic: str
    state: bytes
    command_id: UUID | None

    def body(self) -> dict[str, Any]:
        """Return the event as a response body. Raises `ValueError` if the state cannot be read."""
        return {
            "position": self.position,
            "stream_id": self.stream_id,
            "version": self.version,
            "topic": self.topic,
            "recorded_at": self.recorded_at,
            "command_id": self.command_id,
            "state": msgspec.json.decode(to_json(self.topic, self.state)),
        }


class EventFilter(NamedTuple):
    """Matches all events, or those of a topic, of a stream, or of both."""

    topic: str | None = None
    stream_id: UUID | None = None


ALL_EVENTS = EventFilter()


class Stretch(NamedTuple):
    """All matching events up to position `reached`, in order, and where the log ended when they were read."""

    events: list[StoredEvent]
    reached: int
    log_end: int

    @property
    def is_last(self) -> bool:
        """Whether it reaches the log end."""
        return self.reached >= self.log_end


class Landmarks(NamedTuple):
    """An account's owner and whether it is closed, with the version, position and time of the last change of either."""

    owner_id: UUID | None
    closed: bool
    version: int
    position: int
    recorded_at: datetime


async def log_end(reader: Reader, schema: str | None = None) -> int:
    """Return the last position of the log, or of another schema's log; 0 if it is empty."""
    table = STORED_EVENTS if schema is None else log_table(schema)
    position: int = await reader.fetchval(f"SELECT coalesce(max(notification_id), 0) FROM {table}")
    return position


class Place(NamedTuple):
    """The position of an event, and when it was recorded."""

    position: int
    recorded_at: datetime | None


async def read_ends(reader: Reader) -> tuple[Place, Place]:
    """Return the places of the first and of the last event; position 0 and no time in an empty log."""
    row = await reader.fetchrow(
        """SELECT first.*, last.* FROM (SELECT) AS one
           LEFT JOIN (SELECT notification_id, recorded_at FROM stored_events ORDER BY notification_id LIMIT 1)
               AS first ON true
           LEFT JOIN (SELECT notification_id, recorded_at FROM stored_events ORDER BY notification_id DESC LIMIT 1)
               AS last ON true"""
    )
    assert row is not None  # noqa: S101 - an outer join has a row
    return Place(row[0] or 0, row[1]), Place(row[2] or 0, row[3])


async def position_at(reader: Reader, time: datetime) -> int:
    """Return the position of the last event recorded at or before a time; 0 if there is no such event."""
    position: int = await reader.fetchval("SELECT position_at($1)", time)
    return position


async def times_at(reader: Reader, positions: Collection[int]) -> dict[int, datetime]:
    """Return when the events at these positions were recorded; positions without an event are left out."""
    rows = await reader.fetch(
        "SELECT notification_id, recorded_at FROM stored_events WHERE notification_id = ANY($1)", positions
    )
    return dict(map(tuple, rows))


async def position_before(reader: Reader, time: datetime) -> int:
    """Return the position of the last event recorded before a time; 0 if there is no such event."""
    position: int = await reader.fetchval("SELECT position_at($1::timestamptz - interval '1 microsecond')", time)
    return position


class Bounds(NamedTuple):
    """A range of positions, both ends excluded."""

    after: int
    before: int


async def find_bounds(reader: Reader, from_time: datetime | None, to_time: datetime | None, before: int) -> Bounds:
    """Return the positions of events recorded between two times, both included, and before a position."""
    after = 0 if from_time is None else await position_before(reader, from_time)
    return Bounds(after, before if to_time is None else min(before, await position_at(reader, to_time) + 1))


async def position_of(reader: Reader, stream_id: UUID, version: int) -> int:
    """Return the position of a stream's last event up to a version; 0 if there is no such event."""
    position: int | None = await reader.fetchval(
        """SELECT notification_id FROM stored_events WHERE originator_id = $1 AND originator_version <= $2
           ORDER BY originator_version DESC LIMIT 1""",
        stream_id,
        version,
    )
    return position or 0


async def version_at(reader: Reader, stream_id: UUID, position: int) -> int:
    """Return the version of a stream's last event up to a position; 0 if there is no such event."""
    version: int = await reader.fetchval("SELECT version_at($1, $2)", stream_id, position)
    return version


async def position_of_command(reader: Reader, command_id: UUID, recorded_at: datetime) -> int:
    """Return the position of a command's last event, or of the last event of all when it was recorded if it has none.

    Its events have its time, and events of one time are next to each other in the log, so no index on commands is
    needed.
    """
    position: int = await reader.fetchval(
        """SELECT coalesce((SELECT notification_id FROM stored_events
                            WHERE notification_id > $3 AND notification_id <= $4 AND command_id = $1
                            ORDER BY notification_id DESC LIMIT 1), $4) FROM (SELECT $2::timestamptz) AS given""",
        command_id,
        recorded_at,
        await position_before(reader, recorded_at),
        await position_at(reader, recorded_at),
    )
    return position


async def read_events_of_commands(
    reader: Reader, commands: Mapping[UUID, datetime]
) -> dict[UUID, list[tuple[UUID, Event]]]:
    """Return the events of each of these commands, in order and with their streams; the values are their times.

    Like `position_of_command`, this reads all events of a time.
    """
    rows = await reader.fetch(
        """SELECT command_id, originator_id, topic, state
           FROM (SELECT DISTINCT recorded_at AS time FROM unnest($2::timestamptz[]) AS recorded_at) AS asked,
                LATERAL (SELECT position_at(time - interval '1 microsecond') AS after, position_at(time) AS upto
                         OFFSET 0) AS bounds,
                LATERAL (SELECT command_id, originator_id, topic, state, notification_id FROM stored_events
                         WHERE notification_id > after AND notification_id <= upto) AS event
           WHERE command_id = ANY($1::uuid[]) ORDER BY notification_id""",
        list(commands),
        list(commands.values()),
    )
    events: dict[UUID, list[tuple[UUID, Event]]] = {}
    for command_id, stream_id, topic, state in rows:
        events.setdefault(command_id, []).append((stream_id, decode_event(topic, state)))
    return events


async def version_of_command(reader: Reader, stream_id: UUID, command_id: UUID) -> int:
    """Return a stream's version after the command that created it. Raises `LookupError` if another command did."""
    version: int | None = await reader.fetchval(
        """SELECT max(originator_version) FROM stored_events
           WHERE originator_id = $1 AND originator_version <= $2 AND command_id = $3""",
        stream_id,
        CREATION,
        command_id,
    )
    if version is None:
        raise LookupError(f"the command {command_id} did not create the stream {stream_id}")
    return version


async def read(
    reader: Reader, after: int, *, limit: int, matching: EventFilter = ALL_EVENTS, upto: int | None = None
) -> Stretch:
    """Read up to `limit` matching events after a position, and up to another one.

    Even if few are returned, more may match after `reached`.
    """
    upto = MAX_POSITION if upto is None else upto
    end = min(await log_end(reader), upto)
    by_index = matching.topic is None or (matching.stream_id is None and matching.topic not in _FREQUENT_TOPICS)
    count = limit if by_index else max(limit, SCAN)
    rows = [row for row in await _scan(reader, after, count, matching) if row.position <= upto]
    events = [row for row in rows if matching.topic in {None, row.topic}][:limit]
    if len(events) == limit:
        return Stretch(events, events[-1].position, end)
    last = rows[-1].position if rows else after
    return Stretch(events, last if len(rows) == count else max(end, last), end)


async def read_range(reader: Reader, after: int, upto: int, limit: int) -> list[StoredEvent]:
    """Return up to `limit` events after a position and up to another one, in order."""
    return await _fetch(reader, "notification_id > $1 AND notification_id <= $3", "notification_id", after, limit, upto)


async def read_log(connection: Connection, *, after_position: int = 0, limit: int = READ_LIMIT) -> list[Recorded]:
    """Return up to `limit` events of the log after a position, in order. Positions may have gaps."""
    rows = await connection.fetch(
        f"{SELECT_RECORDED} WHERE notification_id > $1 ORDER BY notification_id LIMIT $2", after_position, limit
    )
    return [to_recorded(row) for row in rows]


class Page(NamedTuple):
    """A page of the log: `size` events up to position `reached`, of which `events` are those that were not left out."""

    events: list[Recorded]
    size: int
    reached: int


async def read_page(
    connection: Connection, *, after_position: int, upto_position: int, limit: int, left_out: Collection[str]
) -> Page:
    """Return the next page of the log, of `limit` events and the rest of the last transaction's events.

    Events of the topics left out are only counted.
    """
    size, reached = await connection.fetchrow(
        f"""WITH page AS (SELECT count(*) AS size, coalesce(max(notification_id), $1) AS reached
                          FROM (SELECT notification_id FROM stored_events
                                WHERE notification_id > $1 AND notification_id <= $2
                                ORDER BY notification_id LIMIT $3) AS events),
                 following AS (SELECT notification_id, topic FROM page, LATERAL (
                                   SELECT notification_id, topic FROM stored_events
                                   WHERE size = $3 AND notification_id > reached AND notification_id <= $2
                                   ORDER BY notification_id LIMIT {FOLLOWING}) AS next),
                 rest AS (SELECT notification_id FROM following
                          WHERE notification_id < coalesce((SELECT min(notification_id) FROM following
                                                            WHERE topic NOT IN {_FOLLOWING_TOPICS}), {MAX_POSITION}))
            SELECT size + (SELECT count(*) FROM rest), coalesce((SELECT max(notification_id) FROM rest), reached)
            FROM page""",
        after_position,
        upto_position,
        limit,
    ) or (0, after_position)
    rows = await connection.fetch(
        f"""{SELECT_RECORDED} WHERE notification_id > $1 AND notification_id <= $2 AND topic <> ALL($3)
            ORDER BY notification_id""",
        after_position,
        reached,
        left_out,
    )
    events = [
        Recorded(position, stream_id, version, recorded_at, DECODERS[topic](state))
        for position, stream_id, version, recorded_at, topic, state in rows  # a rebuild reads millions
    ]
    return Page(events, size, reached)


async def read_landmarks(reader: Reader, account_ids: Collection[UUID], position: int) -> dict[UUID, Landmarks]:
    """Return the landmarks at a position of the accounts that existed there."""
    rows = await reader.fetch(
        f"""SELECT id, last.*, owner.topic AS owner_topic, owner.state AS owner_state
            FROM unnest($1::uuid[]) AS id,
                 LATERAL (SELECT topic, originator_version, notification_id, recorded_at, state FROM stored_events
                          WHERE originator_id = id AND notification_id <= $2 AND topic IN {LANDMARKS}
                          ORDER BY notification_id DESC LIMIT 1) AS last,
                 LATERAL (SELECT last.topic, last.state WHERE last.topic IN {_OWNERS}
                          UNION ALL
                          (SELECT topic, state FROM stored_events
                           WHERE last.topic NOT IN {_OWNERS}
                             AND originator_id = id AND notification_id <= $2 AND topic IN {_OWNERS}
                           ORDER BY notification_id DESC LIMIT 1)) AS owner""",
        account_ids,
        position,
    )
    return {row["id"]: _to_landmarks(row) for row in rows}


async def read_funds(reader: Reader, account_ids: Collection[UUID], position: int) -> dict[UUID, list[Recorded]]:
    """Return each account's last event of each topic of `FUNDS_EVENTS`, and of `INCOMING_EVENTS`, up to a position."""
    members = "notification_id, originator_id, originator_version, recorded_at, topic, state"
    rows = await reader.fetch(
        f"""SELECT last.* FROM unnest($1::uuid[]) AS id, LATERAL (
                SELECT found.* FROM unnest(ARRAY[{FUNDS.strip("()")}]) AS name, LATERAL (
                    SELECT {members} FROM stored_events
                    WHERE originator_id = id AND topic = name AND topic IN {FUNDS} AND notification_id <= $2
                    ORDER BY notification_id DESC LIMIT 1) AS found
                UNION ALL
                (SELECT {members} FROM stored_events
                 WHERE originator_id = id AND topic IN {INCOMING} AND notification_id <= $2
                 ORDER BY notification_id DESC LIMIT 1)) AS last
            ORDER BY notification_id""",
        account_ids,
        position,
    )
    events: dict[UUID, list[Recorded]] = {}
    for row in rows:
        events.setdefault(row[1], []).append(to_recorded(row))
    return events


def to_recorded(row: Record) -> Recorded:
    """Decode a row of `SELECT_RECORDED`."""
    return Recorded(row[0], row[1], row[2], row[3], decode_event(row[4], row[5]))


async def _scan(reader: Reader, after: int, limit: int, matching: EventFilter) -> list[StoredEvent]:
    if matching.stream_id is not None:
        where = "originator_id = $3 AND originator_version > (SELECT version_at($3, $1))"
        return await _fetch(reader, where, "originator_version", after, limit, matching.stream_id)
    if matching.topic is not None and matching.topic not in _FREQUENT_TOPICS:
        where = f"topic = $3 AND topic NOT IN {FREQUENT} AND notification_id > $1"
        return await _fetch(reader, where, "notification_id", after, limit, matching.topic)
    return await _fetch(reader, "notification_id > $1", "notification_id", after, limit)


async def _fetch(reader: Reader, where: str, order: str, *arguments: object) -> list[StoredEvent]:
    rows = await reader.fetch(f"{_SELECT_STORED} WHERE {where} ORDER BY {order} LIMIT $2", *arguments)
    return [*map(StoredEvent._make, rows)]


def _to_landmarks(row: Record) -> Landmarks:
    match decode_event(row["owner_topic"], row["owner_state"]):
        case AccountOpened(owner_id=owner_id) | AccountOwnerChanged(owner_id=owner_id):
            closed = row["topic"] == TOPICS[AccountClosed]
            return Landmarks(owner_id, closed, row["originator_version"], row["notification_id"], row["recorded_at"])
        case other:
            raise ValueError(f"not an event about an owner: {other}")
