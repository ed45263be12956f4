"""The HTTP server of one worker: aiohttp's, with bounds on time and size, and no answer outside the contract."""

from http import HTTPStatus

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from ledger.settings import Settings
from web.app import SECURITY_HEADERS
from web.context import request_id
from web.errors import MALFORMED, problem, refusals_of


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
        trace_id = request_id(request)
        response = problem(refusals, instance="/", trace_id=trace_id)
        response.headers.update(SECURITY_HEADERS)
        response.headers["X-Request-Id"] = trace_id
        response.force_close()
        return response


class _Server(web.Server):
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
        return server
