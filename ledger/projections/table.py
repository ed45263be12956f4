"""The one description of a read table: its columns, key, indexes, and how an array of values becomes a column.

Inserts, updates, rebuilds and verification follow from it, and a test compares it with the migrated database. A
statement names each column once: the array that carries its values has the column's own name, under `new`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from operator import attrgetter
from typing import Any, Literal, NamedTuple

from ledger.store.statements import Statement, booleans, columns, documents, integers, texts, times, uuids

GIVEN = "new.{name}"  # the value itself
POSITION = "reserved.first_position + new.{name}"  # a position, which counts from 0 on its way into the log
TIME = "coalesce(new.{name}, reserved.recorded_at)"  # the time of an event, which has none on its way into the log
KEEP_OR_CHANGE = "coalesce({new}, {table}.{name})"  # null leaves the value unchanged
CHANGE = "{new}"

_ENCODERS: Mapping[str, Callable[[Iterable[Any]], bytes]] = {
    "uuid": uuids,
    "bigint": integers,
    "smallint": integers,
    "numeric": integers,
    "timestamptz": times,
    "text": texts,
    "boolean": booleans,
    "jsonb": documents,
}
_ARRAYS = {"smallint": "bigint", "numeric": "bigint"}  # integers travel in one size


class Column(NamedTuple):
    """A column. `value` and `change` are SQL expressions: its value in a new row, and in an existing row.

    An insert may leave out an `optional` column, which is then null or has its default.
    """

    name: str
    type: str
    value: str = GIVEN
    change: str = KEEP_OR_CHANGE
    optional: bool = False


class Index(NamedTuple):
    """An index: its columns or expressions, the condition of a partial index, and whether it is unique.

    With `writes`, the projection uses this index to find the rows that it changes. `method` is that of PostgreSQL.
    """

    name: str
    on: str
    where: str | None = None
    unique: bool = False
    writes: bool = False
    method: str = "btree"


@dataclass(frozen=True, eq=False)
class Table:
    """A table of a projection. `stream` is the column with the stream whose events make a row.

    `changes` says how rows change by key after their insert: never, too rarely to need an index, by updates or by
    upserts.
    """

    name: str
    key: tuple[str, ...]
    stream: str
    columns: tuple[Column, ...]
    indexes: tuple[Index, ...] = ()
    changes: Literal["never", "rarely", "update", "upsert"] = "rarely"

    @cached_property
    def by_name(self) -> Mapping[str, Column]:
        """Return the columns by their names."""
        return {column.name: column for column in self.columns}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Return the names of the columns."""
        return tuple(column.name for column in self.columns)


def encode_columns(table: Table, names: Iterable[str], rows: Sequence[Any]) -> dict[str, bytes]:
    """Encode the attributes of `rows` that have the names of columns."""
    return {name: _ENCODERS[table.by_name[name].type](map(attrgetter(name), rows)) for name in names}


def insert(table: Table, values: Mapping[str, bytes]) -> Statement:
    """Return the insert of rows, given as an encoded array per column. Raises `TypeError` if a column is missing."""
    names = tuple(values)
    return Statement(_insert_sql(table, names), tuple(values.values()), (table.name, names))


def upsert(table: Table, values: Mapping[str, bytes]) -> Statement:
    """Return the insert of rows, which replace those with the same key."""
    return Statement(_upsert_sql(table, tuple(values)), tuple(values.values()))


def update(table: Table, values: Mapping[str, bytes]) -> Statement:
    """Return the update of the rows with these keys, in the other columns given."""
    return Statement(_update_sql(table, tuple(values)), tuple(values.values()))


@lru_cache(maxsize=256)
def _insert_sql(table: Table, names: tuple[str, ...]) -> str:
    missing = [column.name for column in table.columns if not column.optional and column.name not in names]
    if missing:
        raise TypeError(f"an insert into {table.name} lacks {', '.join(missing)}")
    return f"INSERT INTO {table.name} ({', '.join(names)}) {select_sql(table, names, names)}"


@lru_cache(maxsize=256)
def select_sql(table: Table, names: tuple[str, ...], wanted: tuple[str, ...]) -> str:
    """Return the query for the `wanted` columns of rows whose values are given for `names`; others are null."""
    values = (
        f"{_format_value(column)} AS {column.name}" if column.name in names else f"NULL::{column.type} AS {column.name}"
        for column in map(table.by_name.__getitem__, wanted)
    )
    return f"SELECT {', '.join(values)} FROM {_format_arrays(table, names)}, reserved"


@lru_cache(maxsize=256)
def _upsert_sql(table: Table, names: tuple[str, ...]) -> str:
    changes = ", ".join(f"{name} = excluded.{name}" for name in names if name not in table.key)
    return f"{_insert_sql(table, names)} ON CONFLICT ({', '.join(table.key)}) DO UPDATE SET {changes}"


@lru_cache(maxsize=256)
def _update_sql(table: Table, names: tuple[str, ...]) -> str:
    changes = ", ".join(f"{name} = {_format_change(table, name)}" for name in names if name not in table.key)
    where = " AND ".join(f"{table.name}.{name} = new.{name}" for name in table.key)
    return f"UPDATE {table.name} SET {changes} FROM {_format_arrays(table, names)}, reserved WHERE {where}"


def _format_arrays(table: Table, names: Sequence[str]) -> str:
    types = [table.by_name[name].type for name in names]
    return f"{columns(*(_ARRAYS.get(kind, kind) for kind in types))} AS new({', '.join(names)})"


def _format_value(column: Column) -> str:
    return column.value.format(name=column.name)


def _format_change(table: Table, name: str) -> str:
    column = table.by_name[name]
    return column.change.format(new=_format_value(column), table=table.name, name=name)
