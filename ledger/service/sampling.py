"""The gauges of a process, sampled every second."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from ledger.identity.revocation_cache import RevocationCache
from ledger.service import metrics
from ledger.service.metrics import MICROSECONDS, Meter
from ledger.store.connections import Pool
from ledger.write.writer import Writer

SAMPLE_SECONDS = 1.0


class Sampled(Protocol):
    """The parts of a process that have gauges."""

    @property
    def pool(self) -> Pool:
        """Its connections for queries."""

    @property
    def committer(self) -> Writer:
        """What executes its commands."""

    @property
    def revocation_cache(self) -> RevocationCache:
        """Its view of the cache."""


class LookingUp(Protocol):
    """What looks up the names of webhooks' hosts."""

    def count_waiting(self) -> tuple[int, int]:
        """Return how many names wait for one of the many threads, and for one of the few."""


async def keep_sampling(meter: Meter, take_sample: Callable[[], None]) -> None:
    """Sample the gauges every second for as long as the process runs."""
    while True:
        take_sample()
        began = time.perf_counter()
        await asyncio.sleep(SAMPLE_SECONDS)
        late = time.perf_counter() - began - SAMPLE_SECONDS
        meter.set(metrics.LOOP_LAG, max(0, int(late * MICROSECONDS)))


def sample(meter: Meter, sampled: Sampled) -> None:
    """Set the gauges."""
    committer, idle = sampled.committer, sampled.pool.get_idle_size()
    meter.set(metrics.WAITING, committer.waiting)
    meter.set(metrics.IN_FLIGHT, committer.in_flight)
    meter.set(metrics.OLDEST_COMMAND, int(committer.oldest_seconds() * MICROSECONDS))
    meter.set(metrics.WRITE_AGE, int(committer.health.seconds_since_success() * MICROSECONDS))
    meter.set(metrics.CONNECTIONS, idle, "idle")
    meter.set(metrics.CONNECTIONS, sampled.pool.get_size() - idle, "used")
    meter.set(metrics.REVOCATION_CACHE_TRUSTED, sampled.revocation_cache.is_trusted())


def sample_lookups(meter: Meter, lookups: LookingUp) -> None:
    """Set the gauges of names that wait to be looked up."""
    many, few = lookups.count_waiting()
    meter.set(metrics.WEBHOOK_LOOKUPS, many, "many")
    meter.set(metrics.WEBHOOK_LOOKUPS, few, "few")
