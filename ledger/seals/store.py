"""The table of seals, and the leaves of events to be sealed. No other module has SQL on seals."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from asyncpg import Record

from ledger.seals.blocks import Block, CommandTree, Header, SignedHeader
from ledger.seals.merkle import HASH_BYTES
from ledger.store.command_rows import digests_of
from ledger.store.connections import Connection, Reader
from ledger.store.rows import ROWS_BETWEEN
from ledger.store.sql import LOG_END, count_after, time_after

MAX_UNSEALED = 100_000  # events that are counted for a progress


class SealStatus(NamedTuple):
    """The extent of the sealed log, and the events that are not sealed yet."""

    blocks: int
    sealed_position: int
    last_position: int
    unsealed_events: int
    oldest_unsealed_at: datetime | None


async def read_status(reader: Reader) -> SealStatus:
    """Return the number of blocks, the last sealed position and the backlog."""
    row = await reader.fetchrow(
        f"""WITH sealed AS (SELECT count(*) AS blocks, coalesce(max(last_position), 0) AS position FROM seals)
            SELECT blocks, position, {LOG_END}, {count_after("position")}, {time_after("position")} FROM sealed"""
    )
    assert row is not None  # noqa: S101 - an aggregate always returns a row
    return SealStatus(*row)


class SealProgress(NamedTuple):
    """The last block, and what is not sealed yet: at most `MAX_UNSEALED` events are counted."""

    block: int | None
    sealed_at: datetime | None
    sealed_position: int
    unsealed_events: int
    oldest_unsealed_at: datetime | None


async def read_progress(reader: Reader) -> SealProgress:
    """Return how far the log is sealed, at a cost that does not grow with the log."""
    row = await reader.fetchrow(
        f"""SELECT number, sealed_at, position, {count_after("position", MAX_UNSEALED)}, {time_after("position")}
            FROM (SELECT) AS one LEFT JOIN (
                SELECT number, sealed_at, last_position FROM seals ORDER BY number DESC LIMIT 1) AS last ON true,
                LATERAL (SELECT coalesce(last_position, 0) AS position) AS sealed"""
    )
    assert row is not None  # noqa: S101 - an outer join has a row
    return SealProgress(*row)


async def is_log_empty(reader: Reader) -> bool:
    """Return whether the log has no events and no blocks."""
    is_empty: bool = await reader.fetchval(f"SELECT {LOG_END} = 0 AND NOT EXISTS (SELECT FROM seals)")
    return is_empty


async def count_sealed_events(reader: Reader) -> int:
    """Return the number of events in all blocks, according to their stored headers."""
    count: int = await reader.fetchval("SELECT coalesce(sum(count), 0)::bigint FROM seals")
    return count


class Leaves(NamedTuple):
    """The leaves of some events, and the position of the last one. `hashes` is None if an event cannot be sealed."""

    hashes: tuple[bytes, ...] | None
    last_position: int


async def hash_events(reader: Reader, *, after_position: int, upto_position: int, limit: int) -> Leaves | None:
    """Return the leaves of up to `limit` events between the positions, the second one included; None without events."""
    row = await reader.fetchrow(_LEAVES, after_position, upto_position, limit)
    assert row is not None  # noqa: S101 - an aggregate always returns a row
    count, hashed, last_position, hashes = row
    if not count:
        return None
    return Leaves(_split_hashes(hashes) if hashed == count else None, last_position)


# The same bytes as in `blocks.event_leaf`. To hash in PostgreSQL takes half the time of reading the events first.
_LEAF = r"""
sha256('\x00' || coalesce(digest, decode(repeat('00', 32), 'hex'))
       || uuid_send(originator_id) || int8send(originator_version) || int8send(notification_id)
       || int8send((extract(epoch FROM recorded_at) * 1000000)::bigint) || boolsend(command_id IS NOT NULL)
       || uuid_send(coalesce(command_id, '00000000-0000-0000-0000-000000000000'))
       || int4send(octet_length(convert_to(topic, 'UTF8'))) || convert_to(topic, 'UTF8') || state)"""
_LEAVES = f"""
WITH page AS MATERIALIZED ({ROWS_BETWEEN}),
     digests AS MATERIALIZED ({digests_of("SELECT command_id FROM page")})
