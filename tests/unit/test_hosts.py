"""Which servers a URL names, and which of them is chosen."""

import asyncio
from collections.abc import Callable
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from ledger.store.hosts import HEAD_START_SECONDS, connect_first, name_server, split_hosts

URL = "postgresql://ledger:secret@a,b:5433,c/ledger?target_session_attrs=read-write"
A = "postgresql://ledger:secret@a/ledger?target_session_attrs=read-write"
B = "postgresql://ledger:secret@b:5433/ledger?target_session_attrs=read-write"
C = "postgresql://ledger:secret@c/ledger?target_session_attrs=read-write"
BOUND_SECONDS = 1.5  # much less than the patience of a caller


def test_each_server_gets_a_url() -> None:
    assert [A, B, C] == split_hosts(URL)


def test_servers_in_the_query() -> None:
    assert [
        "postgresql://ledger@/ledger?sslmode=disable&host=a&port=1",
        "postgresql://ledger@/ledger?sslmode=disable&host=%2Frun&port=2",
    ] == split_hosts("postgresql://ledger@/ledger?host=a,/run&port=1,2&sslmode=disable")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ledger@a/ledger",
        "postgresql://ledger@/ledger?host=/run/postgresql&port=5432",
        "postgresql://ledger@a,b/ledger?target_session_attrs=prefer-standby",
        "postgresql://ledger@/ledger?host=a,b,c&port=1,2",
    ],
)
def test_a_url_that_stays_whole(url: str) -> None:
    assert [url] == split_hosts(url)


class Servers:
    """Servers that accept, refuse, or say nothing; `dropped` has the connections that were not needed."""

    def __init__(self, **behaviours: Callable[[], object]) -> None:
        self._behaviours = behaviours
        self.dropped: list[str] = []

    async def connect(self, url: str) -> str:
        name = url.partition("@")[2][0]
        result = self._behaviours[name]()
        if asyncio.iscoroutine(result):
            await result
        return name

    async def choose(self) -> str:
        async with asyncio.timeout(BOUND_SECONDS):
            return await connect_first(URL, self.connect, self.dropped.append)


def accept() -> None:
    pass


def refuse() -> None:
    raise ConnectionRefusedError


async def say_nothing() -> None:
    await asyncio.sleep(3600)


async def accept_late() -> None:
    await asyncio.sleep(0.4)


async def test_the_first_that_accepts() -> None:
    assert "a" == await Servers(a=accept, b=accept, c=accept).choose()
    assert "c" == await Servers(a=refuse, b=refuse, c=accept).choose()


async def test_silent_servers_delay_nobody_for_long() -> None:
    assert "c" == await Servers(a=say_nothing, b=say_nothing, c=accept).choose()


async def test_a_silent_server_is_not_waited_for_when_the_others_refuse() -> None:
    with pytest.raises(ConnectionRefusedError):
        await Servers(a=say_nothing, b=refuse, c=refuse).choose()


async def test_a_slow_server_is_waited_for() -> None:
    assert "a" == await Servers(a=accept_late, b=refuse, c=refuse).choose()


async def test_a_server_that_is_promoted_meanwhile_is_found_beside_a_silent_one() -> None:
    times = iter((refuse, refuse, accept))
    asked: list[float] = []

    def accept_at_last() -> None:
        asked.append(asyncio.get_running_loop().time())
        next(times)()

    assert "c" == await Servers(a=say_nothing, b=refuse, c=accept_at_last).choose()
    assert all(later - earlier >= HEAD_START_SECONDS for earlier, later in pairwise(asked))


async def test_a_connection_that_is_not_needed_is_dropped() -> None:
    servers = Servers(a=accept_late, b=accept_late, c=accept_late)
    chosen = await servers.choose()
    await asyncio.sleep(0.01)
    assert "a" == chosen
    assert not servers.dropped, "they were cancelled before"


async def test_no_connection_is_left_when_the_caller_gives_up() -> None:
    servers = Servers(a=say_nothing, b=say_nothing, c=say_nothing)
    with pytest.raises(TimeoutError):
        await servers.choose()
    await asyncio.sleep(0.01)
    assert 1 == len(asyncio.all_tasks())


async def test_a_switchover_is_logged_once_without_name_and_password() -> None:
    await Servers(a=accept, b=refuse, c=refuse).choose()
    with capture_logs() as lines:
        for _ in range(2):
            await Servers(a=refuse, b=accept, c=refuse).choose()
        await Servers(a=accept, b=accept, c=accept).choose()
    assert [("b:5433", "a"), ("a", "b:5433")] == [(line["server"], line["before"]) for line in lines]
    assert "secret" not in str(lines)


def test_a_server_is_named_by_its_host_and_port() -> None:
    urls = [A, B, *split_hosts("postgresql://ledger:secret@/ledger?host=d,/run&port=1,2")]
    assert ["a", "b:5433", "d:1", "/run:2"] == [*map(name_server, urls)]
