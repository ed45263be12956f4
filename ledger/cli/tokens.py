"""`ledger tokens`: the state of the revocation cache (the mirror of revocations in Redis), and how to refill it."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from ledger.cli.options import AsJson
from ledger.cli.output import emit, print_table
from ledger.cli.shell import pooled, run
from ledger.identity.revocation_cache import RevocationCache, RevocationCacheStatus
from ledger.identity.valkey import open_client
from ledger.settings import Settings
from ledger.store.identity import read_ledger_id


def show_mirror_status(as_json: AsJson = False) -> None:
    """Show how much of the log the cache covers; exit with 1 if it is incomplete or Redis does not answer."""
    status = run(_read_status, needs_redis=True)
    if as_json:
        emit(_members(status))
    else:
        row = (_format_position(status), str(status.last_revocation), "yes" if status.is_whole else "no")
        print_table(("position", "last revocation", "whole"), [row])
    if not status.is_whole:
        sys.exit(1)


def rebuild_mirror(as_json: AsJson = False) -> None:
    """Empty the revocation cache and fill it again. Services keep running: they read PostgreSQL until it is full."""
    status = run(_rebuild, needs_redis=True)
    if as_json:
        emit(_members(status))
    else:
        sys.stdout.write(f"mirror rebuilt up to position {_format_position(status)}\n")


def _members(status: RevocationCacheStatus) -> dict[str, Any]:
    return {**status._asdict(), "whole": status.is_whole}


def _format_position(status: RevocationCacheStatus) -> str:
    return "none" if status.position is None else str(status.position)


async def _read_status(settings: Settings) -> RevocationCacheStatus:
    async with _open_mirror(settings) as mirror:
        return await mirror.status()


async def _rebuild(settings: Settings) -> RevocationCacheStatus:
    async with _open_mirror(settings) as mirror:
        await mirror.rebuild()
        return await mirror.status()


@asynccontextmanager
async def _open_mirror(settings: Settings) -> AsyncIterator[RevocationCache]:
    """Open the mirror alone: a whole runtime would fill it while the command looks at it."""
    client = open_client(settings)
    try:
        async with pooled(settings) as pool:
            ledger_id = await read_ledger_id(pool)
            yield RevocationCache(client, pool, ledger_id, leeway_seconds=settings.jwt_validation_leeway_seconds)
    finally:
        await client.aclose()
