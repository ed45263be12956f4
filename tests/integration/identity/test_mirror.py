"""The mirror of revocations: whatever happens to it, a revoked token stays dead and a valid one alive, and it heals.

Lesson 25: "Redis flushed, evicted, restarted empty or failed over to a stale replica: every revoked token works again.
Redis down: every request is a 500, for ever, because the client never reconnects."
"""

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import asyncpg
import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from ledger.concurrency.dataloader import Coalesced
from ledger.identity import login_throttle as throttle
from ledger.identity import revocation_cache as mirror
from ledger.identity.revocation_cache import Mirror, MirrorStatus, MirrorUnusableError, Session
from ledger.identity.valkey import open_client
from ledger.projections.tokens import EVERYBODY, NEVER
from ledger.settings import Settings
from ledger.store.pool import connect, open_pool
from tests.support.controls import ADMIN_PASSWORD, NOBODY, PASSWORD, Api, new_id
from tests.support.outages import without_postgresql
from tests.support.processes import DEADLINE_SECONDS, ledger, until
from tests.support.valkey import Valkey, a_valkey
from web.http.request import RUNTIME

Serve = Callable[[Settings], Awaitable[Api]]
Connection = Any  # asyncpg's, which is generic for type checkers only

LEEWAY_SECONDS = 60
IMPATIENT = {throttle: ("TIMEOUT_SECONDS",), mirror: ("TIMEOUT_SECONDS", "FILL_SECONDS")}
SECONDS = {(module, name): getattr(module, name) for module, names in IMPATIENT.items() for name in names}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """A traceback for people takes a second to draw, and a failing service draws many."""
    with capture_logs():
        yield


@pytest.fixture
async def valkey(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Valkey]:
    """A Valkey of the test's own."""
    with a_valkey(tmp_path_factory.mktemp("v")) as valkey:
        await valkey.start()
        yield valkey


@contextmanager
def paused_redis(valkey: Valkey) -> Iterator[None]:
    """While this lasts, Valkey answers nobody, and the service waits for it no longer than it does in earnest."""
    with pytest.MonkeyPatch.context() as patch:
        for (module, name), seconds in SECONDS.items():
            patch.setattr(module, name, seconds)
        valkey.pause()
        try:
            yield
        finally:
            valkey.resume()


# Over HTTP: the service, those who may call it, and those who may not any more.


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


async def a_caller(admin: Api) -> Caller:
    return await logged_in(admin, (await admin.new_user())["username"])


async def revoke(way: str, admin: Api, caller: Caller) -> int:
    """Kill the caller's access token in one of the ways there are; the status of the answer."""
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


OF_ONE = ("logout", "rotation", "revoke-user", "deletion", "end")
OF_ALL = ("revoke-all",)


@dataclass
class Scene:
    """A service on a Valkey of the test's own, those whose tokens it must refuse, and those whose it must not."""

    valkey: Valkey
    admin: Api
    redis: "Redis"
    victims: dict[str, Caller] = field(default_factory=dict)
    valid: list[Api] = field(default_factory=list)

    @property
    def mirror(self) -> Mirror:
        mirror: Mirror = cast("Any", self.admin.client.server).app[RUNTIME].mirror
        return mirror

    async def settle(self, ways: tuple[str, ...]) -> None:
        """Somebody for each way, whom the service has seen, and a whole mirror."""
        self.victims = {way: await a_caller(self.admin) for way in ways}
        await until(self.is_whole)
        for victim in self.victims.values():
            assert 200 == (await victim.api.get("/")).status

    async def revoke(self) -> None:
        """All of them lose their tokens; two others have theirs."""
        for way, victim in self.victims.items():
            assert 200 == await revoke(way, self.admin, victim)
        self.admin = await self.admin.logged_in("admin", ADMIN_PASSWORD)
        self.valid = [self.admin, (await a_caller(self.admin)).api]

    async def check(self) -> None:
        """Whoever was revoked is refused, and everybody else is not."""
        dead = asyncio.gather(*(victim.api.get("/") for victim in self.victims.values()))
        alive = asyncio.gather(*(caller.get("/") for caller in self.valid))
        refused = dict(zip(self.victims, [answer.status for answer in await dead], strict=True))
        assert dict.fromkeys(self.victims, 401) == refused
        assert [200] * len(self.valid) == [answer.status for answer in await alive]

    async def is_whole(self) -> bool:
        with contextlib.suppress(MirrorUnusableError):
            return (await self.mirror.status()).is_whole
        return False

    async def is_whole_again(self) -> bool:
        await self.check()
        return await self.is_whole()

    async def is_asked(self) -> bool:
        """Whether requests ask the mirror."""
        before = await calls(self.redis, "mget")
        await self.check()
        return await calls(self.redis, "mget") > before

    async def cut(self, caller: Caller) -> int:
        """The position below which the caller's token is dead, according to the mirror."""
        (hash_key,) = map(str, await self.redis.keys("*:revoked:cutoffs"))
        sub, sid = caller.claims["sub"], caller.claims["sid"]
        found = [
            *await self.redis.hmget(hash_key, str(EVERYBODY), sub),
            await self.redis.get(hash_key.replace("cutoffs", f"{sub}:{sid}")),
        ]
        return max(int(position or 0) for position in found)


