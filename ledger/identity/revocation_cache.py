"""A cache of revocations in Redis, which makes checking a token cheap.

One key, a hash, holds the cut-offs of single users and of all users, and a marker: the position of the log up to which
the cache is complete. They exist together or not at all, so a user without a cut-off in the hash has none. Each session
has a key of its own, with the position below which its tokens are revoked. A key can be missing because it was evicted,
expired or was never filled. The process then asks PostgreSQL and caches the result: a missing key proves nothing.

A process trusts the cache only while the marker reaches the last revocation that the process knows of. After a flush, a
crash, a partition or a restore from an older copy it does not. The process then asks PostgreSQL, and refills the cache
from its tables. It never trusts a value that no process of the ledger has written (`ledger.values.cache_values`).

Every process listens for revocations (LISTEN), polls for them because a notification can be lost, and caches its own.
The leader (`ledger.followers.follower`) also caches those of other processes.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

import structlog
from asyncpg import Record
from redis.asyncio import Redis
from redis.exceptions import RedisError

from ledger.concurrency.dataloader import DataLoader
from ledger.errors import RevocationCacheError
from ledger.followers.follower import CannotApplyError, Follower, FollowerProgress, follow
from ledger.projections import tokens
from ledger.projections.tokens import EVERYBODY
from ledger.store import reader as event_reader
from ledger.store.connections import Connection, Pool, Reader
from ledger.store.identity import Identity
from ledger.values.cache_values import FORGED, NUMBER, CacheValues

Session = tuple[UUID, UUID]  # the ids of the session and of its user

TIMEOUT_SECONDS = 0.25  # for a call that a request waits for: a cache slower than PostgreSQL is of no use
FILL_SECONDS = 1.0  # for a call of a step that fills the cache, for which no request waits
POLL_SECONDS = 1.0  # between two steps without a notification; also how often Redis is tried again
FRESH_SECONDS = 5.0  # without news from PostgreSQL for this long, the process cannot tell whether the cache is complete
REMEMBERED_SECONDS = 3600  # how long the cache keeps a session that it lacked
CHUNK = 1000  # revocations in one step
STEPS = 3  # steps that the client who revokes waits for: the cache may be empty, and the log long
CLEARING = -1  # the marker of a cache that is being cleared

# Reads cut-offs and sessions in one call. KEYS: the hash, then sessions. ARGV: the members of the hash.
_LOOK_UP = """
return {redis.call('HMGET', KEYS[1], unpack(ARGV)), redis.call('MGET', unpack(KEYS, 2))}
"""

# Replaces values that are not greater and advances the marker, unless it has changed since the values were read: after
# a flush in between, the new marker would claim more than the cache has. KEYS: the hash, then sessions. ARGV: the
# expected and the new marker; the number of cut-offs, then each member with its value; then for each session its value
# and when its key expires (seconds since the epoch).
_ADVANCE = f"""
local function number(value) return tonumber(string.match(value, {NUMBER})) end
if (redis.call('HGET', KEYS[1], 'position') or '') ~= ARGV[1] then return 0 end
local at = 4
for _ = 1, tonumber(ARGV[3]) do
    local current = redis.call('HGET', KEYS[1], ARGV[at])
    if not current or (number(current) or 0) <= number(ARGV[at + 1]) then
        redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1])
    end
    at = at + 2
end
for i = 2, #KEYS do
    local current = redis.call('GET', KEYS[i])
    if not current or (number(current) or 0) <= number(ARGV[at]) then
        redis.call('SET', KEYS[i], ARGV[at])
        redis.call('EXPIREAT', KEYS[i], ARGV[at + 1])
    end
    at = at + 2
