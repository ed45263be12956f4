"""Open connections to PostgreSQL: all use the ledger's own schema, and every wait has a bound.

The session's settings are made by a statement, because PgBouncer refuses them in the startup packet.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import structlog

from ledger.errors import DatabaseError
from ledger.settings import Settings
from ledger.store.citus import IS_CITUS, Node, open_at_home
from ledger.store.connections import STATEMENT_SECONDS, UNREACHABLE, Connection, Pool
from ledger.store.pooler import keeps_sessions
from ledger.store.replica import Replica, Replicas
from ledger.store.statements import send_encoded_arrays

log = structlog.get_logger(__name__)

MIN_VERSION = 15
CONNECT_SECONDS = 10
NO_SESSIONS = "DATABASE_URL leads to a pooler with transaction pooling: let PgBouncer run with pool_mode = session"
NO_REPLICAS = "DATABASE_READ_URL cannot be used with Citus: leave it out, and reads go to the ledger's own node"

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


class Session(Connection):
    """A connection that keeps its settings when it is reset, and knows its backend behind a pooler too.

    `has_citus` is whether its database has Citus.
    """

    settings_query = ""
    backend_pid = 0
    has_citus = False

    def get_server_pid(self) -> int:
        """Return the process id of the backend; a pooler invents another one for its clients."""
        return self.backend_pid

    def get_reset_query(self) -> str:
        """Return the statements that reset the session."""
        return f"{super().get_reset_query()}\n{self.settings_query}"

    async def apply(self, settings: Mapping[str, str]) -> None:
        """Make these settings of the session, besides those made before."""
        made = ", ".join(f"set_config('{name}', '{_quote(value)}', false)" for name, value in settings.items())
        query = f"SELECT pg_backend_pid(), {IS_CITUS}, {made};"
        self.backend_pid, self.has_citus, *_ = await self.fetchrow(query)
        self.settings_query += f"\n{query}"


class _Opening(NamedTuple):
    """How to open a session."""

    dsn: str
    statement_seconds: float | None
    sends_arrays: bool
    settings: Mapping[str, str]


async def connect(
    settings: Settings,
    *,
    dsn: str | None = None,
    statement_seconds: float | None = STATEMENT_SECONDS,
    sends_arrays: bool = True,
    **session: str,
) -> Session:
    """Open one connection, to another server than that of the settings if `dsn` is given.

    On Citus, it leads to the node of the ledger. With `statement_seconds` None, its statements have no time limit. A
    connection that sends encoded arrays does not decode those that it receives. Raises one of `UNREACHABLE`.
    """
    opening = _prepare(settings, dsn, statement_seconds, sends_arrays=sends_arrays, **session)
    async with asyncio.timeout(CONNECT_SECONDS):
        if dsn is not None:
            return await _open_session(opening, None)
        return await open_at_home(partial(_open_session, opening), opening.dsn, settings.ledger_schema)


async def connect_to_url(settings: Settings, *, statement_seconds: float | None = STATEMENT_SECONDS) -> Session:
    """Open one connection to the server of the settings, even if Citus has placed the ledger on another node."""
    async with asyncio.timeout(CONNECT_SECONDS):
        return await _open_session(_prepare(settings, None, statement_seconds, sends_arrays=True), None)


def _prepare(
    settings: Settings, dsn: str | None, statement_seconds: float | None, *, sends_arrays: bool, **session: str
) -> _Opening:
    needed = {"search_path": settings.ledger_schema, "jit": "off", **session}  # compiling short statements costs more
    return _Opening(dsn or settings.database_dsn(), statement_seconds, sends_arrays, needed)


async def _open_session(opening: _Opening, node: Node | None) -> Session:
    where = {} if node is None else {"host": node.host, "port": node.port}
    session: Any = await asyncpg.connect(
        opening.dsn,
        **where,
        timeout=CONNECT_SECONDS,
        command_timeout=opening.statement_seconds,
        connection_class=Session,
        server_settings={"application_name": opening.settings.get("application_name", "ledger")},
    )
    try:
        if opening.sends_arrays:
            send_encoded_arrays(session)
        try:
            await session.apply(_VIGILANCE | opening.settings)
        except (asyncpg.InvalidParameterValueError, asyncpg.UndefinedObjectError):
            await session.apply(opening.settings)
    except BaseException:
        session.terminate()
        raise
    opened: Session = session
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
    version, has_citus = connection.get_server_version(), connection.has_citus
    connection.terminate()
    if version.major < MIN_VERSION:
        raise DatabaseError(f"PostgreSQL {version.major} is too old: version {MIN_VERSION} or later is needed")
    if has_citus and settings.replica_dsns():
        raise DatabaseError(NO_REPLICAS)


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
