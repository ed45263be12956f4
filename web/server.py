"""The HTTP server of one worker: aiohttp's, with limits on time and size. Every response follows the contract."""

import asyncio
import socket
from functools import partial
from http import HTTPStatus
from typing import Any

import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from ledger.service.logging import ACCESS
from ledger.settings import Settings
from web.handlers.monitoring import METRICS
from web.handshakes import has_waiting, ignore_new_handshakes
from web.http.aiohttp_private import ProtocolRunner, is_idle
from web.http.errors import MALFORMED, problem, refusals_of
from web.http.request import make_request_id
from web.http.response import Reply
from web.metrics import Metrics

GRACE_SECONDS = 1.0  # for the next request of a client that sends one after the other
DRAIN_POLL_SECONDS = 0.01
QUIET_LOOKS = 2  # at the connections that wait: the last step of a handshake may come after the first look

log = structlog.get_logger(__name__)
access_log = structlog.get_logger(ACCESS)


class _Protocol(RequestHandler):
    """aiohttp's protocol, with the problem details of the contract for requests that cannot be parsed."""

    __slots__ = ("_metrics", "active_at")

    def __init__(self, metrics: Metrics, manager: web.Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self._metrics = metrics
        self.active_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note when the connection was opened, after which a request follows soon."""
        super().connection_made(transport)
        self.active_at = asyncio.get_running_loop().time()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - the parser's message, which quotes the request
    ) -> web.StreamResponse:
        """Return the response to a request that is not HTTP (400), or to a fault below the application (500)."""
        refusals = (MALFORMED,) if status < HTTPStatus.INTERNAL_SERVER_ERROR else refusals_of(exc or RuntimeError())
        trace_id = make_request_id()
        accept = request.headers.get("Accept", "*/*")  # aiohttp passes a request without headers if it cannot be parsed
        response = problem(refusals, instance=request.path, trace_id=trace_id, accept=accept)
        response.request_id = trace_id
        response.force_close()
        self._metrics.count_unparsed(response.status, refusals)
        access_log.info(
            "request", method=request.method, path=request.path, status=response.status, request_id=trace_id
        )
        if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("request failed", request_id=trace_id, exc_info=exc)
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send a response. It is an exception if the request has an unknown `Expect`, which no middleware sees."""
        if type(resp) is not Reply and isinstance(resp, web.HTTPException):
            resp = self.handle_error(request, resp.status)
        self.active_at = asyncio.get_running_loop().time()
        return await super().finish_response(request, resp, start_time)


class Runner(ProtocolRunner):
    """Runs an application on the protocol above."""

    def __init__(self, app: web.Application, settings: Settings) -> None:
        super().__init__(
            app,
            partial(_Protocol, app[METRICS]),
            access_log=None,
            keepalive_timeout=settings.ledger_keepalive_seconds,
            shutdown_timeout=settings.ledger_shutdown_seconds,
            auto_decompress=False,
        )

    async def drain(self, listener: socket.socket) -> None:
        """Accept no more connections, and let clients leave those they have.

        A client that is active sends its next request soon: the response closes the connection. Closing it before would
        reset that request. A connection that was quiet for some time is closed first.
        """
        ignore_new_handshakes(listener)
        await self._accept_rest(listener)
        for site in list(self.sites):
            await site.stop()
        clock = asyncio.get_running_loop().time
        until = clock() + GRACE_SECONDS
        while clock() < until and (idle := self._list_idle()):
            for connection in idle:
                if clock() - connection.active_at >= GRACE_SECONDS and connection.transport is not None:
                    connection.transport.close()
            await asyncio.sleep(DRAIN_POLL_SECONDS)

    async def _accept_rest(self, listener: socket.socket) -> None:
        """Let the event loop accept what has connected before, until nothing waits at two looks in a row."""
        clock = asyncio.get_running_loop().time
        until, quiet = clock() + GRACE_SECONDS, 0
        while quiet < QUIET_LOOKS and clock() < until:
            await asyncio.sleep(DRAIN_POLL_SECONDS)
            quiet = 0 if has_waiting(listener) else quiet + 1

    def _list_idle(self) -> list[_Protocol]:
        connections = [] if self.server is None else self.server.connections
        return [found for found in connections if isinstance(found, _Protocol) and is_idle(found)]
