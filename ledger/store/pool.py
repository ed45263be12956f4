"""Open connections to PostgreSQL: all use the ledger's own schema, and every wait has a bound."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import asyncpg
import structlog

from ledger.errors import DatabaseError
from ledger.settings import Settings
from ledger.store.citus import open_at_home
from ledger.store.connections import STATEMENT_SECONDS, UNREACHABLE, Connection, Pool
from ledger.store.pooler import keeps_sessions
from ledger.store.replica import Replica, Replicas
from ledger.store.session import CONNECT_SECONDS, Opening, Session, open_session

log = structlog.get_logger(__name__)

MIN_VERSION = 15
NO_SESSIONS = "DATABASE_URL leads to a pooler with transaction pooling: let PgBouncer run with pool_mode = session"
NO_OWNER = "LEDGER_OWNER_DATABASE_URL cannot be used with Citus: there, one role owns and serves a ledger"
NO_REPLICAS = "DATABASE_READ_URL cannot be used with Citus: leave it out, and reads go to the ledger's own node"

AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.TargetServerAttributeNotMatched,  # no server accepts writes yet
)
START_PAUSE_SECONDS = 0.5

# A replica cancels a query whose rows it must remove to replay the log (manual, 26.4.2).
REPLICA_BUSY = (asyncpg.SerializationError,)


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
            return await open_session(opening)
        return await open_at_home(opening, settings.ledger_schema)


async def connect_to_url(settings: Settings, *, statement_seconds: float | None = STATEMENT_SECONDS) -> Session:
    """Open one connection to the server of the settings, even if Citus has placed the ledger on another node."""
    async with asyncio.timeout(CONNECT_SECONDS):
        return await open_session(_prepare(settings, None, statement_seconds, sends_arrays=True))


def _prepare(
    settings: Settings, dsn: str | None, statement_seconds: float | None, *, sends_arrays: bool, **session: str
) -> Opening:
    needed = {"search_path": settings.ledger_schema, "jit": "off", **session}  # compiling short statements costs more
    return Opening(dsn or settings.database_dsn(), statement_seconds, sends_arrays, needed)


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
    if has_citus and settings.ledger_owner_database_url is not None:
        raise DatabaseError(NO_OWNER)


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


def _format_error(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
