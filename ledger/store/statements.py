"""SQL as data: what is to be written is collected first, and then done in one round trip.

Columns travel as arrays that are encoded here, in PostgreSQL's binary form (array_send and the send functions of the
elements; manual, 8.15): asyncpg's own encoding asks two abstract base classes about every element, and PostgreSQL takes
half as long to read this as the text (decision 7).
"""

import re
import struct
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple, cast
from uuid import UUID

from asyncpg import Record

from ledger.store.connections import Connection
from ledger.values.asyncpg_private import add_array_codecs


class Statement(NamedTuple):
    """A set-based SQL statement that changes rows, with the values of its parameters, in order.

    A column is an array that one of the functions below has encoded.
    """

    sql: str
    values: tuple[Any, ...]


async def run_together(connection: Connection, reserved: Statement, statements: Sequence[Statement]) -> Record:
    """Run statements that do not depend on each other's effects as one (WITH queries, PostgreSQL manual 7.8).

    All of them can refer to the one row of `reserved`, which is also the result.
    """
    batch = [reserved, *statements]
    sql = _combined(tuple((statement.sql, len(statement.values)) for statement in batch))
    row: Record | None = await connection.fetchrow(sql, *(value for statement in batch for value in statement.values))
    assert row is not None  # noqa: S101 - `reserved` has one row
    return row


def columns(*types: str) -> str:
    """The `unnest` of arrays of these types, the values of a statement in order."""
    return f"unnest({', '.join(f'${number}::{kind}[]' for number, kind in enumerate(types, 1))})"


def uuids(values: Iterable[UUID | None]) -> bytes:
    """A `uuid[]`."""
    listed = [*values]
    try:
        packed = [b"", *[value.bytes for value in cast("list[UUID]", listed)]]
    except AttributeError:  # there are nulls
        return _array(2950, [NULL if value is None else _SIXTEEN + value.bytes for value in listed])
    return _pack_header(1, 1, 2950, len(listed), 1) + _SIXTEEN.join(packed)


def integers(values: Iterable[int | None]) -> bytes:
    """A `bigint[]`."""
    return _array(20, [NULL if value is None else _pack_integer(8, value) for value in values])


def booleans(values: Iterable[bool | None]) -> bytes:
    """A `boolean[]`."""
    return _array(16, [NULL if value is None else _pack_boolean(1, value) for value in values])


def words(values: Iterable[str]) -> bytes:
    """A `text[]` of few different texts: topics, kinds, currencies."""
    return _array(25, [_word(value) for value in values])


def texts(values: Iterable[str | None]) -> bytes:
    """A `text[]`."""
    return _array(25, [NULL if value is None else _sized(value.encode()) for value in values])


def blobs(values: Iterable[bytes | None]) -> bytes:
    """A `bytea[]`."""
    return _array(17, [NULL if value is None else _sized(value) for value in values])


def documents(values: Iterable[bytes | None]) -> bytes:
    """A `jsonb[]` of JSON texts."""
    return _array(3802, [NULL if value is None else _sized(b"\x01" + value) for value in values])


def times(values: Iterable[datetime | None]) -> bytes:
    """A `timestamptz[]`."""
    return _array(1184, [NULL if value is None else _pack_integer(8, _microseconds(value)) for value in values])


NULL = b"\xff\xff\xff\xff"
_SIXTEEN = b"\0\0\0\x10"
_pack_integer = struct.Struct("!iq").pack
_pack_boolean = struct.Struct("!i?").pack
_pack_length = struct.Struct("!i").pack
_pack_header = struct.Struct("!5i").pack
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


def _sized(value: bytes) -> bytes:
    return _pack_length(len(value)) + value


@lru_cache(maxsize=1024)
def _word(value: str) -> bytes:
    return _sized(value.encode())


def _microseconds(value: datetime) -> int:
    since = value - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _array(element: int, items: list[bytes]) -> bytes:
    return _pack_header(1, 1, element, len(items), 1) + b"".join(items)


_ENCODERS: dict[tuple[int, str], Callable[[Any], bytes]] = {
    (1000, "_bool"): booleans,
    (1001, "_bytea"): blobs,
    (1009, "_text"): texts,
    (1016, "_int8"): integers,
    (1185, "_timestamptz"): times,
    (2951, "_uuid"): uuids,
    (3807, "_jsonb"): documents,
}


def send_encoded_arrays(connection: Connection) -> None:
    """Let this connection take arrays that are already encoded, as those of a `Statement`, beside plain lists."""
    add_array_codecs(connection, {kind: _unless_encoded(encoder) for kind, encoder in _ENCODERS.items()})


def _unless_encoded(encoder: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    return lambda value: value if type(value) is bytes else encoder(value)


@lru_cache(maxsize=1024)
def _combined(statements: tuple[tuple[str, int], ...]) -> str:
    parts, offset = [], 0
    for number, (sql, count) in enumerate(statements):
        name = f"s{number} AS" if number else "reserved AS MATERIALIZED"
        parts.append(f"{name} ({_renumbered(sql, offset)})")
        offset += count
    return f"WITH {', '.join(parts)} SELECT * FROM reserved"


def _renumbered(sql: str, offset: int) -> str:
    return re.sub(r"\$(\d+)", lambda match: f"${int(match[1]) + offset}", sql)
