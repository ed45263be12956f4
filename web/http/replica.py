"""Requests before their handlers: with parameters that the route has, and reads that know what the client knows."""

from collections.abc import Collection

from aiohttp import hdrs, web

from ledger import errors
from ledger.errors import Refused
from ledger.store.connections import Pool
from web.auth import Handler
from web.http.params import integer_parameter
from web.http.request import RUNTIME
from web.http.response import Reply, Stream

MIN_POSITION = integer_parameter("min_position", "Wait until this `Ledger-Position` is visible")

MAX_UNKNOWN = 10  # parameters that one response names


def refuse_unknown_parameters(names: Collection[str], handler: Handler) -> Handler:
    """Return the handler, which gets no query parameters but these: one that is misspelt must not be ignored."""
    known = sorted(names)

    async def strict(request: web.Request) -> Reply | Stream:
        if request.rel_url.raw_query_string and (unknown := request.query.keys() - names):
            raise Refused(*(errors.unknown_parameter(name, known) for name in sorted(unknown)[:MAX_UNKNOWN]))
        return await handler(request)

    return strict


def reader(request: web.Request) -> Pool:
    """Where a request reads: what a write looks up is never old."""
    runtime = request.app[RUNTIME]
    return runtime.readers if request.method in {hdrs.METH_GET, hdrs.METH_HEAD} else runtime.pool


def wait_for_position(handler: Handler) -> Handler:
    """The handler, which runs once everything up to `min_position` can be read, or else is refused."""

    async def patient(request: web.Request) -> Reply | Stream:
        position = MIN_POSITION.read(request)
        if position is not None:
            runtime = request.app[RUNTIME]
            reached = await runtime.reached.wait_for(position, runtime.settings.ledger_position_wait_seconds)
            if reached < position:
                raise Refused(errors.position_not_reached(reached))
        return await handler(request)

    return patient
