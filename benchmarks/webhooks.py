"""Webhooks: how long an event takes from its recording to an endpoint, and what sending costs a transfer."""

import asyncio
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

import aiohttp

from benchmarks.figures import ROUNDS, SECONDS, Row, at_most, for_the_record
from benchmarks.ledger import Ledger, open_ledger
from benchmarks.machine import Clock
from benchmarks.paced import Arrivals, endpoint, pay

SETTINGS: Any = {"LEDGER_WEBHOOK_ALLOW": "127.0.0.1"}
PER_SECOND = 1000
P50_MILLISECONDS, P99_MILLISECONDS = 20.0, 100.0
LIMITED = 1000  # webhooks for accounts that take part in no transfer: as many as there may be
CREATING = 16  # requests at once
NOISE = 1.2

Body = Mapping[str, object]


class _Run(NamedTuple):
    """Transfers a second, the CPU time of a transfer in microseconds, and the delays of events in milliseconds."""

    per_second: float
    worker: float
    backend: float
    p50: float
    p99: float


def _limit(number: int) -> Body:
    return {"code_prefix": f"limited:{number}"}


WORKING: Body = {}
DEAD: Body = {"url": "http://127.0.0.1:9/"}
RUNS: Sequence[Sequence[Body]] = ((), (WORKING,), (WORKING, DEAD), (_limit(0),))


async def measure() -> list[Row]:
    """Measure transfers at a steady rate without a webhook, with one, and with a dead or many limited ones, in turns.

    The load, the endpoint, PostgreSQL and the service share the cores. A delay includes the commit, because it counts
    from the time that the event has. The many are those of a second ledger, because they take long to create.
    """
    async with open_ledger(**SETTINGS) as ledger, open_ledger(**SETTINGS) as crowded:
        await _create_all(crowded, [{**DEAD, **_limit(number)} for number in range(LIMITED)])
        rounds = [
            [*[await _run(ledger, webhooks) for webhooks in RUNS], await _run(crowded, ())] for _ in range(ROUNDS)
        ]
    plain, sending, beside, one, many = (
        _Run(*(median(figures) for figures in zip(*runs, strict=True))) for runs in zip(*rounds, strict=True)
    )
    return [
        at_most("ms from recording to the endpoint at 1,000 transfers/s, p50", sending.p50, P50_MILLISECONDS, 1.0),
        at_most("the same, p99", sending.p99, P99_MILLISECONDS, 1.0),
        at_most("the same beside a dead endpoint, p99", beside.p99, P99_MILLISECONDS, 1.0),
        for_the_record("transfers/s meanwhile", sending.per_second),
        for_the_record("µs of CPU of the worker for a transfer, without a webhook", plain.worker),
        for_the_record("the same with a webhook that sends each transfer", sending.worker),
        at_most(f"the same with {LIMITED:,} webhooks for other accounts, against one", many.worker, one.worker, NOISE),
        for_the_record("µs of CPU of the busiest backend for a transfer, without a webhook", plain.backend),
        for_the_record("the same with a webhook that sends each transfer", sending.backend),
    ]


async def _run(ledger: Ledger, webhooks: Sequence[Body]) -> _Run:
    """Run with these webhooks, for the endpoint unless they name another one."""
    arrivals = Arrivals()
    async with endpoint(arrivals) as url:
        created = [await _create(ledger, {"url": url, **one}) for one in webhooks]
        pids = ledger.service.worker_pids
        clock = await Clock.start(ledger.database, pids)
        accepted = await pay(ledger, per_second=PER_SECOND, seconds=SECONDS)
        worker, backend = clock.read(pids), await clock.read_backend()
        for path in created:
            await _call(ledger, "DELETE", path)
    share = 1e6 / accepted
    delays = (arrivals.percentile(0.5), arrivals.percentile(0.99)) if webhooks else (0.0, 0.0)
    return _Run(accepted / SECONDS, worker * share, backend * share, *delays)


async def _create_all(ledger: Ledger, webhooks: Sequence[Body]) -> None:
    async def create(some: Sequence[Body]) -> None:
        for one in some:
            await _create(ledger, one)

    await asyncio.gather(*(create(webhooks[at::CREATING]) for at in range(CREATING)))


async def _create(ledger: Ledger, webhook: Body) -> str:
    body = {"topics": ["MoneyTransferred"], **webhook}
    return f"/v1/webhooks/{(await _call(ledger, 'POST', '/v1/webhooks', body))['id']}"


async def _call(ledger: Ledger, method: str, path: str, body: object = None) -> dict[str, str]:
    headers = {"Authorization": f"Bearer {ledger.service.token}"}
    async with (
        aiohttp.ClientSession(ledger.service.url, headers=headers) as session,
        session.request(method, path, json=body) as response,
    ):
        response.raise_for_status()
        return dict(await response.json()) if method == "POST" else {}
