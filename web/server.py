"""The HTTP server of one worker: aiohttp's, with bounds on time and size, and no answer outside the contract."""

from http import HTTPStatus
from typing import cast

import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from ledger.service.logging import ACCESS
from ledger.settings import Settings
from web.handlers.monitoring import FIGURES
from web.http.errors import MALFORMED, problem, refusals_of
from web.http.request import make_request_id
from web.metrics import Figures

log = structlog.get_logger(__name__)
access_log = structlog.get_logger(ACCESS)


class _Protocol(RequestHandler):
    """aiohttp's protocol, which answers what it cannot parse as the contract says."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - the parser's own words, which quote the request
    ) -> web.StreamResponse:
        """The answer to a request that is not HTTP (400), or to a fault below the application (500)."""
        refusals = (MALFORMED,) if status < HTTPStatus.INTERNAL_SERVER_ERROR else refusals_of(exc or RuntimeError())
        trace_id = make_request_id(request)
        accept = request.headers.get("Accept", "*/*")  # of what cannot be parsed, aiohttp makes a request without any
        response = problem(refusals, instance=request.path, trace_id=trace_id, accept=accept)
        response.request_id = trace_id
        response.force_close()
        cast("_Server", self._manager).figures.unparsed(response.status, refusals)
        access_log.info(
            "request", method=request.method, path=request.path, status=response.status, request_id=trace_id
        )
        if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("request failed", request_id=trace_id, exc_info=exc)
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer; an exception was raised before the application's layers, by an `Expect` nobody knows."""
        if isinstance(resp, web.HTTPException):
            resp = self.handle_error(request, resp.status)
        return await super().finish_response(request, resp, start_time)


class _Server(web.Server):
    figures: Figures

    def __call__(self) -> RequestHandler:
        return _Protocol(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """Runs an application on the protocol above."""

    def __init__(self, app: web.Application, settings: Settings) -> None:
        super().__init__(
            app,
            access_log=None,
            keepalive_timeout=settings.ledger_keepalive_seconds,
            shutdown_timeout=settings.ledger_shutdown_seconds,
            auto_decompress=False,
        )

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        server.__class__ = _Server
        cast("_Server", server).figures = self.app[FIGURES]
        return server
