"""Endpoints of webhooks: real HTTP servers on loopback, which keep what they receive."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aiohttp import web
from aiohttp.test_utils import TestServer
from standardwebhooks.webhooks import Webhook

from ledger.publish.webhooks.clock import Clock

LOOPBACK = "127.0.0.0/8 ::1"  # what tests allow


class SetClock(Clock):
    """A clock that a test sets forward. Attempts are as late as they can be."""

    def __init__(self) -> None:
        self._ahead = 0.0
        self._moved = asyncio.Event()
        self.awaited: list[float] = []  # the times that couriers wait for

    def time(self) -> float:
        """Return the time of the machine, and what the test has added."""
        return super().time() + self._ahead

    def draw(self) -> float:
        """Return the largest number."""
        return 1.0

    async def sleep_until(self, moment: float) -> None:
        """Wait until the test has set the clock to a time or beyond."""
        self.awaited.append(moment)
        try:
            while self.time() < moment:
                await self._moved.wait()
        finally:
            self.awaited.remove(moment)

    def forward(self, seconds: float) -> None:
        """Set the clock forward."""
        self._ahead += seconds
        self._moved.set()
        self._moved = asyncio.Event()


class Received(NamedTuple):
    """A request that an endpoint has received."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        """The CloudEvent."""
        return dict(json.loads(self.body))

    @property
    def id(self) -> str:
        """The `webhook-id`."""
        return self.headers["webhook-id"]

    @property
    def position(self) -> int:
        """The position of the event in the log."""
        return int(self.event["position"])

    def verify(self, secret: str) -> None:
        """Raise an error unless the request is signed with a secret."""
        Webhook(secret).verify(self.body, self.headers)


Answer = Callable[[Received], Awaitable[web.StreamResponse] | web.StreamResponse | int]


@dataclass
class Receiver:
    """An endpoint. `answer` returns the status, or the answer, to each request; by default it is 204."""

    server: TestServer
    received: list[Received] = field(default_factory=list)
    answer: Answer = lambda _: 204

    def url(self, path: str = "/hooks") -> str:
        """Return the URL of a path of the endpoint."""
        return str(self.server.make_url(path))

    def positions(self, path: str | None = None) -> list[int]:
        """Return the positions of the events received, in order."""
        return [one.position for one in self.received if path in {None, one.path}]

    def topics(self) -> list[str]:
        """Return the names of the events received, in order."""
        return [one.event["type"].split(".")[1] for one in self.received]


@asynccontextmanager
async def receive(**options: Any) -> AsyncIterator[Receiver]:
    """Run an endpoint for the length of a block; the options are those of the server, such as `ssl`."""

    async def take(request: web.Request) -> web.StreamResponse:
        one = Received(request.path, dict(request.headers.items()), await request.read())
        receiver.received.append(one)
        answer = receiver.answer(one)
        if isinstance(answer, int):
            return web.Response(status=answer)
        return answer if isinstance(answer, web.StreamResponse) else await answer

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", take)
    server = TestServer(app)
    receiver = Receiver(server)
    await server.start_server(**options)
    try:
        yield receiver
    finally:
        await server.close()
