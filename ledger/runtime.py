"""The parts of a running service, for the web and the command line: opened in order, closed in reverse order."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, closing
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
from ledger.store.durable import DurableEnd
from ledger.store.identity import read_ledger_id
from ledger.store.pool import UNREACHABLE, connect, open_pool
from ledger.store.replica import ReplicaPosition
from ledger.write.committer import Committer, Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """What handlers and commands of the command line work with.

    `readers` may be a pool of a replica, which `replica_position` waits for.
    """

    settings: Settings
    pool: Pool
    readers: Pool
    replica_position: ReplicaPosition
    durable_end: DurableEnd
    committer: Committer
    passwords: Passwords
    throttle: LoginThrottle
    signer: Signer
    cursor_key: bytes
    fingerprint_key: bytes
    seal_public: dict[str, str] | None
    redis: "Redis"
    revocation_cache: RevocationCache
    revoked_below: DataLoader[Session, int]
    active_roles: DataLoader[UUID, frozenset[str]]


@asynccontextmanager
async def open_runtime(
    settings: Settings, *, watch: Watch = lambda *_: None, create_committer: Callable[..., Committer] = Committer
) -> AsyncIterator[Runtime]:
    """Load the keys and open everything that a process works with; on exit, execute accepted commands, then close it.

    The committer reports its commit groups to `watch`. Raises `SettingsError` or `DatabaseError`.
    """
    keyring = load_keyring(settings)
    async with _open_pools(settings) as (pool, readers, ledger_id), aclosing(open_client(settings)) as redis:
        cache = RevocationCache(redis, pool, ledger_id, leeway_seconds=settings.jwt_validation_leeway_seconds)
        with closing(Passwords(queue_limit=settings.ledger_login_queue_limit)) as passwords:
            committer = _create_committer(settings, create_committer, announce=cache.announce, watch=watch)
            committer.start()
            try:
                async with running(cache.follow(lambda: connect(settings), f"{settings.ledger_schema}.revoked")):
                    yield Runtime(
                        settings=settings,
                        pool=pool,
                        readers=readers,
                        replica_position=ReplicaPosition(readers),
                        durable_end=DurableEnd(pool),
                        committer=committer,
                        passwords=passwords,
                        throttle=LoginThrottle(redis, f"ledger-logins:{ledger_id}:", _read_limits(settings)),
                        signer=create_signer(settings, keyring),
                        cursor_key=keyring.signing.derive(b"ledger: where a list goes on"),
                        fingerprint_key=keyring.signing.derive(b"ledger: what a request with a key says"),
                        seal_public=None if keyring.sealing is None else keyring.sealing.public,
                        redis=redis,
                        revocation_cache=cache,
                        revoked_below=DataLoader(cache.revoked_below),
                        active_roles=DataLoader(lambda ids: users.active_roles(pool, ids)),
                    )
            finally:
                await committer.close()


@asynccontextmanager
async def _open_pools(settings: Settings) -> AsyncIterator[tuple[Pool, Pool, UUID]]:
    """Open the pool and the pool for queries, which is the same one without a replica; also return the ledger's id."""
    pool = await open_pool(settings)
    try:
        ledger_id = await read_ledger_id(pool)
        readers = await _open_readers(settings, pool, ledger_id)
        try:
            yield pool, readers, ledger_id
        finally:
            if readers is not pool:
                await readers.close()
    finally:
        await pool.close()


def _create_committer(
    settings: Settings,
    create: Callable[..., Committer],
    *,
    announce: Callable[[], Awaitable[None]],
    watch: Watch,
) -> Committer:
    # The committer's statements look up single rows by key: a plan from when a table was small must not scan it later,
    # and planning each execution would cost more than it saves.
    return create(
        lambda: connect(
            settings,
            statement_seconds=None,  # a timeout would cancel a COMMIT
            lock_timeout="1s",
            enable_seqscan="off",
            plan_cache_mode="force_generic_plan",
        ),
        queue_limit=settings.ledger_queue_limit,
        group_limit=settings.ledger_batch_limit,
        patience_seconds=settings.ledger_database_patience_seconds,
        announce=announce,
        watch=watch,
    )


async def _open_readers(settings: Settings, pool: Pool, ledger_id: UUID) -> Pool:
    """Open the pool for queries that may lag behind writes. Raises `DatabaseError` if its database is not a copy."""
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


def _read_limits(settings: Settings) -> Limits:
    return Limits(
        settings.ledger_login_attempts_per_account,
        settings.ledger_login_attempts_per_address,
        settings.ledger_login_window_seconds,
    )
