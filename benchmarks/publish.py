"""Publishing to NATS JetStream: whether it keeps up with transfers, and what it costs them."""

import asyncio
import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from statistics import median

import nats

from benchmarks.figures import ROUNDS, SECONDS, Row, at_least, for_the_record
from benchmarks.ledger import Ledger, open_ledger
from benchmarks.load import transfers
from benchmarks.machine import processor_seconds
from benchmarks.scaling import CONNECTIONS
from benchmarks.service import list_children

EVENTS = 3  # of a transfer
START_SECONDS = 10
KEEPS_UP, COSTS = 0.9, 0.95


def missing_server() -> bool:
    """Return whether the server is not installed."""
    return _find_server() is None


async def measure(ledger: Ledger) -> list[Row]:
    """Measure transfers of a service that publishes and of one that does not, each on its own ledger, in turns."""
    async with _running_nats() as url, open_ledger(LEDGER_NATS_URL=url) as publishing:
        rounds = [await _round(ledger, publishing, url) for _ in range(ROUNDS)]
    plain, beside, published, microseconds = (median(figures) for figures in zip(*rounds, strict=True))
    return [
        at_least("transfers/s published to JetStream, against those executed meanwhile", published, beside, KEEPS_UP),
        at_least("transfers/s while all are published, against none", beside, plain, COSTS),
        for_the_record("the publisher: µs of CPU a transfer", microseconds),
    ]


async def _round(plain: Ledger, publishing: Ledger, url: str) -> tuple[float, float, float, float]:
    """Return transfers a second without publishing and with it, those published meanwhile, and the publisher's time."""
    alone = await transfers(plain.service, plain.accounts, connections=CONNECTIONS, seconds=SECONDS)
    pids = list_children(publishing.service.pid, b"web.publisher")
    before, spent = await _count(url), sum(processor_seconds(pids).values())
    beside = await transfers(publishing.service, publishing.accounts, connections=CONNECTIONS, seconds=SECONDS)
    stored = (await _count(url) - before) / EVENTS
    spent = sum(processor_seconds(pids).values()) - spent
    return alone.per_second, beside.per_second, stored / SECONDS, spent * 1e6 / max(stored, 1)


async def _count(url: str) -> int:
    """Return the last sequence of the stream."""
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