async def calls(redis: "Redis", command: str) -> int:
    statistics = await redis.info("commandstats")
    return int(statistics.get(f"cmdstat_{command}", {"calls": 0})["calls"])


@pytest.fixture
async def scene(serve: Serve, settings: Settings, valkey: Valkey) -> AsyncIterator[Scene]:
    async with valkey.client() as client:
        yield Scene(valkey, await serve(valkey.settings(settings)), client)


async def flushed(scene: Scene) -> None:
    await scene.redis.flushall()


async def killed(scene: Scene) -> None:
    scene.valkey.kill()
    for _ in range(10):
        await scene.check()
    await scene.valkey.start()


async def restarted_empty(scene: Scene) -> None:
    """So fast that nobody noticed."""
    scene.valkey.kill()
    scene.valkey.empty()
    await scene.valkey.start()


async def set_back(scene: Scene) -> None:
    scene.valkey.kill()
    scene.valkey.set_back()
    await scene.valkey.start()


async def paused(scene: Scene) -> None:
    with paused_redis(scene.valkey):
        for _ in range(10):
            await scene.check()


async def evicted(scene: Scene) -> None:
    """One key after the other, the one with the marker last."""
    keys = await scene.redis.keys()
    assert len(keys) > 2
    for key in sorted(keys, key=lambda key: "cutoffs" in key):
        await scene.redis.delete(key)
        await scene.check()


DISASTERS = (flushed, killed, restarted_empty, set_back, paused, evicted)


@pytest.mark.parametrize("ways", [OF_ONE, OF_ALL], ids=["of-one", "of-all"])
@pytest.mark.parametrize("disaster", DISASTERS)
async def test_no_disaster_of_redis_lets_a_revoked_token_in_or_keeps_a_valid_one_out(
    disaster: Callable[[Scene], Awaitable[None]], ways: tuple[str, ...], scene: Scene
) -> None:
    """Lesson 25: "Redis flushed, evicted, restarted empty or failed over to a stale replica: every revoked token works
    again. Redis down: every request is a 500, for ever, because the client never reconnects."
    """
    await scene.settle(ways)
    scene.valkey.copy()
    await scene.revoke()
    await scene.check()

    await disaster(scene)

    await until(scene.is_whole_again)
    await until(scene.is_asked)
    for way, victim in scene.victims.items():
        assert await scene.cut(victim) > victim.claims["pos"], way


async def test_a_revocation_is_mirrored_before_it_is_answered(scene: Scene) -> None:
    await scene.settle(OF_ONE + OF_ALL)
    for way, victim in scene.victims.items():
        assert await scene.cut(victim) <= victim.claims["pos"], way

        status = await revoke(way, scene.admin, victim)

        cut, standing = await scene.cut(victim), await scene.mirror.status()
        assert (200, True, True) == (status, cut > victim.claims["pos"], standing.is_whole), way


