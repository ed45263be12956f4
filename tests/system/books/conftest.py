"""A year of books, written once for the run, and exported once for each process."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, time
from itertools import product

import pytest

from ledger.audit.export import Format, Selection, export, open_writer
from ledger.embedded import Services
from ledger.settings import Settings
from ledger.store.pool import connect
from tests.conftest import create_once, new_database, settings_for
from tests.support.api_server import serve_once
from tests.support.controls import Api, Serve
from tests.support.journal_reports import Journals
from tests.support.past import PastClock
from tests.support.year import FIRST, Year, write_books

TEMPLATE = "template_year"
ORDERS = ("recorded", "effective")
SUFFIXES = {Format.HLEDGER: "journal", Format.BEANCOUNT: "beancount"}


@pytest.fixture(scope="session")
def year_template(servers: Services, template: str) -> str:
    """Return the name of the database with the year."""

    async def fill(draft: str) -> None:
        settings = settings_for(servers, draft)
        connection = await connect(settings)
        await connection.execute("UPDATE ledger_identity SET id = gen_random_uuid()")
        clock = await PastClock.of(connection)
        await clock.set(datetime.combine(FIRST, time(0), UTC))
        async with serve_once(settings) as api:
            await write_books(api, clock, Year())
        await connection.close()

    asyncio.run(create_once(servers, TEMPLATE, template, fill))
    return TEMPLATE


@pytest.fixture(scope="session")
def journals(servers: Services, year_template: str, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Journals]:
    """Return the journals of the year, by recorded and by effective date."""
    folder = tmp_path_factory.mktemp("year")

    async def write() -> None:
        async with new_database(servers, year_template) as settings:
            connection = await connect(settings)
            for order, (format_, suffix) in product(ORDERS, SUFFIXES.items()):
                selection = Selection(by_effective_time=order == "effective")
                writer = open_writer(format_, by_effective_time=selection.by_effective_time)
                with (folder / f"{order}.{suffix}").open("wb") as file:
                    await export(connection, writer, selection, file)
            await connection.close()

    asyncio.run(write())
    return {order: Journals(folder / order) for order in ORDERS}


@pytest.fixture
async def year(servers: Services, year_template: str) -> AsyncIterator[Settings]:
    """Yield the settings of a ledger with the year."""
    async with new_database(servers, year_template) as settings:
        yield settings


@pytest.fixture
async def books(year: Settings, serve: Serve) -> Api:
    """Return the API of a ledger with the year."""
    return await serve(year)
