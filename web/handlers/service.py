"""The service itself: its greeting, its health and its version."""

from aiohttp import web

from ledger import __version__
from web.bodies import answer
from web.reply import Reply


async def root(request: web.Request) -> Reply:  # noqa: ARG001 - the shape all handlers share
    """GET /."""
    return answer({"message": "Ledger is ready."})


async def health(request: web.Request) -> Reply:  # noqa: ARG001
    """GET /health."""
    return answer({"status": "healthy"})


async def version(request: web.Request) -> Reply:  # noqa: ARG001
    """GET /version."""
    return answer({"name": "ledger", "version": __version__})
