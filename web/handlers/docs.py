"""The document (OpenAPI 3.1) and the page that shows it: Swagger UI, from files that came with the installation."""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from aiohttp import web

from web.codings import coding_for
from web.reply import Reply

OPENAPI = web.AppKey("OPENAPI", bytes)

ASSETS = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript", "start.js": "text/javascript"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "public, max-age=3600",
    "Vary": "Accept-Encoding",
}
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Ledger</title>
  <link rel="icon" href="data:,">
  <link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
  <main id="docs"></main>
  <script src="docs/swagger-ui-bundle.js"></script>
  <script src="docs/start.js"></script>
</body>
</html>
"""
# Tokens that are typed in stay in the page's memory, and no validator elsewhere is told where this service is.
_START = """SwaggerUIBundle({
  url: "openapi.json", dom_id: "#docs", deepLinking: true, docExpansion: "list", filter: true,
  displayRequestDuration: true, persistAuthorization: false, validatorUrl: null,
});
"""


async def get_api_document(request: web.Request) -> Reply:
    """GET /openapi.json."""
    return Reply(body=request.app[OPENAPI], content_type="application/json")


async def get_docs_page(request: web.Request) -> Reply:  # noqa: ARG001 - the shape all handlers share
    """GET /docs."""
    return Reply(text=_PAGE, content_type="text/html", headers=_HEADERS)


async def get_docs_asset(request: web.Request) -> Reply:
    """GET /docs/{name}."""
    name = request.match_info["name"]
    if name not in ASSETS:
        raise web.HTTPNotFound
    reply = Reply(body=_content(name), content_type=ASSETS[name], charset="utf-8", headers=_HEADERS)
    coding = coding_for(request)
    if coding is not None:
        reply.enable_compression(web.ContentCoding(coding))
    return reply


@lru_cache(maxsize=len(ASSETS))
def _content(name: str) -> bytes:
    if name == "start.js":
        return _START.encode()
    package = find_spec("flask_swagger_ui")  # whose files are served; its code, and Flask, are never imported
    if package is None or package.origin is None:
        raise FileNotFoundError(name)
    return (Path(package.origin).parent / "dist" / name).read_bytes()
