"""A cache of revocations in Redis, which makes checking a token cheap.

One key, a hash, holds the cut-offs of single users and of all users, and a marker: the position of the log up to which
the cache is complete. They exist together or not at all, so a user without a cut-off in the hash has none. Each session
has a key of its own, with the position below which its tokens are revoked. A key can be missing because it was evicted,
expired or was never filled. The process then asks PostgreSQL and caches the result: a missing key proves nothing.

A process trusts the cache only while the marker reaches the last revocation that the process knows of. After a flush, a
crash, a partition or a restore from an older copy it does not. The process then asks PostgreSQL, and refills the cache
from its tables.

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
from ledger.followers.follower import CannotApplyError, Follower, FollowerProgress, follow
from ledger.projections import tokens
from ledger.projections.tokens import EVERYBODY
from ledger.store import reader as event_reader
from ledger.store.connections import Connection, Pool, Reader

Session = tuple[UUID, UUID]  # its id, and its user's

TIMEOUT_SECONDS = 0.25  # a mirror that is slower than PostgreSQL is of no use to those who wait for an answer
FILL_SECONDS = 1.0  # for one step of filling it, which nobody waits for
POLL_SECONDS = 1.0  # after which it is asked what there is without a notification, and Redis whether it is back
FRESH_SECONDS = 5.0  # who has not heard from PostgreSQL for so long does not know what the mirror should hold
REMEMBERED_SECONDS = 3600  # how long a session that was asked for is kept; when it is gone, it is asked for again
CHUNK = 1000  # revocations in one step
STEPS = 3  # that one who has revoked waits for; the mirror may be empty, and the log long
CLEARING = -1  # the marker of a mirror that is being cleared

# What is there, in one go. ARGV: the members of the hash; KEYS: the hash, then sessions.
_LOOK_UP = """
return {redis.call('HMGET', KEYS[1], unpack(ARGV)), redis.call('MGET', unpack(KEYS, 2))}
"""

# Replaces values by greater ones and moves the marker on, if it still stands where it stood when the values were read:
# a flush in between must not leave a marker that says more than there is. ARGV: the marker expected and the new one;
# how many cut-offs there are, and each with its value; for each session its value and when the key ends (seconds since
# the epoch).
_ADVANCE = """
if (redis.call('HGET', KEYS[1], 'position') or '') ~= ARGV[1] then return 0 end
local at = 4
for _ = 1, tonumber(ARGV[3]) do
    local current = redis.call('HGET', KEYS[1], ARGV[at])
    if not current or tonumber(current) < tonumber(ARGV[at + 1]) then
        redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1])
    end
    at = at + 2
end
for i = 2, #KEYS do
    local current = redis.call('GET', KEYS[i])
    if not current or tonumber(current) < tonumber(ARGV[at]) then
        redis.call('SET', KEYS[i], ARGV[at])
        redis.call('EXPIREAT', KEYS[i], ARGV[at + 1])
    end
    at = at + 2
