"""Login throttling: guesses are few, and those of others never keep an owner out. Lesson 30.

The rules are the same in Redis and, while it is away, within the process, so most tests run in both places.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from ledger.embedded import Services
from ledger.environment.variables import SettingsError
from ledger.identity import login_throttle as throttle
from ledger.identity.login_throttle import Attempt, Limits, LoginThrottle, TooManyAttemptsError, client_address
from ledger.settings import Settings
from tests.support.controls import new_id
from tests.support.valkey import keys_of, pass_time

MINUTE, DAY = 60, 86_400
WINDOW = 60 * MINUTE  # so long that none ends before the test says so, however busy the machine is
LIMITS = Limits(per_account=3, per_address=5, window_seconds=WINDOW)
LOOSE = Limits(per_account=3, per_address=1000, window_seconds=WINDOW)
HOME, ELSEWHERE = "192.0.2.1", "198.51.100.7"


@dataclass
class Clock:
    """A clock that stands still unless it is told otherwise."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Place:
    """Where attempts are counted, and time as it passes there."""

    build: Callable[[Limits], LoginThrottle]
    later: Callable[[float], Awaitable[None]]


@pytest.fixture
async def redis(servers: Services, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator["Redis"]:
    """Valkey, with all the time that it needs on a busy machine."""
    monkeypatch.setattr(throttle, "TIMEOUT_SECONDS", 30)
    async with Redis.from_url(servers.redis_url) as client:
        yield client


@pytest.fixture
async def away(tmp_path: Path) -> AsyncIterator["Redis"]:
    """A Redis that is not there."""
    async with Redis(unix_socket_path=str(tmp_path / "nobody-listens"), retry=Retry(NoBackoff(), 0)) as client:
        yield client


@pytest.fixture
def prefix() -> str:
    return f"test:{new_id()}:"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["redis", "process"])
async def place(request: pytest.FixtureRequest, redis: "Redis", away: "Redis", prefix: str, clock: Clock) -> Place:
    client = redis if request.param == "redis" else away

    async def later(seconds: float) -> None:
        clock.now += seconds
        if client is redis:
            await pass_time(redis, prefix, seconds)

    return Place(lambda limits: LoginThrottle(client, prefix, limits, clock=clock), later)


async def refused(throttled: LoginThrottle, account: str, address: str) -> int:
    """For how many seconds the next attempt has to wait."""
    with pytest.raises(TooManyAttemptsError) as caught:
        await throttled.admit(account, address)
    return caught.value.retry_after_seconds


def about(seconds: int) -> range:
    """So many seconds, less what a busy machine may have taken meanwhile."""
    return range(seconds - 5 * MINUTE, seconds + 1)


async def admitted(throttled: LoginThrottle, account: str, address: str, *, of: int) -> int:
    """How many of so many attempts at once are let through."""
    results = await asyncio.gather(*(throttled.admit(account, address) for _ in range(of)), return_exceptions=True)
    assert all(isinstance(result, Attempt | TooManyAttemptsError) for result in results)
    return sum(isinstance(result, Attempt) for result in results)


# What is counted


async def test_an_account_has_so_many_attempts_from_wherever_they_come(place: Place) -> None:
    """Lesson 30."""
    throttled = place.build(LIMITS)

    for number in range(3):
        await throttled.admit("alice", f"203.0.113.{number}")

    assert await refused(throttled, "alice", "203.0.113.9") in about(60 * MINUTE)
    await throttled.admit("bob", "203.0.113.9")


async def test_an_address_has_so_many_attempts_at_whatever_account(place: Place) -> None:
    throttled = place.build(LIMITS)

    for number in range(5):
        await throttled.admit(f"user-{number}", ELSEWHERE)

    assert await refused(throttled, "user-9", ELSEWHERE) in about(60 * MINUTE)
    await throttled.admit("user-9", HOME)


