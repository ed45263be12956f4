"""Guessing the password of an account from unknown addresses gets slower, and its owner is not locked out."""

import pytest
from redis.asyncio import Redis

from ledger.identity.login_throttle import Limits, LoginThrottle
from tests.support.throttling import DAY, ELSEWHERE, HOME, MINUTE, Clock, assert_refused, count_admitted

LIMITS = Limits(per_account=3, per_address=1000, window_seconds=MINUTE, longest_window_seconds=5 * MINUTE)


async def test_each_window_that_is_used_up_is_followed_by_one_of_twice_the_length(
    away: "Redis", prefix: str, clock: Clock
) -> None:
    throttled, waits = LoginThrottle(away, prefix, LIMITS, clock=clock), []
    for _ in range(5):
        assert 3 == await count_admitted(throttled, "alice", ELSEWHERE, of=3)
        waits.append(await assert_refused(throttled, "alice", ELSEWHERE))
        clock.now += waits[-1]

    assert [MINUTE, 2 * MINUTE, 4 * MINUTE, 5 * MINUTE, 5 * MINUTE] == waits
    clock.now += 2 * DAY
    assert 3 == await count_admitted(throttled, "alice", ELSEWHERE, of=3)
    assert MINUTE == await assert_refused(throttled, "alice", ELSEWHERE)


async def test_an_owner_at_a_known_address_is_not_slowed_down(away: "Redis", prefix: str, clock: Clock) -> None:
    throttled = LoginThrottle(away, prefix, LIMITS, clock=clock)
    await throttled.record_success(await throttled.admit("alice", HOME))
    for _ in range(3):
        await count_admitted(throttled, "alice", ELSEWHERE, of=3)
        clock.now += await assert_refused(throttled, "alice", ELSEWHERE)
    await count_admitted(throttled, "alice", ELSEWHERE, of=3)

    assert 3 == await count_admitted(throttled, "alice", HOME, of=3)
    assert MINUTE == await assert_refused(throttled, "alice", HOME)
    assert 5 * MINUTE == await assert_refused(throttled, "alice", ELSEWHERE)


async def test_a_login_of_the_owner_elsewhere_starts_again(away: "Redis", prefix: str, clock: Clock) -> None:
    throttled = LoginThrottle(away, prefix, LIMITS, clock=clock)
    for _ in range(2):
        await count_admitted(throttled, "alice", ELSEWHERE, of=3)
        clock.now += await assert_refused(throttled, "alice", ELSEWHERE)
    await throttled.record_success(await throttled.admit("alice", ELSEWHERE))
    await throttled.admit("alice", "203.0.113.9")

    assert 2 == await count_admitted(throttled, "alice", "203.0.113.9", of=2)
    assert MINUTE == await assert_refused(throttled, "alice", "203.0.113.9")


@pytest.mark.parametrize("times", [0, 1, 2, 30])
async def test_valkey_doubles_the_windows_as_well(redis: "Redis", prefix: str, times: int) -> None:
    throttled = LoginThrottle(redis, prefix, LIMITS)
    keys = throttled._identify("alice", ELSEWHERE)  # noqa: SLF001
    if times:
        await redis.set(keys.times, times)

    assert 3 == await count_admitted(throttled, "alice", ELSEWHERE, of=3)

    wait = await assert_refused(throttled, "alice", ELSEWHERE)
    expected = min(MINUTE << times, 5 * MINUTE)
    assert expected - 30 < wait <= expected
    assert times + 1 == int(await redis.get(keys.times) or 0)


async def test_valkey_forgets_the_times_with_a_login_of_the_owner(redis: "Redis", prefix: str) -> None:
    throttled = LoginThrottle(redis, prefix, LIMITS)
    keys = throttled._identify("alice", ELSEWHERE)  # noqa: SLF001
    await redis.set(keys.times, 2)

    await throttled.record_success(await throttled.admit("alice", ELSEWHERE))

    assert not await redis.exists(keys.times)
