"""SQL as data: statements are collected first and then run in one round trip.

Columns are sent as arrays, which this module encodes in PostgreSQL's binary form (array_send and the send functions of
the elements; manual, 8.15). asyncpg's own encoding checks every element against two abstract base classes. PostgreSQL
reads the binary form in half the time of the text form (decision 7).
"""

import re
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from typing import Any, NamedTuple
from uuid import UUID

from asyncpg import Record

from ledger.store.connections import Connection
from ledger.values.asyncpg_private import add_array_codecs, remove_array_codecs


class Statement(NamedTuple):
    """A set-based SQL statement that changes rows, with the values of its parameters, in order.

    A value that is a column is an array encoded by one of the functions below. `inserts` has the table and the columns
    of a statement that only inserts rows, which can therefore be loaded or compared in another way.
    """

    sql: str
    values: tuple[Any, ...]
    inserts: tuple[str, tuple[str, ...]] | None = None


async def run_together(connection: Connection, reserved: Statement, statements: Sequence[Statement]) -> Record:
    """Run statements, which must not depend on each other's effects, as one (WITH queries, PostgreSQL manual 7.8).

    Each can refer to the single row of `reserved`, which is also returned.
    """
    together = [reserved, *statements]
    sql = _combine(tuple((statement.sql, len(statement.values)) for statement in together))
    row: Record | None = await connection.fetchrow(
        sql, *(value for statement in together for value in statement.values)
    )
    assert row is not None  # noqa: S101 - `reserved` has one row
    return row


def columns(*types: str) -> str:
    """Return the `unnest` of arrays of these types, which are a statement's parameters in order."""
    return f"unnest({', '.join(f'${number}::{kind}[]' for number, kind in enumerate(types, 1))})"


def uuids(values: Iterable[UUID | None]) -> bytes:
    """Encode a `uuid[]`."""
    listed = [*values]
    try:
        packed = [b"", *map(_get_bytes, listed)]
    except AttributeError:  # there are nulls
        return _encode_array(2950, [NULL if value is None else _SIXTEEN + value.bytes for value in listed])
    return _pack_header(1, 1, 2950, len(listed), 1) + _SIXTEEN.join(packed)


def integers(values: Iterable[int | None]) -> bytes:
    """Encode a `bigint[]`."""
    listed = [*values]
    sized: list[int | None] = [8] * (2 * len(listed))
    sized[1::2] = listed
    try:
        return _integer_packer(len(listed))(1, 1, 20, len(listed), 1, *sized)
    except struct.error:  # there are nulls
        return _encode_array(20, [NULL if value is None else _pack_integer(8, value) for value in listed])


def booleans(values: Iterable[bool | None]) -> bytes:
    """Encode a `boolean[]`."""
    return _encode_array(16, [NULL if value is None else _pack_boolean(1, value) for value in values])


def words(values: Iterable[str]) -> bytes:
    """Encode a `text[]` of few distinct texts, such as topics or currencies; each is encoded once and cached."""
    return _encode_array(25, [*map(_encode_word, values)])


def texts(values: Iterable[str | None]) -> bytes:
    """Encode a `text[]`."""
    return _encode_array(25, [NULL if value is None else _prefix_length(value.encode()) for value in values])


def blobs(values: Iterable[bytes | None]) -> bytes:
    """Encode a `bytea[]`."""
    return _encode_array(17, [NULL if value is None else _pack_length(len(value)) + value for value in values])


def documents(values: Iterable[bytes | None]) -> bytes:
    """Encode JSON texts as a `jsonb[]`."""
    return _encode_array(
        3802, [NULL if value is None else _pack_length(len(value) + 1) + b"\x01" + value for value in values]
    )


def times(values: Iterable[datetime | None]) -> bytes:
    """Encode a `timestamptz[]`."""
    return _encode_array(
        1184, [NULL if value is None else _pack_integer(8, _to_microseconds(value)) for value in values]
    )


