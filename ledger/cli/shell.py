"""Run the work of a command: settings, servers and connections, with one line on standard error for any failure."""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from enum import Enum
from typing import NoReturn, TypeVar

import asyncpg
import structlog
import uvloop
from rich.console import Console

from ledger.audit.export import ExportError
from ledger.audit.statements.model import StatementError
from ledger.audit.statements.pdf import TypesettingTimeoutError
from ledger.embedded import EmbeddedError
from ledger.environment.gc import collect_rarely
from ledger.environment.variables import SettingsError
from ledger.errors import DatabaseError, LedgerError, RedisAwayError, RedisUnusableError, Refused, RevocationCacheError
from ledger.followers.follower import CannotApplyError
from ledger.identity.keyring import check_keys
from ledger.identity.password_rules import load_password_rules
from ledger.service import logging
from ledger.service.bootstrap import complete_settings
from ledger.settings import Settings
from ledger.store import pool, roles
from ledger.store.connections import STATEMENT_SECONDS, UNREACHABLE, Connection, Pool
from web.workers import ListenError, WorkersFailedError

T = TypeVar("T")

CLOSE_SECONDS = 1
FAILURES = (
    EmbeddedError,
    ExportError,
    LedgerError,
    ListenError,
    RevocationCacheError,
    RedisUnusableError,
    Refused,
    SettingsError,
    StatementError,
    TypesettingTimeoutError,
    WorkersFailedError,
)
NOT_ALLOWED = "run it with LEDGER_OWNER_DATABASE_URL, or run `ledger migrate` with it first"
UNKNOWN_ROLE = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidPasswordError)
NOT_MIGRATED = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.UndefinedFunctionError)

log = structlog.get_logger(__name__)
console = Console(stderr=True, highlight=False)


class Use(Enum):
    """Whether a command uses a server."""

    NO = "no"
    IF_THERE = "if there"  # it does without a server that does not answer
    YES = "yes"


def run(
    work: Callable[[Settings], Awaitable[T]],
    *,
    redis: Use = Use.NO,
    needs_key: bool = False,
    waits: bool = False,
) -> T:
    """Run the work with complete settings and reachable servers; a failure ends the program with one line.

    Unless the caller asks for them, the work runs without Redis and without the key that signs tokens. With `waits`, it
    waits for PostgreSQL as long as the settings say.
    """
    try:
        settings = Settings.load()
        check_keys(settings)
        load_password_rules(settings).close()
        if needs_key:
            settings.check_can_sign()
    except SettingsError as error:
        fail(str(error), 2)
    logging.configure(settings)
    collect_rarely()
    try:
        return uvloop.run(_run_with_servers(settings, work, redis=redis, waits=waits))
    except FAILURES as error:
        fail(_describe(error), 1)
    except BaseExceptionGroup as group:
        known, unknown = group.split(FAILURES)
        if unknown is not None or known is None:
            raise
        fail(_describe(_first_error(known)), 1)


def run_service(work: Callable[[Settings], Awaitable[T]], *, waits: bool = False) -> T:
    """Run work that uses all that the service uses: PostgreSQL, the key that signs tokens and, if there, Redis."""
    return run(work, redis=Use.IF_THERE, needs_key=True, waits=waits)


def query(read: Callable[[Connection], Awaitable[T]], *, statement_seconds: float | None = STATEMENT_SECONDS) -> T:
    """Call `read` with a connection of its own, on which statements may take so long, and return its result."""

    async def work(settings: Settings) -> T:
        async with connected(settings, statement_seconds=statement_seconds) as connection:
            return await read(connection)

    return run(work)


def query_pool(read: Callable[[Pool], Awaitable[T]]) -> T:
    """Call `read` with a pool of connections, and return its result."""

    async def work(settings: Settings) -> T:
        async with pooled(settings) as connections:
            return await read(connections)

    return run(work)


@asynccontextmanager
async def connected(
    settings: Settings, *, statement_seconds: float | None = STATEMENT_SECONDS, hint: str = ""
) -> AsyncIterator[Connection]:
    """Open a connection for the length of the context. Raises `DatabaseError`; `hint` ends its text."""
    with explain_database_errors(hint):
        connection = await pool.connect(settings, statement_seconds=statement_seconds)
        try:
            yield connection
        finally:
            await connection.close(timeout=CLOSE_SECONDS)


@asynccontextmanager
async def pooled(settings: Settings) -> AsyncIterator[Pool]:
    """Open a pool of connections for the length of the context. Raises `DatabaseError`."""
    with explain_database_errors():
        connections = await pool.open_pool(settings)
        try:
            yield connections
        finally:
            await connections.close()


@contextmanager
def explain_database_errors(hint: str = "") -> Iterator[None]:
    """Translate errors of PostgreSQL and of followers into a `DatabaseError` of one sentence, which `hint` ends."""
    try:
        yield
    except NOT_MIGRATED as error:
        raise DatabaseError("the schema is not up to date: run `ledger migrate`") from error
    except CannotApplyError as error:
        where = "" if error.position is None else f"the event at position {error.position} cannot be processed: "
        raise DatabaseError(f"{where}{error}") from error
    except TimeoutError as error:
        raise DatabaseError(f"PostgreSQL did not answer in time, or a transaction stays open{hint}") from error
    except UNREACHABLE as error:
        raise DatabaseError(f"the connection to PostgreSQL was lost: {type(error).__name__}{hint}") from error


async def _run_with_servers(
    settings: Settings, work: Callable[[Settings], Awaitable[T]], *, redis: Use, waits: bool
) -> T:
    async with complete_settings(settings, needs_redis=redis is not Use.NO) as full:
        await _wait_for_database(full, full.ledger_start_patience_seconds if waits else 0)
        if redis is not Use.NO:
            await _check_redis(full, redis)
        try:
            return await work(full)
        except asyncpg.InsufficientPrivilegeError as error:
            raise DatabaseError(f"{' '.join(str(error).split())}: {NOT_ALLOWED}") from error


async def _wait_for_database(settings: Settings, seconds: float) -> None:
    """Wait for PostgreSQL. If `DATABASE_URL` has a role that does not exist, the owner creates it."""
    try:
        await pool.wait_for_server(settings, seconds)
    except DatabaseError as error:
        if settings.ledger_owner_database_url is None or not isinstance(error.__cause__, UNKNOWN_ROLE):
            raise
        if not await roles.create_serving_role(settings):
            raise
        await pool.wait_for_server(settings, seconds)


async def _check_redis(settings: Settings, use: Use) -> None:
    # Imported here: its client takes a fifth of the time of a start, and most commands do not need it.
    from ledger.identity import valkey  # noqa: PLC0415

    try:
        await valkey.check_version(settings)
    except RedisAwayError as error:
        if use is Use.YES:
            raise
        log.warning("redis does not answer; PostgreSQL is asked instead", error=str(error))


def _first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error = group.exceptions[0]
    return _first_error(error) if isinstance(error, BaseExceptionGroup) else error


def _describe(error: BaseException) -> str:
    if isinstance(error, Refused):
        return ", ".join(f"{refusal.code}: {refusal.message}" for refusal in error.refusals)
    return str(error)


def fail(message: str, status: int) -> NoReturn:
    """End the program with one line on standard error and this exit status."""
    sys.stderr.write(f"ledger: {message}\n")
    sys.exit(status)
