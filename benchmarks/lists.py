"""The cost of a page of a list, near its beginning and far from it."""

import re
import time
from statistics import median

import aiohttp
import asyncpg

from benchmarks.figures import ROUNDS, Row, at_most
from benchmarks.history import grow
from benchmarks.ledger import Ledger
from benchmarks.service import Service

LIMIT = 20
NEAR, FAR = 10, 10_000
PAGES = 30  # read in a turn


async def measure(ledger: Ledger) -> list[Row]:
    """Measure pages of transactions at depth 10 and 10,000: of all transactions, and of one account."""
    service, accounts = ledger.service, ledger.accounts
    database = await asyncpg.connect(service.database_url, server_settings={"search_path": "ledger"})
    await grow(database, accounts[:2], 3 * (FAR + 1000))
    await database.close()
    return [
        await _depths(
            service, "/v1/transactions?", "list pages: ms of a page of all transactions at depth 10,000, against 10"
        ),
        await _depths(
            service, f"/v1/transactions?account_id={accounts[0]}&", "list pages: the same of one account's transactions"
        ),
        await _depths(service, f"/v1/accounts/{accounts[0]}/entries?", "list pages: the same of an account's entries"),
    ]


async def _depths(service: Service, path: str, name: str) -> Row:
    async with aiohttp.ClientSession(service.url, headers={"Authorization": f"Bearer {service.token}"}) as session:
        links = [await _link(session, path, depth) for depth in (NEAR, FAR)]
        rounds = [[await _seconds(session, link) for link in links] for _ in range(ROUNDS)]
    near, far = (median(seconds) * 1000 for seconds in zip(*rounds, strict=True))
    return at_most(name, far, near, 1.5)


async def _link(session: aiohttp.ClientSession, path: str, depth: int) -> str:
    """Return the link to the page after `depth` items."""
    following, left = "", depth
    while left:
        limit = min(left, 200)
        page = f"{path}limit={limit}" if not following else re.sub(r"limit=\d+", f"limit={limit}", following)
        async with session.get(page) as response:
            response.raise_for_status()
            left -= len(await response.json())
            following = response.headers["Link"].partition(">")[0].removeprefix("<")
    return re.sub(r"limit=\d+", f"limit={LIMIT}", following)


async def _seconds(session: aiohttp.ClientSession, link: str) -> float:
    """Return the median time of some reads of a page."""
    took = []
    for _ in range(PAGES):
        began = time.perf_counter()
        async with session.get(link) as response:
            assert len(await response.json()) == LIMIT
        took.append(time.perf_counter() - began)
    return median(took)