async def test_of_many_attempts_at_once_no_more_than_the_limit_pass(place: Place) -> None:
    """An attempt is reserved before the password is checked, so there is no gap between checking and counting."""
    throttled = place.build(LOOSE)

    assert 3 == await admitted(throttled, "alice", ELSEWHERE, of=200)
    assert 0 == await admitted(throttled, "alice", ELSEWHERE, of=200)


async def test_processes_count_together_in_redis(redis: "Redis", prefix: str) -> None:
    one, other = (LoginThrottle(redis, prefix, LOOSE) for _ in range(2))

    passed = await asyncio.gather(*(admitted(each, "alice", ELSEWHERE, of=100) for each in (one, other)))

    assert 3 == sum(passed)


@pytest.mark.parametrize("spelling", ["ALICE", "Alice", "\uff21lice"])
async def test_every_spelling_of_a_name_is_the_same_account(place: Place, spelling: str) -> None:
    throttled = place.build(LIMITS)

    assert 3 == await admitted(throttled, "alice", ELSEWHERE, of=4)

    await refused(throttled, spelling, HOME)


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

    await refused(throttled, "user-9", other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("2001:db8:1:2::1", "2001:db8:1:3::1"), ("192.0.2.1", "192.0.2.2"), ("::ffff:192.0.2.1", "::ffff:192.0.2.2")],
)
async def test_addresses_of_two_clients_are_counted_apart(place: Place, one: str, other: str) -> None:
    throttled = place.build(LIMITS)

    for number in range(5):
        await throttled.admit(f"user-{number}", one)

    await throttled.admit("user-9", other)


# What is given back


async def test_a_success_is_no_failure(place: Place) -> None:
    throttled = place.build(LIMITS)

    for _ in range(20):
        await throttled.succeeded(await throttled.admit("alice", HOME))

    assert 3 == await admitted(throttled, "alice", HOME, of=4)


async def test_a_success_takes_no_failure_back(place: Place) -> None:
    throttled = place.build(LIMITS)
    await throttled.succeeded(await throttled.admit("alice", HOME))
    await throttled.admit("alice", HOME)
    await throttled.admit("alice", HOME)

    await throttled.succeeded(await throttled.admit("alice", HOME))

    assert 1 == await admitted(throttled, "alice", HOME, of=4)


async def test_what_was_never_checked_is_no_failure_and_no_success(place: Place) -> None:
    throttled = place.build(LIMITS)

    for _ in range(20):
        await throttled.withdrawn(await throttled.admit("alice", HOME))

    assert 3 == await admitted(throttled, "alice", ELSEWHERE, of=4)
    await refused(throttled, "alice", HOME)


async def test_an_attempt_that_outlasts_its_window_is_not_taken_off_the_next(place: Place) -> None:
    throttled = place.build(LIMITS)
    slow = await throttled.admit("alice", HOME)
    await place.later(60 * MINUTE)

    assert 3 == await admitted(throttled, "alice", HOME, of=4)
    await throttled.withdrawn(slow)

    await refused(throttled, "alice", HOME)


# Who cannot be locked out


async def test_attackers_cannot_lock_the_owner_out_of_a_known_address(place: Place) -> None:
    """Lesson 30: a limit for an account lets anyone lock anyone out, unless its owner is counted apart."""
    throttled = place.build(LIMITS)
    await throttled.succeeded(await throttled.admit("alice", HOME))

    passed = [await admitted(throttled, "alice", f"203.0.113.{number}", of=5) for number in range(50)]

    assert 3 == sum(passed)
    await refused(throttled, "alice", ELSEWHERE)
    await throttled.succeeded(await throttled.admit("alice", HOME))


async def test_a_known_address_has_a_limit_too(place: Place) -> None:
    throttled = place.build(LIMITS)
    await throttled.succeeded(await throttled.admit("alice", HOME))

    assert 3 == await admitted(throttled, "alice", HOME, of=5)

    assert 3 == await admitted(throttled, "alice", ELSEWHERE, of=5)


