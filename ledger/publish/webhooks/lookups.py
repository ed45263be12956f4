"""Looks up the addresses of hosts, so that names whose servers do not answer take no thread that others need.

A lookup takes a thread until a name server answers or the system gives up, which can be longer than a request lasts.
"""

import asyncio
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from ledger.values.addresses import Address, parse_address

AT_ONCE = 28
DOUBTFUL_AT_ONCE = 4  # lookups of names that were not found the last time
MAX_DOUBTFUL = 10_000  # names

_Found = asyncio.Future[list[Address]]


class Lookups:
    """Looks up each name once at a time for all that ask. Names that were not found share a few threads."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="names")
        self._few_threads = ThreadPoolExecutor(DOUBTFUL_AT_ONCE, thread_name_prefix="doubtful names")
        self._waiting: dict[str, bool] = {}  # the names that no thread looks up yet; True for those of the few threads
        self._running: dict[str, _Found] = {}
        self._doubtful: dict[str, None] = {}  # an ordered set

    async def find(self, host: str, _: int) -> Sequence[Address]:
        """Return the addresses of a host. Raises `OSError`."""
        found = self._running.get(host)
        if found is None:
            is_doubtful = self._waiting[host] = host in self._doubtful
            threads = self._few_threads if is_doubtful else self._threads
            found = self._running[host] = asyncio.get_running_loop().run_in_executor(threads, self._begin, host)
            found.add_done_callback(lambda done: self._note(host, done))
        return await asyncio.shield(found)

    def count_waiting(self) -> tuple[int, int]:
        """Return how many names wait for one of the many threads, and for one of the few."""
        waiting = [*self._waiting.values()]
        return waiting.count(False), waiting.count(True)

    def close(self) -> None:
        """Begin no more lookups."""
        for threads in (self._threads, self._few_threads):
            threads.shutdown(wait=False, cancel_futures=True)

    def _begin(self, host: str) -> list[Address]:
        """Look up a name, in a thread."""
        self._waiting.pop(host, None)
        return _look_up(host)

    def _note(self, host: str, done: _Found) -> None:
        del self._running[host]
        self._waiting.pop(host, None)  # no thread has begun, if it was cancelled
        self._doubtful.pop(host, None)
        if done.cancelled() or done.exception() is not None:
            self._doubtful[host] = None
        while len(self._doubtful) > MAX_DOUBTFUL:
            del self._doubtful[next(iter(self._doubtful))]


def _look_up(host: str) -> list[Address]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [address for one in found if (address := parse_address(str(one[4][0]))) is not None]
