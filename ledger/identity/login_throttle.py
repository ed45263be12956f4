"""Login throttling: guessing passwords costs time, and nobody's guesses keep the owner of an account out.

An attempt is reserved before its password is checked, so that many at once cannot pass before the first of them has
failed; a success gives it back, what is not given back is a failure. Failures are counted for the account and for the
address. An address from which the account has logged in before has a bucket of its own for that account, which nobody
at another address can fill. A window starts with its first attempt and ends by itself; being refused does not prolong
it.

The counts stand in Redis. While it does not answer, each process counts for itself, by the same rules. No name leaves
the process: an account is counted by the id of its name's stream, whether there is such a user or not.
"""

import asyncio
import math
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any, NamedTuple, TypeVar

import structlog
from redis.asyncio import Redis
from redis.commands.core import AsyncScript

from ledger.events.users import username_stream

T = TypeVar("T")

TIMEOUT_SECONDS = 0.25
PAUSE_SECONDS = 1.0  # after which Redis is asked again, once it has failed
CONCURRENT_CALLS = 16  # a flood must neither use up the client's connections nor look like a Redis that is away
REMEMBERED_SECONDS = 30 * 86_400  # how long an address stays known to an account after a login
REMEMBERED_ADDRESSES = 16  # for each account, the latest
MEMORY_LIMIT = 10_000  # windows, and accounts with known addresses, that a process keeps by itself
IPV6_PREFIX = 64  # what one customer has at least
UNKNOWN = "unknown"  # all addresses that are missing or are none

_WITH_PORT = re.compile(r"\[([^\]]+)\](?::\d+)?|([\d.]+):\d+")

# Counts an attempt in the account's bucket and the address's, unless one of them is full.
# KEYS: the account's known addresses, its bucket for strangers, that for this address alone, the address's bucket.
# ARGV: the address, the limits of an account and of an address, the length of a window in milliseconds.
# Gives for how many milliseconds one is full (0: the attempt is counted), whether the address is known, and of each
# bucket when its window ends (milliseconds since the epoch), in how many milliseconds that is, and how many it counts.
_ADMIT = """
local until_ = redis.call('ZSCORE', KEYS[1], ARGV[1])
local known = until_ and tonumber(until_) > tonumber(redis.call('TIME')[1])
local buckets = {known and KEYS[3] or KEYS[2], KEYS[4]}
local wait = 0
for i, bucket in ipairs(buckets) do
    if tonumber(redis.call('GET', bucket) or 0) >= tonumber(ARGV[i + 1]) then
        wait = math.max(wait, redis.call('PTTL', bucket), 1)
    end
end
local reply = {wait, known and 1 or 0}
for _, bucket in ipairs(buckets) do
    if wait == 0 and redis.call('INCR', bucket) == 1 then redis.call('PEXPIRE', bucket, ARGV[4]) end
    reply[#reply + 1] = redis.call('PEXPIRETIME', bucket)
    reply[#reply + 1] = redis.call('PTTL', bucket)
    reply[#reply + 1] = tonumber(redis.call('GET', bucket) or 0)
end
return reply
"""

# Gives an attempt back to those of its windows that have not ended, and remembers the address of a success.
# KEYS: the account's known addresses, then the windows. ARGV: the address (empty: not to be remembered), for how many
# seconds, how many addresses at most, then when each window ends.
_SETTLE = """
for i = 2, #KEYS do
    if redis.call('PEXPIRETIME', KEYS[i]) == tonumber(ARGV[i + 2]) and redis.call('DECR', KEYS[i]) < 1 then
        redis.call('DEL', KEYS[i])
    end
end
if ARGV[1] ~= '' then
    local time = redis.call('TIME')
    redis.call('ZADD', KEYS[1], time[1] + time[2] / 1000000 + ARGV[2], ARGV[1])
    redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -ARGV[3] - 1)
    redis.call('EXPIRE', KEYS[1], ARGV[2])
end
return 1
"""

log = structlog.get_logger(__name__)


class Quota(NamedTuple):
    """How many of so many attempts within a window are left, and in how many seconds they are all there again."""

    name: str
    limit: int
    window_seconds: int
    left: int
    resets_in_seconds: int


