"""A dead endpoint beside many healthy ones: whether they wait for it, and what it gets after it is back.

Two ledgers take the same load at the same time, so a busy machine slows both; one of them has the dead endpoint too. It
is dead for `DEAD_SECONDS`, a minute by default: `DEAD_SECONDS=3600 make bench ONLY=endpoints`.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

import aiohttp

from benchmarks.figures import Row, at_least, at_most
from benchmarks.ledger import Ledger, open_ledger
from benchmarks.paced import Arrivals, endpoint, pay

HEALTHY = 200
PER_SECOND = 1.0  # transfers, each of which goes to every endpoint
SETTINGS: Any = {"LEDGER_WEBHOOK_ALLOW": "127.0.0.1", "JWT_EXPIRE_ACCESS_TOKEN_SECONDS": "86400"}
SETTLE_SECONDS = 5.0
CATCH_UP_SECONDS = 1800.0  # an attempt may come a quarter of an hour after the one before it
NOISE = 1.25
_SENT = """SELECT notification_id FROM ledger.stored_events
           WHERE topic = 'MoneyTransferred' AND notification_id > $1 ORDER BY 1"""


class _Returned(NamedTuple):
    """What the endpoint had missed while it was dead, and the positions that it received, in order."""

    missed: Sequence[int]
    received: Sequence[int]


async def measure() -> list[Row]:
    """Measure delays at healthy endpoints of both ledgers, then let the dead endpoint come back."""
    seconds = float(os.environ.get("DEAD_SECONDS", "60"))
    async with open_ledger(**SETTINGS) as plain, open_ledger(**SETTINGS) as beside:
        arrivals, arrivals_beside = Arrivals(), Arrivals()
        async with _healthy(plain, arrivals), _healthy(beside, arrivals_beside), _dead(beside) as dead:
            await asyncio.gather(*(pay(one, per_second=PER_SECOND, seconds=seconds) for one in (plain, beside)))
            await asyncio.sleep(SETTLE_SECONDS)
            returned = await dead.come_back()
    return [
        at_most(
            f"ms to {HEALTHY} endpoints beside one that is dead for {seconds:,.0f} s, against none, p50",
            arrivals_beside.percentile(0.5), arrivals.percentile(0.5), NOISE,
        ),
        at_most("the same, p99", arrivals_beside.percentile(0.99), arrivals.percentile(0.99), NOISE),
        at_least(
            "events that arrive once and in order when it is back, of those that it missed",
            sum(one == other for one, other in zip(returned.received, returned.missed, strict=False)),
            max(len(returned.missed), len(returned.received)), 1.0,
        ),
    ]  # fmt: skip


@contextlib.asynccontextmanager
async def _healthy(ledger: Ledger, arrivals: Arrivals) -> AsyncIterator[None]:
    async with endpoint(arrivals) as url:
        for number in range(HEALTHY):
            await _create(ledger, f"{url}{number}")
        yield


class _Dead:
    """A webhook whose endpoint refuses connections."""

    def __init__(self, ledger: Ledger, port: int, webhook_id: str, created_at: int) -> None:
        self._ledger, self._port, self._id, self._created_at = ledger, port, webhook_id, created_at

    async def come_back(self) -> _Returned:
        """Take what is sent, until the webhook has sent everything."""
        arrivals = Arrivals()
        async with endpoint(arrivals, self._port), asyncio.timeout(CATCH_UP_SECONDS):
            while not await self._is_at_the_end():  # noqa: ASYNC110 - the service tells
                await asyncio.sleep(1)
        rows = await self._ledger.database.fetch(_SENT, self._created_at)
        return _Returned([row[0] for row in rows], arrivals.positions)

    async def _is_at_the_end(self) -> bool:
        async with _session(self._ledger) as session, session.get(f"/v1/webhooks/{self._id}/progress") as response:
            progress = await response.json()
            return bool(progress["position"] == progress["log_end"] and not progress["pending"])


@contextlib.asynccontextmanager
async def _dead(ledger: Ledger) -> AsyncIterator[_Dead]:
    async with endpoint(Arrivals()) as url:
        port = int(url.rpartition(":")[2].strip("/"))
    created = await _create(ledger, url)
    end = await ledger.database.fetchval("SELECT max(notification_id) FROM ledger.stored_events")
    yield _Dead(ledger, port, created, end)


async def _create(ledger: Ledger, url: str) -> str:
    async with (
        _session(ledger) as session,
        session.post("/v1/webhooks", json={"url": url, "topics": ["MoneyTransferred"]}) as response,
    ):
        response.raise_for_status()
        return str((await response.json())["id"])


def _session(ledger: Ledger) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(ledger.service.url, headers={"Authorization": f"Bearer {ledger.service.token}"})