end
redis.call('HSET', KEYS[1], 'position', ARGV[2])
return 1
"""

_CLEAR = """
redis.call('UNLINK', KEYS[1])
redis.call('HSET', KEYS[1], 'position', ARGV[1])
"""

_CLEARED = """
if redis.call('HGET', KEYS[1], 'position') == ARGV[1] then redis.call('UNLINK', KEYS[1]) end
"""

log = structlog.get_logger(__name__)


class RevocationCacheStatus(NamedTuple):
    """The position up to which the cache is complete (None if it is empty), and that of the last revocation."""

    position: int | None
    last_revocation: int

    @property
    def is_complete(self) -> bool:
        """Whether the cache has every revocation."""
        return self.position is not None and self.position >= self.last_revocation  # clean-ups may delete the last


class RevocationCache:
    """The cache, as one process sees it. Tokens are accepted until `leeway_seconds` after their expiry."""

    def __init__(self, redis: "Redis", pool: Pool, identity: Identity, *, leeway_seconds: int) -> None:
        self._redis = redis
        self._pool = pool
        self._values = CacheValues(*identity)
        self._prefix, self._cutoffs = self._values.prefix, self._values.cutoffs
        self._leeway = timedelta(seconds=leeway_seconds)
        self._last_revocation = 0  # its position, as far as this process knows
        self._read_at = -math.inf
        self._distrusted_at = -math.inf  # what was read before this may be out of date
        self._is_redis_usable = True
        self._is_behind = False  # a look-up has found the marker too low
        self._wake = asyncio.Event()
        self._look_up_script = redis.register_script(_LOOK_UP)
        self._advance_script = redis.register_script(_ADVANCE)
        self._clear_script = redis.register_script(_CLEAR)
        self._cleared_script = redis.register_script(_CLEARED)
        self._announced: DataLoader[None, None] = DataLoader(lambda _: self._announce())

    def is_trusted(self) -> bool:
        """Return whether look-ups ask the cache first, and PostgreSQL only for what it lacks."""
        now = asyncio.get_running_loop().time()
        return self._is_redis_usable and self._read_at > max(self._distrusted_at, now - FRESH_SECONDS)

    async def is_answering(self) -> bool:
        """Ask Redis, and return whether look-ups ask the cache first."""
        try:
            async with _redis_call(TIMEOUT_SECONDS):
                await self._redis.ping()
        except RevocationCacheError as error:
            self._back_off(error)
        return self.is_trusted()

    async def revoked_below(self, sessions: Collection[Session]) -> Mapping[Session, int]:
        """Return for each session the position below which its tokens are revoked.

        Raises what asyncpg raises if it has to ask PostgreSQL.
        """
        if not self.is_trusted():
            return await tokens.revoked_below(self._pool, sessions)
        try:
            marker, cached = await self._look_up(list(sessions))
        except RevocationCacheError as error:
            self._back_off(error)
            return await tokens.revoked_below(self._pool, sessions)
        if marker is None or marker < self._last_revocation:
            self._is_behind = True
            self._wake.set()
            return await tokens.revoked_below(self._pool, sessions)
        if len(cached) == len(sessions):
            return cached
        missing = await tokens.revoked_below(self._pool, [session for session in sessions if session not in cached])
        await self._remember(marker, missing)
        return cached | missing

    async def fill(self) -> None:
        """Add every revocation that the cache lacks. Raises `RevocationCacheError`, or what asyncpg raises."""
        await self._fill(self._pool)

    async def announce(self) -> None:
        """Add new revocations before the client that revoked gets its response.

        If Redis does not answer, look-ups ask PostgreSQL anyway, so the response does not wait any longer.
        """
        await self._announced.get(None)

    async def rebuild(self) -> None:
        """Clear the cache and fill it again."""
        await self._clear(FILL_SECONDS)
        await self.fill()

    async def status(self) -> RevocationCacheStatus:
        """Return up to which position the cache is complete, and up to which it should be."""
        marker = await self._read_marker(FILL_SECONDS)
        return RevocationCacheStatus(
            None if marker in {CLEARING, FORGED} else marker, await tokens.last_revocation(self._pool)
        )

    async def follow(
        self, connect: Callable[[], Awaitable[Connection]], channel: str, *, may_lead: bool = True
    ) -> None:
        """Listen for revocations until cancelled; while this process leads, also fill the cache."""

        async def listen(connection: Connection) -> None:
            connection.add_termination_listener(self._distrust)
            await connection.add_listener(channel, lambda *_: self._wake.set())

        follower = Follower("mirror", self._step, self._wait, begin=listen, lost=self._distrust, may_lead=may_lead)
        await follow(follower, connect)

    async def _step(self, connection: Connection, leads: bool) -> FollowerProgress:
        """Read the last revocation, and fill the cache if it lacks any. Return its progress if this process leads."""
        self._wake.clear()
        log_end = await event_reader.log_end(connection) if leads else None
        await self._read_last_revocation(connection)
        error = None
        if leads or self._is_behind or not self._is_redis_usable:
            self._is_behind = False
            error = await self._try_fill(connection)
        return FollowerProgress(None, error) if error else FollowerProgress(log_end)

    async def _wait(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_SECONDS):
                await self._wake.wait()

    def _distrust(self, _: object = None) -> None:
        """Stop trusting the cache until PostgreSQL has answered again."""
        self._distrusted_at = asyncio.get_running_loop().time()
        self._wake.set()

    async def _read_last_revocation(self, reader: Reader) -> int:
        """Return the position of the last revocation, which PostgreSQL knows."""
        began, before = asyncio.get_running_loop().time(), self._last_revocation
        last = await tokens.last_revocation(reader)
        # The position decreases only if the database was restored, or a clean-up deleted the last session. But if
        # another call has changed it since, the two answers may have arrived in the wrong order, and the greater one
        # is right.
        self._last_revocation = last if before == self._last_revocation else max(self._last_revocation, last)
        self._read_at = max(self._read_at, began)
        return last

    async def _look_up(self, sessions: Sequence[Session]) -> tuple[int | None, dict[Session, int]]:
        """Return the marker, and the position below which each session that the cache has is revoked."""
        users = {user_id for _, user_id in sessions}
        members, keys = ("position", *map(str, (EVERYBODY, *users))), [*map(self._key, sessions)]
        async with _redis_call(TIMEOUT_SECONDS):
            cutoffs, values = await self._look_up_script(keys=[self._cutoffs, *keys], args=members)
        found = [self._decode(self._cutoffs, member, value) for member, value in zip(members, cutoffs, strict=True)]
        if FORGED in found:
            await self._invalidate()
            return None, {}
        marker, of_everybody, *of_users = found
        of_sessions = {
            session: self._decode(key, "", value) for session, key, value in zip(sessions, keys, values, strict=True)
        }
        of_user = dict(zip(users, of_users, strict=True))
        return marker, {
            session: max(value, of_everybody or 0, of_user[session[1]] or 0)
            for session, value in of_sessions.items()
            if value is not None and value != FORGED
        }

    def _decode(self, key: str, member: str, value: bytes | str | None) -> int | None:
        number = self._values.decode(key, member, value)
        if number == FORGED:
            log.error("a value in Redis is not the ledger's own, and is not believed", key=key, member=member or None)
        return number

    async def _remember(self, marker: int, revoked_below: Mapping[Session, int]) -> None:
        """Cache sessions that PostgreSQL was asked for after the marker was read, unless the marker has changed."""
        expires_at = int(time.time()) + REMEMBERED_SECONDS
        try:
            sessions = {session: (below, expires_at) for session, below in revoked_below.items()}
            await self._write(marker, marker, {}, sessions, TIMEOUT_SECONDS)
        except RevocationCacheError as error:
            self._back_off(error)

    async def _read_marker(self, seconds: float) -> int | None:
        async with _redis_call(seconds):
            value = await self._redis.hget(self._cutoffs, "position")
        return self._decode(self._cutoffs, "position", value)

    async def _fill(self, reader: Reader) -> None:
        needed = await self._read_last_revocation(reader)
        while not await self._advance(reader, needed, FILL_SECONDS):
            pass

    async def _advance(self, reader: Reader, needed: int, seconds: float) -> bool:
        """Fill the cache by one step; return whether it is complete up to the position `needed`."""
        marker = await self._read_marker(seconds)
        # Another process may have advanced the marker beyond `needed`. Beyond the last revocation, it is of a log that
        # a restore has replaced.
        if marker in {CLEARING, FORGED} or (
            marker is not None and marker > max(needed, await self._read_last_revocation(reader))
        ):
            await self._clear(seconds)
            return False
        if marker is not None and marker >= needed:
            return True
        rows = await tokens.revocations(reader, after=marker or 0, limit=CHUNK)
        reached = max([row["position"] for row in rows] + ([needed] if len(rows) < CHUNK else []))
        cutoffs = {row["user_id"]: row["below"] for row in rows if row["session_id"] is None}
        sessions = {
            (row["session_id"], row["user_id"]): (row["below"], self._compute_end(row))
            for row in rows
            if row["session_id"]
        }
        return await self._write(marker, reached, cutoffs, sessions, seconds) and reached >= needed

    def _compute_end(self, row: Record) -> int:
        """Return when the last token of the session expires, leeway included, in seconds since the epoch."""
        try:
            return int((row["expires_at"] + self._leeway).timestamp()) + 1
        except (OverflowError, TypeError, ValueError) as error:
            raise CannotApplyError(f"a session that ends at {row['expires_at']}", row["position"]) from error

    async def _write(
        self,
        marker: int | None,
        reached: int,
        cutoffs: Mapping[UUID, int],
        sessions: Mapping[Session, tuple[int, int]],
        seconds: float,
    ) -> bool:
        """Write positions and advance the marker to `reached`; write nothing and return False if it has changed."""
        known = "" if marker is None else self._encode_marker(marker)
        arguments: list[str | int] = [known, self._encode_marker(reached), len(cutoffs)]
        for user_id, position in cutoffs.items():
            arguments += [str(user_id), self._values.encode(self._cutoffs, str(user_id), position)]
        keys = [*map(self._key, sessions)]
        for key, (below, expires_at) in zip(keys, sessions.values(), strict=True):
            arguments += [self._values.encode(key, "", below), expires_at]
        async with _redis_call(seconds):
            return bool(await self._advance_script(keys=[self._cutoffs, *keys], args=arguments))

    def _encode_marker(self, position: int) -> str:
        return self._values.encode(self._cutoffs, "position", position)

    async def _clear(self, seconds: float) -> None:
        async with _redis_call(seconds):
            await self._clear_script(
                keys=[self._cutoffs], args=[self._encode_marker(CLEARING)]
            )  # from now on no process trusts the other keys
        cursor = None
        while cursor != 0:
            async with _redis_call(seconds):
                cursor, keys = await self._redis.scan(cursor or 0, match=f"{self._prefix}*:*", count=CHUNK)
                if keys:
                    await self._redis.unlink(*keys)
        async with _redis_call(seconds):
            await self._cleared_script(keys=[self._cutoffs], args=[self._encode_marker(CLEARING)])

    def _key(self, session: Session) -> str:
        session_id, user_id = session
        return f"{self._prefix}{user_id}:{session_id}"

    async def _announce(self) -> dict[None, None]:
        try:
            needed = await self._read_last_revocation(self._pool)
        except Exception as error:  # noqa: BLE001 - the revocation is committed, and the response must say so
            log.warning("a revocation cannot be read back", error=type(error).__name__)
            self._distrust()
            with contextlib.suppress(RevocationCacheError):  # processes that were not notified must not trust it
                await self._invalidate()
            return {}
        try:
            for _ in range(STEPS):
                if await self._advance(self._pool, needed, TIMEOUT_SECONDS):
                    return {}
            self._is_behind = True
        except RevocationCacheError as error:
            self._back_off(error)
        except Exception as error:  # noqa: BLE001 - as above; this process knows that the marker is too low
            log.warning("a revocation cannot be cached", error=type(error).__name__)
            self._is_behind = True
        self._wake.set()
        return {}

    async def _invalidate(self) -> None:
        async with _redis_call(TIMEOUT_SECONDS):
            await self._redis.unlink(self._cutoffs)

    async def _try_fill(self, reader: Reader) -> str | None:
        """Fill the cache; return why Redis prevents that, or None."""
        try:
            await self._fill(reader)
        except RevocationCacheError as error:
            self._back_off(error)
            return str(error)
        if not self._is_redis_usable:
            log.info("redis answers again")
        self._is_redis_usable = True
        return None

    def _back_off(self, error: RevocationCacheError) -> None:
        """Ask PostgreSQL only, until the follower has filled the cache."""
        if self._is_redis_usable:
            log.warning("redis does not answer; PostgreSQL is asked instead", error=str(error))
        self._is_redis_usable = False


@asynccontextmanager
async def _redis_call(seconds: float) -> AsyncIterator[None]:
    """Limit how long Redis may take, and turn every failure and impossible answer into `RevocationCacheError`."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except (RedisError, OSError, RuntimeError, ValueError) as error:  # uvloop has a RuntimeError of its own
        raise RevocationCacheError(f"Redis cannot be used: {type(error).__name__}") from error
