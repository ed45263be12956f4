"""Connects to one of the servers that a URL names, whichever of them are silent.

asyncpg tries servers one after the other, within one time limit. A server that is paused, or cut off from the network,
would take all of it, and no attempt would ever reach the next server. It also gives up at a server that refuses the
connection, although another one may accept it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import parse_qs, quote, urlencode, urlsplit, urlunsplit

import asyncpg

from ledger.store.connections import Connection

T = TypeVar("T")

HEAD_START_SECONDS = 0.1  # of a server before the next one in the URL
_ASKS_ALL = "prefer-standby"  # asyncpg then has to know all servers
_LISTS = ("host", "port")


async def connect_first(dsn: str, connect: Callable[[str], Awaitable[T]], close: Callable[[T], None]) -> T:
    """Return a connection to the first server of the URL that accepts it.

    `connect` connects to the one server of a URL, and `close` drops what is not needed. Raises the error of the last
    server that has failed.
    """
    targets = split_hosts(dsn)
    if len(targets) == 1:
        return await connect(dsn)
    clock = asyncio.get_running_loop().time
    began, attempts = clock(), list[asyncio.Task[T]]()
    chosen: asyncio.Task[T] | None = None
    error: BaseException = OSError("the URL names no server")
    try:
        running: set[asyncio.Task[T]] = set()
        while chosen is None and (targets or running):
            if targets:
                attempts.append(asyncio.ensure_future(connect(targets.pop(0))))
                running.add(attempts[-1])
            limit = _limit_wait(len(targets), is_last=len(running) < len(attempts), elapsed=clock() - began)
            done, running = await asyncio.wait(running, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            if not done and not targets:
                break
            for attempt in done:
                error = attempt.exception() or error
                chosen = attempt if attempt.exception() is None and chosen is None else chosen
    finally:
        for attempt in attempts:
            if attempt is not chosen:
                attempt.cancel()
                attempt.add_done_callback(lambda ended: _drop(ended, close))
    if chosen is None:
        raise error
    return chosen.result()


def _limit_wait(targets: int, *, is_last: bool, elapsed: float) -> float | None:
    """Return how long to wait for an answer, in seconds.

    When the other servers have refused, a silent one gets as long again: one of the others may be promoted any time.
    """
    if targets:
        return HEAD_START_SECONDS
    return elapsed + HEAD_START_SECONDS if is_last else None


def split_hosts(dsn: str) -> list[str]:
    """Return a URL for each server that this one names, in its order."""
    parts = urlsplit(dsn)
    query = parse_qs(parts.query, keep_blank_values=True)
    if query.get("target_session_attrs", [""])[-1] == _ASKS_ALL:
        return [dsn]
    credentials, at, hosts = parts.netloc.rpartition("@")
    if "," in hosts:
        return [urlunsplit(parts._replace(netloc=f"{credentials}{at}{host}")) for host in hosts.split(",")]
    names = query.get("host", [""])[-1].split(",")
    ports = query.get("port", [""])[-1].split(",")
    if len(names) == 1 or len(ports) not in {1, len(names)}:  # asyncpg says what is wrong
        return [dsn]
    ports = ports * len(names) if len(ports) == 1 else ports
    rest = {name: values[-1] for name, values in query.items() if name not in _LISTS}
    return [
        urlunsplit(
            parts._replace(query=urlencode({**rest, "host": name, **({"port": port} if port else {})}, quote_via=quote))
        )
        for name, port in zip(names, ports, strict=True)
    ]


def _drop(ended: "asyncio.Task[T]", close: Callable[[T], None]) -> None:
    """Close a connection that was made after another one had been chosen."""
    if not ended.cancelled() and ended.exception() is None:
        close(ended.result())


async def connect_to(dsn: str, **options: Any) -> Connection:
    """Open a connection of asyncpg to the first server of the URL that accepts it."""
    return await connect_first(
        dsn, lambda one: asyncpg.connect(one, **options), lambda connection: connection.terminate()
    )
