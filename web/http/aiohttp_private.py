"""All private interfaces of aiohttp that the service relies on. `pyproject.toml` caps its version for them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

ProtocolFactory = Callable[..., RequestHandler]


class _Server(web.Server):
    protocol: ProtocolFactory

    def __call__(self) -> RequestHandler:
        return self.protocol(self, loop=self._loop, **self._kwargs)


def is_idle(connection: RequestHandler) -> bool:
    """Return whether a connection waits for its next request."""
    return connection._waiter is not None and not connection._messages  # noqa: SLF001


class ProtocolRunner(web.AppRunner):
    """Runs an application on connections whose protocol class is not aiohttp's own."""

    def __init__(self, app: web.Application, protocol: ProtocolFactory, **options: Any) -> None:
        super().__init__(app, **options)
        self._protocol = protocol

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        server.__class__ = _Server
        server.protocol = self._protocol  # type: ignore[attr-defined]
        return server


@contextmanager
def replace_app(request: web.Request, app: Any) -> Iterator[None]:
    """Let `request.app` be another object, for the length of the context."""
    match_info, before = request.match_info, request.app
    match_info._current_app = app  # noqa: SLF001
    try:
        yield
    finally:
        match_info._current_app = before  # noqa: SLF001
