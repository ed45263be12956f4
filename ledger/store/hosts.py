"""Connects to one of the servers that a URL names, whichever of them are silent.

asyncpg tries servers one after the other, within one time limit. A server that is paused, or cut off from the network,
would take all of it, and no attempt would ever reach the next server. It also gives up at a server that refuses the
connection, although another one may accept it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qs, quote, urlencode, urlsplit, urlunsplit

import asyncpg
import structlog

from ledger.store.connections import Connection

T = TypeVar("T")

log = structlog.get_logger(__name__)

HEAD_START_SECONDS = 0.1  # of a server before the next one in the URL
SILENT_SECONDS = 0.75  # that a silent server has, when the others have refused
_ASKS_ALL = "prefer-standby"  # asyncpg then has to know all servers
_LISTS = ("host", "port")
_last: dict[tuple[str, ...], str] = {}  # the server that was chosen last, by the names of all that a URL has


async def connect_first(dsn: str, connect: Callable[[str], Awaitable[T]], close: Callable[[T], None]) -> T:
    """Return a connection to the first server of the URL that accepts it.

    `connect` connects to the one server of a URL, and `close` drops what is not needed. While a silent server may still
    accept, those that refused are asked again, because one of them may have been promoted. Raises the error of the last
    server that has failed.
    """
    targets = split_hosts(dsn)
    if len(targets) == 1:
        return await connect(dsn)
    names = tuple(map(name_server, targets))
    ends = asyncio.get_running_loop().time() + SILENT_SECONDS
    attempts = _Attempts[T](connect)
    try:
        while attempts.chosen is None and (targets or attempts.running):
            if targets:
                attempts.begin(targets.pop(0))
            if await attempts.wait(HEAD_START_SECONDS if targets or attempts.refused else None) or targets:
                continue
            if asyncio.get_running_loop().time() > ends:
                break
            targets = attempts.take_refused()
    finally:
        attempts.drop_others(close)
    if attempts.chosen is None:
        raise attempts.error
    _note_switchover(names, name_server(attempts.target))
    return attempts.chosen.result()


def _note_switchover(names: tuple[str, ...], server: str) -> None:
    """Log that this process connects to another server of a URL than the last time."""
    before = _last.get(names, server)
    _last[names] = server
    if server != before:
        log.warning("PostgreSQL: connected to another server", server=server, before=before)


class _Attempts(Generic[T]):
    """The attempts to connect to servers, all at once."""

    def __init__(self, connect: Callable[[str], Awaitable[T]]) -> None:
        self._connect = connect
        self._begun: list[asyncio.Task[T]] = []
        self.running: dict[asyncio.Task[T], str] = {}
        self.refused: list[str] = []
        self.chosen: asyncio.Task[T] | None = None
        self.target = ""  # the URL of the server that is chosen
        self.error: BaseException = OSError("the URL names no server")

    def begin(self, target: str) -> None:
        attempt = asyncio.ensure_future(self._connect(target))
        self._begun.append(attempt)
        self.running[attempt] = target

    async def wait(self, seconds: float | None) -> bool:
        """Wait until one has accepted or refused, and for this long at most; return whether one has."""
        done, _ = await asyncio.wait(self.running, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for attempt in done:
            target = self.running.pop(attempt)
            if (error := attempt.exception()) is not None:
                self.error = error
                self.refused.append(target)
            elif self.chosen is None:
                self.chosen, self.target = attempt, target
        return bool(done)

    def take_refused(self) -> list[str]:
        """Return the servers that have refused, to ask them again."""
        taken, self.refused = self.refused, []
        return taken

    def drop_others(self, close: Callable[[T], None]) -> None:
        for attempt in self._begun:
            if attempt is not self.chosen:
                attempt.cancel()
                attempt.add_done_callback(lambda ended: _drop(ended, close))


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


def name_server(dsn: str) -> str:
    """Return the host of a URL with one server, and its port if it has one; never the name and password before it."""
    parts = urlsplit(dsn)
    query = parse_qs(parts.query)
    _, _, place = parts.netloc.rpartition("@")
    return place or ":".join(query.get("host", [""])[-1:] + query.get("port", [])[-1:])


def _drop(ended: "asyncio.Task[T]", close: Callable[[T], None]) -> None:
    """Close a connection that was made after another one had been chosen."""
    if not ended.cancelled() and ended.exception() is None:
        close(ended.result())


async def connect_to(dsn: str, **options: Any) -> Connection:
    """Open a connection of asyncpg to the first server of the URL that accepts it."""
    return await connect_first(
        dsn, lambda one: asyncpg.connect(one, **options), lambda connection: connection.terminate()
    )
