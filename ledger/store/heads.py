"""The heads of streams, which deciders read instead of folding all events of a stream."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from uuid import UUID

import msgspec

from ledger.events import HEADLESS, TOPICS, Recorded, State, decode_state, evolve
from ledger.store.connections import Connection, Reader
from ledger.store.reader import SELECT_RECORDED, to_recorded
from ledger.store.statements import Statement, blobs, columns, integers, uuids, words
from ledger.store.tables import STREAM_HEADS


class Head(msgspec.Struct, frozen=True, gc=False):
    """A stream's last version and state. A stream without events is at version 0."""

    version: int
    state: State | None


NO_STREAM = Head(0, None)
# The balance, which changes, comes first. What follows is then the same in old and new row, and not in the WAL.
_encode_state = msgspec.json.Encoder(order="sorted").encode


async def read_heads(reader: Reader, stream_ids: Collection[UUID]) -> dict[UUID, Head]:
    """Return the heads of the streams that exist. Short streams store no head: their events are folded."""
    rows = await reader.fetch(
        "SELECT originator_id, version, topic, state FROM stream_heads WHERE originator_id = ANY($1)",
        stream_ids,
    )
    heads = {row[0]: Head(row[1], decode_state(row[2], row[3])) for row in rows}
    if rest := [stream_id for stream_id in stream_ids if stream_id not in heads]:
        heads |= await _fold_streams(reader, rest)
    return heads


async def any_exists(reader: Reader, stream_ids: Collection[UUID]) -> bool:
    """Return whether one of the streams exists."""
    # Each id is looked up in the index: `= ANY` would let the planner hope for an early match in a scan of the table.
    found = await reader.fetchval(
        """SELECT EXISTS (SELECT FROM unnest($1::uuid[]) AS chosen (id), LATERAL (
               SELECT FROM stored_events WHERE originator_id = chosen.id AND originator_version = 1 LIMIT 1
           ) AS found)""",
        stream_ids,
    )
    return bool(found)


async def find_locked(
    connection: Connection, tables: Iterable[tuple[str, str]], stream_ids: Collection[UUID]
) -> set[UUID]:
    """Return the streams of which another session has locked the head, so that a write would wait for it.

    The same goes for their rows in further `tables`, each with its column of stream ids.
    """
    locked: set[UUID] = set()
    for table, column in ((STREAM_HEADS, "originator_id"), *tables):
        sql = f"SELECT {column} FROM {table} WHERE {column} = ANY($1)"
        existing = await connection.fetch(sql, stream_ids)
        free = await connection.fetch(f"{sql} FOR NO KEY UPDATE SKIP LOCKED", stream_ids)
        locked |= {row[0] for row in existing} - {row[0] for row in free}
    return locked


async def _fold_streams(reader: Reader, stream_ids: Collection[UUID]) -> dict[UUID, Head]:
    rows = await reader.fetch(
        f"{SELECT_RECORDED} WHERE originator_id = ANY($1) ORDER BY originator_id, originator_version", stream_ids
    )
    return fold_heads(to_recorded(row) for row in rows)


def fold_heads(events: Iterable[Recorded]) -> dict[UUID, Head]:
    """Fold events into the head of each of their streams."""
    heads: dict[UUID, Head] = defaultdict(lambda: NO_STREAM)
    for row in events:
        heads[row.stream_id] = Head(row.version, evolve(heads[row.stream_id].state, row.event))
    return dict(heads)


def replace_heads(heads: Mapping[UUID, Head], existing: Collection[UUID] = ()) -> list[Statement]:
    """Write new heads of streams, except of short streams, which store none.

    A head in `existing` is updated, which takes half as long as an upsert.
    """
    updated: dict[UUID, Head] = {}
    upserted: dict[UUID, Head] = {}
    for stream_id, head in heads.items():
        if type(head.state) not in HEADLESS:
            (updated if stream_id in existing else upserted)[stream_id] = head
    groups = (_UPDATE_HEADS, updated), (_UPSERT_HEADS, upserted)
    return [Statement(sql, _encode_heads(group)) for sql, group in groups if group]


_UPDATE_HEADS = f"""UPDATE stream_heads SET version = new.version, state = new.state
                    FROM {columns("uuid", "bigint", "text", "bytea")} AS new(stream_id, version, topic, state)
                    WHERE originator_id = stream_id"""
_UPSERT_HEADS = f"""INSERT INTO stream_heads (originator_id, version, topic, state)
                    SELECT * FROM {columns("uuid", "bigint", "text", "bytea")}
                    ON CONFLICT (originator_id) DO UPDATE SET version = excluded.version, state = excluded.state"""


def _encode_heads(heads: Mapping[UUID, Head]) -> tuple[bytes, ...]:
    states = [head.state for head in heads.values()]
    return (
        uuids(heads),
        integers([head.version for head in heads.values()]),
        words([TOPICS[type(state)] for state in states if state is not None]),
        blobs([_encode_state(state) for state in states]),
    )
