"""The log as it is stored, to read: stretches of it, what a moment's position is, and an account's landmarks.

Positions become visible in order, so all events up to the last one that is visible are, and none of them is missed by
who goes on from there. Whatever is asked, the cost is bounded and does not grow with the log or with the stream.
"""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, NamedTuple, get_args
from uuid import UUID

import msgspec
from asyncpg import Record

from ledger.events import DECODERS, FREQUENT_EVENTS, TOPICS, UPCASTS, Event, Recorded, decode_event
from ledger.events.accounts import (
    FUNDS_EVENTS,
    LANDMARK_EVENTS,
    OWNERSHIP_EVENTS,
    AccountClosed,
    AccountOpened,
    AccountOwnerChanged,
)
from ledger.store.connections import Connection, Reader
from ledger.store.tables import STORED_EVENTS, log_table

EVENT_TOPICS = frozenset({*(TOPICS[cls] for cls in get_args(Event)), *UPCASTS})
LAST = 2**63 - 1  # before any position and any version there can be
SCAN = 2000  # events that are looked at for one stretch, if no index knows where those are that are wanted
READ_LIMIT = 10_000
CREATION = 10  # versions, among which are all that the command that creates a stream appends to it


def _topic_list(group: Iterable[type[Event]]) -> str:
    """Return the topics of a group as an SQL list."""
    return "({})".format(", ".join(f"'{TOPICS[cls]}'" for cls in group))


# The partial indexes of migrations 0004 and 0009 have the same lists, in the same order: a test compares them.
FREQUENT = _topic_list(FREQUENT_EVENTS)
LANDMARKS = _topic_list(LANDMARK_EVENTS)
FUNDS = _topic_list(FUNDS_EVENTS)
_OWNERS = _topic_list(OWNERSHIP_EVENTS)
_FREQUENT_TOPICS = frozenset(TOPICS[cls] for cls in FREQUENT_EVENTS)

SELECT_RECORDED = """SELECT notification_id, originator_id, originator_version, recorded_at, topic, state
             FROM stored_events"""
_SELECT_STORED = """SELECT notification_id, originator_id, originator_version, recorded_at, topic, state, command_id
             FROM stored_events"""


class StoredEvent(NamedTuple):
    """An event with its envelope; `state` is JSON. Events that no command of ours appended have no `command_id`."""

    position: int
    stream_id: UUID
    version: int
    recorded_at: datetime
    topic: str
    state: bytes
    command_id: UUID | None

    def body(self) -> dict[str, Any]:
        """The event as it is shown. Raises `ValueError` if the state is not JSON."""
        return {
            "position": self.position,
            "stream_id": self.stream_id,
            "version": self.version,
            "topic": self.topic,
            "recorded_at": self.recorded_at,
            "command_id": self.command_id,
            "state": msgspec.json.decode(self.state),
        }


class Chosen(NamedTuple):
    """Which events are wanted: all, or those of a topic, of a stream, or of both."""

    topic: str | None = None
    stream_id: UUID | None = None


EVERYTHING = Chosen()


class Stretch(NamedTuple):
    """Events that were wanted, in order, and all that there are up to `reached`. The log goes on to `head`."""

    events: list[StoredEvent]
    reached: int
    head: int

    @property
    def is_last(self) -> bool:
        """Whether there is nothing beyond it yet."""
        return self.reached >= self.head


class Landmarks(NamedTuple):
    """Whose an account is, whether it is closed, and where, when and as which version that was last changed."""

    owner_id: UUID | None
    closed: bool
    version: int
    position: int
    recorded_at: datetime


async def log_end(reader: Reader, schema: str | None = None) -> int:
    """Return the last position of the log, of another schema if one is given; 0 if the log is empty."""
    table = STORED_EVENTS if schema is None else log_table(schema)
    position: int = await reader.fetchval(f"SELECT coalesce(max(notification_id), 0) FROM {table}")
    return position


async def position_at(reader: Reader, moment: datetime) -> int:
    """The position of the last event that was recorded at a moment or before; 0 if there is none."""
    position: int = await reader.fetchval("SELECT position_at($1)", moment)
    return position


async def position_before(reader: Reader, moment: datetime) -> int:
    """The position of the last event that was recorded before a moment; 0 if there is none."""
    position: int = await reader.fetchval("SELECT position_at($1::timestamptz - interval '1 microsecond')", moment)
    return position


class Bounds(NamedTuple):
    """Between which positions, both excluded, something must have happened."""

    after: int
    before: int


async def bounds(reader: Reader, from_time: datetime | None, to_time: datetime | None, before: int) -> Bounds:
    """The bounds of what happened between two times, these included, and before a position."""
    after = 0 if from_time is None else await position_before(reader, from_time)
    return Bounds(after, before if to_time is None else min(before, await position_at(reader, to_time) + 1))


async def position_of(reader: Reader, stream_id: UUID, version: int) -> int:
    """The position of a stream's last event up to a version; 0 if there is none."""
    position: int | None = await reader.fetchval(
        """SELECT notification_id FROM stored_events WHERE originator_id = $1 AND originator_version <= $2
           ORDER BY originator_version DESC LIMIT 1""",
        stream_id,
        version,
    )
    return position or 0


