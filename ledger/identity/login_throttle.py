"""Throttle logins: guessing passwords takes time, and guesses by others do not lock out the owner of an account.

An attempt is counted before its password is checked, so that concurrent attempts cannot exceed the limit. A success
refunds it; an attempt that is not refunded is a failure. Failures are counted for the account and for the address. An
address from which the account has logged in before has its own bucket for that account, which attempts from other
addresses do not fill. A window starts with its first attempt; refused attempts do not extend it.

Guessing gets slower: each time that attempts from unknown addresses fill an account's bucket within a day, the window
lasts twice as long as before, up to a limit. Addresses that the account knows are not slowed down.

The counts are in Redis. While Redis does not answer, each process counts on its own, by the same rules. No name leaves
the process: an account is counted by the id of its name's stream, whether or not such a user exists.
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
PAUSE_SECONDS = 1.0  # after a failure of Redis, before it is tried again
CONCURRENT_CALLS = 16  # a flood must not use up the client's connections, nor look like a failure of Redis
REMEMBERED_SECONDS = 30 * 86_400  # how long an address stays known after a login of the account
FILLED_SECONDS = 86_400  # for which it counts that attempts have filled the bucket of an account
REMEMBERED_ADDRESSES = 16  # the latest of each account
MEMORY_LIMIT = 10_000  # windows, and accounts with known addresses, in the memory of a process
IPV6_PREFIX = 64  # the smallest network that providers assign to a customer
UNKNOWN = "unknown"  # stands for every missing or malformed address

_WITH_PORT = re.compile(r"\[([^\]]+)\](?::\d+)?|([\d.]+):\d+")

# Counts an attempt in the account's bucket and the address's bucket, unless one of them is full.
# KEYS: the account's known addresses, its bucket for unknown addresses, its bucket for this address, the address's
# bucket, the times that its bucket for unknown addresses was filled. ARGV: the address, the limits of an account and of
# an address, the length of a window and of the longest one in milliseconds, for how many milliseconds a time counts.
# Returns the milliseconds until no bucket is full (0: the attempt is counted), whether the address is known, and for
# each bucket: the end of its window (milliseconds since the epoch), the milliseconds until then, and its count.
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
for i, bucket in ipairs(buckets) do
    if wait == 0 then
        local count = redis.call('INCR', bucket)
        if count == 1 then redis.call('PEXPIRE', bucket, ARGV[4]) end
        if i == 1 and not known and count == tonumber(ARGV[2]) then
            local times = redis.call('INCR', KEYS[5])
            redis.call('PEXPIRE', KEYS[5], ARGV[6])
            local length = math.min(ARGV[4] * 2 ^ math.min(times - 1, 40), tonumber(ARGV[5]))
            if times > 1 then redis.call('PEXPIRE', bucket, string.format('%.0f', length)) end
        end
    end
    reply[#reply + 1] = redis.call('PEXPIRETIME', bucket)
    reply[#reply + 1] = redis.call('PTTL', bucket)
    reply[#reply + 1] = tonumber(redis.call('GET', bucket) or 0)
end
return reply
"""

