"""Guesses are limited, and guesses of others never lock out the owner."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
from redis.asyncio import Redis

from ledger.identity import login_throttle
from ledger.identity.login_throttle import Limits, LoginThrottle
from tests.support.throttling import (
    DAY,
    ELSEWHERE,
    HOME,
    LIMITS,
    LOOSE,
    MINUTE,
    WINDOW,
    Clock,
    assert_refused,
    count_admitted,
)
from tests.support.valkey import keys_of, pass_time


@dataclass(frozen=True)
class Place:
    """Where attempts are counted, and how to let time pass there."""

    build: Callable[[Limits], LoginThrottle]
    pass_seconds: Callable[[float], Awaitable[None]]


@pytest.fixture(params=["redis", "process"])
async def place(request: pytest.FixtureRequest, redis: "Redis", away: "Redis", prefix: str, clock: Clock) -> Place:
    client = redis if request.param == "redis" else away

    async def pass_seconds(seconds: float) -> None:
        clock.now += seconds
        if client is redis:
            await pass_time(redis, prefix, seconds)

    return Place(lambda limits: LoginThrottle(client, prefix, limits, clock=clock), pass_seconds)


def approximately(seconds: int) -> range:
    """Return the range of these seconds, less the time that a busy machine may have taken."""
    return range(seconds - 5 * MINUTE, seconds + 1)


async def test_an_account_has_a_limit_for_all_addresses(place: Place) -> None:
    """Lesson 30."""
    throttled = place.build(LIMITS)

    for number in range(3):
        await throttled.admit("alice", f"203.0.113.{number}")

    assert await assert_refused(throttled, "alice", "203.0.113.9") in approximately(60 * MINUTE)
    await throttled.admit("bob", "203.0.113.9")


async def test_an_address_has_a_limit_for_all_accounts(place: Place) -> None:
    throttled = place.build(LIMITS)

    for number in range(5):
        await throttled.admit(f"user-{number}", ELSEWHERE)

    assert await assert_refused(throttled, "user-9", ELSEWHERE) in approximately(60 * MINUTE)
    await throttled.admit("user-9", HOME)


async def test_concurrent_attempts_do_not_exceed_the_limit(place: Place) -> None:
    """An attempt is reserved before the password is checked, so there is no gap between checking and counting."""
    throttled = place.build(LOOSE)

    assert 3 == await count_admitted(throttled, "alice", ELSEWHERE, of=200)
    assert 0 == await count_admitted(throttled, "alice", ELSEWHERE, of=200)


async def test_processes_count_together_in_redis(redis: "Redis", prefix: str) -> None:
    one, other = (LoginThrottle(redis, prefix, LOOSE) for _ in range(2))

    passed = await asyncio.gather(*(count_admitted(each, "alice", ELSEWHERE, of=100) for each in (one, other)))

    assert 3 == sum(passed)


@pytest.mark.parametrize("spelling", ["ALICE", "Alice", "\uff21lice"])
async def test_every_spelling_of_a_name_is_the_same_account(place: Place, spelling: str) -> None:
    throttled = place.build(LIMITS)

    assert 3 == await count_admitted(throttled, "alice", ELSEWHERE, of=4)

    await assert_refused(throttled, spelling, HOME)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"),
        ("2001:db8:1:2::1", "2001:0DB8:1:2::1%eth0"),
        ("192.0.2.1", "::ffff:192.0.2.1"),
        ("", "not an address"),
        ("unknown", "999.1.2.3"),
    ],
)
async def test_addresses_of_one_client_are_counted_as_one(place: Place, one: str, other: str) -> None:
    throttled = place.build(LIMITS)

    for number in range(5):
        await throttled.admit(f"user-{number}", one)

    await assert_refused(throttled, "user-9", other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("2001:db8:1:2::1", "2001:db8:1:3::1"), ("192.0.2.1", "192.0.2.2"), ("::ffff:192.0.2.1", "::ffff:192.0.2.2")],
)
async def test_addresses_of_two_clients_are_counted_separately(place: Place, one: str, other: str) -> None:
    throttled = place.build(LIMITS)

    for number in range(5):
        await throttled.admit(f"user-{number}", one)

    await throttled.admit("user-9", other)


async def test_a_success_is_not_counted(place: Place) -> None:
    throttled = place.build(LIMITS)

    for _ in range(20):
        await throttled.record_success(await throttled.admit("alice", HOME))

    assert 3 == await count_admitted(throttled, "alice", HOME, of=4)


async def test_a_success_removes_no_failure(place: Place) -> None:
    throttled = place.build(LIMITS)
    await throttled.record_success(await throttled.admit("alice", HOME))
    await throttled.admit("alice", HOME)
    await throttled.admit("alice", HOME)

    await throttled.record_success(await throttled.admit("alice", HOME))

    assert 1 == await count_admitted(throttled, "alice", HOME, of=4)


async def test_an_attempt_that_was_never_checked_is_not_counted(place: Place) -> None:
    throttled = place.build(LIMITS)

    for _ in range(20):
        await throttled.refund(await throttled.admit("alice", HOME))

    assert 3 == await count_admitted(throttled, "alice", ELSEWHERE, of=4)
    await assert_refused(throttled, "alice", HOME)


async def test_an_attempt_that_outlasts_its_window_does_not_change_the_next(place: Place) -> None:
    throttled = place.build(LIMITS)
    slow = await throttled.admit("alice", HOME)
    await place.pass_seconds(60 * MINUTE)

    assert 3 == await count_admitted(throttled, "alice", HOME, of=4)
    await throttled.refund(slow)

    await assert_refused(throttled, "alice", HOME)


async def test_attackers_cannot_lock_the_owner_out_of_a_known_address(place: Place) -> None:
    """Lesson 30: a limit for an account lets anyone lock out its owner, unless the owner is counted separately."""
    throttled = place.build(LIMITS)
    await throttled.record_success(await throttled.admit("alice", HOME))

    passed = [await count_admitted(throttled, "alice", f"203.0.113.{number}", of=5) for number in range(50)]

    assert 3 == sum(passed)
    await assert_refused(throttled, "alice", ELSEWHERE)
    await throttled.record_success(await throttled.admit("alice", HOME))


async def test_a_known_address_has_a_limit_too(place: Place) -> None:
    throttled = place.build(LIMITS)
    await throttled.record_success(await throttled.admit("alice", HOME))

    assert 3 == await count_admitted(throttled, "alice", HOME, of=5)

    assert 3 == await count_admitted(throttled, "alice", ELSEWHERE, of=5)


async def test_an_address_is_known_only_to_the_account_that_logged_in(place: Place) -> None:
    """Lesson 30: an account of their own brings attackers no nearer to another's."""
    throttled = place.build(LOOSE)
    await throttled.record_success(await throttled.admit("mallory", ELSEWHERE))

    passed = [await count_admitted(throttled, "alice", address, of=5) for address in (ELSEWHERE, HOME)]

    assert [3, 0] == passed


