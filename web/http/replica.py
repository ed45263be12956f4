"""Checks before a handler: only known parameters, and reads from a replica that has reached `min_position`."""

from collections.abc import Collection

from aiohttp import hdrs, web

from ledger import errors
from ledger.errors import Refused
from ledger.store.connections import Pool
from ledger.store.replica import ReplicaReader
from web.auth import Handler
from web.http.metadata_filter import is_metadata_filter
from web.http.params import integer_parameter
from web.http.request import RUNTIME
from web.http.response import Reply, Stream

MIN_POSITION = integer_parameter("min_position", "Wait until this `Ledger-Position` is visible")

READER = web.RequestKey("READER", ReplicaReader)
MAX_UNKNOWN = 10  # parameters that one response names


def refuse_unknown_parameters(names: Collection[str], handler: Handler) -> Handler:
    """Return the handler with a check that refuses other query parameters: a misspelt one must not be ignored."""
    known = sorted(names)

    async def strict(request: web.Request) -> Reply | Stream:
        if "?" in request.raw_path and (unknown := request.query.keys() - names):
            unknown = {name for name in unknown if not is_metadata_filter(name, names)}
            if unknown:
                raise Refused(*(errors.unknown_parameter(name, known) for name in sorted(unknown)[:MAX_UNKNOWN]))
        return await handler(request)

    return strict


def reader(request: web.Request) -> Pool | ReplicaReader:
    """Return what a request reads from, always the same: the primary for writes, whose reads must be current."""
    if request.method not in {hdrs.METH_GET, hdrs.METH_HEAD}:
        return request.app[RUNTIME].pool
    return _choose_replica(request)


def _choose_replica(request: web.Request) -> ReplicaReader:
    chosen = request.get(READER)
    if chosen is None:
        request[READER] = chosen = request.app[RUNTIME].replicas.choose()
    return chosen


def wait_for_position(handler: Handler) -> Handler:
    """Return the handler with a wait for `min_position`. It raises `Refused` if reads do not reach that in time."""

    async def waiting(request: web.Request) -> Reply | Stream:
        position = MIN_POSITION.read(request)
        if position is not None:
            seconds = request.app[RUNTIME].settings.ledger_position_wait_seconds
            reached = await _choose_replica(request).wait_for(position, seconds)
            if reached < position:
                raise Refused(errors.position_not_reached(reached))
        return await handler(request)

    return waiting
