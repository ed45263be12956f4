"""What auditors and operators wait for: rebuilding, replaying, verifying and exporting a million events."""

import asyncio
import json
import os
import random
import secrets
import select
import subprocess
import time
from datetime import timedelta
from statistics import median
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from benchmarks import library
from benchmarks.figures import Row, at_least, at_most
from benchmarks.history import fill_log, grow
from benchmarks.load import Measured, transfers
from benchmarks.service import LEDGER, Service, resident_mebibytes, running
from ledger.audit import as_of
from ledger.audit.as_of import AtTime
from ledger.events import State, evolve
from ledger.settings import Settings
from ledger.store import reader as event_reader

ACCOUNTS = 1000
SOME, MANY = 100_000, 1_000_000  # events
WRITERS = 16
SECONDS = 15
QUESTIONS = 300
FOLDED = 100_000  # events
VERIFIED_PER_SECOND = 100_000  # events, on two cores
LOOK_SECONDS = 0.05  # between two looks at how much memory a command takes


class Ran(NamedTuple):
    """A command's output, its duration, and its peak resident memory."""

    output: bytes
    seconds: float
    mebibytes: float


async def measure() -> list[Row]:
    """Return all rows that need a ledger with a million events; nothing is sealed during the measurement."""
    async with running(LEDGER_SEAL_SECONDS="3600") as service:
        accounts = await service.open_accounts(ACCOUNTS)
        database = await asyncpg.connect(service.database_url, server_settings={"search_path": "ledger"})
        await grow(database, accounts, SOME)
        small = [await _ran(service, *command) for command in (_REBUILD, _EXPORT)]
        await fill_log(database)
        alone = await transfers(service, accounts, connections=WRITERS, seconds=SECONDS)
        await grow(database, accounts, MANY - SOME)
        large = [await _ran(service, *command) for command in (_REBUILD, _EXPORT)]
        rows = [
            *await _rates(service, database),
            *(
                at_most(f"memory: peak resident MiB of {what} of 1,000,000 events, against 100,000", many, some, 1.2)
                for what, many, some in (
                    ("a rebuild of all", large[0].mebibytes, small[0].mebibytes),
                    ("an export", large[1].mebibytes, small[1].mebibytes),
                )
            ),
        ]
        await fill_log(database)
        rows.append(await _writes_during_rebuild(service, accounts, alone))
        await database.close()
    return rows


async def balance_at_a_time(database: "asyncpg.Connection[Any]", long: str, short: str) -> Row:
    """Measure the balance of both accounts at random points in time, in turns."""
    row = await database.fetchrow(
        "SELECT min(recorded_at), max(recorded_at) FROM entries WHERE account_id = $1", UUID(long)
    )
    assert row is not None
    first, last = row
    seconds: dict[str, list[float]] = {long: [], short: []}
    chance = random.Random(1)
    for _ in range(QUESTIONS):
        moment = AtTime(first + timedelta(seconds=chance.uniform(0, (last - first).total_seconds())))
        for account in (long, short):
            begun = time.perf_counter()
            await as_of.account_at(database, UUID(account), moment)
            seconds[account].append(time.perf_counter() - begun)
    milliseconds = {account: median(found) * 1000 for account, found in seconds.items()}
    return at_most(
        "(g) p50 ms of a balance at a time, of an account with 1,000,000 entries, against one with 10",
        milliseconds[long],
        milliseconds[short],
        1.5,
    )


async def _rates(service: Service, database: "asyncpg.Connection[Any]") -> list[Row]:
    addresses = {"database_url": service.database_url, "redis_url": service.redis_url}
    settings = Settings.load(jwt_secret=secrets.token_urlsafe(32), **addresses)
    await database.execute(f"CREATE SCHEMA {library.SCHEMA}")
    rebuilt = json.loads((await _ran(service, "projections", "rebuild", "transfers", "--json")).output)
    yardstick = await asyncio.to_thread(library.events_per_second, settings, warm_up_seconds=1, seconds=5)
    rebuilding = rebuilt["events"] / rebuilt["seconds"]
    verified = await _ran(service, "audit", "verify")
    accounts = [row[0] for row in await database.fetch("SELECT id FROM accounts WHERE user_id IS NOT NULL LIMIT 100")]
    folded, by_library = await _folded(database), await asyncio.to_thread(library.folded_per_second, settings, accounts)
    return [
        at_least(
            "(h) events/s of a rebuild of `transfers`, comparison and swap included, against the eventsourcing library",
            *(rebuilding, yardstick, 100),
        ),
        at_least("(i) events/s decoded and folded, against the library's repository", folded, by_library, 1),
        at_least(
            "(k) events/s of a whole verification of 1,000,000 events, start included, against 100,000",
            *(rebuilt["events"] / verified.seconds, VERIFIED_PER_SECOND, 1.0),
        ),
    ]


async def _folded(database: "asyncpg.Connection[Any]") -> float:
    """Measure the events per second that are read, decoded and folded into the states of their streams."""
    states: dict[UUID, State] = {}
    begun, after, count = time.perf_counter(), 0, 0
    while count < FOLDED:
        events = await event_reader.read_log(database, after_position=after)
        for row in events:
            states[row.stream_id] = evolve(states.get(row.stream_id), row.event)
        after, count = events[-1].position, count + len(events)
    return count / (time.perf_counter() - begun)


async def _writes_during_rebuild(service: Service, accounts: list[str], alone: Measured) -> Row:
    """Measure transfers while one rebuild after another runs."""
    done = asyncio.Event()

    async def rebuild_again_and_again() -> None:
        while not done.is_set():
            await _ran(service, *_REBUILD)

    rebuilding = asyncio.create_task(rebuild_again_and_again())
    during = await transfers(service, accounts, connections=WRITERS, seconds=SECONDS)
    done.set()
    await rebuilding
    return at_most(
        "(m) p99 ms of a transfer, 16 connections, while all tables are rebuilt, against its own without",
        *(during.p99, alone.p99, 3.0),
    )


async def _ran(service: Service, *arguments: str) -> Ran:
    return await asyncio.to_thread(_run, service.environment, arguments)


def _run(environment: dict[str, str], arguments: tuple[str, ...]) -> Ran:
    begun = time.perf_counter()
    pipe = subprocess.PIPE
    with subprocess.Popen([*LEDGER, *arguments], stdout=pipe, stderr=subprocess.DEVNULL, env=environment) as process:
        assert process.stdout is not None
        descriptor, output, peak = process.stdout.fileno(), b"", 0.0
        while True:
            ready = select.select([descriptor], [], [], LOOK_SECONDS)[0]
            peak = (
                resident_mebibytes(process.pid) or peak
            )  # `wait4` would tell that of this process, from which it came
            if not ready:
                continue
            chunk = os.read(descriptor, 1 << 20)
            if not chunk:
                break
            output = (output + chunk)[-10_000:]  # of an export nobody needs all
    if process.returncode:
        raise RuntimeError(f"ledger {' '.join(arguments)} failed: {output.decode()}")
    return Ran(output, time.perf_counter() - begun, peak)


_REBUILD = ("projections", "rebuild", "--all", "--json")
_EXPORT = ("audit", "export", "--format", "jsonl")
