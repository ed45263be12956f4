"""Connections to PostgreSQL: all use the ledger's own schema, and every wait has a bound."""

import asyncpg

from ledger.errors import DatabaseError
from ledger.settings import Settings
from ledger.store.connections import Connection, Pool
from ledger.store.statements import send_encoded_arrays

MIN_VERSION = 15
CONNECT_SECONDS = 10
STATEMENT_SECONDS = 30

# Errors that mean PostgreSQL is down, shutting down or starting. asyncpg itself raises `InterfaceError` on a closed
# connection, and `InternalClientError` if the connection ends while the pool hands it over.
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
    asyncpg.ObjectNotInPrerequisiteStateError,  # the database allows no connections
)
# A replica cancels a query whose rows it must remove to replay the log (manual, 26.4.2).
REPLICA_BUSY = (asyncpg.SerializationError,)


async def connect(
    settings: Settings, *, statement_seconds: float | None = STATEMENT_SECONDS, **server_settings: str
) -> Connection:
    """Open one connection. With `statement_seconds` None, its statements have no time limit."""
    connection = await asyncpg.connect(
        settings.database_dsn(),
        timeout=CONNECT_SECONDS,
        command_timeout=statement_seconds,
        server_settings=_server_settings(settings) | server_settings,
    )
    send_encoded_arrays(connection)
    return connection


async def open_pool(settings: Settings, dsn: str | None = None, **server_settings: str) -> Pool:
    """Open the pool that queries share; `dsn` replaces the server of the settings."""
    return await asyncpg.create_pool(
        dsn or settings.database_dsn(),
        min_size=1,
        max_size=settings.postgres_connection_pool,
        reset=_skip_reset,
        timeout=CONNECT_SECONDS,
        command_timeout=STATEMENT_SECONDS,
        server_settings=_server_settings(settings) | server_settings,
    )


async def check_version(settings: Settings) -> None:
    """Raise `DatabaseError` unless PostgreSQL can be reached and is recent enough."""
    try:
        connection = await connect(settings)
    except (*UNREACHABLE, asyncpg.PostgresError, ValueError) as error:
        raise DatabaseError(f"PostgreSQL cannot be reached: {_format_error(error)}") from error
    try:
        version = connection.get_server_version()
    finally:
        await connection.close()
    if version.major < MIN_VERSION:
        raise DatabaseError(f"PostgreSQL {version.major} is too old: version {MIN_VERSION} or later is needed")


async def _skip_reset(connection: Connection) -> None:
    """Skip the reset: queries leave no session state, and a reset would cost each of them a second round trip."""


def _server_settings(settings: Settings) -> dict[str, str]:
    # Every statement is short: compiling it would cost more than running it.
    return {"search_path": settings.ledger_schema, "application_name": "ledger", "jit": "off"}


def _format_error(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
