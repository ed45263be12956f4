"""Login throttling over HTTP: for guessers, for the owner, and during faults of the service.

`test_throttle.py` tests which attempts are counted. Lesson 30.
"""

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg
import pytest
from multidict import CIMultiDict
from pydantic import SecretStr
from redis.asyncio import Redis

from ledger.commands.command import Credential
from ledger.embedded import Services
from ledger.identity import passwords
from ledger.identity.passwords import Passwords
from ledger.settings import Settings
from tests.support.controls import ADMIN_PASSWORD, PASSWORD, Api, Response
from tests.support.outages import reserved_port
from tests.support.processes import DEADLINE_SECONDS, until
from tests.support.valkey import pass_time

Serve = Callable[[Settings], Awaitable[Api]]

LOGIN = "/v1/auth/login"
HOME, ELSEWHERE, THIRD = "192.0.2.1", "198.51.100.7", "203.0.113.9"
PER_ACCOUNT, PER_ADDRESS = 3, 5
WINDOW = 3600
WRONG = "not the password"


@pytest.fixture
async def settings(settings: Settings) -> Settings:
    """Return settings with low limits, and a window too long to end during a test."""
    limits = {
        "ledger_login_attempts_per_account": PER_ACCOUNT,
        "ledger_login_attempts_per_address": 1000,
        "ledger_login_window_seconds": WINDOW,
    }
    return settings.model_copy(update=limits)


@pytest.fixture
async def proxied(serve: Serve, settings: Settings) -> Api:
    """Return the API behind one proxy, which forwards the client's address."""
    return await serve(settings.model_copy(update={"ledger_trusted_proxies": 1}))


async def log_in(api: Api, username: str, password: str = PASSWORD, address: str | None = None) -> Response:
    headers = {} if address is None else {"X-Forwarded-For": address}
    return await api.nobody.post(LOGIN, {"username": username, "password": password}, headers=headers)


async def guess(api: Api, username: str, *addresses: str | None) -> list[int]:
    """Send wrong passwords in sequence; return the statuses."""
    return [(await log_in(api, username, WRONG, address)).status for address in addresses]


def without_varying(answer: Response) -> dict[str, Any]:
    """Return the body without members that differ from response to response."""
    (entry,) = answer.body["errors"]
    return {**answer.body, "errors": {name: entry[name] for name in entry.keys() - {"trace_id", "timestamp"}}}


# Responses to guesses


def remaining_attempts(answer: Response) -> dict[str, tuple[int, int]]:
    """Return the remaining and maximum attempts by limit (draft-ietf-httpapi-ratelimit-headers)."""
    policies = re.findall(rf'"(\w+)";q=(\d+);w={WINDOW}(?:, |$)', answer.headers["RateLimit-Policy"])
    states = re.findall(r'"(\w+)";r=(\d+);t=(\d+)(?:, |$)', answer.headers["RateLimit"])
    assert all(1 <= int(seconds) <= WINDOW for _, _, seconds in states)
    return {name: (int(left), int(dict(policies)[name])) for name, left, _ in states}


@pytest.mark.parametrize("url", ["settings", "without_redis"])
async def test_every_login_returns_the_remaining_attempts(
    url: str, serve: Serve, request: pytest.FixtureRequest
) -> None:
    where: Settings = request.getfixturevalue(url)
    api = await serve(where.model_copy(update={"ledger_login_attempts_per_address": PER_ADDRESS}))
    name = (await api.new_user())["username"]

    answers = [await log_in(api, name, password) for password in (PASSWORD, WRONG, PASSWORD, *[WRONG] * 3)]

    assert [200, 401, 200, 401, 401, 429] == [answer.status for answer in answers]
    assert [(left, PER_ACCOUNT) for left in (3, 2, 2, 1, 0, 0)] == [
        remaining_attempts(answer)["account"] for answer in answers
    ]
    assert [(left, PER_ADDRESS) for left in (5, 4, 4, 3, 2, 2)] == [
        remaining_attempts(answer)["address"] for answer in answers
    ]


async def test_the_remaining_attempts_do_not_reveal_whether_a_user_exists(api: Api) -> None:
    known = await log_in(api, (await api.new_user())["username"], WRONG)
    unknown = await log_in(api, "nobody", WRONG)

    assert remaining_attempts(known)["account"] == remaining_attempts(unknown)["account"]


async def test_after_too_many_failures_a_login_must_wait(api: Api) -> None:
    user = await api.new_user()

    statuses = await guess(api, user["username"], *[None] * PER_ACCOUNT)
    answer = await log_in(api, user["username"], WRONG)

    assert [401] * PER_ACCOUNT == statuses
    assert (429, ["rate_limited"]) == (answer.status, answer.codes)
    assert "rate_limit" == answer.body["errors"][0]["kind"]
    assert "application/problem+json" == answer.headers["Content-Type"]
    assert answer.headers["X-Request-Id"] == answer.body["errors"][0]["trace_id"]
    assert 1 <= int(answer.headers["Retry-After"]) <= WINDOW


