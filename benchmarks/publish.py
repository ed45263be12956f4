"""Publishing to NATS JetStream: whether it keeps up with transfers, and what it costs them."""

import asyncio
import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

import nats

from benchmarks.figures import ROUNDS, SECONDS, Row, at_least, at_most, for_the_record
from benchmarks.ledger import Ledger, open_ledger
from benchmarks.load import transfers
from benchmarks.machine import Clock
from benchmarks.paced import pay
from benchmarks.scaling import CONNECTIONS
from benchmarks.service import PUBLISHER, list_children

EVENTS = 3  # of a transfer
START_SECONDS = 10
PER_SECOND = 1500  # at the steady rate
KEEPS_UP, COSTS = 0.9, 1.05

Load = Callable[[Ledger], Awaitable[float]]  # returns transfers a second


class _Run(NamedTuple):
    """Transfers a second: executed and published; and the processor time of a transfer in microseconds."""

    executed: float
    published: float
    executing: float  # in the worker and its backend
    publishing: float  # in the publisher


async def measure(ledger: Ledger) -> list[Row]:
    """Measure transfers of a service that publishes and of one that does not, each on its own ledger, in turns.

    The load, both services' PostgreSQL and NATS share the cores. Without an idle core, publishing takes the time that
    transfers would use, and fewer transfers wait for each commit, which makes each of them dearer. So what publishing
    costs those who execute transfers is their processor time at a steady rate, which leaves the cores some rest.
    """
    async with _running_nats() as url, open_ledger(LEDGER_NATS_URL=url) as publishing:
        plain, beside = await _in_turns(_load, ledger, publishing, url)
        plain_steady, beside_steady = await _in_turns(_load_steadily, ledger, publishing, url)
    return [
        at_least(
            "transfers/s published to JetStream, against those executed meanwhile",
            *(beside.published, beside.executed, KEEPS_UP),
        ),
        at_most(
            f"µs of CPU to execute a transfer at {PER_SECOND:,}/s while all are published, against none",
            *(beside_steady.executing, plain_steady.executing, COSTS),
        ),
        for_the_record("the same without an idle core, against none", beside.executing / plain.executing),
        for_the_record("transfers/s while all are published, against none", beside.executed / plain.executed),
        for_the_record("µs of CPU to publish a transfer, without PostgreSQL and NATS", beside.publishing),
    ]


async def _in_turns(load: Load, ledger: Ledger, publishing: Ledger, url: str) -> list[_Run]:
    """Return the medians of rounds without and with publishing."""
    rounds = [[await _run(load, one, url) for one in (ledger, publishing)] for _ in range(ROUNDS)]
    return [_Run(*(median(figures) for figures in zip(*runs, strict=True))) for runs in zip(*rounds, strict=True)]


async def _run(load: Load, ledger: Ledger, url: str) -> _Run:
    service = ledger.service
    publishers = list_children(service.pid, PUBLISHER)
    before, clock = await _count(url), await Clock.start(ledger.database, [*service.worker_pids, *publishers])
    per_second = await load(ledger)
    executing = clock.read(service.worker_pids) + await clock.read_backend()
    publishing, published = clock.read(publishers), (await _count(url) - before) / EVENTS
    per_transfer = 1e6 / (per_second * SECONDS)
    return _Run(per_second, published / SECONDS, executing * per_transfer, publishing * per_transfer)


async def _load(ledger: Ledger) -> float:
    return (await transfers(ledger.service, ledger.accounts, connections=CONNECTIONS, seconds=SECONDS)).per_second


async def _load_steadily(ledger: Ledger) -> float:
    return await pay(ledger, per_second=PER_SECOND, seconds=SECONDS) / SECONDS


async def _count(url: str) -> int:
    """Return the last sequence of the stream; 0 if there is none yet."""
    client = await nats.connect(url)
    try:
        return int((await client.jetstream().stream_info("ledger")).state.last_seq)
    finally:
        await client.close()


@contextlib.asynccontextmanager
async def _running_nats() -> AsyncIterator[str]:
    """Run a server of NATS with a store on disk, as its defaults are, and yield its URL."""
    with tempfile.TemporaryDirectory(prefix="ledger-bench-") as folder:
        process = await asyncio.create_subprocess_exec(
            *(_find_server() or "", "--jetstream", "--store_dir", folder, "--addr", "127.0.0.1", "--port", "-1"),
            *("--ports_file_dir", folder, "--log", os.devnull),
        )
        try:
            yield await _read_url(Path(folder))
        finally:
            process.terminate()
            await process.wait()


async def _read_url(folder: Path) -> str:
    async with asyncio.timeout(START_SECONDS):
        while True:
            for file in folder.glob("*.ports"):
                with contextlib.suppress(ValueError):
                    return str(json.loads(file.read_text())["nats"][0])
            await asyncio.sleep(0.05)


def _find_server() -> str | None:
    beside = Path(sys.executable).with_name("nats-server")
    return str(beside) if beside.exists() else shutil.which("nats-server")
