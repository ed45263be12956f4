"""Limit the requests of each caller, by the generic cell rate algorithm (GCRA).

Each request adds the time that it is worth to the caller's debt, which melts as time passes. A request that would bring
the debt above the window is refused. So a caller can use the whole limit at once, and has it back little by little.

A request is decided in the memory of its process, without a round trip. Every `SYNC_SECONDS`, a process adds what its
callers have used to the debts in Valkey, and reads what they have used elsewhere. Until then, each process may admit as
much as if it were alone; while Valkey is away, this goes on.
"""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple
from uuid import UUID

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from ledger.identity.login_throttle import Quota

RouteClass = Literal["reads", "writes", "batches"]
WINDOW_SECONDS = 60
SYNC_SECONDS = 0.25
TIMEOUT_SECONDS = 0.25
MEMORY_LIMIT = 10_000  # debts in the memory of a process, of which the least used are dropped

# Adds what callers have used to their debts.
# KEYS: the debts. ARGV: for each of them the microseconds to add. Returns each debt in microseconds.
_ADD = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local debts = {}
for i, key in ipairs(KEYS) do
    local paid_at = math.max(tonumber(redis.call('GET', key) or now), now) + ARGV[i]
    if paid_at > now then
        redis.call('SET', key, string.format('%.0f', paid_at), 'PX', math.ceil((paid_at - now) / 1000))
    else
        redis.call('DEL', key)
    end
    debts[i] = paid_at - now
end
return debts
"""

log = structlog.get_logger(__name__)


class TooManyRequestsError(Exception):
    """A caller has used up the limit of a class of routes. The next request is possible after `retry_after_seconds`."""

    def __init__(self, retry_after_seconds: int, quota: Quota) -> None:
        super().__init__(f"too many requests: wait {retry_after_seconds} s")
        self.retry_after_seconds = retry_after_seconds
        self.quotas = (quota,)


class RateLimits(NamedTuple):
    """The requests that a caller may send in a minute, for each class of routes; 0 is no limit."""

    reads: int
    writes: int
    batches: int
    of_admins: bool

    def of(self, route_class: RouteClass) -> int:
        """Return the limit of a class."""
        limit: int = getattr(self, route_class)
        return limit


@dataclass(slots=True)
class _Debt:
    """When a caller will have paid everything off, by the process' clock, and what Valkey has not been told of."""

    paid_at: float
    unsent: float = 0.0


class RateLimiter:
    """Admits requests. `prefix` begins its keys in Valkey."""

    def __init__(
        self, redis: "Redis", prefix: str, limits: RateLimits, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limits = limits
        self._prefix = prefix
        self._clock = clock
        self._debts: OrderedDict[tuple[UUID, RouteClass], _Debt] = OrderedDict()
        self._unsent: set[tuple[UUID, RouteClass]] = set()
        self._add_script = redis.register_script(_ADD)
        self._failing = False

    def is_limited(self, route_class: RouteClass, *, is_admin: bool) -> bool:
        """Return whether a caller's requests to a class of routes are limited."""
        return self._limits.of(route_class) > 0 and (self._limits.of_admins or not is_admin)

    def admit(self, caller_id: UUID, route_class: RouteClass) -> Quota:
        """Count a request, and return what is left. Raises `TooManyRequestsError`, and counts nothing."""
        key, now = (caller_id, route_class), self._clock()
        limit = self._limits.of(route_class)
        worth = WINDOW_SECONDS / limit
        debt = self._debts.get(key)
        if debt is None:
            debt = self._debts[key] = _Debt(now)
            if len(self._debts) > MEMORY_LIMIT:
                self._debts.popitem(last=False)
        else:
            self._debts.move_to_end(key)
        paid_at = max(debt.paid_at, now) + worth
        excess = paid_at - now - WINDOW_SECONDS
        if excess > worth / 1000:  # not a rounding error
            raise TooManyRequestsError(math.ceil(excess), self._describe(route_class, WINDOW_SECONDS))
        debt.paid_at = paid_at
        debt.unsent += worth
        self._unsent.add(key)
        return self._describe(route_class, paid_at - now)

    def refund(self, caller_id: UUID, route_class: RouteClass) -> None:
        """Take back a request that turns out not to be of this caller: its token was revoked."""
        debt = self._debts.get((caller_id, route_class))
        if debt is not None:
            worth = WINDOW_SECONDS / self._limits.of(route_class)
            debt.paid_at -= worth
            debt.unsent -= worth

    async def follow(self) -> None:
        """Exchange debts with Valkey until cancelled."""
        while True:
            await asyncio.sleep(SYNC_SECONDS)
            if not self._unsent:
                continue
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    await self.exchange()
            except (RedisError, OSError, TimeoutError) as error:
                if not self._failing:
                    log.warning("rate limits are counted by each process alone", error=str(error) or "no answer")
                self._failing = True
            else:
                self._failing = False

    async def exchange(self) -> None:
        """Add what was used since the last time to the debts in Valkey, and take over what was used elsewhere."""
        sent = {key: debt.unsent for key in self._unsent if (debt := self._debts.get(key)) is not None}
        self._unsent.clear()
        for key in sent:
            self._debts[key].unsent = 0.0
        try:
            debts = await self._add(sent)
        except BaseException:
            self._send_again(sent)
            raise
        now = self._clock()
        for key, microseconds in debts.items():
            debt = self._debts.get(key)
            if debt is not None:
                debt.paid_at = max(debt.paid_at, now + microseconds / 1e6 + debt.unsent)

    async def _add(self, sent: Mapping[tuple[UUID, RouteClass], float]) -> dict[tuple[UUID, RouteClass], int]:
        keys = [f"{self._prefix}{route_class}:{caller_id}" for caller_id, route_class in sent]
        values = [round(seconds * 1e6) for seconds in sent.values()]
        return dict(zip(sent, await self._add_script(keys=keys, args=values), strict=True)) if sent else {}

    def _send_again(self, sent: Mapping[tuple[UUID, RouteClass], float]) -> None:
        for key, seconds in sent.items():
            if key in self._debts:
                self._debts[key].unsent += seconds
                self._unsent.add(key)

    def _describe(self, route_class: RouteClass, debt_seconds: float) -> Quota:
        limit = self._limits.of(route_class)
        left = math.floor((WINDOW_SECONDS - debt_seconds) / WINDOW_SECONDS * limit + 0.001)
        return Quota(route_class, limit, WINDOW_SECONDS, max(left, 0), math.ceil(max(debt_seconds, 0)))