async def test_a_known_network_is_known_as_a_whole(place: Place) -> None:
    throttled = place.build(LIMITS)
    await throttled.record_success(await throttled.admit("alice", "2001:db8::1"))
    await count_admitted(throttled, "alice", ELSEWHERE, of=5)

    await throttled.admit("alice", "2001:db8::2")


async def test_an_address_stays_known_for_thirty_days_from_its_last_login(place: Place) -> None:
    throttled = place.build(LIMITS)
    for days in (0, 29):
        await place.pass_seconds(days * DAY)
        await throttled.record_success(await throttled.admit("alice", HOME))

    await place.pass_seconds(29 * DAY)
    await count_admitted(throttled, "alice", ELSEWHERE, of=5)
    await throttled.admit("alice", HOME)

    await place.pass_seconds(2 * DAY)
    await count_admitted(throttled, "alice", ELSEWHERE, of=5)
    await assert_refused(throttled, "alice", HOME)


async def test_an_address_is_forgotten_though_another_is_still_known(place: Place) -> None:
    throttled = place.build(LIMITS)
    await throttled.record_success(await throttled.admit("alice", HOME))
    await place.pass_seconds(20 * DAY)
    await throttled.record_success(await throttled.admit("alice", "203.0.113.1"))

    await place.pass_seconds(11 * DAY)
    await count_admitted(throttled, "alice", ELSEWHERE, of=5)

    await throttled.admit("alice", "203.0.113.1")
    await assert_refused(throttled, "alice", HOME)


async def test_an_account_knows_its_latest_addresses_and_not_too_many(place: Place) -> None:
    throttled = place.build(LIMITS)
    addresses = [f"203.0.113.{number}" for number in range(login_throttle.REMEMBERED_ADDRESSES + 2)]
    for address in [*addresses[:-1], addresses[0], addresses[-1]]:  # so the second is the oldest
        await throttled.record_success(await throttled.admit("alice", address))

    await count_admitted(throttled, "alice", ELSEWHERE, of=5)

    for address in (addresses[0], *addresses[3:]):
        await throttled.admit("alice", address)
    for address in addresses[1:3]:
        await assert_refused(throttled, "alice", address)


async def test_accounts_that_do_not_exist_are_throttled_alike(place: Place) -> None:
    """Lesson 30: the throttle looks up no user, so it can reveal none."""
    throttled = place.build(LIMITS)

    for name in ("nobody", "nobody\x00at all", "", "x" * 10_000):
        assert 3 == await count_admitted(throttled, name, f"203.0.113.{len(name) % 256}", of=5)


async def test_refusals_do_not_prolong_a_window(place: Place) -> None:
    """Lesson 30: there is no lock, only a wait."""
    throttled = place.build(LIMITS)
    await count_admitted(throttled, "alice", ELSEWHERE, of=5)

    await place.pass_seconds(20 * MINUTE)
    assert await assert_refused(throttled, "alice", ELSEWHERE) in approximately(40 * MINUTE)
    await place.pass_seconds(30 * MINUTE)
    assert await assert_refused(throttled, "alice", ELSEWHERE) in approximately(10 * MINUTE)
    await place.pass_seconds(10 * MINUTE)

    assert 3 == await count_admitted(throttled, "alice", ELSEWHERE, of=5)


