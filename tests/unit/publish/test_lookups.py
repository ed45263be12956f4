"""Lookups of names: each once at a time, and none waits for name servers that do not answer."""

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest

from ledger.publish.webhooks.lookups import AT_ONCE, DOUBTFUL_AT_ONCE, Lookups
from tests.support.processes import DEADLINE_SECONDS, until

FOUND = ip_address("192.0.2.1")


class NameServers:
    """Answers for all names but those that begin with `dead`, which fail once `give_up` is set."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.give_up = threading.Event()

    def getaddrinfo(self, host: str, *_: Any, **__: Any) -> list[Any]:
        self.asked[host] += 1
        if host.startswith("dead"):
            self.give_up.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "no name server answers")
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (str(FOUND), 0))]


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServers]:
    servers = NameServers()
    monkeypatch.setattr(socket, "getaddrinfo", servers.getaddrinfo)
    yield servers
    servers.give_up.set()


@pytest.fixture
def lookups() -> Iterator[Lookups]:
    lookups = Lookups()
    yield lookups
    lookups.close()


async def fail(lookups: Lookups, servers: NameServers, names: list[str]) -> None:
    tasks = [asyncio.create_task(lookups.find(name, 443)) for name in names]
    servers.give_up.set()
    assert all(isinstance(one, OSError) for one in await asyncio.gather(*tasks, return_exceptions=True))
    servers.give_up.clear()


async def test_a_name_is_found(lookups: Lookups, servers: NameServers) -> None:
    assert [FOUND] == await lookups.find("hooks.example", 443)
    assert {"hooks.example": 1} == servers.asked


async def test_names_that_failed_take_few_threads(lookups: Lookups, servers: NameServers) -> None:
    names = [f"dead{number}.example" for number in range(2 * AT_ONCE)]
    await fail(lookups, servers, names)
    servers.asked.clear()

    again = [asyncio.create_task(lookups.find(name, 443)) for name in names]
    async with asyncio.timeout(DEADLINE_SECONDS):
        assert [FOUND] == await lookups.find("hooks.example", 443)
    await until(lambda: servers.asked.total() == DOUBTFUL_AT_ONCE + 1)
    assert (0, len(names) - DOUBTFUL_AT_ONCE) == lookups.count_waiting()
    servers.give_up.set()
    await asyncio.gather(*again, return_exceptions=True)
    assert len(names) + 1 == servers.asked.total()
    assert (0, 0) == lookups.count_waiting()


async def test_names_that_wait_for_a_thread_are_counted(lookups: Lookups, servers: NameServers) -> None:
    tasks = [asyncio.create_task(lookups.find(f"dead{number}.example", 443)) for number in range(AT_ONCE + 3)]
    await until(lambda: servers.asked.total() == AT_ONCE)
    assert (3, 0) == lookups.count_waiting()
    lookups.close()  # those that wait are looked up no more
    servers.give_up.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (0, 0) == lookups.count_waiting()
    assert AT_ONCE == servers.asked.total()


async def test_a_name_is_looked_up_once_for_all_that_wait(lookups: Lookups, servers: NameServers) -> None:
    waiting = [asyncio.create_task(lookups.find("dead.example", 443)) for _ in range(50)]
    await until(lambda: servers.asked["dead.example"])
    waiting[0].cancel()
    await asyncio.wait(waiting[:1])
    servers.give_up.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert {"dead.example": 1} == servers.asked
    assert isinstance(results[0], asyncio.CancelledError)
    assert all(isinstance(one, OSError) for one in results[1:])


async def test_a_name_that_is_found_again_is_like_any_other(
    lookups: Lookups, servers: NameServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"dead{number}.example" for number in range(DOUBTFUL_AT_ONCE + 1)]
    await fail(lookups, servers, names)
    with monkeypatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", lambda *_, **__: [(2, 1, 0, "", (str(FOUND), 0))])
        for name in names:
            assert [FOUND] == await lookups.find(name, 443)
    servers.asked.clear()

    again = [asyncio.create_task(lookups.find(name, 443)) for name in names]
    await until(lambda: servers.asked.total() == len(names))
    servers.give_up.set()
    await asyncio.gather(*again, return_exceptions=True)