@pytest.mark.parametrize("ways", [OF_ONE, OF_ALL], ids=["of-one", "of-all"])
async def test_a_token_that_is_revoked_while_redis_is_away_is_dead_at_once_and_later(
    ways: tuple[str, ...], scene: Scene
) -> None:
    """Lesson 25."""
    await scene.settle(ways)

    with paused_redis(scene.valkey):
        await scene.revoke()
        await scene.check()

    await until(scene.is_whole_again)


async def test_while_redis_is_paused_no_client_waits_for_it_more_than_once_and_not_for_long(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lesson 25: what times out is asked once, not by every request."""
    await scene.settle(())
    await scene.revoke()
    await until(scene.is_asked)
    asked = 0

    async def look_up(sessions: Any) -> Any:
        nonlocal asked
        asked += 1
        return await Mirror._look_up(scene.mirror, sessions)  # noqa: SLF001 - how often it waits is the question

    async def client() -> list[int]:
        return [(await scene.admin.get("/")).status for _ in range(15)]

    with paused_redis(scene.valkey):
        monkeypatch.setattr(scene.mirror, "_look_up", look_up)
        statuses = await asyncio.gather(*(client() for _ in range(20)))

    assert [[200] * 15] * 20 == statuses
    assert 1 <= asked <= 20
    assert SECONDS[mirror, "TIMEOUT_SECONDS"] < 1


async def test_a_request_asks_the_mirror_once_at_most(scene: Scene) -> None:
    await scene.settle(())
    await scene.revoke()
    await until(scene.is_asked)
    before = await calls(scene.redis, "mget")

    for _ in range(5):
        answers = await asyncio.gather(*(scene.admin.get("/") for _ in range(20)))
        assert {200} == {answer.status for answer in answers}

    assert 1 <= await calls(scene.redis, "mget") - before <= 100


# PostgreSQL


async def test_when_neither_can_be_asked_nobody_is_let_in_and_nobody_is_refused(
    scene: Scene, settings: Settings
) -> None:
    await scene.settle(OF_ONE)
    await scene.revoke()

    async with without_postgresql(settings):
        scene.valkey.kill()
        callers = [*scene.valid, *(victim.api for victim in scene.victims.values())]
        answers = [await caller.get("/") for _ in range(3) for caller in callers]
    assert {(503, "database_error")} == {(answer.status, answer.codes[0]) for answer in answers}

    await scene.valkey.start()
    await until(scene.is_whole_again)


async def test_without_postgresql_a_mirror_that_was_set_back_lets_nobody_in(scene: Scene, settings: Settings) -> None:
    """Lesson 25, and nobody there who could tell."""
    await scene.settle(OF_ONE)
    scene.valkey.copy()
    await scene.revoke()

    async with without_postgresql(settings):
        await set_back(scene)
        answers = [await victim.api.get("/") for _ in range(20) for victim in scene.victims.values()]
    assert {503} == {answer.status for answer in answers}

    await until(scene.is_whole_again)


# Several services


FOLLOWERS = """SELECT pid FROM pg_locks
               WHERE locktype = 'advisory' AND granted
               AND classid = 'followers'::regclass AND objid = 0 AND objsubid = 2
               AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""


async def follower(connection: Connection, *others: int) -> int | None:
    """The process of PostgreSQL that serves whoever follows, unless it is one of these."""
    rows = await connection.fetch(FOLLOWERS)
    assert len(rows) <= 1
    return next((row["pid"] for row in rows if row["pid"] not in others), None)


async def test_one_service_follows_and_when_it_is_gone_the_other_does(
    serve: Serve, scene: Scene, settings: Settings, connection: Connection
) -> None:
    leader = await until(lambda: follower(connection))
    other = Scene(scene.valkey, await serve(scene.valkey.settings(settings)), scene.redis)
    await other.settle(())
    assert leader == await follower(connection)

    await scene.admin.client.close()

    await until(lambda: follower(connection, leader))
    await scene.redis.flushall()
    await until(other.is_whole)  # nobody asked for anything


async def test_a_connection_to_listen_on_that_is_lost_is_opened_again(scene: Scene, connection: Connection) -> None:
    """Lesson 10: "a follower that wakes only on NOTIFY blocks for ever when one is lost; a dropped LISTEN connection is
    never reopened".
    """
    await scene.settle(OF_ONE)
    await scene.revoke()
    lost = await until(lambda: follower(connection))

    await connection.execute("SELECT pg_terminate_backend($1)", lost)

    await scene.check()
    await until(lambda: follower(connection, lost))
    await scene.redis.flushall()
    await until(scene.is_whole)
    await until(scene.is_asked)


async def test_a_revocation_that_nobody_was_told_of_is_found(
    serve: Serve, scene: Scene, settings: Settings, connection: Connection, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Lesson 10: "a follower that wakes only on NOTIFY blocks for ever when one is lost"."""
    for table in ("sessions", "cutoffs"):
        await connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER tell")
    await scene.settle(OF_ONE)
    with a_valkey(tmp_path_factory.mktemp("v")) as elsewhere:
        await elsewhere.start()
        other = await serve(elsewhere.settings(settings))

        for way, victim in scene.victims.items():
            there = replace(victim, api=replace(victim.api, client=other.client))
            assert 200 == await revoke(way, other, there)

        await until(scene.is_whole)
        await scene.check()
        await other.client.close()


async def test_a_revocation_by_another_service_is_heard_of_while_that_cannot_reach_redis(
    serve: Serve, scene: Scene, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    await scene.settle(OF_ONE)
    with a_valkey(tmp_path_factory.mktemp("v")) as elsewhere:
        await elsewhere.start()
        other = await serve(elsewhere.settings(settings))
        elsewhere.kill()

        for way, victim in scene.victims.items():
            there = replace(victim, api=replace(victim.api, client=other.client))
            assert 200 == await revoke(way, other, there)

        await until(scene.is_whole)
        await scene.check()
        await other.client.close()


# The mirror alone, filled by nobody but the test.


class Watched:
    """A pool that counts the look-ups, and lets something happen after one of them."""

    def __init__(self, pool: Any) -> None:
        self.pool = pool
        self.asked = 0
        self.is_broken = False
        self.meanwhile: Callable[[], Awaitable[Any]] | None = None

    async def fetch(self, query: str, *arguments: Any) -> Any:
        found = await self.pool.fetch(query, *arguments)
        self.asked += "asked" in query
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        return found

    async def fetchval(self, query: str, *arguments: Any) -> Any:
        if self.is_broken:
            raise asyncpg.InterfaceError("connection is closed")
        return await self.pool.fetchval(query, *arguments)


@dataclass
class Bench:
    """A mirror, its Redis, and the tables that it mirrors, which the test writes by hand."""

    pool: Watched
    redis: "Redis"
    connection: Connection
    mirror: Mirror
    another: Callable[..., Mirror]

    async def session(self, below: int = 0, at: int | None = None, *, ends_in: float = 3600) -> Session:
        """A session, revoked at a position or not."""
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

    async def revoke(self, session: Session, below: int, at: int) -> None:
        await self.connection.execute(
            "UPDATE sessions SET revoked_below = $2, revoked_position = $3 WHERE id = $1", session[0], below, at
        )

    async def cut_off(self, user_id: UUID, at: int) -> None:
        await self.connection.execute(
            "INSERT INTO cutoffs VALUES ($1, $2) ON CONFLICT (user_id) DO UPDATE SET position = $2", user_id, at
        )

    async def below(self, session: Session) -> int:
        return (await self.mirror.revoked_below([session]))[session]

    async def key(self, session: Session) -> str:
        """The name of a session's key."""
        return (await self.cutoffs()).replace("cutoffs", f"{session[1]}:{session[0]}")

    async def cutoffs(self) -> str:
        """The name of the key with the marker and the cut-offs."""
        ledger_id = await self.connection.fetchval("SELECT id FROM ledger_identity")
        return f"ledger:{ledger_id}:revoked:cutoffs"


@pytest.fixture
async def bench(settings: Settings, patient: None, valkey: Valkey, connection: Connection) -> AsyncIterator[Bench]:
    del patient
    pool, client = await open_pool(settings), open_client(valkey.settings(settings))
    watched = Watched(pool)
    ledger_id = await pool.fetchval("SELECT id FROM ledger_identity")

    def another(ledger_id: UUID = ledger_id, leeway_seconds: int = LEEWAY_SECONDS) -> Mirror:
        return Mirror(client, cast("Any", watched), ledger_id, leeway_seconds=leeway_seconds)

    async with valkey.client() as eyes:
        yield Bench(watched, eyes, connection, another(), another)
    await client.aclose()
    await pool.close()


async def test_what_the_mirror_says_is_what_postgresql_says(bench: Bench) -> None:
    alive, rotated, ended = await bench.session(), await bench.session(4, 4), await bench.session(NEVER, 5)
    cut, nobody, stranger = await bench.session(), (new_id(), new_id()), (alive[0], new_id())
    await bench.cut_off(cut[1], 6)
    sessions = [alive, rotated, ended, cut, nobody, stranger]
    by_postgresql = await bench.mirror.revoked_below(sessions)  # the mirror is empty
    await bench.mirror.fill()

    first = await bench.mirror.revoked_below(sessions)
    bench.pool.asked = 0
    second = await bench.mirror.revoked_below(sessions)

    assert [0, 4, NEVER, 6, NEVER, NEVER] == [by_postgresql[session] for session in sessions]
    assert (by_postgresql, by_postgresql, 0) == (first, second, bench.pool.asked)

    await bench.cut_off(EVERYBODY, 7)
    await bench.mirror.announce()
    cut_off = await bench.mirror.revoked_below(sessions)
    assert [7, 7, NEVER, 7, NEVER, NEVER] == [cut_off[session] for session in sessions]
    assert 0 == bench.pool.asked


async def test_all_look_ups_of_one_tick_are_one_command(bench: Bench) -> None:
    sessions = [await bench.session() for _ in range(200)]
    await bench.mirror.fill()
    await bench.mirror.revoked_below(sessions)
    before, coalesced = await calls(bench.redis, "mget"), Coalesced(bench.mirror.revoked_below)
    bench.pool.asked = 0

    found = await asyncio.gather(*(coalesced.get(session) for session in sessions))

    assert ([0] * 200, 0, 1) == (found, bench.pool.asked, await calls(bench.redis, "mget") - before)


async def test_a_session_whose_key_was_evicted_is_asked_for_once(bench: Bench) -> None:
    """Lesson 25: "evicted: every revoked token works again"."""
    session = await bench.session(NEVER, 5)
    await bench.mirror.fill()
    assert str(NEVER) == await bench.redis.get(await bench.key(session))

    await bench.redis.delete(await bench.key(session))

    assert [NEVER] * 3 == [await bench.below(session) for _ in range(3)]
    assert 1 == bench.pool.asked


async def test_an_older_value_never_replaces_a_newer_one(bench: Bench) -> None:
    rotated = await bench.session(5, 5)
    await bench.cut_off(rotated[1], 4)
    await bench.redis.set(await bench.key(rotated), 9)
    await bench.redis.hset(await bench.cutoffs(), mapping={"position": 3, str(rotated[1]): 8})

    await bench.mirror.fill()

    assert "9" == await bench.redis.get(await bench.key(rotated))
    assert {"position": "5", str(rotated[1]): "8"} == await bench.redis.hgetall(await bench.cutoffs())


async def test_the_marker_is_not_moved_on_when_redis_is_flushed_between_reading_and_writing(bench: Bench) -> None:
    """Lesson 25: "flushed"."""
    early = await bench.session(NEVER, 5)
    await bench.cut_off(early[1], 4)
    await bench.mirror.fill()
    late = await bench.session(NEVER, 6)
    bench.pool.meanwhile = bench.redis.flushall

    await bench.mirror.fill()

    assert {"position": "6", str(early[1]): "4"} == await bench.redis.hgetall(await bench.cutoffs())
    assert [str(NEVER)] * 2 == [await bench.redis.get(await bench.key(session)) for session in (early, late)]


async def test_what_was_asked_before_a_revocation_is_not_kept_after_it(bench: Bench) -> None:
    session = await bench.session()
    await bench.mirror.fill()

    async def revoked_and_evicted() -> None:
        await bench.revoke(session, NEVER, 5)
        await bench.another().announce()
        await bench.redis.delete(await bench.key(session))

    bench.pool.meanwhile = revoked_and_evicted

    assert 0 == await bench.below(session)  # that was before
    assert NEVER == await bench.below(session)


async def test_more_than_one_step_of_revocations_are_mirrored(bench: Bench) -> None:
    await bench.connection.execute(
        """INSERT INTO sessions (id, user_id, position, revoked_below, revoked_position, created_at, refreshed_at,
                                 expires_at)
           SELECT gen_random_uuid(), gen_random_uuid(), 1, 2, 1 + n, now(), now(), now() + interval '1 hour'
           FROM generate_series(1, 2500) AS n"""
    )
    last = await bench.session(NEVER, 9000)

    await bench.mirror.fill()

    assert MirrorStatus(9000, 9000) == await bench.mirror.status()
    assert 2502 == await bench.redis.dbsize()
    assert str(NEVER) == await bench.redis.get(await bench.key(last))


async def test_a_revocation_is_answered_although_there_is_much_to_mirror(bench: Bench) -> None:
    """Whoever revokes with an empty mirror does not wait for the whole log, and nobody trusts what is there."""
    await bench.connection.execute(
        """INSERT INTO sessions (id, user_id, position, revoked_below, revoked_position, created_at, refreshed_at,
                                 expires_at)
           SELECT gen_random_uuid(), gen_random_uuid(), 1, 2, 1 + n, now(), now(), now() + interval '1 hour'
           FROM generate_series(1, 5000) AS n"""
    )
    last = await bench.session(NEVER, 9000)

    await bench.mirror.announce()

    status = await bench.mirror.status()
    assert (True, 9000) == ((status.position or 0) < 9000, status.last_revocation)
    assert NEVER == await bench.below(last)


async def test_a_marker_beyond_the_log_clears_the_mirror(bench: Bench) -> None:
    """The database was restored: what the mirror says is about another past."""
    session, gone = await bench.session(3, 3), (new_id(), new_id())
    await bench.redis.hset(await bench.cutoffs(), mapping={"position": 1000, str(session[1]): 900})
    for known in (session, gone):
        await bench.redis.set(await bench.key(known), 0)

    await bench.mirror.fill()

    assert {"position": "3"} == await bench.redis.hgetall(await bench.cutoffs())
    assert ("3", None) == (
        await bench.redis.get(await bench.key(session)),
        await bench.redis.get(await bench.key(gone)),
    )


async def test_a_process_that_knew_more_than_a_restored_log_trusts_the_mirror_again(bench: Bench) -> None:
    lost, kept = await bench.session(NEVER, 1000), await bench.session(3, 3)
    await bench.mirror.fill()
    await bench.connection.execute("DELETE FROM sessions WHERE id = $1", lost[0])

    await bench.mirror.fill()

    assert MirrorStatus(3, 3) == await bench.mirror.status()
    assert (3, 0) == (await bench.below(kept), bench.pool.asked)


async def test_a_mirror_that_somebody_stopped_clearing_is_not_trusted_and_is_cleared(bench: Bench) -> None:
    session = await bench.session(3, 3)
    stale = new_id(), new_id()
    await bench.mirror.fill()
    await bench.redis.hset(await bench.cutoffs(), mapping={"position": -1})
    await bench.redis.set(await bench.key(stale), 0)

    assert MirrorStatus(None, 3) == await bench.mirror.status()
    assert (3, 1) == (await bench.below(session), bench.pool.asked)

    await bench.mirror.fill()
    assert MirrorStatus(3, 3) == await bench.mirror.status()
    assert None is await bench.redis.get(await bench.key(stale))


async def test_the_key_of_an_ended_session_is_kept_until_no_token_of_it_passes(bench: Bench) -> None:
    """Lesson 24: "cleanup forgets a revocation at exp while the verifier accepts until exp + leeway"."""
    session = await bench.session(NEVER, 5, ends_in=100)
    await bench.mirror.fill()

    expires_at = await bench.connection.fetchval("SELECT extract(epoch FROM expires_at) FROM sessions")
    forgotten_at = await bench.redis.expiretime(await bench.key(session))

    assert 0 <= forgotten_at - (float(expires_at) + LEEWAY_SECONDS) <= 1


async def test_a_key_expires_and_the_session_stays_dead(bench: Bench) -> None:
    """Lesson 24."""
    mirror = bench.another(leeway_seconds=1)
    session = await bench.session(NEVER, 5, ends_in=0)
    await mirror.fill()
    expires_at = float(await bench.connection.fetchval("SELECT extract(epoch FROM expires_at) FROM sessions"))

    async def is_gone() -> bool:
        assert {session: NEVER} == await mirror.revoked_below([session])
        return bench.pool.asked > 0

    await until(is_gone)
    assert time.time() >= expires_at + 1


async def test_a_session_that_is_in_force_is_not_kept_for_ever(bench: Bench) -> None:
    session = await bench.session()
    await bench.mirror.fill()

    await bench.below(session)

    assert 0 < await bench.redis.ttl(await bench.key(session)) <= 3600


async def test_two_ledgers_on_one_redis_do_not_see_each_other(bench: Bench) -> None:
    other = bench.another(new_id())
    session = await bench.session(NEVER, 5)
    await bench.redis.set("somebody", "else's")

    await bench.mirror.fill()

    assert (5, None) == ((await bench.mirror.status()).position, (await other.status()).position)
    keys = set(await bench.redis.keys())
    await other.rebuild()
    assert keys < set(await bench.redis.keys())
    await bench.redis.delete(await bench.cutoffs(), await bench.key(session))
    assert 5 == (await other.status()).position


async def test_a_rebuild_makes_what_is_wrong_right_and_leaves_what_is_not_its_own(bench: Bench) -> None:
    """Whatever somebody may have written there by hand."""
    session = await bench.session(NEVER, 5)
    await bench.redis.set(await bench.cutoffs(), "no hash")
    await bench.redis.lpush(await bench.key(session), "no number")
    throttle = (await bench.cutoffs()).replace("revoked:cutoffs", "login:known:alice")
    await bench.redis.set(throttle, 1)
    with pytest.raises(MirrorUnusableError):
        await bench.mirror.fill()
    assert NEVER == await bench.below(session)

    await bench.mirror.rebuild()

    assert MirrorStatus(5, 5) == await bench.mirror.status()
    assert (str(NEVER), "1") == (await bench.redis.get(await bench.key(session)), await bench.redis.get(throttle))


async def test_rebuilds_at_the_same_time_end_whole(bench: Bench) -> None:
    session = await bench.session(NEVER, 5)
    await bench.cut_off(session[1], 4)

    await asyncio.gather(*(bench.another().rebuild() for _ in range(5)), *(bench.another().fill() for _ in range(5)))

    assert {"position": "5", str(session[1]): "4"} == await bench.redis.hgetall(await bench.cutoffs())
    assert NEVER == await bench.below(session)


async def test_who_cannot_ask_what_was_revoked_trusts_nothing_and_takes_the_marker_away(bench: Bench) -> None:
    """PostgreSQL died just after it had committed: others may not have heard of it either."""
    session = await bench.session()
    await bench.mirror.fill()
    await bench.below(session)
    await bench.revoke(session, NEVER, 5)
    bench.pool.is_broken = True

    await bench.mirror.announce()

    assert NEVER == await bench.below(session)
    assert 0 == await bench.redis.exists(await bench.cutoffs())


# Following


@asynccontextmanager
async def following(mirror: Mirror, connect_: Callable[[], Awaitable[Any]]) -> AsyncIterator["asyncio.Task[None]"]:
    task = asyncio.create_task(mirror.follow(connect_, "ledger.revoked"))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait((task,), timeout=DEADLINE_SECONDS)


@pytest.mark.parametrize(
    "error",
    [
        OSError,
        TimeoutError,
        RuntimeError,
        asyncpg.UndefinedTableError,
        asyncpg.ObjectNotInPrerequisiteStateError,
        asyncpg.InternalClientError,
    ],
)
async def test_no_failure_ends_the_following(error: type[Exception], bench: Bench, settings: Settings) -> None:
    await bench.session(NEVER, 5)
    failures = iter([error("for once")])

    async def fails_once() -> Any:
        for failure in failures:
            raise failure
        return await connect(settings)

    async with following(bench.mirror, fails_once):
        await until(lambda: is_whole(bench.mirror))


async def is_whole(mirror: Mirror) -> bool:
    return (await mirror.status()).is_whole


async def test_who_hears_no_more_asks_postgresql_until_it_does_again(bench: Bench, settings: Settings) -> None:
    """Lesson 10: what is said meanwhile is missed."""
    session = await bench.session()

    async def is_asked() -> bool:
        before = bench.pool.asked
        assert 0 == await bench.below(session)
        return bench.pool.asked > before

    async def is_not_asked() -> bool:
        return not await is_asked()

    async with following(bench.mirror, lambda: connect(settings)):
        await until(is_not_asked)
        await bench.connection.execute(
            "SELECT pg_terminate_backend($1)", await until(lambda: follower(bench.connection))
        )
        await until(is_asked)
        await until(is_not_asked)


class Stuck:
    """A connection to a PostgreSQL that has stopped to answer, and can for once not even be closed."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.closings = 0

    def add_termination_listener(self, _: Any) -> None:
        pass

    async def add_listener(self, *_: Any) -> None:
        pass

    async def fetchval(self, *_: Any) -> None:
        self.asked.set()
        await asyncio.Event().wait()

    async def close(self, **_: Any) -> None:
        self.closings += 1
        if self.closings == 1:
            raise TimeoutError


async def test_the_following_ends_when_it_is_told_to_although_postgresql_does_not_answer(bench: Bench) -> None:
    """Lesson 37: a service that stops does stop."""
    stuck = Stuck()

    async def connected() -> Any:
        return stuck

    async with following(bench.mirror, connected) as task:
        await stuck.asked.wait()
    assert task.cancelled()


# For operators


@pytest.fixture
def run(tmp_path: Path, settings: Settings, valkey: Valkey) -> Callable[..., Awaitable[tuple[int, str, str]]]:
    """Runs a `ledger tokens mirror` command: its status, what it answers and what it says."""

    async def ended(*arguments: str) -> tuple[int, str, str]:
        folder = tmp_path / str(new_id())
        variables = valkey.settings(settings).environment()
        with ledger(folder, "tokens", "mirror", *arguments, **variables) as running:
            return await running.status(), running.output.read_text(), running.log.read_text()

    return ended


Run = Callable[..., Coroutine[Any, Any, tuple[int, str, str]]]


async def test_an_operator_sees_that_the_mirror_is_whole(run: Run, bench: Bench) -> None:
    await bench.session(NEVER, 5)
    await bench.mirror.fill()

    (status, answer, _), (in_json, line, _) = await run("status"), await run("status", "--json")

    assert (0, 0) == (status, in_json)
    assert ["5", "5", "yes"] == answer.splitlines()[1].split()
    assert ({"position": 5, "last_revocation": 5, "whole": True}, 1) == (json.loads(line), line.count("\n"))


async def test_an_operator_sees_that_the_mirror_is_not_whole(run: Run, bench: Bench) -> None:
    """And to look changes nothing."""
    await bench.session(NEVER, 5)

    (status, answer, _), (in_json, line, _) = await run("status"), await run("status", "--json")

    assert (1, 1) == (status, in_json)
    assert ["none", "5", "no"] == answer.splitlines()[1].split()
    assert {"position": None, "last_revocation": 5, "whole": False} == json.loads(line)


@pytest.mark.parametrize("command", ["status", "rebuild"])
async def test_a_redis_that_does_not_answer_is_one_line(command: str, run: Run, valkey: Valkey) -> None:
    valkey.kill()

    status, answer, said = await run(command)

    assert (1, "", 1) == (status, answer, said.count("\n"))
    assert said.startswith("ledger: Redis cannot be reached: ")


async def test_an_operator_makes_the_mirror_anew_while_a_service_runs(run: Run, scene: Scene) -> None:
    await scene.settle(OF_ONE)
    await scene.revoke()
    (key,) = await scene.redis.keys("*:cutoffs")
    await scene.redis.hset(key, NOBODY, 1)

    rebuilding = asyncio.create_task(run("rebuild", "--json"))
    while not rebuilding.done():
        await scene.check()

    status, line, _ = await rebuilding
    assert (0, True) == (status, json.loads(line)["whole"])
    assert None is await scene.redis.hget(key, NOBODY)
    assert await scene.is_whole()
