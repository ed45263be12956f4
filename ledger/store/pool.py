"""Open connections to PostgreSQL: all use the ledger's own schema, and every wait has a bound.

The session's settings are made by a statement, because PgBouncer refuses them in the startup packet.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from ledger.errors import DatabaseError
from ledger.settings import Settings
from ledger.store.connections import STATEMENT_SECONDS, UNREACHABLE, Connection, Pool
from ledger.store.pooler import keeps_sessions
from ledger.store.replica import Replica, Replicas
from ledger.store.statements import send_encoded_arrays

log = structlog.get_logger(__name__)

MIN_VERSION = 15
CONNECT_SECONDS = 10
NO_SESSIONS = "DATABASE_URL leads to a pooler with transaction pooling: let PgBouncer run with pool_mode = session"

AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.TooManyConnectionsError,
)
START_PAUSE_SECONDS = 0.5

# A replica cancels a query whose rows it must remove to replay the log (manual, 26.4.2).
REPLICA_BUSY = (asyncpg.SerializationError,)

# PostgreSQL finds out by itself, within seconds, that a client is gone. Not every system has each of these.
_VIGILANCE = {
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10s",
    "client_connection_check_interval": "2s",
}


class _Session(Connection):
    """A connection that keeps its settings when it is reset, and knows its backend behind a pooler too."""

    settings_query = ""
    backend_pid = 0

    def get_server_pid(self) -> int:
        """Return the process id of the backend; a pooler invents another one for its clients."""
        return self.backend_pid

    def get_reset_query(self) -> str:
        """Return the statements that reset the session."""
        return f"{super().get_reset_query()}\n{self.settings_query}"

    async def apply(self, settings: Mapping[str, str]) -> None:
        """Make these settings of the session."""
        made = ", ".join(f"set_config('{name}', '{_quote(value)}', false)" for name, value in settings.items())
        self.settings_query = f"SELECT pg_backend_pid(), {made}"
        self.backend_pid = await self.fetchval(self.settings_query)


async def connect(
    settings: Settings,
    *,
    dsn: str | None = None,
    statement_seconds: float | None = STATEMENT_SECONDS,
    sends_arrays: bool = True,
    **session: str,
) -> Connection:
    """Open one connection, to another server than that of the settings if `dsn` is given.

    With `statement_seconds` None, its statements have no time limit. A connection that sends encoded arrays does not
    decode those that it receives. Raises one of `UNREACHABLE`.
    """
    needed = {"search_path": settings.ledger_schema, "jit": "off", **session}  # compiling short statements costs more
    async with asyncio.timeout(CONNECT_SECONDS):
        connection: Any = await asyncpg.connect(
            dsn or settings.database_dsn(),
            timeout=CONNECT_SECONDS,
            command_timeout=statement_seconds,
            connection_class=_Session,
            server_settings={"application_name": session.get("application_name", "ledger")},
        )
        try:
            if sends_arrays:
                send_encoded_arrays(connection)
            try:
                await connection.apply(_VIGILANCE | needed)
            except (asyncpg.InvalidParameterValueError, asyncpg.UndefinedObjectError):
                await connection.apply(needed)
        except BaseException:
            connection.terminate()
            raise
    opened: Connection = connection
    return opened


async def open_pool(settings: Settings) -> Pool:
    """Open the pool that queries share. It connects when it is used."""
    return Pool(_connect_for_queries(settings), max_size=settings.postgres_connection_pool)


async def open_replicas(settings: Settings, primary: Pool, ledger_id: UUID) -> Replicas:
    """Open the pools of the replicas; those that cannot be reached are tried again later. Raises `DatabaseError`."""
    replicas = [
        Replica(
            _connect_for_queries(settings, dsn, default_transaction_read_only="on"),
            max_size=settings.postgres_connection_pool,
            number=number,
            ledger_id=ledger_id,
        )
        for number, dsn in enumerate(settings.replica_dsns(), 1)
    ]
    try:
        await asyncio.gather(*(replica.check() for replica in replicas))
    except BaseException:
        for replica in replicas:
            replica.terminate()
        raise
    return Replicas(primary, replicas)


def _connect_for_queries(
    settings: Settings, dsn: str | None = None, **session: str
) -> Callable[[], Awaitable[Connection]]:
    limits = {
        "statement_timeout": f"{STATEMENT_SECONDS}s",  # a statement that is waited for no more must not run on
        "idle_in_transaction_session_timeout": f"{2 * STATEMENT_SECONDS}s",
    }
    return lambda: connect(settings, dsn=dsn, statement_seconds=None, sends_arrays=False, **limits, **session)


async def check_server(settings: Settings) -> None:
    """Raise `DatabaseError` unless PostgreSQL can be reached, is recent enough and gives each client a session."""
    dsn = settings.database_dsn()
    try:
        if not await keeps_sessions(dsn):
            raise DatabaseError(NO_SESSIONS)
        connection = await connect(settings)
    except (*UNREACHABLE, asyncpg.PostgresError, ValueError) as error:
        raise DatabaseError(f"PostgreSQL cannot be reached: {_format_error(error)}") from error
    version = connection.get_server_version()
    connection.terminate()
    if version.major < MIN_VERSION:
        raise DatabaseError(f"PostgreSQL {version.major} is too old: version {MIN_VERSION} or later is needed")


async def wait_for_server(settings: Settings, seconds: float) -> None:
    """Do the same, but wait up to `seconds` for a server that is away; one that refuses this client is not away."""
    clock = asyncio.get_running_loop().time
    until, waits = clock() + seconds, False
    while True:
        try:
            return await check_server(settings)
        except DatabaseError as error:
            if not isinstance(error.__cause__, AWAY) or clock() >= until:
                raise
            if not waits:
                log.warning("waiting for PostgreSQL", error=str(error), seconds=seconds)
            waits = True
        await asyncio.sleep(START_PAUSE_SECONDS)


def _quote(value: str) -> str:
    return value.replace("'", "''")


def _format_error(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
