"""The parts of a running service, for the web and the command line: opened in order, closed in reverse order."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager, closing
from dataclasses import dataclass, replace
from typing import cast
from uuid import UUID

import structlog
from redis.asyncio import Redis

from ledger.concurrency.dataloader import DataLoader
from ledger.concurrency.deadline import DEADLINE, start_deadline
from ledger.concurrency.tasks import running
from ledger.identity.keyring import Keyring, load_keyring
from ledger.identity.login_throttle import Limits, LoginThrottle
from ledger.identity.password_rules import load_password_rules
from ledger.identity.passwords import Passwords
from ledger.identity.rate_limit import RateLimiter, RateLimits
from ledger.identity.rehashing import Rehasher
from ledger.identity.renewal import SECOND_FACTORS, WEBHOOK_SECRETS, renew_secrets
from ledger.identity.revocation_cache import RevocationCache, Session
from ledger.identity.secret_box import OF_SECOND_FACTORS, OF_WEBHOOKS, SecretBox
from ledger.identity.tokens import Signer, create_signer
from ledger.identity.valkey import open_client
from ledger.projections import account_labels, clients, sessions, users
from ledger.projections.clients import Standing
from ledger.settings import Settings
from ledger.store.connections import UNREACHABLE, Pool
from ledger.store.durable import DurableEnd
from ledger.store.identity import Identity, read_identity
from ledger.store.pool import connect, open_pool, open_replicas
from ledger.store.replica import Replicas
from ledger.values.ids import new_id
from ledger.write.committer import Committer, Watch
from ledger.write.dry_run import DryRun
from ledger.write.group import Origin
from ledger.write.remote import RemoteWriter
from ledger.write.writer import Writer

ATTEMPT_SECONDS = 2.0  # to reach a database that is waited for

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """What handlers and commands of the command line work with. Reads that may lag behind writes use `replicas`."""

    settings: Settings
    pool: Pool
    replicas: Replicas
    durable_end: DurableEnd
    committer: Writer
    passwords: Passwords
    rehasher: Rehasher
    throttle: LoginThrottle
    rate_limiter: RateLimiter
    signer: Signer
    secret_box: SecretBox
    webhook_box: SecretBox
    ledger_id: UUID
    cursor_key: bytes
    fingerprint_key: bytes
    seal_public: dict[str, str] | None
    redis: "Redis"
    revocation_cache: RevocationCache
    revoked_below: DataLoader[Session, int]
    known_sessions: DataLoader[Session, bool]
    active_roles: DataLoader[UUID, frozenset[str]]
    standings: DataLoader[UUID, Standing]
    account_ids: DataLoader[str, UUID]  # by the keys of codes


def take_dry_run(runtime: Runtime, dry_run: DryRun) -> Runtime:
    """Return the runtime in which a dry run takes the place of the committer and of the pool: nothing is written.

    Codes name the accounts that have them in the state on which the dry run is based.
    """
    ids = DataLoader(dry_run.find_account_ids)
    return replace(runtime, pool=dry_run.pool, committer=cast("Writer", dry_run), account_ids=ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterRuntime:
    """What the writer process works with."""

    settings: Settings
    pool: Pool
    durable_end: DurableEnd
    committer: Committer
    webhook_box: SecretBox
    ledger_id: UUID
    revocation_cache: RevocationCache


@asynccontextmanager
async def open_runtime(
    settings: Settings,
    *,
    watch: Watch = lambda *_: None,
    create_committer: Callable[..., Committer] = Committer,
    waits: bool = False,
    dialing: socket.socket | None = None,
    create_remote_writer: Callable[..., RemoteWriter] = RemoteWriter,
) -> AsyncIterator[Runtime]:
    """Load the keys and open everything that a process works with; on exit, execute accepted commands, then close it.

    The committer reports its commit groups to `watch`. With `waits`, wait for a database that is away, without a bound.
    With `dialing`, the writer process takes the committer's place. Raises `SettingsError`, `DatabaseError` or one of
    `UNREACHABLE`.
    """
    keyring = load_keyring(settings)
    async with (
        _open_pools(settings, waits=waits) as (pool, replicas, identity),
        aclosing(open_client(settings)) as redis,
    ):
        cache = RevocationCache(redis, pool, identity, leeway_seconds=settings.jwt_validation_leeway_seconds)
        boxes = await _open_secret_boxes(pool, keyring)
        with closing(_open_passwords(settings)) as passwords:
            opening = (
                _open_committer(settings, create_committer, announce=cache.announce, watch=watch)
                if dialing is None
                else _open_remote_writer(settings, create_remote_writer, dialing, announce=cache.announce)
            )
            limiter = RateLimiter(redis, f"ledger-rates:{identity.ledger_id}:", _read_rate_limits(settings))
            async with (
                opening as committer,
                _open_rehasher(passwords, committer) as rehasher,
                running(_follow(settings, cache, may_lead=dialing is None)),
                running(limiter.follow()),
            ):
                yield Runtime(
                    settings=settings,
                    pool=pool,
                    replicas=replicas,
                    durable_end=DurableEnd(pool),
                    committer=committer,
                    passwords=passwords,
                    rehasher=rehasher,
                    throttle=LoginThrottle(redis, f"ledger-logins:{identity.ledger_id}:", _read_limits(settings)),
                    rate_limiter=limiter,
                    signer=create_signer(settings, keyring),
                    secret_box=boxes[OF_SECOND_FACTORS],
                    webhook_box=boxes[OF_WEBHOOKS],
                    ledger_id=identity.ledger_id,
                    cursor_key=keyring.signing.derive(b"ledger: where a list goes on"),
                    fingerprint_key=keyring.signing.derive(b"ledger: what a request with a key says"),
                    seal_public=None if keyring.sealing is None else keyring.sealing.public,
                    redis=redis,
                    revocation_cache=cache,
                    revoked_below=DataLoader(cache.revoked_below),
                    known_sessions=DataLoader(lambda pairs: sessions.find_known(pool, pairs)),
                    active_roles=DataLoader(lambda ids: users.active_roles(pool, ids)),
                    standings=DataLoader(lambda ids: clients.read_standings(pool, ids)),
                    account_ids=DataLoader(lambda keys: account_labels.find_ids(pool, keys)),
                )


@asynccontextmanager
async def open_writer_runtime(
    settings: Settings, *, watch: Watch, create_committer: Callable[..., Committer] = Committer
) -> AsyncIterator[WriterRuntime]:
    """Open what the writer process works with; on exit, execute accepted commands, then close it.

    The worker that sent a command announces what it has revoked. A database that is away is waited for.
    """
    keyring = load_keyring(settings)
    async with (
        _open_pools(settings, waits=True) as (pool, _, identity),
        aclosing(open_client(settings)) as redis,
    ):
        cache = RevocationCache(redis, pool, identity, leeway_seconds=settings.jwt_validation_leeway_seconds)
        opening = _open_committer(settings, create_committer, announce=cache.announce, watch=watch)
        async with opening as committer, running(_follow(settings, cache, may_lead=True)):
            yield WriterRuntime(
                settings=settings,
                pool=pool,
                durable_end=DurableEnd(pool),
                committer=committer,
                webhook_box=SecretBox(keyring.encrypting, OF_WEBHOOKS),
                ledger_id=identity.ledger_id,
                revocation_cache=cache,
            )


async def _open_secret_boxes(pool: Pool, keyring: Keyring) -> dict[bytes, SecretBox]:
    """Return the boxes for secrets, once all that a replaced key has encrypted are encrypted with the present one."""
    boxes = {label: SecretBox(keyring.encrypting, label) for label in (OF_SECOND_FACTORS, OF_WEBHOOKS)}
    for label, table in ((OF_SECOND_FACTORS, SECOND_FACTORS), (OF_WEBHOOKS, WEBHOOK_SECRETS)):
        if renewed := await renew_secrets(pool, boxes[label], table):
            log.info("secrets are encrypted with another key now", of=table.name, secrets=renewed)
    return boxes


@asynccontextmanager
async def _open_rehasher(passwords: Passwords, committer: Writer) -> AsyncIterator[Rehasher]:
    rehasher = Rehasher(passwords, lambda command: committer.submit(command, Origin(new_id())))
    async with running(rehasher.follow()):
        yield rehasher


def _open_passwords(settings: Settings) -> Passwords:
    return Passwords(queue_limit=settings.ledger_login_queue_limit, rules=load_password_rules(settings))


def _follow(settings: Settings, cache: RevocationCache, *, may_lead: bool) -> Coroutine[None, None, None]:
    return cache.follow(lambda: connect(settings), f"{settings.ledger_schema}.revoked", may_lead=may_lead)


@asynccontextmanager
async def _open_committer(
    settings: Settings,
    create: Callable[..., Committer],
    *,
    announce: Callable[[], Awaitable[None]],
    watch: Watch,
) -> AsyncIterator[Committer]:
    committer = _create_committer(settings, create, announce=announce, watch=watch)
    committer.start()
    try:
        yield committer
    finally:
        await committer.close()


@asynccontextmanager
async def _open_remote_writer(
    settings: Settings,
    create: Callable[..., RemoteWriter],
    dialing: socket.socket,
    *,
    announce: Callable[[], Awaitable[None]],
) -> AsyncIterator[RemoteWriter]:
    writer = create(
        dialing,
        queue_limit=settings.ledger_queue_limit,
        patience_seconds=settings.ledger_database_patience_seconds,
        frame_bytes=settings.frame_bytes(),
        announce=announce,
    )
    await writer.start()
    try:
        yield writer
    finally:
        await writer.close()


@asynccontextmanager
async def _open_pools(settings: Settings, *, waits: bool) -> AsyncIterator[tuple[Pool, Replicas, Identity]]:
    """Open the pool and those of the replicas; also return the ledger's identity."""
    pool = await open_pool(settings)
    try:
        identity = await _read_identity(pool, waits=waits)
        replicas = await open_replicas(settings, pool, identity.ledger_id)
        try:
            yield pool, replicas, identity
        finally:
            await replicas.close()
    finally:
        await pool.close()


async def _read_identity(pool: Pool, *, waits: bool) -> Identity:
    reported = False
    while waits:
        start_deadline(ATTEMPT_SECONDS)
        try:
            return await read_identity(pool)
        except UNREACHABLE as error:
            if not reported:
                log.warning("waiting for PostgreSQL", error=str(error.__cause__ or error))
            reported = True
        finally:
            DEADLINE.set(None)
    return await read_identity(pool)


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


def _read_rate_limits(settings: Settings) -> RateLimits:
    return RateLimits(
        reads=settings.ledger_rate_limit_reads,
        writes=settings.ledger_rate_limit_writes,
        batches=settings.ledger_rate_limit_batches,
        of_admins=settings.ledger_rate_limit_admins,
    )


def _read_limits(settings: Settings) -> Limits:
    return Limits(
        settings.ledger_login_attempts_per_account,
        settings.ledger_login_attempts_per_address,
        settings.ledger_login_window_seconds,
        settings.ledger_login_longest_window_seconds,
    )