async def test_an_address_is_known_to_the_account_that_logged_in_and_to_no_other(place: Place) -> None:
    """Lesson 30: who has an account does not come nearer to another's by it."""
    throttled = place.build(LOOSE)
    await throttled.succeeded(await throttled.admit("mallory", ELSEWHERE))

    passed = [await admitted(throttled, "alice", address, of=5) for address in (ELSEWHERE, HOME)]

    assert [3, 0] == passed


async def test_a_known_network_is_known_as_a_whole(place: Place) -> None:
    throttled = place.build(LIMITS)
    await throttled.succeeded(await throttled.admit("alice", "2001:db8::1"))
    await admitted(throttled, "alice", ELSEWHERE, of=5)

    await throttled.admit("alice", "2001:db8::2")


async def test_an_address_stays_known_for_thirty_days_from_its_last_login(place: Place) -> None:
    throttled = place.build(LIMITS)
    for days in (0, 29):
        await place.later(days * DAY)
        await throttled.succeeded(await throttled.admit("alice", HOME))

    await place.later(29 * DAY)
    await admitted(throttled, "alice", ELSEWHERE, of=5)
    await throttled.admit("alice", HOME)

    await place.later(2 * DAY)
    await admitted(throttled, "alice", ELSEWHERE, of=5)
    await refused(throttled, "alice", HOME)


async def test_an_address_is_forgotten_though_another_is_still_known(place: Place) -> None:
    throttled = place.build(LIMITS)
    await throttled.succeeded(await throttled.admit("alice", HOME))
    await place.later(20 * DAY)
    await throttled.succeeded(await throttled.admit("alice", "203.0.113.1"))

    await place.later(11 * DAY)
    await admitted(throttled, "alice", ELSEWHERE, of=5)

    await throttled.admit("alice", "203.0.113.1")
    await refused(throttled, "alice", HOME)


async def test_an_account_knows_its_latest_addresses_and_not_too_many(place: Place) -> None:
    throttled = place.build(LIMITS)
    addresses = [f"203.0.113.{number}" for number in range(throttle.REMEMBERED_ADDRESSES + 2)]
    for address in [*addresses[:-1], addresses[0], addresses[-1]]:  # the first one is used again: the second goes
        await throttled.succeeded(await throttled.admit("alice", address))

    await admitted(throttled, "alice", ELSEWHERE, of=5)

    for address in (addresses[0], *addresses[3:]):
        await throttled.admit("alice", address)
    for address in addresses[1:3]:
        await refused(throttled, "alice", address)


async def test_accounts_that_do_not_exist_are_treated_like_those_that_do(place: Place) -> None:
    """Lesson 30: nothing is asked about users, so nothing can be told about them."""
    throttled = place.build(LIMITS)

    for name in ("nobody", "nobody\x00at all", "", "x" * 10_000):
        assert 3 == await admitted(throttled, name, f"203.0.113.{len(name) % 256}", of=5)


# When it ends


async def test_a_window_ends_by_itself_and_refusals_do_not_prolong_it(place: Place) -> None:
    """Lesson 30: there is no lock, only a wait."""
    throttled = place.build(LIMITS)
    await admitted(throttled, "alice", ELSEWHERE, of=5)

    await place.later(20 * MINUTE)
    assert await refused(throttled, "alice", ELSEWHERE) in about(40 * MINUTE)
    await place.later(30 * MINUTE)
    assert await refused(throttled, "alice", ELSEWHERE) in about(10 * MINUTE)
    await place.later(10 * MINUTE)

    assert 3 == await admitted(throttled, "alice", ELSEWHERE, of=5)


