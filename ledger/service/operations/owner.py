"""Rebuilds for services whose own role does not own the tables.

The process that has started the service knows the owner's URL, and its workers do not. It takes their requests from
Valkey, and starts the processes of rebuilds as the owner. A request is signed with a key from the database, so access
to Valkey alone starts nothing.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import NoReturn

import asyncpg
import structlog

from ledger.concurrency.tasks import running
from ledger.identity.valkey import open_client
from ledger.service.operations.launcher import Launcher
from ledger.service.operations.state import NO_VALKEY, Board
from ledger.settings import Settings
from ledger.store.connections import UNREACHABLE
from ledger.store.identity import Identity, read_identity
from ledger.store.pool import connect

POLL_SECONDS = 0.5
PAUSE_SECONDS = 2.0  # after a failure

log = structlog.get_logger(__name__)


@asynccontextmanager
async def rebuilding_as_owner(settings: Settings) -> AsyncIterator[None]:
    """Take the requests of workers inside the context, if there is an owner's URL."""
    url = settings.ledger_owner_database_url
    if url is None:
        yield
        return
    launcher = Launcher({**settings.child_environment(), "LEDGER_OWNER_DATABASE_URL": url.get_secret_value()})
    try:
        async with running(_follow(settings, launcher)):
            yield
    finally:
        await launcher.close()


async def _follow(settings: Settings, launcher: Launcher) -> NoReturn:
    identity: Identity | None = None
    async with aclosing(open_client(settings)) as redis:
        while True:
            try:
                identity = identity or await _read_identity(settings)
                board = Board(redis, identity)
                await board.announce_owner()
                operation = await board.take_request()
                if operation is not None:
                    await launcher.launch(operation)
                await asyncio.sleep(POLL_SECONDS)
            except (*UNREACHABLE, *NO_VALKEY, asyncpg.PostgresError) as error:
                log.debug("rebuilds cannot be taken now", error=str(error))
                await asyncio.sleep(PAUSE_SECONDS)


async def _read_identity(settings: Settings) -> Identity:
    connection = await connect(settings)
    try:
        return await read_identity(connection)
    finally:
        await connection.close()
