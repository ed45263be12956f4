"""SQL as data: what is to be written is collected first, and then done in one round trip.

Columns travel as array literals (PostgreSQL manual, 8.15.2), one text each: asyncpg's own encoding of arrays asks two
abstract base classes about every element, which took a third of the time of a transfer.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from asyncpg import Connection, Record


class Statement(NamedTuple):
    """A set-based SQL statement that changes rows, with the values of its parameters, in order."""

    sql: str
    values: tuple[str, ...]


async def run_together(connection: "Connection[Any]", reserved: Statement, statements: Sequence[Statement]) -> Record:
    """Run statements that do not depend on each other's effects as one (WITH queries, PostgreSQL manual 7.8).

    All of them can refer to the one row of `reserved`, which is also the result.
    """
    batch = [reserved, *statements]
    sql = _combined(tuple((statement.sql, len(statement.values)) for statement in batch))
    row: Record | None = await connection.fetchrow(sql, *(value for statement in batch for value in statement.values))
    assert row is not None  # noqa: S101 - `reserved` has one row
    return row


def columns(*types: str) -> str:
    """The `unnest` of array literals of these types, the values of a statement in order."""
    return f"unnest({', '.join(f'${number}::text::{kind}[]' for number, kind in enumerate(types, 1))})"


def uuids(values: Iterable[UUID | None]) -> str:
    """A `uuid[]`."""
    return _unquoted(values)


def integers(values: Iterable[int | None]) -> str:
    """A `bigint[]` or any other of whole numbers; booleans do as well."""
    return _unquoted(values)


def words(values: Iterable[str]) -> str:
    """A `text[]` of names of our own, which need no quotes: topics, kinds, currencies."""
    return _literal(list(values))


def texts(values: Iterable[str | None]) -> str:
    """A `text[]`, or any other type's by its text."""
    return _literal(["NULL" if value is None else _quoted(value) for value in values])


def blobs(values: Iterable[bytes | None]) -> str:
    """A `bytea[]`."""
    return _literal(["NULL" if value is None else f'"\\\\x{value.hex()}"' for value in values])


def times(values: Sequence[datetime | None]) -> str:
    """A `timestamptz[]`; the events of one transaction share their time, so few are ever formatted."""
    formatted = {value: "NULL" if value is None else _quoted(value.isoformat()) for value in set(values)}
    return _literal([formatted[value] for value in values])


def _unquoted(values: Iterable[object]) -> str:
    return f"{{{','.join(map(str, values)).replace('None', 'NULL')}}}"  # no id and no number has a None in its text


def _literal(items: list[str]) -> str:
    return "{" + ",".join(items) + "}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


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
