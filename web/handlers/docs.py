"""The descriptions of the API (OpenAPI 3.1) and of events (AsyncAPI 3.0), and the page that shows the first.

The page loads nothing from other hosts.
"""

from functools import lru_cache
from pathlib import Path

from aiohttp import web

from web.http.negotiation import choose_coding
from web.http.params import Parameter
from web.http.response import Reply

OPENAPI = web.AppKey("OPENAPI", bytes)
ASYNCAPI = web.AppKey("ASYNCAPI", bytes)

FOLDER = Path(__file__).parent.parent / "docs"
PAGE = "index.html"
ASSETS = {
    "icon.svg": "image/svg+xml",
    "style.css": "text/css",
    **{
        f"{name}.js": "text/javascript"
        for name in ("dom", "main", "markdown", "operation", "request", "schema", "session", "views")
    },
}
NAME = Parameter("name", "The file", str, schema={"enum": sorted(ASSETS)}, place="path")
# Nothing is cached (`Cache-Control: no-store`): after an upgrade, modules of two releases must not meet in a browser.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "Vary": "Accept-Encoding",
}


async def get_api_document(request: web.Request) -> Reply:
    """GET /openapi.json."""
    return Reply(body=request.app[OPENAPI], content_type="application/json")


async def get_events_document(request: web.Request) -> Reply:
    """GET /asyncapi.json."""
    return Reply(body=request.app[ASYNCAPI], content_type="application/json")


async def get_docs_page(request: web.Request) -> Reply:  # noqa: ARG001 - the shape all handlers share
    """GET /docs."""
    return Reply(body=_content(PAGE), content_type="text/html", charset="utf-8", headers=_HEADERS)


async def get_docs_asset(request: web.Request) -> Reply:
    """GET /docs/{name}."""
    name = request.match_info["name"]
    if name not in ASSETS:
        raise web.HTTPNotFound
    reply = Reply(body=_content(name), content_type=ASSETS[name], charset="utf-8", headers=_HEADERS)
    coding = choose_coding(request)
    if coding is not None:
        reply.enable_compression(web.ContentCoding(coding))
    return reply


@lru_cache(maxsize=len(ASSETS) + 1)
def _content(name: str) -> bytes:
    return (FOLDER / name).read_bytes()
