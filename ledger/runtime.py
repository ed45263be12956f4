"""What a running service consists of, opened in order and closed in the reverse, for the web and the command line."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from asyncpg import Pool

from ledger.coalesce import Coalesced
from ledger.committer import Committer
from ledger.credentials import Passwords
from ledger.database import connect, open_pool
from ledger.jwt import Signer
from ledger.projections import users
from ledger.settings import Settings


@dataclass(frozen=True, slots=True)
class Runtime:
    """Everything that handlers and commands of the command line work with."""

    settings: Settings
    pool: "Pool[Any]"
    committer: Committer
    passwords: Passwords
    signer: Signer
    standing: Coalesced[frozenset[str]]


@asynccontextmanager
async def open_runtime(settings: Settings) -> AsyncIterator[Runtime]:
    """Open the pool, the committer and the rest; at the end, everything that was accepted is carried out first."""
    pool = await open_pool(settings)
    # The committer's statements look up single rows by key. A plan that was made while a table was small must not scan
    # it when it has grown, and no statement is worth a plan of its own.
    committer = Committer(
        lambda: connect(settings, enable_seqscan="off", plan_cache_mode="force_generic_plan"),
        queue_limit=settings.ledger_queue_limit,
        batch_limit=settings.ledger_batch_limit,
        patience_seconds=settings.ledger_database_patience_seconds,
    )
    committer.start()
    passwords = Passwords(queue_limit=settings.ledger_login_queue_limit)
    secret = settings.jwt_secret.get_secret_value() if settings.jwt_secret else ""
    try:
        yield Runtime(
            settings,
            pool,
            committer,
            passwords,
            Signer(secret, leeway_seconds=settings.jwt_validation_leeway_seconds),
            Coalesced(lambda ids: users.standing(pool, ids)),
        )
    finally:
        await committer.close()
        passwords.close()
        await pool.close()
