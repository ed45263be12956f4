"""Rate limits by GCRA: in the memory of a process, and between processes through Valkey."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from ledger.embedded import Services
from ledger.identity import rate_limit
from ledger.identity.rate_limit import RateLimiter, RateLimits, RouteClass, TooManyRequestsError
from tests.support.controls import new_id
from tests.support.throttling import Clock

LIMITS = RateLimits(reads=60, writes=6, batches=0, of_admins=False)
ALICE, BOB = UUID(int=1), UUID(int=2)


@pytest.fixture
async def redis(servers: Services) -> AsyncIterator["Redis"]:
    async with Redis.from_url(servers.redis_url) as client:
        yield client


@pytest.fixture
async def away(tmp_path: Path) -> AsyncIterator["Redis"]:
    async with Redis(unix_socket_path=str(tmp_path / "nobody-listens"), retry=Retry(NoBackoff(), 0)) as client:
        yield client


def count_admitted(limiter: RateLimiter, caller_id: UUID, route_class: RouteClass, *, of: int) -> int:
    admitted = 0
    for _ in range(of):
        try:
            limiter.admit(caller_id, route_class)
        except TooManyRequestsError:
            break
        admitted += 1
    return admitted


async def test_a_whole_limit_can_be_used_at_once_and_comes_back_little_by_little(away: "Redis") -> None:
    clock = Clock()
    limiter = RateLimiter(away, "test:", LIMITS, clock=clock)

    assert 6 == count_admitted(limiter, ALICE, "writes", of=10)
    clock.now += 9.9
    with pytest.raises(TooManyRequestsError) as refused:
        limiter.admit(ALICE, "writes")
    assert 1 == refused.value.retry_after_seconds
    clock.now += 0.2
    assert 1 == count_admitted(limiter, ALICE, "writes", of=10)
    clock.now += 3600
    assert 6 == count_admitted(limiter, ALICE, "writes", of=10)


async def test_callers_and_classes_are_counted_apart_and_a_refund_counts_nothing(away: "Redis") -> None:
    limiter = RateLimiter(away, "test:", LIMITS, clock=Clock())

    assert 6 == count_admitted(limiter, ALICE, "writes", of=10)
    limiter.refund(ALICE, "writes")

    assert 1 == count_admitted(limiter, ALICE, "writes", of=10)
    assert (6, 60) == (count_admitted(limiter, BOB, "writes", of=10), count_admitted(limiter, ALICE, "reads", of=99))


def test_no_limit_applies_at_zero_nor_to_admins_by_default(away: "Redis") -> None:
    limiter = RateLimiter(away, "test:", LIMITS)
    assert (True, False) == (limiter.is_limited("reads", is_admin=False), limiter.is_limited("reads", is_admin=True))
    assert not limiter.is_limited("batches", is_admin=False)
    strict = RateLimiter(away, "test:", LIMITS._replace(of_admins=True))
    assert strict.is_limited("reads", is_admin=True)


async def test_processes_share_a_limit_through_valkey(redis: "Redis") -> None:
    prefix, clock = f"test:{new_id()}:", Clock()
    one, other = (RateLimiter(redis, prefix, LIMITS, clock=clock) for _ in range(2))

    assert 4 == count_admitted(one, ALICE, "writes", of=4)
    await one.exchange()
    assert 1 == count_admitted(other, ALICE, "writes", of=1)
    await other.exchange()

    assert 1 == count_admitted(other, ALICE, "writes", of=10)
    assert 6 == count_admitted(other, BOB, "writes", of=10)


async def test_what_was_used_while_valkey_was_away_is_counted_later(redis: "Redis", away: "Redis") -> None:
    prefix, clock = f"test:{new_id()}:", Clock()
    one, other = (RateLimiter(redis, prefix, LIMITS, clock=clock) for _ in range(2))
    lonely = RateLimiter(away, prefix, LIMITS, clock=clock)
    assert 6 == count_admitted(lonely, ALICE, "writes", of=10)
    with pytest.raises((RedisError, OSError)):
        await lonely.exchange()
    assert 0 == count_admitted(lonely, ALICE, "writes", of=1)

    lonely._add_script = one._add_script  # noqa: SLF001 - Valkey is back
    await lonely.exchange()
    count_admitted(other, ALICE, "writes", of=1)
    await other.exchange()

    assert 0 == count_admitted(other, ALICE, "writes", of=10)


async def test_the_memory_of_a_process_is_bounded(away: "Redis", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limit, "MEMORY_LIMIT", 2)
    limiter = RateLimiter(away, "test:", LIMITS, clock=Clock())
    for caller in (ALICE, BOB, ALICE, UUID(int=3)):
        limiter.admit(caller, "writes")

    assert 6 == count_admitted(limiter, BOB, "writes", of=10)
