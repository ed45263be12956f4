"""The cost of a balance as of an effective date, of a long history against a short one."""

import time
from statistics import median
from typing import Any

import aiohttp
import asyncpg

from benchmarks.figures import ROUNDS, Row, at_most
from benchmarks.history import lengthen
from benchmarks.ledger import Ledger
from benchmarks.service import Service

LONG, SHORT = 1_000_000, 1_000
READS = 40  # in a turn
DAY = "2024-06-15"
# Every other entry counts on a day of the last years, in no order.
_DATE = """
    INSERT INTO dated_entries
    SELECT account_id, position, version, effective_at, amount_cents, year, month, day,
           sum(amount_cents) OVER (PARTITION BY account_id ORDER BY position),
           sum(amount_cents) OVER (PARTITION BY account_id, year ORDER BY position),
           sum(amount_cents) OVER (PARTITION BY account_id, month ORDER BY position),
           sum(amount_cents) OVER (PARTITION BY account_id, day ORDER BY position)
    FROM (SELECT dated.*, extract(year FROM at)::bigint AS year,
                 (12 * extract(year FROM at) + extract(month FROM at) - 1)::bigint AS month,
                 (at::date - '0001-01-01'::date + 1)::bigint AS day
          FROM (SELECT entries.*, '2022-01-01Z'::timestamptz + version * 7919 % 1461 * interval '1 day' AS effective_at
                FROM entries WHERE account_id = $1 AND version % 2 = 0) AS dated,
               LATERAL (SELECT effective_at AT TIME ZONE 'UTC' AS at) AS utc) AS counted
"""
_PATIENCE_SECONDS = 600


async def measure(ledger: Ledger) -> list[Row]:
    """Measure the balance as of a date of an account with a million entries against one with a thousand."""
    service = ledger.service
    accounts = await service.open_accounts(2)
    database = await asyncpg.connect(service.database_url, server_settings={"search_path": "ledger"})
    for account_id, entries in zip(accounts, (LONG, SHORT), strict=True):
        await lengthen(database, account_id, entries)
        await database.execute(_DATE, account_id, timeout=_PATIENCE_SECONDS)
    await database.execute("VACUUM ANALYZE dated_entries", timeout=_PATIENCE_SECONDS)
    await database.close()
    return [
        await _compare(
            service,
            [f"/v1/accounts/{account_id}?effective_at={DAY}" for account_id in accounts],
            "balance as of an effective date: ms with 1,000,000 entries, against 1,000",
        ),
    ]


async def _compare(service: Service, paths: list[str], name: str) -> Row:
    async with aiohttp.ClientSession(service.url, headers={"Authorization": f"Bearer {service.token}"}) as session:
        rounds = [[await _seconds(session, path) for path in paths] for _ in range(ROUNDS)]
    long, short = (median(seconds) * 1000 for seconds in zip(*rounds, strict=True))
    return at_most(name, long, short, 1.5)


async def _seconds(session: aiohttp.ClientSession, path: str) -> float:
    """Return the median time of some reads."""
    took: list[float] = []
    for _ in range(READS):
        began = time.perf_counter()
        async with session.get(path) as response:
            body: Any = await response.json()
            assert response.status == 200, body
        took.append(time.perf_counter() - began)
    return median(took)
