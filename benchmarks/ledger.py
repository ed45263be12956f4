"""The ledger that most parts of the benchmark share: a service, its accounts, and a connection to its database."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import asyncpg

from benchmarks.history import fill_log
from benchmarks.load import CLASSIC_TABLES, transfers
from benchmarks.service import Service, running

ACCOUNTS = 1000
WARM_UP_SECONDS = 4


@dataclass(frozen=True)
class Ledger:
    """A service, accounts with more money than a run can move, and a connection to its database."""

    service: Service
    accounts: list[str]
    database: "asyncpg.Connection[Any]"


@contextlib.asynccontextmanager
async def open_ledger(*, workers: int = 1, **settings: str) -> AsyncIterator[Ledger]:
    """Start a service with this number of workers and these settings, and yield its ledger, warmed up."""
    async with running(workers=workers, beside=None, **settings) as service:
        accounts = await service.open_accounts(ACCOUNTS)
        database = await asyncpg.connect(service.database_url, server_settings={"search_path": "public"})
        for statement in CLASSIC_TABLES:
            await database.execute(statement)
        await fill_log(database)
        await transfers(service, accounts, connections=64, seconds=WARM_UP_SECONDS)
        try:
            yield Ledger(service, accounts, database)
        finally:
            await database.close()
