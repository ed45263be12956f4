"""Webhooks: how long an event takes from its recording to an endpoint, and what sending costs a transfer."""

from statistics import median
from typing import NamedTuple

import aiohttp

from benchmarks.figures import ROUNDS, SECONDS, Row, at_most, for_the_record
from benchmarks.ledger import Ledger, open_ledger
from benchmarks.machine import Clock
from benchmarks.paced import Arrivals, endpoint, pay

PER_SECOND = 1000
P50_MILLISECONDS, P99_MILLISECONDS = 20.0, 100.0
DEAD = "http://127.0.0.1:9/"


class _Run(NamedTuple):
    """Transfers a second, the CPU time of a transfer in microseconds, and the delays of events in milliseconds."""

    per_second: float
    worker: float
    backend: float
    p50: float
    p99: float


async def measure() -> list[Row]:
    """Measure transfers at a steady rate without a webhook, with one, and with a dead one beside it, in turns.

    The load, the endpoint, PostgreSQL and the service share the cores. A delay includes the commit, because it counts
    from the time that the event has.
    """
    async with open_ledger(LEDGER_WEBHOOK_ALLOW="127.0.0.1") as ledger:
        rounds = [[await _run(ledger, number) for number in (0, 1, 2)] for _ in range(ROUNDS)]
    plain, sending, beside = (
        _Run(*(median(figures) for figures in zip(*runs, strict=True))) for runs in zip(*rounds, strict=True)
    )
    return [
        at_most("ms from recording to the endpoint at 1,000 transfers/s, p50", sending.p50, P50_MILLISECONDS, 1.0),
        at_most("the same, p99", sending.p99, P99_MILLISECONDS, 1.0),
        at_most("the same beside a dead endpoint, p99", beside.p99, P99_MILLISECONDS, 1.0),
        for_the_record("transfers/s meanwhile", sending.per_second),
        for_the_record("µs of CPU of the worker for a transfer, without a webhook", plain.worker),
        for_the_record("the same with a webhook that sends each transfer", sending.worker),
        for_the_record("µs of CPU of the busiest backend for a transfer, without a webhook", plain.backend),
        for_the_record("the same with a webhook that sends each transfer", sending.backend),
    ]


async def _run(ledger: Ledger, webhooks: int) -> _Run:
    """Run with so many webhooks, the second of which is dead."""
    arrivals = Arrivals()
    async with endpoint(arrivals) as url:
        created = [await _create(ledger, one) for one in (url, DEAD)[:webhooks]]
        pids = ledger.service.worker_pids
        clock = await Clock.start(ledger.database, pids)
        accepted = await pay(ledger, per_second=PER_SECOND, seconds=SECONDS)
        worker, backend = clock.read(pids), await clock.read_backend()
        for path in created:
            await _call(ledger, "DELETE", path)
    share = 1e6 / accepted
    delays = (arrivals.percentile(0.5), arrivals.percentile(0.99)) if webhooks else (0.0, 0.0)
    return _Run(accepted / SECONDS, worker * share, backend * share, *delays)


async def _create(ledger: Ledger, url: str) -> str:
    body = {"url": url, "topics": ["MoneyTransferred"]}
    return f"/v1/webhooks/{(await _call(ledger, 'POST', '/v1/webhooks', body))['id']}"


async def _call(ledger: Ledger, method: str, path: str, body: object = None) -> dict[str, str]:
    headers = {"Authorization": f"Bearer {ledger.service.token}"}
    async with (
        aiohttp.ClientSession(ledger.service.url, headers=headers) as session,
        session.request(method, path, json=body) as response,
    ):
        response.raise_for_status()
        return dict(await response.json()) if method == "POST" else {}
