"""`ledger serve`: prepare the database, then serve the API with worker processes."""

import asyncio
import signal
from typing import Annotated

import structlog
import typer

from ledger.cli.migrate import migrate_schema
from ledger.cli.seals import log_if_unsealed
from ledger.cli.shell import run_service
from ledger.cli.welcome import prepare_admin, welcome
from ledger.runtime import open_runtime
from ledger.seals.sealing import sealing
from ledger.settings import Settings
from web import workers

log = structlog.get_logger(__name__)


def serve(
    count: Annotated[int, typer.Option("--workers", min=1, max=64, help="Number of worker processes.")] = 1,
) -> None:
    """Serve the API. Embedded PostgreSQL and Valkey are started if none are configured."""
    run_service(lambda settings: _serve(settings, count), waits=True)


async def _serve(settings: Settings, count: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with workers.bound(settings) as listener:  # a start that cannot serve must not migrate or create an admin
        await migrate_schema(settings)
        log_if_unsealed(settings)
        async with open_runtime(settings) as runtime:
            admin = await prepare_admin(runtime)
        async with sealing(settings):
            await workers.run_workers(settings, listener, count, ready=lambda: welcome(listener, admin), stop=stop)
    log.info("stopped")
