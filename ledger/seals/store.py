"""The table of seals, and the leaves of events to be sealed. No other module has SQL on seals."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from asyncpg import Record

from ledger.seals.blocks import Block, Header, SignedHeader
from ledger.seals.merkle import HASH_BYTES
from ledger.store.connections import Connection, Reader
from ledger.store.rows import ROWS_BETWEEN
from ledger.store.sql import LOG_END, count_after, time_after


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
sha256('\x00' || uuid_send(originator_id) || int8send(originator_version) || int8send(notification_id)
       || int8send((extract(epoch FROM recorded_at) * 1000000)::bigint) || boolsend(command_id IS NOT NULL)
       || uuid_send(coalesce(command_id, '00000000-0000-0000-0000-000000000000'))
       || int4send(octet_length(convert_to(topic, 'UTF8'))) || convert_to(topic, 'UTF8') || state)"""
_LEAVES = f"""
SELECT count(*), count(leaf), max(notification_id), string_agg(leaf, '' ORDER BY notification_id)
FROM (SELECT notification_id, {_LEAF} AS leaf FROM ({ROWS_BETWEEN}) AS page) AS hashed"""


async def read_clock(reader: Reader) -> datetime:
    """Return the time of the database's clock."""
    time: datetime = await reader.fetchval("SELECT clock_timestamp()")
    return time


async def insert(connection: Connection, block: Block) -> None:
    """Add a block."""
    header = block.signed_header.block
    await connection.execute(
        """INSERT INTO seals (number, first_position, last_position, count, root, previous, sealed_at, key_id,
                              signature, leaves)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)""",
        header.number,
        header.first_position,
        header.last_position,
        header.count,
        header.root,
        header.previous,
        header.sealed_at,
        header.key_id,
        block.signed_header.signature,
        b"".join(block.leaves),
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


_COLUMNS = "number, first_position, last_position, count, root, previous, sealed_at, key_id, signature"
_SELECT = f"SELECT {_COLUMNS} FROM seals"
_SELECT_ALL = f"SELECT {_COLUMNS}, leaves FROM seals"


def _decode_header(row: Record, ledger_id: UUID) -> SignedHeader:
    return SignedHeader(Header(ledger_id, *row[:8]), row[8])


def _decode_block(row: Record, ledger_id: UUID) -> Block:
    return Block(_decode_header(row, ledger_id), _split_hashes(row[9]))


def _split_hashes(hashes: bytes) -> tuple[bytes, ...]:
    return tuple(hashes[start : start + HASH_BYTES] for start in range(0, len(hashes), HASH_BYTES))
