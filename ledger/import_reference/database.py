"""Read the reference's database in one read-only transaction, so that all rows are from the same point in time.

Table names include the schema. If the reference shares a database and a role with the ledger, the search path would
find the ledger's own tables of the same names first.
"""

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from ledger.import_reference.source import Account, ReferenceUnusableError, Transaction, User
from ledger.store.connections import UNREACHABLE, Connection
from ledger.store.session import CONNECT_SECONDS

CHUNK = 1000  # transactions in one read
TABLES = {
    "users": ("id", "username", "email", "password_hash", "active", "roles", "created_at"),
    "accounts": ("id", "user_id", "balance_cents", "created_at"),
    "transactions": ("id", "source_account_id", "destination_account_id", "amount_cents", "created_at"),
}

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,62}", re.ASCII)
# Dates that Python cannot represent become NULL.
_DATE = "CASE WHEN created_at BETWEEN '0001-01-02' AND '9999-12-30' THEN created_at::timestamp END AS created_at"
_SESSION = {
    "application_name": "ledger import-reference",
    "default_transaction_read_only": "on",
    "idle_in_transaction_session_timeout": "0",  # it waits while the ledger writes
    "statement_timeout": "0",
    "timezone": "UTC",
}


class ReferenceDatabase:
    """The reference's tables, as the transaction of a connection sees them."""

    lists_transactions = True

    def __init__(self, connection: Connection, schema: str) -> None:
        self._connection = connection
        self._name = schema
        self._schema = f'"{schema}"'

    async def accounts(self) -> list[Account]:
        """Return all accounts, oldest first."""
        rows = await self._fetch(
            f"""SELECT id::uuid, user_id::uuid, balance_cents::bigint, {_DATE} FROM {self._schema}.accounts AS listed
                ORDER BY listed.created_at, listed.id"""
        )
        return [Account(row[0], row[1], row[2], _add_utc(row[3])) for row in rows]

    async def users(self) -> list[User]:
        """Return all users, oldest first."""
        rows = await self._fetch(
            f"""SELECT id::uuid, username::text, email::text, password_hash::text, active::boolean, roles::text
                FROM {self._schema}.users AS listed ORDER BY listed.created_at, listed.id"""
        )
        return [User(*row) for row in rows]

    async def count_transactions(self) -> int:
        """Return the number of transactions."""
        (row,) = await self._fetch(f"SELECT count(*) FROM {self._schema}.transactions")
        return int(row[0])

    async def transactions(self) -> AsyncIterator[Sequence[Transaction]]:
        """Yield all transactions in chunks, oldest first."""
        with _explain_errors():
            cursor = await self._connection.cursor(
                f"""SELECT id::uuid, source_account_id::uuid, destination_account_id::uuid, amount_cents::bigint,
                           {_DATE} FROM {self._schema}.transactions AS listed ORDER BY listed.created_at, listed.id"""
            )
            while rows := await cursor.fetch(CHUNK):
                yield [Transaction(row[0], row[1], row[2], row[3], _add_utc(row[4])) for row in rows]

    async def check(self) -> None:
        """Raise `ReferenceUnusableError` unless the tables and columns are there."""
        rows = await self._fetch(
            "SELECT table_name::text, column_name::text FROM information_schema.columns WHERE table_schema = $1",
            self._name,
        )
        found = {tuple(row) for row in rows}
        for table, columns in TABLES.items():
            if not any(table == name for name, _ in found):
                raise ReferenceUnusableError(f"the database has no table {self._name}.{table} to read")
            if missing := [column for column in columns if (table, column) not in found]:
                raise ReferenceUnusableError(f"its table {table} has no column {missing[0]}")

    async def _fetch(self, sql: str, *values: object) -> list[Any]:
        with _explain_errors():
            return await self._connection.fetch(sql, *values)


@asynccontextmanager
async def open_database(url: str, schema: str) -> AsyncIterator[ReferenceDatabase]:
    """Connect, and read one point in time for as long as the context lasts. Raises `ReferenceUnusableError`."""
    if not _NAME.fullmatch(schema):
        raise ReferenceUnusableError("--schema: must be a name such as public")
    with _explain_errors(at=f"{_parse_host(url)}: "):
        connection = await asyncpg.connect(url, timeout=CONNECT_SECONDS, server_settings=_SESSION)
    try:
        with _explain_errors():
            await connection.transaction(isolation="repeatable_read", readonly=True).start()
        reference = ReferenceDatabase(connection, schema)
        await reference.check()
        yield reference
    finally:
        connection.terminate()  # it has nothing to commit


@contextmanager
def _explain_errors(at: str = "") -> Iterator[None]:
    """Turn errors of PostgreSQL and the network into a `ReferenceUnusableError` of one line."""
    try:
        yield
    except ValueError as error:  # its text may contain a part of the password
        raise ReferenceUnusableError(
            "the reference's URL cannot be used; are special characters in its password percent-encoded?"
        ) from error
    except (*UNREACHABLE, asyncpg.PostgresError) as error:
        detail = " ".join(str(error).split()) or type(error).__name__
        raise ReferenceUnusableError(f"{at}the reference's database cannot be read: {detail}") from error


def _parse_host(url: str) -> str:
    """Return the host of a URL, without user and password."""
    try:
        return urlsplit(url).hostname or "the default host"
    except ValueError:
        return "the reference"


def _add_utc(date: datetime | None) -> datetime | None:
    """Return the date with its zone: the reference stores none, and means UTC."""
    return None if date is None else date.replace(tzinfo=UTC)
