"""Without Redis each process counts for itself."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from ledger.environment.variables import SettingsError
from ledger.identity import login_throttle
from ledger.identity.login_throttle import LoginThrottle, client_address
from ledger.settings import Settings
from tests.support.throttling import ELSEWHERE, HOME, LIMITS, LOOSE, Clock, assert_refused, count_admitted
from tests.support.valkey import keys_of


@pytest.fixture
async def silent(tmp_path: Path) -> AsyncIterator[tuple["Redis", list[asyncio.StreamWriter]]]:
    """Run a Redis that accepts connections and never answers, and return the connections that it accepted."""
    path, taken = str(tmp_path / "silent"), list[asyncio.StreamWriter]()

    async def keep_silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(writer)

    server = await asyncio.start_unix_server(keep_silent, path)
    async with Redis(unix_socket_path=path) as client:
        yield client, taken
    for writer in taken:
        writer.close()
    server.close()
    await server.wait_closed()


async def test_a_redis_that_hangs_is_not_asked_again_for_a_while(
    silent: tuple["Redis", list[asyncio.StreamWriter]], prefix: str, clock: Clock
) -> None:
    client, taken = silent
    throttled = LoginThrottle(client, prefix, LOOSE, clock=clock)

    assert 3 == await count_admitted(throttled, "alice", ELSEWHERE, of=200)
    asked = len(taken)
    await assert_refused(throttled, "alice", ELSEWHERE)
    clock.now += 0.9
    await assert_refused(throttled, "alice", ELSEWHERE)

    assert 1 <= asked <= login_throttle.CONCURRENT_CALLS  # concurrently, so that all wait for one timeout
    assert asked == len(taken)
    clock.now += 0.2
    await assert_refused(throttled, "alice", ELSEWHERE)
    assert asked < len(taken)


async def test_after_an_error_the_process_counts_until_redis_is_asked_again(
    redis: "Redis", prefix: str, clock: Clock
) -> None:
    throttled = LoginThrottle(redis, prefix, LIMITS, clock=clock)
    await throttled.admit("alice", ELSEWHERE)
    (broken, _) = [prefix + name for name in await keys_of(redis, prefix)]
    await redis.delete(broken)
    await redis.rpush(broken, "what is not ours")

    assert 3 == await count_admitted(throttled, "alice", ELSEWHERE, of=5)
    await redis.delete(broken)
    await assert_refused(throttled, "alice", ELSEWHERE)
    clock.now += login_throttle.PAUSE_SECONDS

    assert 3 == await count_admitted(throttled, "alice", ELSEWHERE, of=5)
    assert b"3" == await redis.get(broken)


async def test_a_login_succeeds_although_redis_went_away_during_it(
    redis: "Redis", away: "Redis", prefix: str, clock: Clock
) -> None:
    before, after = (LoginThrottle(client, prefix, LIMITS, clock=clock) for client in (redis, away))
    attempt = await before.admit("alice", HOME)

    await after.record_success(attempt)

    await count_admitted(after, "alice", ELSEWHERE, of=5)
    await after.admit("alice", HOME)  # and the process knows the address


async def test_a_count_of_the_process_is_not_subtracted_in_redis(
    redis: "Redis", away: "Redis", prefix: str, clock: Clock
) -> None:
    before, after = (LoginThrottle(client, prefix, LIMITS, clock=clock) for client in (away, redis))
    attempt = await before.admit("alice", ELSEWHERE)
    await count_admitted(after, "alice", ELSEWHERE, of=5)

    await after.refund(attempt)

    await assert_refused(after, "alice", ELSEWHERE)


async def test_the_process_forgets_its_oldest_buckets(
    away: "Redis", prefix: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login_throttle, "MEMORY_LIMIT", 4)
    throttled = LoginThrottle(away, prefix, LOOSE, clock=clock)
    for name, address in [("alice", HOME), ("bob", ELSEWHERE)]:
        await count_admitted(throttled, name, address, of=5)

    await throttled.admit("carol", ELSEWHERE)  # pushes out the bucket of alice's account, not that of bob's

    await assert_refused(throttled, "bob", ELSEWHERE)
    assert 3 == await count_admitted(throttled, "alice", ELSEWHERE, of=5)


async def test_the_process_knows_the_addresses_of_the_latest_logins(
    away: "Redis", prefix: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login_throttle, "MEMORY_LIMIT", 4)
    throttled = LoginThrottle(away, prefix, LOOSE, clock=clock)
    for name in ("alice", "bob", "carol", "dave", "alice", "erin"):
        await throttled.record_success(await throttled.admit(name, HOME))

    for name, known in [("alice", True), ("bob", False)]:
        assert 3 == await count_admitted(throttled, name, ELSEWHERE, of=5)
        assert (3 if known else 0) == await count_admitted(throttled, name, HOME, of=5)


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
def test_the_client_address_is_that_which_the_outermost_trusted_proxy_saw(
    peer: str | None, forwarded_for: str | None, hops: int, client: str
) -> None:
    assert client == client_address(peer, forwarded_for, hops)


@pytest.mark.parametrize("sent", ["198.51.100.7", "198.51.100.7, 198.51.100.8", ",,,", "garbage", "127.0.0.1, " * 50])
@pytest.mark.parametrize(("appended", "hops"), [("203.0.113.9", 1), ("203.0.113.9, 10.0.0.2", 2)])
def test_a_client_cannot_choose_its_address(sent: str, appended: str, hops: int) -> None:
    assert "203.0.113.9" == client_address("10.0.0.1", f"{sent}, {appended}", hops)


def test_the_limits_come_from_settings() -> None:
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
def test_an_invalid_limit_is_named(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(SettingsError, match=variable):
        Settings.load()
