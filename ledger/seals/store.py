"""The table of seals, the leaves of what is to be sealed, and how far that may be. The only place with SQL on seals."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from asyncpg import Record

from ledger.seals.blocks import Block, Header, SignedHeader
from ledger.seals.merkle import HASH_BYTES
from ledger.store.connections import Reader
from ledger.store.log import ROWS_BETWEEN
from ledger.store.sql import LOG_END, count_after, time_after


class SealStatus(NamedTuple):
    """How far the log is sealed, and by how much that lags behind."""

    blocks: int
    sealed_position: int
    last_position: int
    unsealed_events: int
    oldest_unsealed_at: datetime | None


async def status(reader: Reader) -> SealStatus:
    """How the seals stand."""
    row = await reader.fetchrow(
        f"""WITH sealed AS (SELECT count(*) AS blocks, coalesce(max(last_position), 0) AS position FROM seals)
            SELECT blocks, position, {LOG_END}, {count_after("position")}, {time_after("position")} FROM sealed"""
    )
    assert row is not None  # noqa: S101 - it counts
    return SealStatus(*row)


async def sealed_events(reader: Reader) -> int:
    """How many events the seals are said to cover."""
    count: int = await reader.fetchval("SELECT coalesce(sum(count), 0)::bigint FROM seals")
    return count


class Leaves(NamedTuple):
    """The leaves of some events, of which the last is at a position; None if one of them has no leaf."""

    hashes: tuple[bytes, ...] | None
    last_position: int


async def leaves(reader: Reader, *, after_position: int, upto_position: int, limit: int) -> Leaves | None:
    """The leaves of the next events, at most `limit`, after one position and up to another; None if there are none."""
    row = await reader.fetchrow(_LEAVES, after_position, upto_position, limit)
    assert row is not None  # noqa: S101 - it counts
    count, hashed, last_position, hashes = row
    if not count:
        return None
    return Leaves(_split(hashes) if hashed == count else None, last_position)


# The same bytes as in `blocks.event_leaf`. Hashed here, an event costs half of what it does when it is read first.
_LEAF = r"""
sha256('\x00' || uuid_send(originator_id) || int8send(originator_version) || int8send(notification_id)
       || int8send((extract(epoch FROM recorded_at) * 1000000)::bigint) || boolsend(command_id IS NOT NULL)
       || uuid_send(coalesce(command_id, '00000000-0000-0000-0000-000000000000'))
       || int4send(octet_length(convert_to(topic, 'UTF8'))) || convert_to(topic, 'UTF8') || state)"""
_LEAVES = f"""
SELECT count(*), count(leaf), max(notification_id), string_agg(leaf, '' ORDER BY notification_id)
FROM (SELECT notification_id, {_LEAF} AS leaf FROM ({ROWS_BETWEEN}) AS page) AS hashed"""


async def now(reader: Reader) -> datetime:
    """The database's clock."""
    found: datetime = await reader.fetchval("SELECT clock_timestamp()")
    return found


async def insert(reader: Reader, block: Block) -> None:
    """Add a block."""
    header = block.head.block
    await reader.execute(
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
        block.head.signature,
        b"".join(block.leaves),
    )


async def last(reader: Reader, ledger_id: UUID) -> SignedHeader | None:
    """The newest block's header."""
    row = await reader.fetchrow(f"{_SELECT} ORDER BY number DESC LIMIT 1")
    return None if row is None else _head(row, ledger_id)


async def find(reader: Reader, ledger_id: UUID, number: int) -> SignedHeader | None:
    """The header of a block."""
    row = await reader.fetchrow(f"{_SELECT} WHERE number = $1", number)
    return None if row is None else _head(row, ledger_id)


async def heads(reader: Reader, ledger_id: UUID, *, after_number: int, limit: int) -> list[SignedHeader]:
    """Up to `limit` headers, in order, after that of a number."""
    rows = await reader.fetch(f"{_SELECT} WHERE number > $1 ORDER BY number LIMIT $2", after_number, limit)
    return [_head(row, ledger_id) for row in rows]


async def blocks(reader: Reader, ledger_id: UUID, *, after_number: int | None, limit: int) -> list[Block]:
    """Up to `limit` blocks, in order, after that of a number; from the first there is, if that is None."""
    rows = await reader.fetch(
        f"{_SELECT_ALL} WHERE $1::bigint IS NULL OR number > $1 ORDER BY number LIMIT $2", after_number, limit
    )
    return [_block(row, ledger_id) for row in rows]


async def covering(reader: Reader, ledger_id: UUID, position: int) -> Block | None:
    """The block that a position is in; None while it is not sealed."""
    row = await reader.fetchrow(f"{_SELECT_ALL} WHERE last_position >= $1 ORDER BY last_position LIMIT 1", position)
    return None if row is None else _block(row, ledger_id)


_COLUMNS = "number, first_position, last_position, count, root, previous, sealed_at, key_id, signature"
_SELECT = f"SELECT {_COLUMNS} FROM seals"
_SELECT_ALL = f"SELECT {_COLUMNS}, leaves FROM seals"


def _head(row: Record, ledger_id: UUID) -> SignedHeader:
    return SignedHeader(Header(ledger_id, *row[:8]), row[8])


def _block(row: Record, ledger_id: UUID) -> Block:
    return Block(_head(row, ledger_id), _split(row[9]))


def _split(hashes: bytes) -> tuple[bytes, ...]:
    return tuple(hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES))