async def test_known_and_unknown_users_are_throttled_alike(api: Api) -> None:
    """Lesson 30: neither the timing nor the text reveals whether a user exists."""
    active, inactive = await api.new_user(), await api.new_user(active=False)

    answers = {
        username: [await log_in(api, username, WRONG) for _ in range(PER_ACCOUNT + 2)]
        for username in (active["username"], inactive["username"], "nobody-at-all", "nobody\x00at-all")
    }

    known = [without_varying(answer) for answer in answers[active["username"]]]
    assert [401] * PER_ACCOUNT + [429] * 2 == [answer.status for answer in answers[active["username"]]]
    for heard in answers.values():
        assert known == [without_varying(answer) for answer in heard]
        waits = [int(answer.headers["Retry-After"]) for answer in heard[PER_ACCOUNT:]]
        assert all(WINDOW - 300 <= seconds <= WINDOW for seconds in waits)  # minus the time this test took
        assert not any("WWW-Authenticate" in answer.headers for answer in heard[PER_ACCOUNT:])


async def test_all_spellings_of_a_name_count_as_one_account(api: Api) -> None:
    await api.new_user(username="Straße")

    statuses = [await guess(api, spelling, None) for spelling in ("Straße", "STRASSE", "strasse", "sTRASSE")]

    assert [[401], [401], [401], [429]] == statuses


async def test_concurrent_guesses_do_not_exceed_the_limit(api: Api) -> None:
    """Lesson 30: attempts are counted before the first has failed."""
    user = await api.new_user()

    answers = await asyncio.gather(*(log_in(api, user["username"], WRONG) for _ in range(30)))

    assert [401] * PER_ACCOUNT + [429] * (30 - PER_ACCOUNT) == sorted(answer.status for answer in answers)


