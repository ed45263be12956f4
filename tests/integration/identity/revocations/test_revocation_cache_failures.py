"""Under any failure of Redis, a revoked token stays revoked and a valid one stays valid."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from ledger.identity import login_throttle, revocation_cache
from ledger.identity.revocation_cache import RevocationCache
from ledger.settings import Settings
from ledger.store.citus import find_table
from tests.support.outages import without_postgresql
from tests.support.processes import until
from tests.support.revocations import ONE_USER_WAYS, Connection, Scene, Serve, calls, follower, revoke
from tests.support.valkey import Valkey, valkey_server

IMPATIENT = {login_throttle: ("TIMEOUT_SECONDS",), revocation_cache: ("TIMEOUT_SECONDS", "FILL_SECONDS")}


SECONDS = {(module, name): getattr(module, name) for module, names in IMPATIENT.items() for name in names}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Log without tracebacks: each takes a second to render, and a failing service logs many."""
    with capture_logs():
        yield


@contextmanager
def paused_redis(valkey: Valkey) -> Iterator[None]:
    """Pause Valkey, and restore the timeouts of production."""
    with pytest.MonkeyPatch.context() as patch:
        for (module, name), seconds in SECONDS.items():
            patch.setattr(module, name, seconds)
        valkey.pause()
        try:
            yield
        finally:
            valkey.resume()


OF_ALL = ("revoke-all",)


async def flushed(scene: Scene) -> None:
    await scene.redis.flushall()


async def killed(scene: Scene) -> None:
    scene.valkey.kill()
    for _ in range(10):
        await scene.check()
    await scene.valkey.start()


async def restarted_empty(scene: Scene) -> None:
    """Restart it so fast that no client notices."""
    scene.valkey.kill()
    scene.valkey.empty()
    await scene.valkey.start()


async def set_back(scene: Scene) -> None:
    scene.valkey.kill()
    scene.valkey.restore()
    await scene.valkey.start()


async def paused(scene: Scene) -> None:
    with paused_redis(scene.valkey):
        for _ in range(10):
            await scene.check()


async def evicted(scene: Scene) -> None:
    """Evict one key after the other, the marker's last."""
    keys = await scene.redis.keys()
    assert len(keys) > 2
    for key in sorted(keys, key=lambda key: "cutoffs" in key):
        await scene.redis.delete(key)
        await scene.check()


DISASTERS = (flushed, killed, restarted_empty, set_back, paused, evicted)


@pytest.mark.parametrize("ways", [ONE_USER_WAYS, OF_ALL], ids=["of-one", "of-all"])
@pytest.mark.parametrize("disaster", DISASTERS)
async def test_no_failure_of_redis_accepts_a_revoked_token_or_refuses_a_valid_one(
    disaster: Callable[[Scene], Awaitable[None]], ways: tuple[str, ...], scene: Scene
) -> None:
    """Lesson 25: "Redis flushed, evicted, restarted empty or failed over to a stale replica: every revoked token works
    again. Redis down: every request is a 500, for ever, because the client never reconnects."
    """
    await scene.prepare(ways)
    scene.valkey.copy()
    await scene.revoke()
    await scene.check()

    await disaster(scene)

    await until(scene.is_whole_again)
    await until(scene.is_queried)
    for way, victim in scene.victims.items():
        assert await scene.cutoff_of(victim) > victim.claims["pos"], way


async def test_a_revocation_is_cached_before_it_is_answered(scene: Scene) -> None:
    await scene.prepare(ONE_USER_WAYS + OF_ALL)
    for way, victim in scene.victims.items():
        assert await scene.cutoff_of(victim) <= victim.claims["pos"], way

        status = await revoke(way, scene.admin, victim)

        cut, standing = await scene.cutoff_of(victim), await scene.revocation_cache.status()
        assert (200, True, True) == (status, cut > victim.claims["pos"], standing.is_complete), way


@pytest.mark.parametrize("ways", [ONE_USER_WAYS, OF_ALL], ids=["of-one", "of-all"])
async def test_a_token_that_is_revoked_while_redis_is_away_is_dead_at_once_and_later(
    ways: tuple[str, ...], scene: Scene
) -> None:
    """Lesson 25."""
    await scene.prepare(ways)

    with paused_redis(scene.valkey):
        await scene.revoke()
        await scene.check()

    await until(scene.is_whole_again)


