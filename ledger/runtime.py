"""What a running service consists of, opened in order and closed in the reverse, for the web and the command line."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from redis.asyncio import Redis

from ledger.concurrency.dataloader import DataLoader
from ledger.concurrency.tasks import running
from ledger.errors import DatabaseError
from ledger.identity.keyring import load_keyring
from ledger.identity.login_throttle import Limits, LoginThrottle
from ledger.identity.passwords import Passwords
from ledger.identity.revocation_cache import RevocationCache, Session
from ledger.identity.tokens import Signer, create_signer
from ledger.identity.valkey import open_client
from ledger.projections import users
from ledger.settings import Settings
from ledger.store.connections import Pool
from ledger.store.identity import read_ledger_id
from ledger.store.pool import UNREACHABLE, connect, open_pool
from ledger.store.replica import ReplicaPosition
from ledger.write.committer import Committer, Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """Everything that handlers and commands of the command line work with."""

    settings: Settings
    pool: Pool
    readers: Pool
    reached: ReplicaPosition
    committer: Committer
    passwords: Passwords
    throttle: LoginThrottle
    signer: Signer
    cursor_key: bytes
    fingerprint_key: bytes
    seal_public: dict[str, str] | None
    redis: "Redis"
    mirror: RevocationCache
    revoked_below: DataLoader[Session, int]
    standing: DataLoader[UUID, frozenset[str]]


@asynccontextmanager
async def open_runtime(
    settings: Settings, *, watch: Watch = lambda *_: None, committing: Callable[..., Committer] = Committer
) -> AsyncIterator[Runtime]:
    """Load the keys and open everything that a process works with; when it closes, execute accepted commands first.

    `committing` makes the committer, which reports its commit groups to `watch`. Raises `SettingsError`.
    """
    keyring = load_keyring(settings)
    pool = await open_pool(settings)
    ledger_id = await read_ledger_id(pool)
    readers = await _open_readers(settings, pool, ledger_id)
    redis = open_client(settings)
    mirror = RevocationCache(redis, pool, ledger_id, leeway_seconds=settings.jwt_validation_leeway_seconds)
    committer = _create_committer(settings, committing, announce=mirror.announce, watch=watch)
    committer.start()
    passwords = Passwords(queue_limit=settings.ledger_login_queue_limit)
    try:
        async with running(mirror.follow(lambda: connect(settings), f"{settings.ledger_schema}.revoked")):
            yield Runtime(
                settings=settings,
                pool=pool,
                readers=readers,
                reached=ReplicaPosition(readers),
                committer=committer,
                passwords=passwords,
                throttle=LoginThrottle(redis, f"ledger-logins:{ledger_id}:", _limits(settings)),
                signer=create_signer(settings, keyring),
                cursor_key=keyring.signing.derive(b"ledger: where a list goes on"),
                fingerprint_key=keyring.signing.derive(b"ledger: what a request with a key says"),
                seal_public=None if keyring.sealing is None else keyring.sealing.public,
                redis=redis,
                mirror=mirror,
                revoked_below=DataLoader(mirror.revoked_below),
                standing=DataLoader(lambda ids: users.active_roles(pool, ids)),
            )
    finally:
        await committer.close()
        passwords.close()
        await redis.aclose()
        if readers is not pool:
            await readers.close()
        await pool.close()


def _create_committer(
    settings: Settings,
    committing: Callable[..., Committer],
    *,
    announce: Callable[[], Awaitable[None]],
    watch: Watch,
) -> Committer:
    # The committer's statements look up single rows by key. A plan that was made while a table was small must not scan
    # it when it has grown, and no statement is worth a plan of its own.
    return committing(
        lambda: connect(settings, enable_seqscan="off", plan_cache_mode="force_generic_plan"),
        queue_limit=settings.ledger_queue_limit,
        batch_limit=settings.ledger_batch_limit,
        patience_seconds=settings.ledger_database_patience_seconds,
        announce=announce,
        watch=watch,
    )


async def _open_readers(settings: Settings, pool: Pool, ledger_id: UUID) -> Pool:
    """Open the pool for queries that need not see the last write. Raises `DatabaseError` if it is of another ledger."""
    if settings.database_read_url is None:
        return pool
    dsn = settings.database_read_url.get_secret_value()
    try:
        readers = await open_pool(settings, dsn, default_transaction_read_only="on")
    except UNREACHABLE as error:
        raise DatabaseError("DATABASE_READ_URL: PostgreSQL cannot be reached") from error
    if await read_ledger_id(readers) != ledger_id:
        await readers.close()
        raise DatabaseError("DATABASE_READ_URL: is another ledger than DATABASE_URL")
    return readers


def _limits(settings: Settings) -> Limits:
    return Limits(
        settings.ledger_login_attempts_per_account,
        settings.ledger_login_attempts_per_address,
        settings.ledger_login_window_seconds,
    )