async def test_a_throttled_login_needs_no_lookup_and_no_hash(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lesson 30: a flood of logins must not starve other requests."""
    user = await api.new_user()
    done: list[str] = []
    verify, find = Passwords.verify, passwords.find_credential

    async def counted_verify(self: Passwords, credential: Credential | None, password: str) -> bool:
        done.append("hashed")
        return await verify(self, credential, password)

    async def counted_find(reader: Any, username: str) -> Any:
        done.append("looked up")
        return await find(reader, username)

    monkeypatch.setattr(Passwords, "verify", counted_verify)
    monkeypatch.setattr(passwords, "find_credential", counted_find)

    admitted = await guess(api, user["username"], *[None] * PER_ACCOUNT)
    work_of_the_admitted = list(done)
    throttled = [(await log_in(api, user["username"], password)).status for password in (WRONG, PASSWORD)]

    assert ([401] * PER_ACCOUNT, [429, 429]) == (admitted, throttled)
    assert ["looked up", "hashed"] * PER_ACCOUNT == work_of_the_admitted
    assert work_of_the_admitted == done


async def test_throttling_ends_with_the_window(
    api: Api, servers: Services, connection: "asyncpg.Connection[Any]"
) -> None:
    """Further attempts do not extend the window."""
    user = await api.new_user()
    await asyncio.gather(*(log_in(api, user["username"], WRONG) for _ in range(PER_ACCOUNT)))
    prefix = f"ledger-logins:{await connection.fetchval('SELECT id FROM ledger_identity')}:"

    async with Redis.from_url(servers.redis_url) as redis:
        await pass_time(redis, prefix, WINDOW / 2)
        refused = await log_in(api, user["username"])
        await pass_time(redis, prefix, WINDOW / 2)

    assert (429, True) == (refused.status, int(refused.headers["Retry-After"]) <= WINDOW / 2)
    assert 200 == (await log_in(api, user["username"])).status


# The owner


async def test_a_throttled_address_is_refused_even_with_the_right_password(proxied: Api) -> None:
    """Otherwise the response would reveal the right guess."""
    user = await proxied.new_user()
    await guess(proxied, user["username"], *[ELSEWHERE] * PER_ACCOUNT)

    answers = [await log_in(proxied, user["username"], PASSWORD, address) for address in (ELSEWHERE, THIRD)]

    assert [(429, ["rate_limited"])] * 2 == [(answer.status, answer.codes) for answer in answers]


async def test_the_owner_can_always_log_in_from_a_known_address(proxied: Api) -> None:
    """Lesson 30: attackers cannot lock a user out."""
    user = await proxied.new_user()
    assert 200 == (await log_in(proxied, user["username"], PASSWORD, HOME)).status

    statuses = await guess(proxied, user["username"], *[ELSEWHERE] * (PER_ACCOUNT + 1))
    owner = [(await log_in(proxied, user["username"], PASSWORD, HOME)).status for _ in range(PER_ACCOUNT + 2)]
    stranger = await log_in(proxied, user["username"], PASSWORD, ELSEWHERE)

    assert [401] * PER_ACCOUNT + [429] == statuses
    assert [200] * (PER_ACCOUNT + 2) == owner
    assert 429 == stranger.status


async def test_a_known_address_has_no_more_guesses_than_another(proxied: Api) -> None:
    user = await proxied.new_user()
    assert 200 == (await log_in(proxied, user["username"], PASSWORD, HOME)).status

    statuses = await guess(proxied, user["username"], *[HOME] * (PER_ACCOUNT + 1))

    assert [401] * PER_ACCOUNT + [429] == statuses


async def test_an_address_is_known_only_to_accounts_that_logged_in_from_it(proxied: Api) -> None:
    user, neighbour = await proxied.new_user(), await proxied.new_user()
    assert 200 == (await log_in(proxied, neighbour["username"], PASSWORD, HOME)).status
    await guess(proxied, user["username"], *[ELSEWHERE] * PER_ACCOUNT)

    assert 429 == (await log_in(proxied, user["username"], PASSWORD, HOME)).status


async def test_a_success_takes_back_only_its_own_attempt(proxied: Api) -> None:
    user = await proxied.new_user()
    before = await guess(proxied, user["username"], *[ELSEWHERE] * (PER_ACCOUNT - 1))

    owner = [(await log_in(proxied, user["username"], PASSWORD, HOME)).status for _ in range(3)]
    after = await guess(proxied, user["username"], ELSEWHERE, ELSEWHERE)

    assert ([401] * (PER_ACCOUNT - 1), [200] * 3, [401, 429]) == (before, owner, after)


async def test_logins_that_succeed_are_not_counted(serve: Serve, settings: Settings) -> None:
    api = await serve(settings.model_copy(update={"ledger_login_attempts_per_address": PER_ADDRESS}))
    users = [await api.new_user() for _ in range(2)]

    statuses = [(await log_in(api, user["username"])).status for user in users * PER_ADDRESS]

    assert [200] * 2 * PER_ADDRESS == statuses


# The client's address


@pytest.fixture
def limited_per_address(settings: Settings) -> Settings:
    """Return settings for guesses at different accounts, so that only the limit per address applies."""
    return settings.model_copy(update={"ledger_login_attempts_per_address": PER_ADDRESS})


async def test_guesses_per_address_are_limited_across_accounts(serve: Serve, limited_per_address: Settings) -> None:
    api = await serve(limited_per_address.model_copy(update={"ledger_trusted_proxies": 1}))

    statuses = [await guess(api, f"nobody-{number}", ELSEWHERE) for number in range(PER_ADDRESS + 1)]

    assert [[401]] * PER_ADDRESS + [[429]] == statuses
    assert 429 == (await log_in(api, "admin", ADMIN_PASSWORD, ELSEWHERE)).status
    assert 200 == (await log_in(api, "admin", ADMIN_PASSWORD, HOME)).status


async def test_without_trusted_proxies_forwarded_addresses_are_ignored(
    serve: Serve, limited_per_address: Settings
) -> None:
    api = await serve(limited_per_address)

    statuses = [await guess(api, f"nobody-{number}", f"192.0.2.{number}") for number in range(PER_ADDRESS + 1)]

    assert [[401]] * PER_ADDRESS + [[429]] == statuses


@pytest.mark.parametrize(
    ("hops", "forwarded"),
    [
        (1, "192.0.2.{}, 198.51.100.7"),
        (2, "192.0.2.{}, 198.51.100.7, 10.0.0.1"),
        (1, "192.0.2.{},,unknown, 198.51.100.7:{}000"),
    ],
)
async def test_addresses_left_of_the_trusted_proxies_are_ignored(
    serve: Serve, limited_per_address: Settings, hops: int, forwarded: str
) -> None:
    api = await serve(limited_per_address.model_copy(update={"ledger_trusted_proxies": hops}))

    statuses = [
        await guess(api, f"nobody-{number}", forwarded.replace("{}", str(number))) for number in range(PER_ADDRESS + 1)
    ]

    assert [[401]] * PER_ADDRESS + [[429]] == statuses


async def test_a_header_in_several_lines_is_one_list(serve: Serve, limited_per_address: Settings) -> None:
    """A client can send its own header to a proxy that adds a second line."""
    api = await serve(limited_per_address.model_copy(update={"ledger_trusted_proxies": 1}))

    statuses = []
    for number in range(PER_ADDRESS + 1):
        headers = CIMultiDict([("X-Forwarded-For", f"192.0.2.{number}"), ("X-Forwarded-For", ELSEWHERE)])
        body = {"username": f"nobody-{number}", "password": WRONG}
        async with api.client.post(LOGIN, json=body, headers=headers) as response:
            statuses.append(response.status)

    assert [401] * PER_ADDRESS + [429] == statuses


# Redis


@pytest.fixture
def without_redis(settings: Settings) -> Iterator[Settings]:
    """Yield settings with an address at which no Redis listens."""
    with reserved_port(listening=False) as port:
        yield settings.model_copy(update={"redis_url": SecretStr(f"redis://127.0.0.1:{port}/0")})


async def test_without_redis_each_process_throttles_on_its_own(serve: Serve, without_redis: Settings) -> None:
    """Lessons 25 and 30: without Redis, guesses stay limited and users can still log in."""
    one, other = [await serve(without_redis) for _ in range(2)]
    user = await one.new_user()

    at_one = await guess(one, user["username"], *[None] * (PER_ACCOUNT + 1))
    at_other = await guess(other, user["username"], *[None] * (PER_ACCOUNT + 1))

    assert [401] * PER_ACCOUNT + [429] == at_one == at_other
    assert [200, 200] == [(await log_in(api, "admin", ADMIN_PASSWORD)).status for api in (one, other)]


async def test_without_redis_the_owner_can_log_in_from_a_known_address(serve: Serve, without_redis: Settings) -> None:
    api = await serve(without_redis.model_copy(update={"ledger_trusted_proxies": 1}))
    user = await api.new_user()
    await log_in(api, user["username"], PASSWORD, HOME)

    await guess(api, user["username"], *[ELSEWHERE] * PER_ACCOUNT)
    answers = [await log_in(api, user["username"], PASSWORD, address) for address in (ELSEWHERE, HOME)]

    assert [429, 200] == [answer.status for answer in answers]
    assert 1 <= int(answers[0].headers["Retry-After"]) <= WINDOW


async def test_processes_count_together(serve: Serve, settings: Settings) -> None:
    one, other = [await serve(settings) for _ in range(2)]
    user = await one.new_user()

    statuses = [await guess(api, user["username"], None) for api in (one, other, one, other)]

    assert [[401], [401], [401], [429]] == statuses


# Faults of the service do not count


@contextmanager
def blocked_hashing(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Block password hashing during the block; the event is set once a login waits."""
    begun, over = threading.Event(), threading.Event()
    matches = passwords._matches  # noqa: SLF001 - the slow function

    def slow(stored_hash: str, password: str) -> bool:
        begun.set()
        assert over.wait(DEADLINE_SECONDS)
        return matches(stored_hash, password)

    with monkeypatch.context() as patch:
        patch.setattr(passwords, "_matches", slow)
        try:
            yield begun
        finally:
            over.set()


async def test_a_login_refused_by_a_full_queue_does_not_count(
    serve: Serve, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = await serve(settings.model_copy(update={"ledger_login_queue_limit": 1}))
    user, other = await api.new_user(), await api.new_user()

    with blocked_hashing(monkeypatch) as begun:
        waiting = asyncio.create_task(log_in(api, other["username"]))
        await until(begun.is_set)
        turned_away = [await log_in(api, user["username"], WRONG) for _ in range(2 * PER_ACCOUNT)]

    assert [(503, ["overloaded"])] * 2 * PER_ACCOUNT == [(answer.status, answer.codes) for answer in turned_away]
    assert 200 == (await waiting).status
    assert [401] * PER_ACCOUNT + [429] == await guess(api, user["username"], *[None] * (PER_ACCOUNT + 1))


@pytest.fixture
async def broken(connection: "asyncpg.Connection[Any]") -> AsyncIterator[None]:
    """Make every credential lookup fail."""
    await connection.execute("ALTER TABLE credentials RENAME TO elsewhere")
    yield
    await connection.execute("ALTER TABLE IF EXISTS elsewhere RENAME TO credentials")


async def test_a_login_that_fails_with_a_database_error_does_not_count(
    api: Api, broken: None, connection: "asyncpg.Connection[Any]"
) -> None:
    del broken
    faults = await guess(api, "nobody-at-all", *[None] * 2 * PER_ACCOUNT)
    await connection.execute("ALTER TABLE elsewhere RENAME TO credentials")

    assert [500] * 2 * PER_ACCOUNT == faults
    assert [401] * PER_ACCOUNT + [429] == await guess(api, "nobody-at-all", *[None] * (PER_ACCOUNT + 1))


async def test_a_body_without_a_password_does_not_count(api: Api) -> None:
    user = await api.new_user()

    answers = [await api.nobody.post(LOGIN, {"username": user["username"]}) for _ in range(2 * PER_ACCOUNT)]

    assert [400] * 2 * PER_ACCOUNT == [answer.status for answer in answers]
    assert 200 == (await log_in(api, user["username"])).status