end
redis.call('HSET', KEYS[1], 'position', ARGV[2])
return 1
"""

_CLEAR = f"""
redis.call('UNLINK', KEYS[1])
redis.call('HSET', KEYS[1], 'position', '{CLEARING}')
"""

_CLEARED = f"""
if redis.call('HGET', KEYS[1], 'position') == '{CLEARING}' then redis.call('UNLINK', KEYS[1]) end
"""

log = structlog.get_logger(__name__)


class RevocationCacheError(Exception):
    """Redis does not answer in time, or with what cannot be. One sentence for the operator."""


class RevocationCacheStatus(NamedTuple):
    """How far the mirror reaches (None: it is empty), and how far it should."""

    position: int | None
    last_revocation: int

    @property
    def is_whole(self) -> bool:
        """Whether it reaches as far as it should."""
        return self.position == self.last_revocation


class RevocationCache:
    """The mirror, as one process sees it. `leeway_seconds` is how long after its end a token still passes."""

    def __init__(self, redis: "Redis", pool: Pool, ledger_id: UUID, *, leeway_seconds: int) -> None:
        self._redis = redis
        self._pool = pool
        self._prefix = f"ledger:{ledger_id}:revoked:"
        self._cutoffs = f"{self._prefix}cutoffs"
        self._leeway = timedelta(seconds=leeway_seconds)
        self._known = 0  # the last revocation that this process has heard of
        self._heard_at = -math.inf
        self._doubted_at = -math.inf  # what was heard before this may not be all
        self._usable = True  # Redis, as far as is known
        self._lags = False  # the mirror, seen by one who asked it
        self._awake = asyncio.Event()
        self._look_up_script = redis.register_script(_LOOK_UP)
        self._advance_script = redis.register_script(_ADVANCE)
        self._clear_script = redis.register_script(_CLEAR)
        self._cleared_script = redis.register_script(_CLEARED)
        self._announced: DataLoader[None, None] = DataLoader(lambda _: self._announce())

    def is_trusted(self) -> bool:
        """Whether it is asked before PostgreSQL is, as far as this process knows."""
        now = asyncio.get_running_loop().time()
        return self._usable and self._heard_at > max(self._doubted_at, now - FRESH_SECONDS)

    async def revoked_below(self, sessions: Collection[Session]) -> Mapping[Session, int]:
        """For each session the position below which its tokens are dead. Raises what PostgreSQL raises, if need be."""
        if not self.is_trusted():
            return await tokens.revoked_below(self._pool, sessions)
        try:
            marker, found = await self._look_up(list(sessions))
        except RevocationCacheError as error:
            self._back_off(error)
            return await tokens.revoked_below(self._pool, sessions)
        if marker is None or marker < self._known:
            self._lags = True
            self._awake.set()
            return await tokens.revoked_below(self._pool, sessions)
        if len(found) == len(sessions):
            return found
        asked = await tokens.revoked_below(self._pool, [session for session in sessions if session not in found])
        await self._remember(marker, asked)
        return found | asked

    async def fill(self) -> None:
        """Mirror every revocation until now that is not there yet. `MirrorUnusableError`, or what PostgreSQL raises."""
        await self._fill(self._pool)

    async def announce(self) -> None:
        """Mirror what was just revoked, before anybody is told. If Redis is away, nobody will trust it either."""
        await self._announced.get(None)

    async def rebuild(self) -> None:
        """Throw the mirror away and fill it anew."""
        await self._clear(FILL_SECONDS)
        await self.fill()

    async def status(self) -> RevocationCacheStatus:
        """How the mirror stands."""
        marker = await self._marker(FILL_SECONDS)
        return RevocationCacheStatus(None if marker == CLEARING else marker, await tokens.last_revocation(self._pool))

    async def follow(self, connect: Callable[[], Awaitable[Connection]], channel: str) -> None:
        """Hear of revocations for as long as the process runs; while no other process does so, fill the mirror."""
        await follow(
            Follower("mirror", self._step, self._rest, begin=lambda one: self._listen(one, channel), lost=self._doubt),
            connect,
        )

    async def _listen(self, connection: Connection, channel: str) -> None:
        connection.add_termination_listener(self._doubt)
        await connection.add_listener(channel, lambda *_: self._awake.set())

    async def _step(self, connection: Connection, leads: bool) -> FollowerProgress:
        """Hear of revocations; fill the mirror with them, if nobody else does. How far the mirror is, if it leads."""
        self._awake.clear()
        head = await event_reader.log_end(connection) if leads else None
        await self._hear(connection)
        error = None
        if leads or self._lags or not self._usable:
            self._lags = False
            error = await self._try_to_fill(connection)
        return FollowerProgress(None, error) if error else FollowerProgress(head)

    async def _rest(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_SECONDS):
                await self._awake.wait()

    def _doubt(self, _: object = None) -> None:
        """Trust nothing until PostgreSQL has been heard from once more."""
        self._doubted_at = asyncio.get_running_loop().time()
        self._awake.set()

    async def _hear(self, reader: Reader) -> int:
        """Ask PostgreSQL for the last revocation."""
        asked, known = asyncio.get_running_loop().time(), self._known
        last = await tokens.last_revocation(reader)
        # Only a log from which something was lost goes back: a restore. Else the later of two answers came first.
        self._known = last if known == self._known else max(self._known, last)
        self._heard_at = max(self._heard_at, asked)
        return last

    async def _look_up(self, sessions: Sequence[Session]) -> tuple[int | None, dict[Session, int]]:
        """The marker, and what there is."""
        users = {user_id for _, user_id in sessions}
        async with _patience(TIMEOUT_SECONDS):
            cutoffs, values = await self._look_up_script(
                keys=[self._cutoffs, *map(self._key, sessions)], args=["position", *map(str, (EVERYBODY, *users))]
            )
            marker, everybody, *of_users = map(_number, cutoffs)
            below = dict(zip(sessions, map(_number, values), strict=True))
        cut = dict(zip(users, of_users, strict=True))
        return marker, {
            session: max(value, everybody or 0, cut[session[1]] or 0)
            for session, value in below.items()
            if value is not None
        }

    async def _remember(self, marker: int, asked: Mapping[Session, int]) -> None:
        """Mirror what PostgreSQL said of sessions after the marker had been read, unless that has moved since."""
        ends = int(time.time()) + REMEMBERED_SECONDS
        try:
            kept = {session: (below, ends) for session, below in asked.items()}
            await self._write(marker, marker, {}, kept, TIMEOUT_SECONDS)
        except RevocationCacheError as error:
            self._back_off(error)

    async def _marker(self, seconds: float) -> int | None:
        async with _patience(seconds):
            return _number(await self._redis.hget(self._cutoffs, "position"))

    async def _fill(self, reader: Reader) -> None:
        needed = await self._hear(reader)
        while not await self._advance(reader, needed, FILL_SECONDS):
            pass

    async def _advance(self, reader: Reader, needed: int, seconds: float) -> bool:
        """Go one step on. Whether the mirror now reaches as far as it needs to."""
        marker = await self._marker(seconds)
        # One that others have moved beyond what is needed is fine; one beyond the log is that of another: a restore.
        if marker == CLEARING or (marker is not None and marker > max(needed, await self._hear(reader))):
            await self._clear(seconds)
            return False
        if marker is not None and marker >= needed:
            return True
        rows = await tokens.revocations(reader, after=marker or 0, limit=CHUNK)
        reached = max([row["position"] for row in rows] + ([needed] if len(rows) < CHUNK else []))
        cutoffs = {row["user_id"]: row["below"] for row in rows if row["session_id"] is None}
        ended = {
            (row["session_id"], row["user_id"]): (row["below"], self._end(row)) for row in rows if row["session_id"]
        }
        return await self._write(marker, reached, cutoffs, ended, seconds) and reached >= needed

    def _end(self, row: Record) -> int:
        """When no token of the session can pass any more, leeway included."""
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
        """Write positions, and how far that is; nothing if the marker has moved."""
        arguments: list[str | int] = ["" if marker is None else marker, reached, len(cutoffs)]
        for user_id, position in cutoffs.items():
            arguments += [str(user_id), position]
        for value, ends in sessions.values():
            arguments += [value, ends]
        async with _patience(seconds):
            return bool(await self._advance_script(keys=[self._cutoffs, *map(self._key, sessions)], args=arguments))

    async def _clear(self, seconds: float) -> None:
        async with _patience(seconds):
            await self._clear_script(keys=[self._cutoffs])  # from now on nobody trusts the rest
        cursor = None
        while cursor != 0:
            async with _patience(seconds):
                cursor, keys = await self._redis.scan(cursor or 0, match=f"{self._prefix}*:*", count=CHUNK)
                if keys:
                    await self._redis.unlink(*keys)
        async with _patience(seconds):
            await self._cleared_script(keys=[self._cutoffs])

    def _key(self, session: Session) -> str:
        session_id, user_id = session
        return f"{self._prefix}{user_id}:{session_id}"

    async def _announce(self) -> dict[None, None]:
        try:
            needed = await self._hear(self._pool)
        except Exception as error:  # noqa: BLE001 - what was revoked stays revoked, and its answer must say so
            log.warning("a revocation cannot be followed", error=type(error).__name__)
            self._doubt()
            with contextlib.suppress(RevocationCacheError):  # nor may those trust the mirror who heard nothing
                await self._withdraw()
            return {}
        try:
            for _ in range(STEPS):
                if await self._advance(self._pool, needed, TIMEOUT_SECONDS):
                    return {}
            self._lags = True
        except RevocationCacheError as error:
            self._back_off(error)
        except Exception as error:  # noqa: BLE001 - as above; this process knows what it is that the mirror lacks
            log.warning("a revocation cannot be mirrored", error=type(error).__name__)
            self._lags = True
        self._awake.set()
        return {}

    async def _withdraw(self) -> None:
        async with _patience(TIMEOUT_SECONDS):
            await self._redis.unlink(self._cutoffs)

    async def _try_to_fill(self, reader: Reader) -> str | None:
        """Fill the mirror; why that cannot be done now."""
        try:
            await self._fill(reader)
        except RevocationCacheError as error:
            self._back_off(error)
            return str(error)
        if not self._usable:
            log.info("redis answers again")
        self._usable = True
        return None

    def _back_off(self, error: RevocationCacheError) -> None:
        """Ask PostgreSQL only, until the follower has filled the mirror."""
        if self._usable:
            log.warning("redis does not answer; PostgreSQL is asked instead", error=str(error))
        self._usable = False


@asynccontextmanager
async def _patience(seconds: float) -> AsyncIterator[None]:
    """Bounds how long Redis may take. Whatever is wrong with it or with what it says is `MirrorUnusableError`."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except (RedisError, OSError, RuntimeError, ValueError) as error:  # uvloop has a RuntimeError of its own
        raise RevocationCacheError(f"Redis cannot be used: {type(error).__name__}") from error


def _number(value: bytes | str | None) -> int | None:
    return None if value is None else int(value)