@pytest.mark.parametrize(
    ("passed", "wait"), [(0, WINDOW), (0.25, WINDOW), (1, WINDOW - 1), (WINDOW - 1, 1), (WINDOW - 0.25, 1)]
)
async def test_the_wait_is_in_whole_seconds_and_long_enough(
    away: "Redis", prefix: str, clock: Clock, passed: float, wait: int
) -> None:
    throttled = LoginThrottle(away, prefix, LIMITS, clock=clock)
    await admitted(throttled, "alice", ELSEWHERE, of=5)

    clock.now += passed

    assert wait == await refused(throttled, "alice", ELSEWHERE)


async def test_a_window_starts_with_its_first_attempt_and_later_ones_do_not_prolong_it(place: Place) -> None:
    throttled = place.build(LIMITS)
    for _ in range(3):
        await throttled.admit("alice", ELSEWHERE)
        await place.later(15 * MINUTE)

    assert await refused(throttled, "alice", ELSEWHERE) in about(15 * MINUTE)


async def test_what_is_given_back_starts_no_window(place: Place) -> None:
    throttled = place.build(LIMITS)
    await throttled.withdrawn(await throttled.admit("alice", ELSEWHERE))
    await place.later(30 * MINUTE)

    await admitted(throttled, "alice", ELSEWHERE, of=5)

    assert await refused(throttled, "alice", ELSEWHERE) in about(60 * MINUTE)


async def test_the_wait_is_that_of_the_bucket_that_is_full_longest(place: Place) -> None:
    throttled = place.build(LIMITS)
    await admitted(throttled, "bob", ELSEWHERE, of=2)
    await place.later(30 * MINUTE)
    await admitted(throttled, "alice", ELSEWHERE, of=3)

    assert await refused(throttled, "carol", ELSEWHERE) in about(30 * MINUTE)  # the address is full
    assert await refused(throttled, "alice", HOME) in about(60 * MINUTE)  # the account is
    assert await refused(throttled, "alice", ELSEWHERE) in about(60 * MINUTE)  # both are


async def test_who_is_refused_for_the_account_is_not_counted_for_the_address(place: Place) -> None:
    throttled = place.build(LIMITS)

    assert 3 == await admitted(throttled, "alice", ELSEWHERE, of=50)

    assert 2 == await admitted(throttled, "bob", ELSEWHERE, of=50)


# What stands in Redis


async def test_redis_holds_no_user_name_and_nothing_for_ever(redis: "Redis", prefix: str) -> None:
    throttled = LoginThrottle(redis, prefix, LIMITS)
    await throttled.succeeded(await throttled.admit("alice", HOME))
    for address in (HOME, ELSEWHERE, "2001:db8::1", "no address"):
        await throttled.admit("alice", address)

    names = await keys_of(redis, prefix)
    lives = {name: await redis.pttl(prefix + name) for name in names}
    dumped = b"".join([await redis.dump(prefix + name) or b"" for name in names])

    assert 7 == len(names)
    assert all(name.startswith("login:") for name in names)
    assert not [name for name in names if "alice" in name.casefold()]
    assert b"alice" not in dumped
    windows = {name: life for name, life in lives.items() if not name.startswith("login:known:")}
    assert all(0 < life <= WINDOW * 1000 for life in windows.values())
    assert all(0 < life <= 30 * DAY * 1000 for life in lives.values())


async def test_redis_keeps_nothing_of_successes_but_the_address(redis: "Redis", prefix: str) -> None:
    throttled = LoginThrottle(redis, prefix, LIMITS)

    for number in range(throttle.REMEMBERED_ADDRESSES + 5):
        await throttled.succeeded(await throttled.admit("alice", f"203.0.113.{number}"))

    (name,) = await keys_of(redis, prefix)
    assert throttle.REMEMBERED_ADDRESSES == await redis.zcard(prefix + name)


async def test_ledgers_with_one_redis_count_apart(redis: "Redis", prefix: str) -> None:
    one, other = (LoginThrottle(redis, f"{prefix}{name}:", LIMITS) for name in ("one", "other"))

    assert 3 == await admitted(one, "alice", ELSEWHERE, of=5)
    assert 3 == await admitted(other, "alice", ELSEWHERE, of=5)


