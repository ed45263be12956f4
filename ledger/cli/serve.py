"""`ledger serve`: prepare the database, then serve the API with worker processes."""

import asyncio
import signal
from typing import Annotated

import structlog
import typer

from ledger.cli.assets import check_default_currency
from ledger.cli.migrate import migrate_schema
from ledger.cli.options import parse_value
from ledger.cli.seals import log_if_unsealed
from ledger.cli.shell import run_service
from ledger.cli.welcome import prepare_admin, welcome
from ledger.environment.cores import count_cores, count_suitable_workers
from ledger.runtime import open_runtime
from ledger.seals.sealing import sealing
from ledger.service.operations.owner import rebuilding_as_owner
from ledger.settings import Settings
from web import workers

MAX_WORKERS = 64

log = structlog.get_logger(__name__)


def serve(
    count: Annotated[
        str,
        typer.Option(
            "--workers",
            help=f"Number of worker processes, 1 to {MAX_WORKERS}, or `auto`: as many as suit the cores. "
            "Several share one writer process.",
        ),
    ] = "1",
) -> None:
    """Serve the API. Embedded PostgreSQL and Valkey are started if none are configured."""
    workers_count = parse_value("--workers", count, _parse_workers)
    run_service(lambda settings: _serve(settings, workers_count), waits=True)


def _parse_workers(text: str) -> int:
    if text == "auto":
        return count_suitable_workers(count_cores())
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= MAX_WORKERS:
        raise ValueError(f"must be a number from 1 to {MAX_WORKERS}, or auto")
    return int(text)


async def _serve(settings: Settings, count: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with workers.bound(settings) as listener:  # a start that cannot serve must not migrate or create an admin
        await migrate_schema(settings)
        log_if_unsealed(settings)
        async with open_runtime(settings) as runtime:
            await check_default_currency(runtime)
            admin = await prepare_admin(runtime)
        async with sealing(settings), rebuilding_as_owner(settings):
            await workers.run_workers(settings, listener, count, ready=lambda: welcome(listener, admin), stop=stop)
    log.info("stopped")