SELECT count(*), count(leaf), max(notification_id), string_agg(leaf, '' ORDER BY notification_id)
FROM (SELECT notification_id, {_LEAF} AS leaf FROM page LEFT JOIN digests USING (command_id)) AS hashed"""


async def read_clock(reader: Reader) -> datetime:
    """Return the time of the database's clock."""
    time: datetime = await reader.fetchval("SELECT clock_timestamp()")
    return time


async def insert(connection: Connection, block: Block) -> None:
    """Add a block."""
    header = block.signed_header.block
    tree = header.commands
    await connection.execute(
        f"INSERT INTO seals ({_COLUMNS}, leaves, command_leaves) VALUES ({_PARAMETERS})",
        header.number,
        header.first_position,
        header.last_position,
        header.count,
        header.root,
        header.previous,
        header.sealed_at,
        header.key_id,
        block.signed_header.signature,
        *((None,) * 4 if tree is None else (tree.count, tree.root, tree.since, tree.before)),
        b"".join(block.leaves),
        None if tree is None else b"".join(block.command_leaves),
    )


async def read_last_header(reader: Reader, ledger_id: UUID) -> SignedHeader | None:
    """Return the header of the last block; None without a block."""
    row = await reader.fetchrow(f"{_SELECT} ORDER BY number DESC LIMIT 1")
    return None if row is None else _decode_header(row, ledger_id)


async def find_header(reader: Reader, ledger_id: UUID, number: int) -> SignedHeader | None:
    """Return the header of the block with a number, or None."""
    row = await reader.fetchrow(f"{_SELECT} WHERE number = $1", number)
    return None if row is None else _decode_header(row, ledger_id)


async def list_headers(reader: Reader, ledger_id: UUID, *, after_number: int, limit: int) -> list[SignedHeader]:
    """Return up to `limit` headers, in order, after the block with a number."""
    rows = await reader.fetch(f"{_SELECT} WHERE number > $1 ORDER BY number LIMIT $2", after_number, limit)
    return [_decode_header(row, ledger_id) for row in rows]


async def list_blocks(reader: Reader, ledger_id: UUID, *, after_number: int | None, limit: int) -> list[Block]:
    """Return up to `limit` blocks after the one with a number, in order; from the first block if it is None."""
    rows = await reader.fetch(
        f"{_SELECT_ALL} WHERE $1::bigint IS NULL OR number > $1 ORDER BY number LIMIT $2", after_number, limit
    )
    return [_decode_block(row, ledger_id) for row in rows]


async def find_block_at(reader: Reader, ledger_id: UUID, position: int) -> Block | None:
    """Return the block that covers a position; None while it is not sealed."""
    row = await reader.fetchrow(f"{_SELECT_ALL} WHERE last_position >= $1 ORDER BY last_position LIMIT 1", position)
    return None if row is None else _decode_block(row, ledger_id)


_HEADER = ("number", "first_position", "last_position", "count", "root", "previous", "sealed_at", "key_id", "signature")
_TREE = ("command_count", "command_root", "commands_since", "commands_before")  # null in blocks of version 1
_COLUMNS = ", ".join((*_HEADER, *_TREE))
_PARAMETERS = ", ".join(f"${number}" for number in range(1, len(_HEADER) + len(_TREE) + 3))
_SELECT = f"SELECT {_COLUMNS} FROM seals"
_SELECT_ALL = f"SELECT {_COLUMNS}, leaves, command_leaves FROM seals"


def _decode_header(row: Record, ledger_id: UUID) -> SignedHeader:
    tree = None if None in row[9:13] else CommandTree(*row[9:13])
    columns: tuple[Any, ...] = (*row[:8], tree)
    return SignedHeader(Header(ledger_id, *columns), row[8])


def _decode_block(row: Record, ledger_id: UUID) -> Block:
    return Block(_decode_header(row, ledger_id), _split_hashes(row[13]), _split_hashes(row[14] or b""))


def _split_hashes(hashes: bytes) -> tuple[bytes, ...]:
    return tuple(hashes[start : start + HASH_BYTES] for start in range(0, len(hashes), HASH_BYTES))
