"""Connections to PostgreSQL: all in the ledger's own schema, all with a bound on how long they wait."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import asyncpg

from ledger.errors import DatabaseError
from ledger.settings import Settings
from ledger.store.connections import Connection, Pool
from ledger.store.statements import send_encoded_arrays


class Resource(NamedTuple):
    """Something as clients see it; the tag is another one whenever the body is."""

    body: dict[str, Any]
    tag: str


MIN_VERSION = 15
CONNECT_SECONDS = 10
STATEMENT_SECONDS = 30

# What the client sees when PostgreSQL is gone, going or not there yet. An `asyncpg.InterfaceError` is the client's own
# word that the connection is closed, an `InternalClientError` what it says of one that ended while it was handed over.
UNREACHABLE = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.ObjectNotInPrerequisiteStateError,  # the database takes no connections
)
# What a replica says that must replay the log over what a query still needs (manual, 26.4.2).
REPLICA_BUSY = (asyncpg.SerializationError,)


def conditions(given: Iterable[tuple[str, object]], first: int) -> tuple[str, list[object]]:
    """SQL for those conditions that have a value, which `{}` stands for, and the values, numbered from `first`."""
    chosen = [(sql, value) for sql, value in given if value is not None]
    sql = "".join(f" AND {sql.format(f'${number}')}" for number, (sql, _) in enumerate(chosen, first))
    return sql, [value for _, value in chosen]


async def connect(
    settings: Settings, *, statement_seconds: float | None = STATEMENT_SECONDS, **server_settings: str
) -> Connection:
    """Open one connection; without `statement_seconds`, its statements take as long as they take."""
    connection = await asyncpg.connect(
        settings.database_dsn(),
        timeout=CONNECT_SECONDS,
        command_timeout=statement_seconds,
        server_settings=_server_settings(settings) | server_settings,
    )
    send_encoded_arrays(connection)
    return connection


async def open_pool(settings: Settings, dsn: str | None = None, **server_settings: str) -> Pool:
    """Open the pool that queries share; with `dsn`, to another server than that of the settings."""
    return await asyncpg.create_pool(
        dsn or settings.database_dsn(),
        min_size=1,
        max_size=settings.postgres_connection_pool,
        reset=_leave_as_is,
        timeout=CONNECT_SECONDS,
        command_timeout=STATEMENT_SECONDS,
        server_settings=_server_settings(settings) | server_settings,
    )


async def check_version(settings: Settings) -> None:
    """Raise `DatabaseError`, one clear sentence, unless PostgreSQL answers and is recent enough."""
    try:
        connection = await connect(settings)
    except (*UNREACHABLE, asyncpg.PostgresError, ValueError) as error:
        raise DatabaseError(f"PostgreSQL cannot be reached: {_one_line(error)}") from error
    try:
        version = connection.get_server_version()
    finally:
        await connection.close()
    if version.major < MIN_VERSION:
        raise DatabaseError(f"PostgreSQL {version.major} is too old: version {MIN_VERSION} or later is needed")


async def _leave_as_is(connection: Connection) -> None:
    """Queries leave nothing behind in a session, and to clean it would cost each of them a second round trip."""


def _server_settings(settings: Settings) -> dict[str, str]:
    # Every statement is a short one: compiling it costs more than running it.
    return {"search_path": settings.ledger_schema, "application_name": "ledger", "jit": "off"}


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
