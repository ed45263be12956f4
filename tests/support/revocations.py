"""A revocation cache and its callers, for its tests."""

import asyncio
import base64
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

import asyncpg
from redis.asyncio import Redis

from ledger.errors import RevocationCacheError
from ledger.identity.revocation_cache import RevocationCache, Session
from ledger.projections.tokens import EVERYBODY
from ledger.settings import Settings
from ledger.store.identity import read_identity
from ledger.values.cache_values import CacheValues
from tests.support.controls import ADMIN_PASSWORD, PASSWORD, Api, new_id
from tests.support.processes import until
from tests.support.valkey import Valkey
from web.http.request import RUNTIME

Serve = Callable[[Settings], Awaitable[Api]]


Connection = Any  # asyncpg's, which is generic for type checkers only


LEEWAY_SECONDS = 60


@dataclass(frozen=True)
class Caller:
    """A user with a pair of tokens."""

    api: Api
    pair: dict[str, Any]

    @property
    def claims(self) -> dict[str, Any]:
        payload = self.pair["access_token"].split(".")[1]
        return cast("dict[str, Any]", json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))

    async def with_refresh_token(self, path: str) -> int:
        return (await replace(self.api, token=self.pair["refresh_token"]).post(path)).status


async def logged_in(api: Api, username: str, password: str = PASSWORD) -> Caller:
    answer = await api.nobody.post("/v1/auth/login", {"username": username, "password": password})
    assert 200 == answer.status
    return Caller(replace(api, token=answer.body["access_token"]), answer.body)


async def new_caller(admin: Api) -> Caller:
    return await logged_in(admin, (await admin.new_user())["username"])


async def revoke(way: str, admin: Api, caller: Caller) -> int:
    """Revoke the caller's access token in this way; return the status of the response."""
    claims = caller.claims
    match way:
        case "logout":
            return await caller.with_refresh_token("/v1/auth/logout")
        case "rotation":
            return await caller.with_refresh_token("/v1/auth/refresh")
        case "revoke-user":
            return (await admin.post("/v1/auth/revoke-user", {"user_id": claims["sub"]})).status
        case "deletion":
            return (await admin.delete(f"/v1/users/{claims['sub']}")).status
        case "end":
            return (await admin.delete(f"/v1/auth/sessions/{claims['sid']}")).status
        case _:
            return (await admin.post(f"/v1/auth/{way}")).status


ONE_USER_WAYS = ("logout", "rotation", "revoke-user", "deletion", "end")


@dataclass
class Scene:
    """A service on its own Valkey, with callers whose tokens it must refuse and callers it must accept."""

    valkey: Valkey
    admin: Api
    redis: "Redis"
    victims: dict[str, Caller] = field(default_factory=dict)
    valid: list[Api] = field(default_factory=list)

    @property
    def revocation_cache(self) -> RevocationCache:
        revocation_cache: RevocationCache = cast("Any", self.admin.client.server).app[RUNTIME].revocation_cache
        return revocation_cache

    async def prepare(self, ways: tuple[str, ...]) -> None:
        """Create a caller for each way of revocation, and wait until the cache is complete."""
        self.victims = {way: await new_caller(self.admin) for way in ways}
        await until(self.is_whole)
        for victim in self.victims.values():
            assert 200 == (await victim.api.get("/")).status

    async def revoke(self) -> None:
        """Revoke the tokens of all victims, and log in two other callers."""
        for way, victim in self.victims.items():
            assert 200 == await revoke(way, self.admin, victim)
        self.admin = await self.admin.logged_in("admin", ADMIN_PASSWORD)
        self.valid = [self.admin, (await new_caller(self.admin)).api]

    async def revoke_through(self, other: Api) -> None:
        """Revoke the victims' tokens at another service, and assert that this one follows; close the other one."""
        for way, victim in self.victims.items():
            there = replace(victim, api=replace(victim.api, client=other.client))
            assert 200 == await revoke(way, other, there)
        await until(self.is_whole)
        await self.check()
        await other.client.close()

    async def check(self) -> None:
        """Assert that revoked tokens are refused and all others are accepted."""
        dead = asyncio.gather(*(victim.api.get("/") for victim in self.victims.values()))
        alive = asyncio.gather(*(caller.get("/") for caller in self.valid))
        refused = dict(zip(self.victims, [answer.status for answer in await dead], strict=True))
        assert dict.fromkeys(self.victims, 401) == refused
        assert [200] * len(self.valid) == [answer.status for answer in await alive]

    async def is_whole(self) -> bool:
        with contextlib.suppress(RevocationCacheError):
            return (await self.revocation_cache.status()).is_complete
        return False

    async def is_whole_again(self) -> bool:
        await self.check()
        return await self.is_whole()

    async def is_queried(self) -> bool:
        """Return whether requests query the revocation cache."""
        before = await calls(self.redis, "mget")
        await self.check()
        return await calls(self.redis, "mget") > before

    async def cutoff_of(self, caller: Caller) -> int:
        """Return the position below which the cache revokes the caller's token."""
        (hash_key,) = map(str, await self.redis.keys("*:revocations:cutoffs"))
        sub, sid = caller.claims["sub"], caller.claims["sid"]
        found = [
            *await self.redis.hmget(hash_key, str(EVERYBODY), sub),
            await self.redis.get(hash_key.replace("cutoffs", f"{sub}:{sid}")),
        ]
        return max(number_in(value) or 0 for value in found)


