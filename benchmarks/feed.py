"""Feed a committer with transfers, without HTTP: `python -m benchmarks.feed SECONDS`, accounts on standard input."""

import asyncio
import itertools
import json
import random
import sys
import time
from collections.abc import Sequence
from uuid import UUID

import uvloop

from ledger.commands.transfers import TransferMoney
from ledger.environment.gc import collect_rarely
from ledger.runtime import open_runtime
from ledger.settings import Settings
from ledger.values.ids import new_id, parse_id
from ledger.write.group import Origin
from ledger.write.writer import Writer

CLIENTS = 128
PAIRS = 1000  # of accounts that a client repeats: choosing them takes longer than deciding a transfer


async def feed(accounts: Sequence[UUID], seconds: float) -> dict[str, float]:
    """Return the transfers of some seconds, and the time and processor time that they took.

    All include the start, because PostgreSQL's backend is measured from its beginning.
    """
    async with open_runtime(Settings.load()) as runtime:
        began, processor_began = time.perf_counter(), time.process_time()
        end = began + seconds
        counts = await asyncio.gather(*(_client(runtime.committer, accounts, number, end) for number in range(CLIENTS)))
        took, processor = time.perf_counter() - began, time.process_time() - processor_began
    return {"count": sum(counts), "seconds": took, "processor_seconds": processor}


async def _client(committer: Writer, accounts: Sequence[UUID], seed: int, end: float) -> int:
    chance, count = random.Random(seed), 0
    pairs = itertools.cycle([chance.sample(accounts, 2) for _ in range(PAIRS)])
    actor, session, jti = new_id(), new_id(), new_id()
    while time.perf_counter() < end:
        source, destination = next(pairs)
        transfer = TransferMoney(
            transaction_id=new_id(), source_account_id=source, destination_account_id=destination, amount_cents=1
        )
        await committer.submit(transfer, Origin(new_id(), actor, session, jti, "benchmark"))
        count += 1
    return count


if __name__ == "__main__":
    ids = [parse_id(text) for text in json.load(sys.stdin)]
    collect_rarely()
    json.dump(uvloop.run(feed(ids, float(sys.argv[1]))), sys.stdout)
