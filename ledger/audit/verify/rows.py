"""Compare the rows of transactions, their terms and captures, which follow from one stream each, without a copy.

The rows that the projections would insert go to PostgreSQL as arrays, a page of streams at a time. It joins them with
the ledger's rows of the same range of keys, and returns only rows that differ. The ranges have no gaps, so rows that
no event gives are found as well.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

from ledger.audit.verify.findings import Difference, Finding
from ledger.audit.verify.log import report_unfit
from ledger.audit.verify.reading import PATIENCE_SECONDS, Scope, Share
from ledger.events import Recorded
from ledger.projections import INLINE, Projection
from ledger.projections.captures import CAPTURES
from ledger.projections.table import Table, select_sql
from ledger.projections.transaction_terms import TRANSACTION_TERMS
from ledger.projections.transactions import TRANSFERS
from ledger.store.connections import Connection
from ledger.store.statements import Statement, renumber

_KEYS = {
    TRANSFERS: "(id, 0::bigint)",
    TRANSACTION_TERMS: "(transaction_id, 0::bigint)",
    CAPTURES: "(transaction_id, version)",
}
_PROJECTIONS = tuple(one for one in INLINE if not _KEYS.keys().isdisjoint(one.tables))
_LEAST, _GREATEST = -(2**63), 2**63 - 1
_LAST_ID = UUID(int=2**128 - 1)
_RESERVED = "reserved AS (SELECT 0::bigint AS first_position, NULL::timestamptz AS recorded_at)"


class _Range(NamedTuple):
    """Keys from the first to before the end; a key is a stream and a version."""

    first: tuple[UUID, int]
    end: tuple[UUID, int]


class RowComparison:
    """The comparison of a share of the rows, page by page in the order of keys."""

    def __init__(self, connection: Connection, scope: Scope, share: Share) -> None:
        self._connection, self._scope = connection, scope
        self._next = (share.first, _LEAST)
        self._end = (_LAST_ID, _GREATEST) if share.end is None else (share.end, _LEAST)

    async def compare(self, events: Sequence[Recorded], last: tuple[UUID, int] | None) -> list[Difference | Finding]:
        """Compare the rows up to the key `last`, or all others, with the rows that the events of whole streams give."""
        end = self._end if last is None else (last[0], min(last[1] + 1, _GREATEST))
        keys, self._next = _Range(self._next, end), end
        return [item for one in _PROJECTIONS for item in await self._compare_table(one, events, keys)]

    async def _compare_table(
        self, projection: Projection, events: Sequence[Recorded], keys: _Range
    ) -> Sequence[Difference | Finding]:
        handled = [row for row in events if type(row.event) in projection.handles]
        found = await self._try(projection, handled, keys)
        if not isinstance(found, Exception):
            return found
        nowhere = _Range(keys.end, keys.end)
        errors = [(row, await self._try(projection, [row], nowhere)) for row in handled]
        fit = [row for row, error in errors if not isinstance(error, Exception)]
        found = await self._try(projection, fit, keys)
        if isinstance(found, Exception):
            raise found
        return [*(report_unfit(row, error) for row, error in errors if isinstance(error, Exception)), *found]

    async def _try(
        self, projection: Projection, events: Sequence[Recorded], keys: _Range
    ) -> list[Difference] | Exception:
        """Return the rows that differ, or the error that the events cause."""
        try:
            inserts = [statement for statement in projection.apply(events) if statement.inserts is not None]
            async with self._connection.transaction():
                return [row for table in projection.tables for row in await self._unequal_rows(table, inserts, keys)]
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:  # tampering can cause any error: it becomes a finding
            if self._connection.is_closed():
                raise
            return error

    async def _unequal_rows(self, table: Table, inserts: Sequence[Statement], keys: _Range) -> list[Difference]:
        own = [(one.inserts[1], one.values) for one in inserts if one.inserts and one.inserts[0] == table.name]
        sql = _unequal_sql(table, tuple(names for names, _ in own), self._scope)
        values = [value for _, columns in own for value in columns]
        rows = await self._connection.fetch(sql, *values, *keys.first, *keys.end, timeout=PATIENCE_SECONDS)
        return [Difference(table.name, *row) for row in rows]


@lru_cache(maxsize=64)
def _unequal_sql(table: Table, inserts: tuple[tuple[str, ...], ...], scope: Scope) -> str:
    """Return the query for unequal rows; `inserts` has the columns of each insert, whose values are the parameters.

    The last four parameters are the range of keys.
    """
    key, names, wanted = ", ".join(table.key), ", ".join(table.names), tuple(table.names)
    parts, count = [], 0
    for columns in inserts:
        parts.append(renumber(select_sql(table, columns, wanted), count))
        count += len(columns)
    expected = " UNION ALL ".join(parts) or f"SELECT {names} FROM {scope.schema}.{table.name} WHERE false"
    first, first_version, end, end_version = (f"${count + number}" for number in range(1, 5))
    return f"""
        WITH {_RESERVED}
        SELECT concat_ws(' ', {key}), to_jsonb(expected), to_jsonb(found)
        FROM (SELECT {names} FROM {scope.schema}.{table.name}
              WHERE {table.stream} BETWEEN {first} AND {end}
                AND {_KEYS[table]} >= ({first}, {first_version}::bigint)
                AND {_KEYS[table]} < ({end}, {end_version}::bigint)
                AND {scope.where_changed(table.stream)}) AS found
        FULL JOIN ({expected}) AS expected USING ({key})
        WHERE expected IS DISTINCT FROM found"""
