"""A group is with PostgreSQL before the event loop is kept busy with the next one."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from functools import partial

import pytest

from ledger.settings import Settings
from ledger.store.pool import connect
from ledger.values.asyncpg_private import count_unsent_bytes
from ledger.write import connection as write_connection
from ledger.write.connection import WriteConnection
from tests.support.processes import DEADLINE_SECONDS

LARGE = "x" * 4_000_000  # ten times the buffer of a socket
LENGTH = "SELECT length($1::text)"


@pytest.fixture
async def link(settings: Settings) -> AsyncIterator[WriteConnection]:
    opened = WriteConnection(partial(connect, settings))
    await (await opened.get()).fetchval(LENGTH, "")  # from now on, the statement is sent in one turn of the loop
    yield opened
    await opened.close()


async def test_a_large_statement_is_sent_by_a_flush(link: WriteConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_connection, "FLUSH_SECONDS", DEADLINE_SECONDS)
    connection = await link.get()
    executing = asyncio.create_task(connection.fetchval(LENGTH, LARGE))
    await asyncio.sleep(0)
    assert count_unsent_bytes(connection) > 0
    await link.flush()
    assert count_unsent_bytes(connection) == 0
    assert await executing == len(LARGE)


async def test_a_flush_ends_although_the_server_does_not_read(link: WriteConnection) -> None:
    connection = await link.get()
    backend = connection.get_server_pid()
    os.kill(backend, signal.SIGSTOP)
    try:
        executing = asyncio.create_task(connection.fetchval(LENGTH, LARGE))
        await link.flush()
        assert count_unsent_bytes(connection) > 0
    finally:
        os.kill(backend, signal.SIGCONT)
    assert await executing == len(LARGE)


async def test_a_flush_of_a_closed_connection_does_nothing(link: WriteConnection) -> None:
    connection = await link.get()
    link.drop()
    await link.flush()
    assert connection.is_closed()