async def test_while_redis_is_paused_each_client_waits_once_and_not_for_long(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lesson 25: after a timeout, Redis is not asked again by every request."""
    await scene.prepare(())
    await scene.revoke()
    await until(scene.is_queried)
    asked = 0

    async def look_up(sessions: Any) -> Any:
        nonlocal asked
        asked += 1
        return await RevocationCache._look_up(scene.revocation_cache, sessions)  # noqa: SLF001 - counted here

    async def client() -> list[int]:
        return [(await scene.admin.get("/")).status for _ in range(15)]

    with paused_redis(scene.valkey):
        monkeypatch.setattr(scene.revocation_cache, "_look_up", look_up)
        statuses = await asyncio.gather(*(client() for _ in range(20)))

    assert [[200] * 15] * 20 == statuses
    assert 1 <= asked <= 20
    assert SECONDS[revocation_cache, "TIMEOUT_SECONDS"] < 1


async def test_a_request_reads_the_cache_at_most_once(scene: Scene) -> None:
    await scene.prepare(())
    await scene.revoke()
    await until(scene.is_queried)
    before = await calls(scene.redis, "mget")

    for _ in range(5):
        answers = await asyncio.gather(*(scene.admin.get("/") for _ in range(20)))
        assert {200} == {answer.status for answer in answers}

    assert 1 <= await calls(scene.redis, "mget") - before <= 100


async def test_without_redis_and_postgresql_no_token_is_accepted_or_refused(scene: Scene, settings: Settings) -> None:
    await scene.prepare(ONE_USER_WAYS)
    await scene.revoke()

    async with without_postgresql(settings):
        scene.valkey.kill()
        callers = [*scene.valid, *(victim.api for victim in scene.victims.values())]
        # Together, because each waits until its deadline.
        answers = await asyncio.gather(*(caller.get("/") for _ in range(3) for caller in callers))
    assert {(503, "database_error")} == {(answer.status, answer.codes[0]) for answer in answers}

    await scene.valkey.start()
    await until(scene.is_whole_again)


async def test_without_postgresql_a_stale_cache_accepts_no_token(scene: Scene, settings: Settings) -> None:
    """Lesson 25, when PostgreSQL cannot decide either."""
    await scene.prepare(ONE_USER_WAYS)
    scene.valkey.copy()
    await scene.revoke()

    async with without_postgresql(settings):
        await set_back(scene)
        victims = [victim.api for victim in scene.victims.values()]
        # Together, because each waits until its deadline.
        answers = await asyncio.gather(*(victim.get("/") for _ in range(20) for victim in victims))
    assert {503} == {answer.status for answer in answers}

    await until(scene.is_whole_again)


async def test_another_service_follows_when_the_first_is_gone(
    serve: Serve, scene: Scene, settings: Settings, connection: Connection
) -> None:
    leader = await until(lambda: follower(connection))
    other = Scene(scene.valkey, await serve(scene.valkey.settings(settings)), scene.redis)
    await other.prepare(())
    assert leader == await follower(connection)

    await scene.admin.client.close()

    await until(lambda: follower(connection, leader))
    await scene.redis.flushall()
    await until(other.is_whole)  # without any request


async def test_a_lost_listen_connection_is_reopened(scene: Scene, connection: Connection) -> None:
    """Lesson 10: "a follower that wakes only on NOTIFY blocks for ever when one is lost; a dropped LISTEN connection is
    never reopened".
    """
    await scene.prepare(ONE_USER_WAYS)
    await scene.revoke()
    lost = await until(lambda: follower(connection))

    await connection.execute("SELECT pg_terminate_backend($1)", lost)

    await scene.check()
    await until(lambda: follower(connection, lost))
    await scene.redis.flushall()
    await until(scene.is_whole)
    await until(scene.is_queried)


async def test_a_revocation_without_a_notification_is_found(
    serve: Serve, scene: Scene, settings: Settings, connection: Connection, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Lesson 10: "a follower that wakes only on NOTIFY blocks for ever when one is lost"."""
    tables = [await find_table(connection, name) for name in ("sessions", "cutoffs")]
    for table in tables:
        await connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER tell")
    await scene.prepare(ONE_USER_WAYS)
    with valkey_server(tmp_path_factory.mktemp("v")) as elsewhere:
        await elsewhere.start()
        other = await serve(elsewhere.settings(settings))

        await scene.revoke_through(other)
    for table in tables:
        await connection.execute(f"ALTER TABLE {table} ENABLE TRIGGER tell")


async def test_revocations_of_a_service_that_cannot_reach_redis_are_followed(
    serve: Serve, scene: Scene, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    await scene.prepare(ONE_USER_WAYS)
    with valkey_server(tmp_path_factory.mktemp("v")) as elsewhere:
        await elsewhere.start()
        other = await serve(elsewhere.settings(settings))
        elsewhere.kill()

        await scene.revoke_through(other)