async def position_of_command(reader: Reader, command_id: UUID, recorded_at: datetime) -> int:
    """The position of a command's last event; of a command without any, that of all there was when it was recorded.

    Its events have its time, and positions of the same time are next to each other, so no index on commands is needed.
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


async def version_of_command(reader: Reader, stream_id: UUID, command_id: UUID) -> int:
    """Return the version to which the command that created a stream brought it. Raises `LookupError`."""
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


async def read(reader: Reader, after: int, *, limit: int, chosen: Chosen = EVERYTHING) -> Stretch:
    """Up to `limit` of the events wanted after a position. There may be fewer, or none, and more beyond `reached`."""
    head = await log_end(reader)
    by_index = chosen.topic is None or (chosen.stream_id is None and chosen.topic not in _FREQUENT_TOPICS)
    count = limit if by_index else max(limit, SCAN)
    rows = await _scan(reader, after, count, chosen)
    events = [row for row in rows if chosen.topic in {None, row.topic}][:limit]
    if len(events) == limit:
        return Stretch(events, events[-1].position, head)
    last = rows[-1].position if rows else after
    return Stretch(events, last if len(rows) == count else max(head, last), head)


async def read_stream(
    connection: Connection, stream_id: UUID, *, after_version: int = 0, limit: int = READ_LIMIT
) -> list[Recorded]:
    """Up to `limit` events of one stream, in order, after a version."""
    rows = await connection.fetch(
        f"""{SELECT_RECORDED} WHERE originator_id = $1 AND originator_version > $2
            ORDER BY originator_version LIMIT $3""",
        stream_id,
        after_version,
        limit,
    )
    return [to_recorded(row) for row in rows]


async def read_log(connection: Connection, *, after_position: int = 0, limit: int = READ_LIMIT) -> list[Recorded]:
    """Up to `limit` events of the whole log, in order, after a position. Positions have gaps; no event is skipped."""
    rows = await connection.fetch(
        f"{SELECT_RECORDED} WHERE notification_id > $1 ORDER BY notification_id LIMIT $2", after_position, limit
    )
    return [to_recorded(row) for row in rows]


class Page(NamedTuple):
    """A piece of the log: its `size` events reach up to a position; some of them may have been left out."""

    events: list[Recorded]
    size: int
    reached: int


async def read_page(
    connection: Connection, *, after_position: int, upto_position: int, limit: int, left_out: Collection[str]
) -> Page:
    """The next events of the log, at most `limit`; those of the topics that are left out are only counted."""
    size, reached = await connection.fetchrow(
        """SELECT count(*), coalesce(max(notification_id), $1)
           FROM (SELECT notification_id FROM stored_events WHERE notification_id > $1 AND notification_id <= $2
                 ORDER BY notification_id LIMIT $3) AS page""",
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
    """The landmarks of those of these accounts that existed at a position, as of then."""
    rows = await reader.fetch(
        f"""SELECT id, last.*, owner.topic AS owner_topic, owner.state
            FROM unnest($1::uuid[]) AS id,
                 LATERAL (SELECT topic, originator_version, notification_id, recorded_at FROM stored_events
                          WHERE originator_id = id AND notification_id <= $2 AND topic IN {LANDMARKS}
                          ORDER BY notification_id DESC LIMIT 1) AS last,
                 LATERAL (SELECT topic, state FROM stored_events
                          WHERE originator_id = id AND notification_id <= $2 AND topic IN {_OWNERS}
                          ORDER BY notification_id DESC LIMIT 1) AS owner""",
        account_ids,
        position,
    )
    return {row["id"]: _landmarks(row) for row in rows}


async def read_funds(reader: Reader, account_ids: Collection[UUID], position: int) -> dict[UUID, list[Recorded]]:
    """The last events, in order, that said by a position what of these accounts is held, and what is allowed."""
    rows = await reader.fetch(
        f"""SELECT last.* FROM unnest($1::uuid[]) AS id, unnest(ARRAY[{FUNDS.strip("()")}]) AS name,
                 LATERAL (SELECT notification_id, originator_id, originator_version, recorded_at, topic, state
                          FROM stored_events
                          WHERE originator_id = id AND topic = name AND topic IN {FUNDS} AND notification_id <= $2
                          ORDER BY notification_id DESC LIMIT 1) AS last
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


async def _scan(reader: Reader, after: int, limit: int, chosen: Chosen) -> list[StoredEvent]:
    if chosen.stream_id is not None:
        where = "originator_id = $3 AND originator_version > (SELECT version_at($3, $1))"
        return await _fetch(reader, where, "originator_version", after, limit, chosen.stream_id)
    if chosen.topic is not None and chosen.topic not in _FREQUENT_TOPICS:
        where = f"topic = $3 AND topic NOT IN {FREQUENT} AND notification_id > $1"
        return await _fetch(reader, where, "notification_id", after, limit, chosen.topic)
    return await _fetch(reader, "notification_id > $1", "notification_id", after, limit)


async def _fetch(reader: Reader, where: str, order: str, *arguments: object) -> list[StoredEvent]:
    rows = await reader.fetch(f"{_SELECT_STORED} WHERE {where} ORDER BY {order} LIMIT $2", *arguments)
    return [StoredEvent(*row) for row in rows]


def _landmarks(row: Record) -> Landmarks:
    match decode_event(row["owner_topic"], row["state"]):
        case AccountOpened(owner_id=owner_id) | AccountOwnerChanged(owner_id=owner_id):
            closed = row["topic"] == TOPICS[AccountClosed]
            return Landmarks(owner_id, closed, row["originator_version"], row["notification_id"], row["recorded_at"])
        case other:
            raise ValueError(f"not about an owner: {other}")
