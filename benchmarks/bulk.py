"""Batches of transfers, against the set-based upper bound: the same rows, written by the same SQL, and nothing else."""

import asyncio
import itertools
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
from asyncpg.pgproto.pgproto import UUID as FastUUID  # noqa: N811 - it is the class, not a constant

from benchmarks.figures import SECONDS, Row, at_least, in_turns
from benchmarks.ledger import Ledger
from benchmarks.load import Measured, post_bodies
from benchmarks.service import LEDGER, Service
from ledger.commands.batch import TransferBatch
from ledger.commands.transfers import TransferMoney
from ledger.store import log as event_log
from ledger.store.heads import read_heads
from ledger.store.statements import send_encoded_arrays
from ledger.values.ids import new_id
from ledger.write.group import Origin, PreparedGroup, Submission, prepare, streams_of

ITEMS = 1000
CONNECTIONS = 4
BODIES = 16
LINES = 100_000  # of the imported file
BATCHES = 12  # of each client, a round


async def measure(ledger: Ledger) -> list[Row]:
    """Measure batch transfers per second and the bound, each on its own half of the accounts."""
    service, accounts = ledger.service, ledger.accounts
    half = len(accounts) // 2
    posted, bound = await in_turns(
        lambda: over_http(service, accounts[:half], seconds=SECONDS),
        lambda: upper_bound(service, accounts[half:]),
    )
    row = at_least(
        "(n) bulk transfers/s over HTTP, 1,000 a request, 4 connections, against the SQL that writes the same rows",
        *(posted.per_second, bound.per_second, 0.7),
    )
    return [row, await _compare_import(service, accounts[:half])]


async def _compare_import(service: Service, accounts: Sequence[str]) -> Row:
    """Measure `ledger import`, from its start to its end, against batches over HTTP."""
    runs = itertools.count()
    with tempfile.TemporaryDirectory(prefix="ledger-bench-") as folder:
        file = Path(folder) / "transfers.csv"
        file.write_text(_table(accounts))
        imported, posted = await in_turns(
            lambda: import_file(service, file, f"run {next(runs)}"),
            lambda: over_http(service, accounts, seconds=SECONDS),
        )
    return at_least(
        f"(o) transfers/s of ledger import, {LINES:,} lines of CSV, checked first, against bulk transfers/s over HTTP",
        *(imported.per_second, posted.per_second, 0.7),
    )


async def import_file(service: Service, file: Path, run: str) -> Measured:
    """Run `ledger import` with a file that is new to the ledger."""
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *(*LEDGER, "import", str(file), "--url", service.url, "--run", run),
        env={**service.environment, "LEDGER_PASSWORD": service.password},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    seconds = time.perf_counter() - began
    if output != f"{LINES:,} made, 0 replayed, 0 refused\n".encode():
        raise RuntimeError(f"the import failed: {output.decode()}{errors.decode()}")
    return Measured(LINES / seconds, seconds * 1000, seconds * 1000)


def _table(accounts: Sequence[str]) -> str:
    pairs = itertools.islice(itertools.cycle(itertools.pairwise([*accounts, accounts[0]])), LINES)
    rows = (
        f"{source},{destination},{1 + number // len(accounts)}\n" for number, (source, destination) in enumerate(pairs)
    )
    return "source_account_id,destination_account_id,amount_cents\n" + "".join(rows)


async def over_http(service: Service, accounts: Sequence[str], *, seconds: int) -> Measured:
    """Let wrk post batches that are not atomic. Count transfers."""
    pairs = itertools.cycle(itertools.pairwise([*accounts, accounts[0]]))
    bodies = []
    for _ in range(BODIES):
        items = (
            f'{{"source_account_id":"{source}","destination_account_id":"{destination}","amount_cents":1}}'
            for source, destination in itertools.islice(pairs, ITEMS)
        )
        bodies.append(f'{{"atomic":false,"items":[{",".join(items)}]}}')
    url = f"{service.url}/v1/transactions/batch"
    measured = await post_bodies(service, url, bodies, connections=CONNECTIONS, seconds=seconds)
    return measured._replace(per_second=measured.per_second * ITEMS)


async def upper_bound(service: Service, accounts: Sequence[str]) -> Measured:
    """Let as many clients write what such batches write, each on its own accounts, prepared beforehand."""
    share = len(accounts) // CONNECTIONS
    clients = [
        await _Client.connected(service, accounts[number * share : (number + 1) * share])
        for number in range(CONNECTIONS)
    ]
    began = time.perf_counter()
    taken = list(itertools.chain(*await asyncio.gather(*(client.write() for client in clients))))
    seconds = time.perf_counter() - began
    for client in clients:
        await client.connection.close()
    taken.sort()
    return Measured(len(taken) * ITEMS / seconds, taken[len(taken) // 2], taken[len(taken) * 99 // 100])


class _Client(NamedTuple):
    connection: "asyncpg.Connection[Any]"
    batches: list[PreparedGroup[Submission]]

    @classmethod
    async def connected(cls, service: Service, accounts: Sequence[str]) -> "_Client":
        connection = await asyncpg.connect(service.database_url, server_settings={"search_path": "ledger"})
        send_encoded_arrays(connection)
        ids = [FastUUID(account) for account in accounts]
        heads = await read_heads(connection, ids)
        pairs = itertools.cycle(itertools.pairwise([*ids, ids[0]]))
        batches = []
        for _ in range(BATCHES):
            submission = _batch(list(itertools.islice(pairs, ITEMS)))
            prepared = prepare([submission], streams_of([submission]), heads)
            heads = {**heads, **prepared.heads}
            batches.append(prepared)
        return cls(connection, batches)

    async def write(self) -> list[float]:
        """Write all batches and return the milliseconds that each took."""
        taken = []
        for batch in self.batches:
            began = time.perf_counter()
            await event_log.write(self.connection, batch.read, len(batch.command_ids), batch.statements)
            taken.append((time.perf_counter() - began) * 1000)
        return taken


def _batch(pairs: Sequence[tuple[UUID, UUID]]) -> Submission:
    transfers = tuple(
        TransferMoney(
            transaction_id=new_id(), source_account_id=source, destination_account_id=destination, amount_cents=1
        )
        for source, destination in pairs
    )
    return Submission(TransferBatch(transfers), Origin(new_id()))