NULL = b"\xff\xff\xff\xff"
_SIXTEEN = b"\0\0\0\x10"
_pack_integer = struct.Struct("!iq").pack
_pack_boolean = struct.Struct("!i?").pack
_pack_length = struct.Struct("!i").pack
_pack_header = struct.Struct("!5i").pack
_get_bytes = attrgetter("bytes")
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


def _prefix_length(value: bytes) -> bytes:
    return _pack_length(len(value)) + value


@lru_cache(maxsize=1024)
def _integer_packer(count: int) -> Callable[..., bytes]:
    """Return the function that packs the header of an array, and the size and the value of each of its integers."""
    return struct.Struct("!5i" + "iq" * count).pack


@lru_cache(maxsize=1024)
def _encode_word(value: str) -> bytes:
    return _prefix_length(value.encode())


def _to_microseconds(value: datetime) -> int:
    since = value - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _encode_array(element: int, items: list[bytes]) -> bytes:
    return _pack_header(1, 1, element, len(items), 1) + b"".join(items)


_WIDTHS = {16: 1, 20: 8, 1184: 8, 2950: 16}  # bytes of a value, by the oid of its type
_COPY_HEADER, _COPY_END = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"
_pack_count, _ARRAY_HEADER = struct.Struct("!h").pack, struct.Struct("!5i")


def copy_content(columns: Sequence[bytes]) -> bytes | None:
    """Return encoded columns as rows in the binary form of COPY; None if a column has nulls or values of any length.

    A field of a row has the form of an element of an array, so rows are put together byte by byte of all rows at once.
    """
    fields = [field for field in map(_array_elements, columns) if field is not None]
    if len(fields) < len(columns):
        return None
    start, size = 2, 2 + sum(width for width, _ in fields)
    rows = bytearray(size * (len(fields[0][1]) // fields[0][0]))
    for number, byte in enumerate(_pack_count(len(fields))):
        rows[number::size] = bytes([byte]) * (len(rows) // size)
    for width, elements in fields:
        for number in range(width):
            rows[start + number :: size] = elements[number::width]
        start += width
    return b"".join((_COPY_HEADER, rows, _COPY_END))


def _array_elements(array: bytes) -> tuple[int, bytes] | None:
    """Return the size of the elements of an encoded array, and all of them; None if they differ in size."""
    _, _, oid, count, _ = _ARRAY_HEADER.unpack_from(array)
    elements, width = array[_ARRAY_HEADER.size :], 4 + _WIDTHS.get(oid, 0)
    return (width, elements) if count and len(elements) == count * width else None


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
    """Let a connection accept encoded arrays, such as those of a `Statement`, as well as plain lists."""
    add_array_codecs(connection, {kind: _pass_encoded(encoder) for kind, encoder in _ENCODERS.items()})


@contextmanager
def accept_encoded_arrays(connection: Connection) -> Iterator[None]:
    """Let a connection that decodes arrays accept encoded ones, in statements that it prepares in this context."""
    send_encoded_arrays(connection)
    try:
        yield
    finally:
        remove_array_codecs(connection, _ENCODERS)


def _pass_encoded(encoder: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    return lambda value: value if type(value) is bytes else encoder(value)


@lru_cache(maxsize=1024)
def _combine(statements: tuple[tuple[str, int], ...]) -> str:
    parts, offset = [], 0
    for number, (sql, count) in enumerate(statements):
        name = f"s{number} AS" if number else "reserved AS MATERIALIZED"
        parts.append(f"{name} ({renumber(sql, offset)})")
        offset += count
    return f"WITH {', '.join(parts)} SELECT * FROM reserved"


def renumber(sql: str, offset: int) -> str:
    """Return the statement with `offset` added to the numbers of its parameters."""
    return re.sub(r"\$(\d+)", lambda match: f"${int(match[1]) + offset}", sql)