@pytest.mark.parametrize(
    ("passed", "wait"), [(0, WINDOW), (0.25, WINDOW), (1, WINDOW - 1), (WINDOW - 1, 1), (WINDOW - 0.25, 1)]
)
async def test_the_wait_is_in_whole_seconds_and_long_enough(
    away: "Redis", prefix: str, clock: Clock, passed: float, wait: int
) -> None:
    throttled = LoginThrottle(away, prefix, LIMITS, clock=clock)
    await count_admitted(throttled, "alice", ELSEWHERE, of=5)

    clock.now += passed

    assert wait == await assert_refused(throttled, "alice", ELSEWHERE)


async def test_later_attempts_do_not_prolong_a_window(place: Place) -> None:
    throttled = place.build(LIMITS)
    for _ in range(3):
        await throttled.admit("alice", ELSEWHERE)
        await place.pass_seconds(15 * MINUTE)

    assert await assert_refused(throttled, "alice", ELSEWHERE) in approximately(15 * MINUTE)


async def test_a_successful_attempt_starts_no_window(place: Place) -> None:
    throttled = place.build(LIMITS)
    await throttled.refund(await throttled.admit("alice", ELSEWHERE))
    await place.pass_seconds(30 * MINUTE)

    await count_admitted(throttled, "alice", ELSEWHERE, of=5)

    assert await assert_refused(throttled, "alice", ELSEWHERE) in approximately(60 * MINUTE)


async def test_the_wait_is_that_of_the_bucket_that_is_full_longest(place: Place) -> None:
    throttled = place.build(LIMITS)
    await count_admitted(throttled, "bob", ELSEWHERE, of=2)
    await place.pass_seconds(30 * MINUTE)
    await count_admitted(throttled, "alice", ELSEWHERE, of=3)

    assert await assert_refused(throttled, "carol", ELSEWHERE) in approximately(30 * MINUTE)  # the address is full
    assert await assert_refused(throttled, "alice", HOME) in approximately(60 * MINUTE)  # the account is
    assert await assert_refused(throttled, "alice", ELSEWHERE) in approximately(60 * MINUTE)  # both are


async def test_an_attempt_refused_for_the_account_is_not_counted_for_the_address(place: Place) -> None:
    throttled = place.build(LIMITS)

    assert 3 == await count_admitted(throttled, "alice", ELSEWHERE, of=50)

    assert 2 == await count_admitted(throttled, "bob", ELSEWHERE, of=50)


async def test_redis_holds_no_user_name_and_nothing_forever(redis: "Redis", prefix: str) -> None:
    throttled = LoginThrottle(redis, prefix, LIMITS)
    await throttled.record_success(await throttled.admit("alice", HOME))
    for address in (HOME, ELSEWHERE, "2001:db8::1", "no address"):
        await throttled.admit("alice", address)

    names = await keys_of(redis, prefix)
    lives = {name: await redis.pttl(prefix + name) for name in names}
    dumped = b"".join([await redis.dump(prefix + name) or b"" for name in names])

    assert 8 == len(names)
    assert all(name.startswith("login:") for name in names)
    assert not [name for name in names if "alice" in name.casefold()]
    assert b"alice" not in dumped
    windows = {name: life for name, life in lives.items() if name.split(":")[1] in {"account", "address"}}
    assert all(0 < life <= WINDOW * 1000 for life in windows.values())
    assert all(0 < life <= 30 * DAY * 1000 for life in lives.values())


async def test_redis_keeps_only_the_address_of_a_success(redis: "Redis", prefix: str) -> None:
    throttled = LoginThrottle(redis, prefix, LIMITS)

    for number in range(login_throttle.REMEMBERED_ADDRESSES + 5):
        await throttled.record_success(await throttled.admit("alice", f"203.0.113.{number}"))

    (name,) = await keys_of(redis, prefix)
    assert login_throttle.REMEMBERED_ADDRESSES == await redis.zcard(prefix + name)


async def test_ledgers_on_one_redis_count_separately(redis: "Redis", prefix: str) -> None:
    one, other = (LoginThrottle(redis, f"{prefix}{name}:", LIMITS) for name in ("one", "other"))

    assert 3 == await count_admitted(one, "alice", ELSEWHERE, of=5)
    assert 3 == await count_admitted(other, "alice", ELSEWHERE, of=5)


async def test_a_redis_that_lost_the_scripts_gets_them_again(redis: "Redis", prefix: str, clock: Clock) -> None:
    throttled = LoginThrottle(redis, prefix, LIMITS, clock=clock)
    await throttled.admit("alice", ELSEWHERE)
    await redis.script_flush()

    await throttled.admit("alice", ELSEWHERE)

    assert 1 == await count_admitted(throttled, "alice", ELSEWHERE, of=5)
