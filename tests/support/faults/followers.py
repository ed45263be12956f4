"""Two programs that follow the log while faults happen: one reads the feed, the other reads pages."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import aiohttp

from tests.support.processes import until

RETRY_SECONDS = 0.1
PAGE = 500
SILENCE_SECONDS = 5  # after which a follower reconnects; a feed sends a sign of life, but only every 15 s
ERRORS = (aiohttp.ClientError, OSError, ValueError, KeyError)


class Event(NamedTuple):
    """What a follower has seen at a position."""

    position: int
    stream_id: str
    version: int


class Follower:
    """Follow the log from a position, and note every event in the order of its arrival."""

    def __init__(self, urls: Sequence[str], instance: int, token: str, after: int) -> None:
        self.seen: list[Event] = []
        self._urls, self._instance, self._position = urls, instance, after
        self._headers = {"Authorization": f"Bearer {token}"}
        self._task: asyncio.Task[None] | None = None

    @property
    def position(self) -> int:
        return self._position

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    def cancel(self) -> None:
        """Stop where it is."""
        if self._task is not None:
            self._task.cancel()

    async def stop(self, position: int) -> None:
        """Follow to this position, and stop."""
        assert self._task is not None
        try:
            await until(lambda: self._position >= position)
        finally:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=SILENCE_SECONDS, sock_read=SILENCE_SECONDS)
        async with aiohttp.ClientSession(headers=self._headers, timeout=timeout) as session:
            while True:
                try:
                    await self._follow(session, self._urls[self._instance])
                except ERRORS:
                    await asyncio.sleep(RETRY_SECONDS)

    async def _follow(self, session: aiohttp.ClientSession, url: str) -> None:
        raise NotImplementedError

    def _note(self, event: dict[str, Any]) -> None:
        self.seen.append(Event(event["position"], event["stream_id"], event["version"]))
        self._position = event["position"]


class FeedFollower(Follower):
    """Reads server-sent events, and resumes with `Last-Event-ID`."""

    async def _follow(self, session: aiohttp.ClientSession, url: str) -> None:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(self._position)}
        async with session.get(f"{url}/v1/events", headers=headers) as response:
            response.raise_for_status()
            async for line in response.content:
                if line.startswith(b"data: "):
                    self._note(json.loads(line.removeprefix(b"data: ")))


class PageFollower(Follower):
    """Reads pages after the last position that it knows."""

    async def _follow(self, session: aiohttp.ClientSession, url: str) -> None:
        async with session.get(f"{url}/v1/events?after={self._position}&limit={PAGE}") as response:
            response.raise_for_status()
            page = await response.json()
        for event in page:
            self._note(event)
        await asyncio.sleep(RETRY_SECONDS)