async def calls(redis: "Redis", command: str) -> int:
    statistics = await redis.info("commandstats")
    return int(statistics.get(f"cmdstat_{command}", {"calls": 0})["calls"])


FOLLOWERS = """SELECT pid FROM pg_locks
               WHERE locktype = 'advisory' AND granted
               AND classid = 'followers'::regclass AND objid = 0 AND objsubid = 2
               AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""


async def follower(connection: Connection, *others: int) -> int | None:
    """Return the PostgreSQL process of the leading follower, unless it is one of `others`."""
    rows = await connection.fetch(FOLLOWERS)
    assert len(rows) <= 1
    return next((row["pid"] for row in rows if row["pid"] not in others), None)


class CountingPool:
    """A pool that counts lookups and can call `after_fetch` once, after the next of them."""

    def __init__(self, pool: Any) -> None:
        self.pool = pool
        self.lookups = 0
        self.is_broken = False
        self.after_fetch: Callable[[], Awaitable[Any]] | None = None

    async def fetch(self, query: str, *arguments: Any) -> Any:
        found = await self.pool.fetch(query, *arguments)
        self.lookups += "asked" in query
        after_fetch, self.after_fetch = self.after_fetch, None
        if after_fetch is not None:
            await after_fetch()
        return found

    async def fetchval(self, query: str, *arguments: Any) -> Any:
        if self.is_broken:
            raise asyncpg.InterfaceError("connection is closed")
        return await self.pool.fetchval(query, *arguments)


@dataclass
class Bench:
    """A revocation cache, its Redis, and its source tables, to which the test writes directly."""

    pool: CountingPool
    redis: "Redis"
    connection: Connection
    revocation_cache: RevocationCache
    another: Callable[..., RevocationCache]

    async def session(self, below: int = 0, at: int | None = None, *, ends_in: float = 3600) -> Session:
        """Insert a session, revoked at a position or not."""
        session = new_id(), new_id()
        await self.connection.execute(
            """INSERT INTO sessions (id, user_id, position, revoked_below, revoked_position, created_at, refreshed_at,
                                     expires_at)
               VALUES ($1, $2, 1, $3, $4, now(), now(), now() + $5)""",
            *session,
            below,
            at,
            timedelta(seconds=ends_in),
        )
        return session

    async def revoked_sessions(self, count: int) -> None:
        """Insert revoked sessions of as many users, at positions from 2 on."""
        await self.connection.execute(
            """INSERT INTO sessions (id, user_id, position, revoked_below, revoked_position, created_at, refreshed_at,
                                     expires_at)
               SELECT gen_random_uuid(), gen_random_uuid(), 1, 2, 1 + n, now(), now(), now() + interval '1 hour'
               FROM generate_series(1, $1::int) AS n""",
            count,
        )

    async def revoke(self, session: Session, below: int, at: int) -> None:
        await self.connection.execute(
            "UPDATE sessions SET revoked_below = $2, revoked_position = $3 WHERE id = $1", session[0], below, at
        )

    async def cut_off(self, user_id: UUID, at: int) -> None:
        await self.connection.execute(
            "INSERT INTO cutoffs VALUES ($1, $2) ON CONFLICT (user_id) DO UPDATE SET position = $2", user_id, at
        )

    async def below(self, session: Session) -> int:
        return (await self.revocation_cache.revoked_below([session]))[session]

    async def key(self, session: Session) -> str:
        """Return the name of a session's key."""
        return (await self.cutoffs()).replace("cutoffs", f"{session[1]}:{session[0]}")

    async def cutoffs(self) -> str:
        """Return the name of the key with the marker and the cut-offs."""
        return (await self.values()).cutoffs

    async def values(self) -> CacheValues:
        return CacheValues(*await read_identity(self.connection))

    async def cached(self, session: Session) -> int | None:
        """Return the number that the cache has for a session, without a check of its code."""
        return number_in(await self.redis.get(await self.key(session)))

    async def cached_cutoffs(self) -> dict[str, int | None]:
        """Return the marker and the cut-offs, without a check of their codes."""
        return {str(name): number_in(text) for name, text in (await self.redis.hgetall(await self.cutoffs())).items()}

    async def plant(self, session: Session, number: int) -> None:
        """Write a value of a session as a process of the ledger would."""
        key = await self.key(session)
        await self.redis.set(key, (await self.values()).encode(key, "", number))

    async def plant_cutoffs(self, numbers: Mapping[str, int]) -> None:
        """Write the marker or cut-offs as a process of the ledger would."""
        values = await self.values()
        encoded: Any = {name: values.encode(values.cutoffs, name, number) for name, number in numbers.items()}
        await self.redis.hset(values.cutoffs, mapping=encoded)


def number_in(value: str | bytes | None) -> int | None:
    return None if value is None else int(str(value).partition(" ")[0])