class TooManyAttemptsError(Exception):
    """Too many logins have failed; the next may be tried after `retry_after_seconds`, at least 1."""

    def __init__(self, retry_after_seconds: int, quotas: Sequence[Quota] = ()) -> None:
        super().__init__(f"too many failed logins: wait {retry_after_seconds} s")
        self.retry_after_seconds = retry_after_seconds
        self.quotas = quotas


class Limits(NamedTuple):
    """How many logins may fail within a window."""

    per_account: int
    per_address: int
    window_seconds: int


class _Client(NamedTuple):
    """Who tries to log in: the address as it is counted, and the keys that concern it."""

    address: str
    known: str
    strangers: str
    own: str
    everybody: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that was reserved, and in which windows; each ends at its time in milliseconds.

    The quotas are those that are left if the attempt fails.
    """

    client: _Client
    windows: Mapping[str, int]
    in_redis: bool
    quotas: Sequence[Quota]

    @property
    def quotas_given_back(self) -> list[Quota]:
        """Those that are left if the attempt does not count."""
        return [quota._replace(left=min(quota.left + 1, quota.limit)) for quota in self.quotas]


class LoginThrottle:
    """Admits logins. `prefix` is the ledger's own in Redis; no other program may clear what stands under it."""

    def __init__(
        self, redis: "Redis", prefix: str, limits: Limits, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._prefix = f"{prefix}login:"
        self._limits = limits
        self._clock = clock
        self._memory = _Memory(limits, clock)
        self._retry_at = clock()
        self._calls = asyncio.Semaphore(CONCURRENT_CALLS)
        self._admit = redis.register_script(_ADMIT)
        self._settle = redis.register_script(_SETTLE)

    async def admit(self, account: str, address: str) -> Attempt:
        """Reserve an attempt of this user name, known or not, from this address. Raises `TooManyAttemptsError`."""
        client = self._client(account, address)
        keys = [client.known, client.strangers, client.own, client.everybody]
        per_account, per_address, window_seconds = self._limits
        arguments: list[str | int] = [client.address, per_account, per_address, window_seconds * 1000]
        reply = await self._ask(self._admit, keys, arguments)
        wait, known, *windows = self._memory.admit(client) if reply is None else reply
        account_window, address_window = windows[:3], windows[3:]
        quotas = (
            self._quota("account", per_account, account_window),
            self._quota("address", per_address, address_window),
        )
        if wait:
            raise TooManyAttemptsError(math.ceil(wait / 1000), quotas)
        ends = {client.own if known else client.strangers: account_window[0], client.everybody: address_window[0]}
        return Attempt(client, ends, reply is not None, quotas)

    async def succeeded(self, attempt: Attempt) -> None:
        """Give the attempt back, and remember that its account has logged in from its address."""
        self._memory.remember(attempt.client)
        await self._give_back(attempt, remembered=attempt.client.address)

    async def withdrawn(self, attempt: Attempt) -> None:
        """Give the attempt back: for reasons of ours its password was never checked."""
        await self._give_back(attempt, remembered="")

    def _quota(self, name: str, limit: int, window: Sequence[int]) -> Quota:
        _, milliseconds, attempts = window  # of a window that has not begun, nothing is told but that
        length = self._limits.window_seconds
        seconds = math.ceil(milliseconds / 1000) if milliseconds > 0 else length
        return Quota(name, limit, length, max(0, limit - attempts), seconds)

    async def _give_back(self, attempt: Attempt, *, remembered: str) -> None:
        windows = attempt.windows if attempt.in_redis else {}
        if not attempt.in_redis:
            self._memory.give_back(attempt.windows)
        arguments: list[str | int] = [remembered, REMEMBERED_SECONDS, REMEMBERED_ADDRESSES, *windows.values()]
        await self._ask(self._settle, [attempt.client.known, *windows], arguments)

    async def _ask(self, script: AsyncScript, keys: Sequence[str], arguments: Sequence[str | int]) -> Any | None:
        """What the script gives; None if Redis does not answer, or has not a moment ago."""
        async with self._calls:
            if self._clock() < self._retry_at:
                return None
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    return await script(keys=keys, args=arguments)
            except Exception as error:  # noqa: BLE001 - whatever it is, somebody has to count
                self._back_off(error)
                return None

    def _back_off(self, error: Exception) -> None:
        if self._clock() >= self._retry_at:
            log.warning("redis does not answer; each process counts logins by itself", error=type(error).__name__)
        self._retry_at = self._clock() + PAUSE_SECONDS

    def _client(self, account: str, address: str) -> _Client:
        counted, name = _counted(address), username_stream(account)
        bucket = f"{self._prefix}account:{name}"
        return _Client(
            counted,
            known=f"{self._prefix}known:{name}",
            strangers=bucket,
            own=f"{bucket}:{counted}",
            everybody=f"{self._prefix}address:{counted}",
        )


@dataclass(slots=True)
class _Window:
    ends: int
    attempts: int = 0


class _Memory:
    """The same rules within a process. When there is too much to remember, the oldest is forgotten."""

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._windows: OrderedDict[str, _Window] = OrderedDict()
        self._known: OrderedDict[str, OrderedDict[str, int]] = OrderedDict()  # until when, by account and address

    def admit(self, client: _Client) -> list[int]:
        """What the script `_ADMIT` gives."""
        now = self._now()
        known = self._known.get(client.known, OrderedDict()).get(client.address, 0) > now
        buckets = {
            client.own if known else client.strangers: self._limits.per_account,
            client.everybody: self._limits.per_address,
        }
        windows = {bucket: self._windows.get(bucket) for bucket in buckets}
        live = {bucket: window for bucket, window in windows.items() if window and window.ends > now}
        waits = [window.ends - now for bucket, window in live.items() if window.attempts >= buckets[bucket]]
        if not waits:
            live = {bucket: self._count(bucket, live.get(bucket), now) for bucket in buckets}
        told = [live.get(bucket) or _Window(now) for bucket in buckets]
        numbers = [number for window in told for number in (window.ends, window.ends - now, window.attempts)]
        return [max(waits, default=0), int(known), *numbers]

    def give_back(self, windows: Mapping[str, int]) -> None:
        """Count one attempt less in those of the windows that have not ended."""
        for bucket, ends in windows.items():
            window = self._windows.get(bucket)
            if window and window.ends == ends:
                window.attempts -= 1
                if not window.attempts:
                    del self._windows[bucket]

    def remember(self, client: _Client) -> None:
        """The client's account has logged in from its address."""
        addresses = self._known.get(client.known, OrderedDict())
        _put(addresses, client.address, self._now() + REMEMBERED_SECONDS * 1000, limit=REMEMBERED_ADDRESSES)
        _put(self._known, client.known, addresses, limit=MEMORY_LIMIT)

    def _count(self, bucket: str, window: _Window | None, now: int) -> _Window:
        if window is None:
            window = _Window(now + self._limits.window_seconds * 1000)
            _put(self._windows, bucket, window, limit=MEMORY_LIMIT)
        window.attempts += 1
        return window

    def _now(self) -> int:
        return int(self._clock() * 1000)


def _put(mapping: OrderedDict[str, T], key: str, value: T, *, limit: int) -> None:
    """Make this the newest entry, and let the oldest go if there are too many."""
    mapping[key] = value
    mapping.move_to_end(key)
    if len(mapping) > limit:
        mapping.popitem(last=False)


def client_address(peer: str | None, forwarded_for: str | None, hops: int) -> str:
    """The client's address behind so many proxies of ours, each of which appends to X-Forwarded-For whom it saw.

    What the client itself has sent stands left of that and is not looked at. A header that came in several lines is to
    be joined with commas, in order.
    """
    entries = forwarded_for.split(",") if hops and forwarded_for and forwarded_for.strip() else []
    address = _parsed(entries[-min(hops, len(entries))] if entries else peer or "")
    return str(address) if address else UNKNOWN


def _counted(address: str) -> str:
    """The address under which a client is counted: an IPv6 address is as good as any other of its network."""
    parsed = _parsed(address)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((int(parsed), IPV6_PREFIX), strict=False))
    return str(parsed) if parsed else UNKNOWN


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    """The address, without a port. An IPv4 address that a socket for both shows as IPv6 is one of IPv4."""
    text = text.strip()
    with_port = _WITH_PORT.fullmatch(text)
    try:
        address = ip_address((with_port[1] or with_port[2]) if with_port else text)
    except ValueError:
        return None
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address
