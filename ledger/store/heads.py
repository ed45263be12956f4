"""The heads of streams: what is read before a decision, instead of all events of the stream."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from uuid import UUID

import msgspec

from ledger.events import HEADLESS, TOPICS, Recorded, State, decode_state, encode, evolve
from ledger.store.connections import Reader
from ledger.store.reader import SELECT_RECORDED, to_recorded
from ledger.store.statements import Statement, blobs, columns, integers, uuids, words


class Head(msgspec.Struct, frozen=True, gc=False):
    """A stream's last version and what its events add up to. A stream that does not exist is at version 0."""

    version: int
    state: State | None


NO_STREAM = Head(0, None)


async def read_heads(reader: Reader, stream_ids: Collection[UUID]) -> dict[UUID, Head]:
    """The heads of those of these streams that there are; short streams keep none and are folded from their events."""
    rows = await reader.fetch(
        "SELECT originator_id, version, topic, state FROM stream_heads WHERE originator_id = ANY($1)",
        stream_ids,
    )
    heads = {row[0]: Head(row[1], decode_state(row[2], row[3])) for row in rows}
    if rest := [stream_id for stream_id in stream_ids if stream_id not in heads]:
        heads |= await _fold_streams(reader, rest)
    return heads


async def _fold_streams(reader: Reader, stream_ids: Collection[UUID]) -> dict[UUID, Head]:
    rows = await reader.fetch(
        f"{SELECT_RECORDED} WHERE originator_id = ANY($1) ORDER BY originator_id, originator_version", stream_ids
    )
    return fold_heads(to_recorded(row) for row in rows)


def fold_heads(events: Iterable[Recorded]) -> dict[UUID, Head]:
    """What events add up to, for each of their streams."""
    heads: dict[UUID, Head] = defaultdict(lambda: NO_STREAM)
    for row in events:
        heads[row.stream_id] = Head(row.version, evolve(heads[row.stream_id].state, row.event))
    return dict(heads)


def replace_heads(heads: Mapping[UUID, Head], existing: Collection[UUID] = ()) -> list[Statement]:
    """Write the new heads of streams; it takes half as long for those that are named as existing.

    Short streams get none.
    """
    kept = {stream_id: head for stream_id, head in heads.items() if not isinstance(head.state, HEADLESS)}
    old = {stream_id: head for stream_id, head in kept.items() if stream_id in existing}
    new = {stream_id: head for stream_id, head in kept.items() if stream_id not in existing}
    return [Statement(sql, _head_columns(some)) for sql, some in ((_UPDATE_HEADS, old), (_UPSERT_HEADS, new)) if some]


_UPDATE_HEADS = f"""UPDATE stream_heads SET version = new.version, state = new.state
                    FROM {columns("uuid", "bigint", "text", "bytea")} AS new(stream_id, version, topic, state)
                    WHERE originator_id = stream_id"""
_UPSERT_HEADS = f"""INSERT INTO stream_heads (originator_id, version, topic, state)
                    SELECT * FROM {columns("uuid", "bigint", "text", "bytea")}
                    ON CONFLICT (originator_id) DO UPDATE SET version = excluded.version, state = excluded.state"""


def _head_columns(heads: Mapping[UUID, Head]) -> tuple[bytes, ...]:
    return (
        uuids(heads),
        integers(head.version for head in heads.values()),
        words(TOPICS[type(head.state)] for head in heads.values() if head.state is not None),
        blobs(encode(head.state) for head in heads.values()),
    )