async def test_a_redis_that_forgot_the_scripts_is_taught_them_again(redis: "Redis", prefix: str, clock: Clock) -> None:
    throttled = LoginThrottle(redis, prefix, LIMITS, clock=clock)
    await throttled.admit("alice", ELSEWHERE)
    await redis.script_flush()

    await throttled.admit("alice", ELSEWHERE)

    assert 1 == await admitted(throttled, "alice", ELSEWHERE, of=5)


# When Redis is away


@pytest.fixture
async def silent(tmp_path: Path) -> AsyncIterator[tuple["Redis", list[asyncio.StreamWriter]]]:
    """A Redis that takes connections and never says a word, and the connections that it took."""
    path, taken = str(tmp_path / "silent"), list[asyncio.StreamWriter]()

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(writer)

    server = await asyncio.start_unix_server(say_nothing, path)
    async with Redis(unix_socket_path=path) as client:
        yield client, taken
    for writer in taken:
        writer.close()
    server.close()
    await server.wait_closed()


async def test_a_redis_that_hangs_costs_a_moment_and_is_then_left_alone(
    silent: tuple["Redis", list[asyncio.StreamWriter]], prefix: str, clock: Clock
) -> None:
    client, taken = silent
    throttled = LoginThrottle(client, prefix, LOOSE, clock=clock)

    assert 3 == await admitted(throttled, "alice", ELSEWHERE, of=200)
    asked = len(taken)
    await refused(throttled, "alice", ELSEWHERE)
    clock.now += 0.9
    await refused(throttled, "alice", ELSEWHERE)

    assert 1 <= asked <= throttle.CONCURRENT_CALLS  # all at once, so that all wait for one time-out
    assert asked == len(taken)
    clock.now += 0.2
    await refused(throttled, "alice", ELSEWHERE)
    assert asked < len(taken)


async def test_after_an_error_the_process_counts_until_redis_is_asked_again(
    redis: "Redis", prefix: str, clock: Clock
) -> None:
    throttled = LoginThrottle(redis, prefix, LIMITS, clock=clock)
    await throttled.admit("alice", ELSEWHERE)
    (broken, _) = [prefix + name for name in await keys_of(redis, prefix)]
    await redis.delete(broken)
    await redis.rpush(broken, "what is not ours")

    assert 3 == await admitted(throttled, "alice", ELSEWHERE, of=5)
    await redis.delete(broken)
    await refused(throttled, "alice", ELSEWHERE)
    clock.now += throttle.PAUSE_SECONDS

    assert 3 == await admitted(throttled, "alice", ELSEWHERE, of=5)
    assert b"3" == await redis.get(broken)


async def test_a_login_succeeds_though_redis_went_away_meanwhile(
    redis: "Redis", away: "Redis", prefix: str, clock: Clock
) -> None:
    before, after = (LoginThrottle(client, prefix, LIMITS, clock=clock) for client in (redis, away))
    attempt = await before.admit("alice", HOME)

    await after.succeeded(attempt)

    await admitted(after, "alice", ELSEWHERE, of=5)
    await after.admit("alice", HOME)  # and the process knows the address


async def test_what_the_process_counted_is_not_taken_off_in_redis(
    redis: "Redis", away: "Redis", prefix: str, clock: Clock
) -> None:
    before, after = (LoginThrottle(client, prefix, LIMITS, clock=clock) for client in (away, redis))
    attempt = await before.admit("alice", ELSEWHERE)
    await admitted(after, "alice", ELSEWHERE, of=5)

    await after.withdrawn(attempt)

    await refused(after, "alice", ELSEWHERE)


async def test_the_process_forgets_the_oldest_when_there_is_too_much(
    away: "Redis", prefix: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "MEMORY_LIMIT", 4)
    throttled = LoginThrottle(away, prefix, LOOSE, clock=clock)
    for name, address in [("alice", HOME), ("bob", ELSEWHERE)]:
        await admitted(throttled, name, address, of=5)

    await throttled.admit("carol", ELSEWHERE)  # pushes out the bucket of alice's account, not that of bob's

    await refused(throttled, "bob", ELSEWHERE)
    assert 3 == await admitted(throttled, "alice", ELSEWHERE, of=5)


