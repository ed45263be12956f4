"""The described read tables are those of the migrated database, and cover all events and members."""

import inspect
from collections.abc import Iterable
from typing import Any, get_args

import pytest

from ledger.events import Event
from ledger.events.accounts import AccountEvent
from ledger.events.clients import ClientEvent
from ledger.events.tokens import SessionEvent
from ledger.events.transactions import HoldPlaced, JournalEntryPosted, MoneyTransferred, TransactionEvent
from ledger.events.users import UserEvent
from ledger.projections import INLINE, TABLES, transactions
from ledger.projections.table import Table, insert, update, upsert

# Tables that no projection writes: the log and its heads, and what the store, the services and migrations keep.
OTHERS = {
    "alembic_version",
    "command_log",
    "credentials",
    "followers",
    "ledger_identity",
    "outbox",
    "rebuilds",
    "seals",
    "second_factors",
    "session_clients",
    "stored_events",
    "stream_heads",
    "webhook_cursors",
    "webhook_deliveries",
    "webhook_secrets",
    "writer_heartbeat",
}
TYPES = {"timestamp with time zone": "timestamptz"}
by_name = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)


async def test_each_table_of_the_schema_is_described_or_named_here(connection: Any) -> None:
    rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
    assert {*OTHERS, *(table.name for table in TABLES)} == {row[0] for row in rows}


@by_name
async def test_the_columns_are_those_of_the_database(table: Table, connection: Any) -> None:
    rows = await connection.fetch(
        """SELECT attname, format_type(atttypid, atttypmod), NOT attnotnull OR atthasdef FROM pg_attribute
           WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped""",
        table.name,
    )
    described = {(column.name, column.type, column.optional) for column in table.columns}
    assert {(name, TYPES.get(kind, kind), optional) for name, kind, optional in rows} == described


@by_name
async def test_the_key_and_indexes_are_those_of_the_database(table: Table, connection: Any) -> None:
    rows = await connection.fetch(
        """SELECT relname, indisunique, indisprimary, pg_get_indexdef(indexrelid)
           FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE indrelid = $1::text::regclass""",
        table.name,
    )
    described = {
        (
            index.name,
            index.unique,
            False,
            f"{index.method} {index.on}" + (f" WHERE {index.where}" if index.where else ""),
        )
        for index in table.indexes
    }
    key = (f"{table.name}_pkey", True, True, f"btree ({', '.join(table.key)})")
    found = {
        (name, unique, primary, text.split(" USING ")[1].replace('"', "" if primary else '"'))
        for name, unique, primary, text in rows
    }
    assert {*described, key} == found


@by_name
def test_each_statement_names_its_columns_and_no_others(table: Table) -> None:
    values = dict.fromkeys(table.names, b"")
    for make in (insert, update, upsert):
        statement = make(table, values)
        assert len(table.columns) == len(statement.values)
    required = next(column.name for column in table.columns if not column.optional)
    with pytest.raises(TypeError, match=f"an insert into {table.name} lacks {required}"):
        insert(table, {name: value for name, value in values.items() if name != required})
    with pytest.raises(KeyError):
        insert(table, {**values, "unknown": b""})


def test_a_stream_and_a_key_are_columns() -> None:
    for table in TABLES:
        assert {*table.key, table.stream} <= {*table.names}, table.name


def members(kinds: Iterable[type]) -> set[str]:
    return {name for kind in kinds for name in inspect.signature(kind).parameters}


def test_each_member_of_a_new_transaction_is_a_column() -> None:
    """A new member fails here until a migration adds its column. `is_announced` only tells how to end the hold."""
    assert members((MoneyTransferred, JournalEntryPosted, HoldPlaced)) - {"is_announced"} <= {
        *transactions.TRANSFERS.names
    }


def test_each_event_of_an_aggregate_with_a_table_is_handled_or_named_here() -> None:
    """An event that no projection handles changes no read table."""
    unhandled = {"AccountAssigned", "PasswordRehashed"}
    aggregates = (AccountEvent, UserEvent, ClientEvent, SessionEvent, TransactionEvent)
    handled = {kind for projection in INLINE for kind in projection.handles}
    of_aggregates = {kind for union in aggregates for kind in get_args(union)}
    assert unhandled == {kind.__name__ for kind in of_aggregates - handled}
    assert handled <= {*get_args(Event)}
