"""More processes on one ledger: two workers, two instances, and the committer alone without HTTP."""

import asyncio
import json
import sys
from collections.abc import Sequence
from functools import partial
from statistics import median

from benchmarks.figures import ROUNDS, SECONDS, Row, at_least, at_most, for_the_record, in_turns
from benchmarks.ledger import ACCOUNTS, Ledger, open_ledger
from benchmarks.load import Measured, transfers
from benchmarks.machine import Clock
from benchmarks.service import Service, running

CONNECTIONS = 64
CEILING = 20_000  # transfers a second of one ledger
WRITER_MICROSECONDS, BACKEND_MICROSECONDS = 35, 50
WRITER_SECONDS = 10


def describe_cost(name: str, microseconds: float, wanted: float) -> Row:
    """Return a row for the processor time of a transfer."""
    return at_most(f"{name}, µs of CPU a transfer", microseconds, wanted, 1.0)


def describe_ceiling(name: str, writer: float, backend: float) -> Row:
    """Return a row for the transfers a second of a ledger whose writer and backend have a core each."""
    return at_least(f"{name}: ceiling of one writer, transfers/s", 1e6 / max(writer, backend), CEILING, 1.0)


async def cost(ledger: Ledger, accounts: list[str], name: str) -> list[Row]:
    """Measure the processor time of a transfer in each process, and the ceiling of one writer that follows."""
    service = ledger.service
    clock = await Clock.start(ledger.database, [*service.worker_pids, *service.writer_pids])
    measured = await transfers(service, accounts, connections=CONNECTIONS, seconds=SECONDS)
    per_transfer = 1e6 / (measured.per_second * SECONDS)
    workers = clock.read(service.worker_pids) * per_transfer
    writer = clock.read(service.writer_pids) * per_transfer
    backend = await clock.read_backend() * per_transfer
    return [
        for_the_record(f"{name}: {len(service.worker_pids)} worker(s), µs of CPU a transfer", workers),
        *([describe_cost(f"{name}: the writer", writer, WRITER_MICROSECONDS)] if service.writer_pids else []),
        describe_cost(f"{name}: PostgreSQL's backend", backend, BACKEND_MICROSECONDS),
        describe_ceiling(name, writer, backend),
    ]


async def two_workers(ledger: Ledger) -> list[Row]:
    """Measure two workers against one, on random and on two hot accounts, each on a ledger of its own, in turns."""
    async with open_ledger(workers=2) as two:
        rows = []
        for name, count in (("random", ACCOUNTS), ("hot", 2)):
            both, one = await in_turns(
                *(
                    partial(transfers, each.service, each.accounts[:count], connections=CONNECTIONS, seconds=SECONDS)
                    for each in (two, ledger)
                )
            )
            rows.append(
                at_least(f"transfers/s of two workers, {name}, against one", both.per_second, one.per_second, 0.9)
            )
            rows += await cost(two, two.accounts[:count], f"two workers, {name}")
    return rows


async def two_instances(ledger: Ledger) -> list[Row]:
    """Measure two instances on one database against one of them, and the share of the one that gets less."""
    async with running(beside=ledger.service) as other:
        rows = []
        for name, accounts, wanted in (("random", ledger.accounts, 0.6), ("hot", ledger.accounts[:2], 0.5)):
            rounds = [await _round(ledger.service, other, accounts) for _ in range(ROUNDS)]
            one, first, second = (median(figures) for figures in zip(*rounds, strict=True))
            rows += [
                at_least(f"transfers/s of two instances, {name}, against one", first + second, one, wanted),
                at_least(f"the smaller share of the two, {name}", min(first, second), first + second, 1 / 3),
            ]
    return rows


async def _round(service: Service, other: Service, accounts: list[str]) -> Sequence[float]:
    alone = await transfers(service, accounts, connections=CONNECTIONS, seconds=SECONDS)
    both: list[Measured] = await asyncio.gather(
        *(
            transfers(each, accounts, connections=CONNECTIONS // 2, seconds=SECONDS, seed=seed)
            for seed, each in enumerate((service, other), 1)
        )
    )
    return [alone.per_second, *(measured.per_second for measured in both)]


async def writer_alone(ledger: Ledger) -> list[Row]:
    """Measure the committer, fed in one process without HTTP."""
    rows = []
    for name, accounts in (("random", ledger.accounts), ("hot", ledger.accounts[:2])):
        clock = await Clock.start(ledger.database, [])
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.feed", str(WRITER_SECONDS)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=ledger.service.environment,
        )
        feeding = asyncio.create_task(process.communicate(json.dumps(accounts).encode()))
        backend = 0.0
        while not feeding.done():  # the backend is gone once the process has ended
            await asyncio.sleep(0.1)
            backend = max(backend, await clock.read_backend())
        output = (await feeding)[0]
        if process.returncode:
            raise RuntimeError("feeding the committer failed")
        fed = json.loads(output)
        writer, busiest = (seconds * 1e6 / fed["count"] for seconds in (fed["processor_seconds"], backend))
        rows += [
            at_least(f"writer alone, {name}: transfers/s", fed["count"] / fed["seconds"], CEILING, 1.0),
            describe_cost(f"writer alone, {name}", writer, WRITER_MICROSECONDS),
            describe_cost(f"writer alone, {name}: PostgreSQL's backend", busiest, BACKEND_MICROSECONDS),
            describe_ceiling(f"writer alone, {name}", writer, busiest),
        ]
    return rows
