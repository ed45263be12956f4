"""`ledger tokens mirror`: show and rebuild the revocation cache, which mirrors revocations in Redis."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from ledger.cli.options import AsJson
from ledger.cli.output import emit, print_table
from ledger.cli.shell import Use, pooled, run
from ledger.identity.revocation_cache import RevocationCache, RevocationCacheStatus
from ledger.identity.valkey import open_client
from ledger.settings import Settings
from ledger.store.identity import read_identity


def show_cache_status(as_json: AsJson = False) -> None:
    """Show how much of the log the cache covers; exit with 1 if it is incomplete or Redis does not answer."""
    status = run(_read_status, redis=Use.YES)
    if as_json:
        emit(_members(status))
    else:
        row = (_format_position(status), str(status.last_revocation), "yes" if status.is_complete else "no")
        print_table(("position", "last revocation", "whole"), [row])
    if not status.is_complete:
        sys.exit(1)


def rebuild_cache(as_json: AsJson = False) -> None:
    """Empty the revocation cache and fill it again. Services keep running: they read PostgreSQL until it is full."""
    status = run(_rebuild, redis=Use.YES)
    if as_json:
        emit(_members(status))
    else:
        sys.stdout.write(f"revocation cache filled up to position {_format_position(status)}\n")


def _members(status: RevocationCacheStatus) -> dict[str, Any]:
    return {**status._asdict(), "whole": status.is_complete}


def _format_position(status: RevocationCacheStatus) -> str:
    return "none" if status.position is None else str(status.position)


async def _read_status(settings: Settings) -> RevocationCacheStatus:
    async with _open_cache(settings) as cache:
        return await cache.status()


async def _rebuild(settings: Settings) -> RevocationCacheStatus:
    async with _open_cache(settings) as cache:
        await cache.rebuild()
        return await cache.status()


@asynccontextmanager
async def _open_cache(settings: Settings) -> AsyncIterator[RevocationCache]:
    """Open the cache alone: a whole runtime would fill it while the command reads its status."""
    client = open_client(settings)
    try:
        async with pooled(settings) as pool:
            identity = await read_identity(pool)
            yield RevocationCache(client, pool, identity, leeway_seconds=settings.jwt_validation_leeway_seconds)
    finally:
        await client.aclose()
