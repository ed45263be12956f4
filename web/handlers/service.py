"""The service: its greeting, health, version and public keys."""

from aiohttp import web

from ledger import __version__
from web.http.json import answer
from web.http.request import RUNTIME
from web.http.response import Reply


async def get_greeting(request: web.Request) -> Reply:  # noqa: ARG001 - the shape all handlers share
    """GET /."""
    return answer({"message": "Ledger is ready."})


async def get_token_keys(request: web.Request) -> Reply:
    """GET /.well-known/jwks.json: the public keys that verify tokens (RFC 7517); an empty set with HS256."""
    return answer(request.app[RUNTIME].signer.jwks())


async def get_health(request: web.Request) -> Reply:  # noqa: ARG001
    """GET /health."""
    return answer({"status": "healthy"})


async def get_version(request: web.Request) -> Reply:  # noqa: ARG001
    """GET /version."""
    return answer({"name": "ledger", "version": __version__})
