"""A process that does tasks of a check: tasks come on standard input, results go to standard output.

It ends when its input does. Ctrl-C reaches all processes of a terminal; this one leaves it to the process that
started it.
"""

import asyncio
import contextlib
import os
import signal
import sys
from typing import Any

import asyncpg
import uvloop

from ledger.audit.verify.frames import read_frame, write_frame
from ledger.audit.verify.reading import Scope
from ledger.audit.verify.tasks import Result, Task, prepare, run_task
from ledger.environment.gc import collect_rarely
from ledger.settings import Settings
from ledger.store.connections import UNREACHABLE, Connection
from ledger.store.pool import connect

RESULTS = 100  # in one frame


async def main() -> None:
    """Do tasks until the input ends, or report the error that PostgreSQL raised."""
    results = await _open_output()
    tasks: asyncio.Queue[Any] = asyncio.Queue()
    receiving = asyncio.create_task(_receive(tasks))
    try:
        await _work(tasks, results)
    except (*UNREACHABLE, asyncpg.PostgresError) as error:
        write_frame(results, f"{type(error).__name__}: {error}")
        await results.drain()
    await receiving


async def _work(tasks: "asyncio.Queue[Any]", results: asyncio.StreamWriter) -> None:
    snapshot, scope = await tasks.get()
    connection = await connect(Settings.load_passed_on(), statement_seconds=None)
    with contextlib.suppress(asyncpg.InvalidParameterValueError):  # not every system notices that a client is gone
        await connection.execute("SET client_connection_check_interval = '1s'")
    async with connection.transaction(isolation="repeatable_read"):
        await connection.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
        await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        await prepare(connection)
        while True:
            await _do_task(connection, scope, await tasks.get(), results)


async def _do_task(connection: Connection, scope: Scope, task: Task, results: asyncio.StreamWriter) -> None:
    """Send the results of a task, and an empty frame at its end."""
    batch: list[Result] = []
    async for result in run_task(connection, scope, task):
        batch.append(result)
        if len(batch) == RESULTS:
            await _send(results, batch)
            batch = []
    if batch:
        await _send(results, batch)
    await _send(results, [])


async def _send(results: asyncio.StreamWriter, batch: list[Result]) -> None:
    write_frame(results, batch)
    await results.drain()


async def _receive(tasks: "asyncio.Queue[Any]") -> None:
    """Receive tasks; the end of the input ends the process, whatever it is doing."""
    stream = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), sys.stdin)
    try:
        while True:
            tasks.put_nowait(await read_frame(stream))
    except asyncio.IncompleteReadError:
        os._exit(0)


async def _open_output() -> asyncio.StreamWriter:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, sys.stdout)
    return asyncio.StreamWriter(transport, protocol, None, loop)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    collect_rarely()
    uvloop.run(main())
