"""One service follows the revocations of all, and operators see the state of the cache."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from ledger.identity.revocation_cache import RevocationCache
from ledger.projections.tokens import NEVER
from ledger.settings import Settings
from ledger.store.pool import connect
from tests.support.controls import NOBODY
from tests.support.processes import DEADLINE_SECONDS, Ran, run_ledger, until
from tests.support.revocations import ONE_USER_WAYS, Bench, Scene, follower
from tests.support.valkey import Valkey


@asynccontextmanager
async def following(
    cache: RevocationCache, connect_: Callable[[], Awaitable[Any]]
) -> AsyncIterator["asyncio.Task[None]"]:
    task = asyncio.create_task(cache.follow(connect_, "ledger.revoked"))
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
async def test_no_failure_stops_the_follower(error: type[Exception], bench: Bench, settings: Settings) -> None:
    await bench.session(NEVER, 5)
    failures = iter([error("for once")])

    async def fails_once() -> Any:
        for failure in failures:
            raise failure
        return await connect(settings)

    async with following(bench.revocation_cache, fails_once):
        await until(lambda: is_whole(bench.revocation_cache))


async def is_whole(cache: RevocationCache) -> bool:
    return (await cache.status()).is_complete


async def test_a_service_without_notifications_reads_postgresql_until_it_listens_again(
    bench: Bench, settings: Settings
) -> None:
    """Lesson 10: notifications are missed while the connection is down."""
    session = await bench.session()

    async def is_asked() -> bool:
        before = bench.pool.lookups
        assert 0 == await bench.below(session)
        return bench.pool.lookups > before

    async def is_not_asked() -> bool:
        return not await is_asked()

    async with following(bench.revocation_cache, lambda: connect(settings)):
        await until(is_not_asked)
        await bench.connection.execute(
            "SELECT pg_terminate_backend($1)", await until(lambda: follower(bench.connection))
        )
        await until(is_asked)
        await until(is_not_asked)


class Stuck:
    """A connection to a PostgreSQL that no longer answers; the first attempt to close it times out."""

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


async def test_the_follower_stops_while_postgresql_does_not_answer(bench: Bench) -> None:
    """Lesson 37: a shutdown is not held up."""
    stuck = Stuck()

    async def connected() -> Any:
        return stuck

    async with following(bench.revocation_cache, connected) as task:
        await stuck.asked.wait()
    assert task.cancelled()


Run = Callable[..., Coroutine[Any, Any, Ran]]


@pytest.fixture
def run(settings: Settings, valkey: Valkey) -> Run:
    """Return a function that runs a `ledger tokens mirror` command."""

    async def run_mirror(*arguments: str) -> Ran:
        return await run_ledger("tokens", "mirror", *arguments, variables=valkey.settings(settings).environment())

    return run_mirror


async def test_an_operator_sees_that_the_cache_is_complete(run: Run, bench: Bench) -> None:
    await bench.session(NEVER, 5)
    await bench.revocation_cache.fill()

    (status, answer, _), (in_json, line, _) = await run("status"), await run("status", "--json")

    assert (0, 0) == (status, in_json)
    assert ["5", "5", "yes"] == answer.splitlines()[1].split()
    assert ({"position": 5, "last_revocation": 5, "whole": True}, 1) == (json.loads(line), line.count("\n"))


async def test_an_operator_sees_that_the_cache_is_incomplete(run: Run, bench: Bench) -> None:
    """The command changes nothing."""
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


async def test_an_operator_rebuilds_the_cache_while_a_service_runs(run: Run, scene: Scene) -> None:
    await scene.prepare(ONE_USER_WAYS)
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
