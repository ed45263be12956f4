"""A client of the live feed of the log."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from tests.support.controls import Api
from tests.support.processes import DEADLINE_SECONDS

EVENT_STREAM = {"Accept": "text/event-stream"}


class Message(NamedTuple):
    """A message of a feed, with its fields."""

    id: str | None
    event: str | None
    data: Any


class Feed:
    """An open feed. Comments and `retry` are kept separately from messages."""

    def __init__(self, response: Any) -> None:
        self.response = response
        self.comments = 0

    async def next(self) -> Message | None:
        """Return the next message, or None if the feed ended properly."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while block := await self._block():
                self.comments += sum(line.startswith(":") for line in block)
                fields = dict(line.split(": ", 1) for line in block if not line.startswith(":"))
                if "data" in fields:
                    return Message(fields["id"], fields["event"], json.loads(fields["data"]))
        return None

    async def take(self, count: int) -> list[Message]:
        found = [await self.next() for _ in range(count)]
        return [message for message in found if message is not None]

    async def _block(self) -> list[str]:
        lines: list[str] = []
        while line := (await self.response.content.readline()).decode():
            if line == "\n":
                return lines
            lines.append(line.rstrip("\n"))
        return []


@asynccontextmanager
async def open_feed(api: Api, query: str = "", **headers: str) -> AsyncIterator[Feed]:
    sent = {"Authorization": f"Bearer {api.token}", **EVENT_STREAM, **headers}
    async with api.client.get(f"/v1/events{query}", headers=sent) as response:
        assert 200 == response.status, await response.text()
        yield Feed(response)