# Refunds an attempt to its windows, except those that have ended, and makes the address of a success known.
# KEYS: the account's known addresses, the times that its bucket was filled, then the windows. ARGV: the address (empty:
# not to be made known), for how many seconds it stays known, the limit of known addresses, whether to forget the times,
# then the end of each window.
_SETTLE = """
for i = 3, #KEYS do
    if redis.call('PEXPIRETIME', KEYS[i]) == tonumber(ARGV[i + 2]) and redis.call('DECR', KEYS[i]) < 1 then
        redis.call('DEL', KEYS[i])
    end
end
if ARGV[4] == '1' then redis.call('DEL', KEYS[2]) end
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
    """The attempts left of a limit for each window, and the seconds until the window ends and all are available."""

    name: str
    limit: int
    window_seconds: int
    left: int
    resets_in_seconds: int


class TooManyAttemptsError(Exception):
    """Too many logins have failed. The next attempt is possible after `retry_after_seconds`, at least 1."""

    def __init__(self, retry_after_seconds: int, quotas: Sequence[Quota] = ()) -> None:
        super().__init__(f"too many failed logins: wait {retry_after_seconds} s")
        self.retry_after_seconds = retry_after_seconds
        self.quotas = quotas


class Limits(NamedTuple):
    """The number of logins that may fail within a window."""

    per_account: int
    per_address: int
    window_seconds: int
    longest_window_seconds: int = 3600

    def window_after(self, times: int) -> int:
        """Return the seconds of a window that is filled for the n-th time."""
        doubled: int = self.window_seconds << min(times - 1, 40)
        return min(doubled, max(self.longest_window_seconds, self.window_seconds))


class _Client(NamedTuple):
    """An account and address that try to log in: the address as it is counted, and their keys in Redis."""

    address: str
    known: str
    strangers: str
    own: str
    everybody: str
    times: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """A counted attempt, with the windows that count it and the end of each in milliseconds.

    `quotas` are those that remain if the attempt fails.
    """

    client: _Client
    windows: Mapping[str, int]
    in_redis: bool
    quotas: Sequence[Quota]

    @property
    def is_of_stranger(self) -> bool:
        """Whether the account did not know the address."""
        return self.client.strangers in self.windows

    @property
    def quotas_after_refund(self) -> list[Quota]:
        """The quotas that remain once the attempt is refunded."""
        return [quota._replace(left=min(quota.left + 1, quota.limit)) for quota in self.quotas]


class LoginThrottle:
    """Admits logins. `prefix` begins its keys in Redis, which no other program may delete."""

    def __init__(
        self, redis: "Redis", prefix: str, limits: Limits, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._prefix = f"{prefix}login:"
        self._limits = limits
        self._clock = clock
        self._memory = _Memory(limits, clock)
        self._retry_at = clock()
        self._calls = asyncio.Semaphore(CONCURRENT_CALLS)
        self._admit_script = redis.register_script(_ADMIT)
        self._settle_script = redis.register_script(_SETTLE)

    async def admit(self, account: str, address: str) -> Attempt:
        """Count an attempt for this user name, known or not, from this address. Raises `TooManyAttemptsError`."""
        client = self._identify(account, address)
        keys = [client.known, client.strangers, client.own, client.everybody, client.times]
        per_account, per_address, window_seconds, longest_seconds = self._limits
        longest = max(window_seconds, longest_seconds)
        arguments: list[str | int] = [client.address, per_account, per_address, window_seconds * 1000]
        arguments += [longest * 1000, FILLED_SECONDS * 1000]
        reply = await self._run_script(self._admit_script, keys, arguments)
        wait, known, *windows = self._memory.admit(client) if reply is None else reply
        account_window, address_window = windows[:3], windows[3:]
        quotas = (
            self._describe_quota("account", per_account, account_window),
            self._describe_quota("address", per_address, address_window),
        )
        if wait:
            raise TooManyAttemptsError(math.ceil(wait / 1000), quotas)
        ends = {client.own if known else client.strangers: account_window[0], client.everybody: address_window[0]}
        return Attempt(client, ends, reply is not None, quotas)

    async def record_success(self, attempt: Attempt) -> None:
        """Refund the attempt, and make its address known to its account."""
        self._memory.remember(attempt.client)
        if attempt.is_of_stranger:
            self._memory.forget_times(attempt.client)
        await self._settle_attempt(attempt, known_address=attempt.client.address)

    async def refund(self, attempt: Attempt) -> None:
        """Refund the attempt, because the service failed before it had checked the password."""
        await self._settle_attempt(attempt, known_address="")

    def _describe_quota(self, name: str, limit: int, window: Sequence[int]) -> Quota:
        _, milliseconds, attempts = window  # the milliseconds are not positive before the first attempt
        length = self._limits.window_seconds
        seconds = math.ceil(milliseconds / 1000) if milliseconds > 0 else length
        return Quota(name, limit, length, max(0, limit - attempts), seconds)

    async def _settle_attempt(self, attempt: Attempt, *, known_address: str) -> None:
        windows = attempt.windows if attempt.in_redis else {}
        if not attempt.in_redis:
            self._memory.refund(attempt.windows)
        forgets = int(bool(known_address) and attempt.is_of_stranger)
        arguments: list[str | int] = [known_address, REMEMBERED_SECONDS, REMEMBERED_ADDRESSES, forgets]
        keys = [attempt.client.known, attempt.client.times, *windows]
        await self._run_script(self._settle_script, keys, [*arguments, *windows.values()])

    async def _run_script(self, script: AsyncScript, keys: Sequence[str], arguments: Sequence[str | int]) -> Any | None:
        """Return the result of a script; None if Redis does not answer, or failed less than `PAUSE_SECONDS` ago."""
        async with self._calls:
            if self._clock() < self._retry_at:
                return None
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    return await script(keys=keys, args=arguments)
            except Exception as error:  # noqa: BLE001 - after any failure, the process has to count
                self._back_off(error)
                return None

    def _back_off(self, error: Exception) -> None:
        if self._clock() >= self._retry_at:
            log.warning("redis does not answer; each process counts logins on its own", error=type(error).__name__)
        self._retry_at = self._clock() + PAUSE_SECONDS

    def _identify(self, account: str, address: str) -> _Client:
        counted, name = _group_address(address), username_stream(account)
        bucket = f"{self._prefix}account:{name}"
        return _Client(
            counted,
            known=f"{self._prefix}known:{name}",
            strangers=bucket,
            own=f"{bucket}:{counted}",
            everybody=f"{self._prefix}address:{counted}",
            times=f"{self._prefix}filled:{name}",
        )


@dataclass(slots=True)
class _Window:
    ends: int
    attempts: int = 0


class _Memory:
    """Applies the same rules in the memory of a process. Beyond `MEMORY_LIMIT`, it drops the oldest entries."""

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._windows: OrderedDict[str, _Window] = OrderedDict()
        self._known: OrderedDict[str, OrderedDict[str, int]] = OrderedDict()  # ends, by account and address
        self._filled: OrderedDict[str, _Window] = OrderedDict()

    def admit(self, client: _Client) -> list[int]:
        """Count an attempt, and return what the script `_ADMIT` returns."""
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
            if not known and live[client.strangers].attempts == self._limits.per_account:
                self._lengthen(client.times, live[client.strangers], now)
        shown = [live.get(bucket) or _Window(now) for bucket in buckets]
        numbers = [number for window in shown for number in (window.ends, window.ends - now, window.attempts)]
        return [max(waits, default=0), int(known), *numbers]

    def refund(self, windows: Mapping[str, int]) -> None:
        """Subtract one attempt from each window that has not ended."""
        for bucket, ends in windows.items():
            window = self._windows.get(bucket)
            if window and window.ends == ends:
                window.attempts -= 1
                if not window.attempts:
                    del self._windows[bucket]

    def forget_times(self, client: _Client) -> None:
        """Start again with the shortest window, because the owner has logged in."""
        self._filled.pop(client.times, None)

    def _lengthen(self, times: str, window: _Window, now: int) -> None:
        """Lengthen a window that was filled, unless it is the first one in a day."""
        filled = self._filled.get(times)
        if filled is None or filled.ends <= now:
            filled = _Window(now)
        filled.attempts += 1
        filled.ends = now + FILLED_SECONDS * 1000
        _put(self._filled, times, filled, limit=MEMORY_LIMIT)
        if filled.attempts > 1:
            window.ends = now + self._limits.window_after(filled.attempts) * 1000

    def remember(self, client: _Client) -> None:
        """Make the address known to the account."""
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
    """Set the newest entry, and drop the oldest if there are more than `limit`."""
    mapping[key] = value
    mapping.move_to_end(key)
    if len(mapping) > limit:
        mapping.popitem(last=False)


def client_address(peer: str | None, forwarded_for: str | None, hops: int) -> str:
    """Return the client's address behind `hops` trusted proxies, each of which appends its peer to X-Forwarded-For.

    Entries further left were sent by the client and are ignored. If the header has several lines, the caller joins them
    with commas, in order.
    """
    entries = forwarded_for.split(",") if hops and forwarded_for and forwarded_for.strip() else []
    address = _parse_address(entries[-min(hops, len(entries))] if entries else peer or "")
    return str(address) if address else UNKNOWN


def _group_address(address: str) -> str:
    """Return the address as it is counted: for IPv6 its network, because a client can use any address in it."""
    parsed = _parse_address(address)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((int(parsed), IPV6_PREFIX), strict=False))
    return str(parsed) if parsed else UNKNOWN


def _parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Parse an address, with or without a port. An IPv4 address mapped to IPv6 becomes IPv4."""
    text = text.strip()
    with_port = _WITH_PORT.fullmatch(text)
    try:
        address = ip_address((with_port[1] or with_port[2]) if with_port else text)
    except ValueError:
        return None
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address