async def test_the_process_knows_the_addresses_of_those_who_logged_in_last(
    away: "Redis", prefix: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "MEMORY_LIMIT", 4)
    throttled = LoginThrottle(away, prefix, LOOSE, clock=clock)
    for name in ("alice", "bob", "carol", "dave", "alice", "erin"):
        await throttled.succeeded(await throttled.admit(name, HOME))

    for name, known in [("alice", True), ("bob", False)]:
        assert 3 == await admitted(throttled, name, ELSEWHERE, of=5)
        assert (3 if known else 0) == await admitted(throttled, name, HOME, of=5)


# Whose address it is


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "hops", "client"),
    [
        ("10.0.0.1", None, 0, "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9", 0, "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9", 1, "203.0.113.9"),
        ("10.0.0.1", " 198.51.100.7 ,203.0.113.9 ", 1, "203.0.113.9"),
        ("10.0.0.1", "198.51.100.7, 203.0.113.9, 10.0.0.2", 2, "203.0.113.9"),
        ("10.0.0.1", ", 203.0.113.9", 1, "203.0.113.9"),
        ("10.0.0.1", "203.0.113.9", 3, "203.0.113.9"),
        ("10.0.0.1", "203.0.113.9, 10.0.0.2", 3, "203.0.113.9"),
        ("10.0.0.1", None, 2, "10.0.0.1"),
        ("10.0.0.1", " ", 2, "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9:5123", 1, "203.0.113.9"),
        ("10.0.0.1", "[2001:DB8::9]:5123", 1, "2001:db8::9"),
        ("10.0.0.1", "[2001:db8::9]", 1, "2001:db8::9"),
        ("10.0.0.1", "2001:db8::9", 1, "2001:db8::9"),
        ("::ffff:192.0.2.1", None, 0, "192.0.2.1"),
        ("10.0.0.1", "203.0.113.9, garbage", 1, "unknown"),
        ("10.0.0.1", "203.0.113.9, ", 1, "unknown"),
        (None, None, 0, "unknown"),
        ("", None, 1, "unknown"),
    ],
)
def test_the_client_is_whom_the_outermost_proxy_of_ours_saw(
    peer: str | None, forwarded_for: str | None, hops: int, client: str
) -> None:
    assert client == client_address(peer, forwarded_for, hops)


@pytest.mark.parametrize("sent", ["198.51.100.7", "198.51.100.7, 198.51.100.8", ",,,", "garbage", "127.0.0.1, " * 50])
@pytest.mark.parametrize(("appended", "hops"), [("203.0.113.9", 1), ("203.0.113.9, 10.0.0.2", 2)])
def test_what_a_client_sends_does_not_change_its_address(sent: str, appended: str, hops: int) -> None:
    assert "203.0.113.9" == client_address("10.0.0.1", f"{sent}, {appended}", hops)


# Settings


def test_the_limits_are_settings() -> None:
    settings = Settings()

    assert (10, 100, 60, 0) == (
        settings.ledger_login_attempts_per_account,
        settings.ledger_login_attempts_per_address,
        settings.ledger_login_window_seconds,
        settings.ledger_trusted_proxies,
    )


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LEDGER_LOGIN_ATTEMPTS_PER_ACCOUNT", "0"),
        ("LEDGER_LOGIN_ATTEMPTS_PER_ADDRESS", "0"),
        ("LEDGER_LOGIN_WINDOW_SECONDS", "0"),
        ("LEDGER_TRUSTED_PROXIES", "-1"),
    ],
)
def test_a_limit_that_makes_no_sense_is_named(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(SettingsError, match=variable):
        Settings.load()
