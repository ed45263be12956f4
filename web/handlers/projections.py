"""Projections: admins and auditors read their state, and admins rebuild them in the background."""

from typing import Any

from aiohttp import web

from ledger import errors
from ledger.errors import Refused
from ledger.events.operations import RebuildEnded
from ledger.projections import INLINE
from ledger.projections.rebuild.status import Status, read_statuses
from ledger.service.operations.ended import read_last_rebuilds
from ledger.service.operations.runner import Operations
from ledger.service.operations.state import Operation
from ledger.values.timestamps import rfc3339
from web.http.json import answer, parse, read_json_if_any
from web.http.params import Parameter
from web.http.request import ACTOR, RUNTIME
from web.http.response import Reply
from web.operations import NewRebuild

OPERATIONS = web.AppKey("OPERATIONS", Operations)
ACCEPTED = 202
NAMES = frozenset(projection.name for projection in INLINE)
NAME = Parameter("name", "The name of the projection", str, schema={"type": "string", "minLength": 1}, place="path")
_IF_ANY = ("last_error", "error_position", "error_topic")


async def list_projections(request: web.Request) -> Reply:
    """GET /projections: the projections, then the followers of the log."""
    ended = await read_last_rebuilds(request.app[RUNTIME].pool)
    return answer([await _format(request, one, ended.get(one.projection)) for one in await _read(request)])


async def get_projection(request: web.Request) -> Reply:
    """GET /projections/{name}."""
    name = request.match_info[NAME.name]
    found = next((one for one in await _read(request) if one.projection == name), None)
    if found is None:
        raise Refused(errors.projection_not_found(name))
    ended = await read_last_rebuilds(request.app[RUNTIME].pool)
    return answer(await _format(request, found, ended.get(name)))


async def rebuild_projection(request: web.Request) -> Reply:
    """POST /projections/{name}/rebuild: start it, and answer before it ends."""
    body = parse(NewRebuild, await read_json_if_any(request) or b"{}")
    operations, user_id = request.app[OPERATIONS], request[ACTOR].user_id
    return _accept(await operations.start_rebuild(_read_name(request), user_id, swap=body.swap))


async def swap_rebuild(request: web.Request) -> Reply:
    """POST /projections/{name}/rebuild/swap: resume a rebuild that has compared its tables, and swap them."""
    return _accept(await request.app[OPERATIONS].swap(_read_name(request), request[ACTOR].user_id))


async def cancel_rebuild(request: web.Request) -> Reply:
    """POST /projections/{name}/rebuild/cancel: end a rebuild, or discard its tables."""
    operations, user_id = request.app[OPERATIONS], request[ACTOR].user_id
    return _accept(await operations.cancel_rebuild(_read_name(request), user_id))


async def _read(request: web.Request) -> list[Status]:
    runtime = request.app[RUNTIME]
    return await read_statuses(runtime.pool, runtime.settings.ledger_schema)


def _read_name(request: web.Request) -> str:
    """Return the name in the path. Raises `Refused` unless a projection has it."""
    name = request.match_info[NAME.name]
    if name not in NAMES:
        raise Refused(errors.projection_not_found(name))
    return name


def _accept(operation: Operation) -> Reply:
    return answer(format_rebuild(operation), status=ACCEPTED)


async def _format(request: web.Request, one: Status, last: RebuildEnded | None) -> dict[str, Any]:
    is_projection = one.projection in NAMES
    operation = await request.app[OPERATIONS].find("rebuild", one.projection) if is_projection else None
    known = one._asdict()
    return {
        "name": known.pop("projection"),
        "kind": "projection" if is_projection else "follower",
        **{name: value for name, value in known.items() if name not in _IF_ANY or value is not None},
        "lag_seconds": max(one.lag_seconds, 0.0),
        **({} if operation is None else {"rebuild": format_rebuild(operation)}),
        **({} if last is None or not is_projection else {"last_rebuild": _format_ending(last)}),
    }


def _format_ending(last: RebuildEnded) -> dict[str, Any]:
    """Return the end of a rebuild as clients see it."""
    optional = {"position": last.position, "differing": last.differing, "reason": last.reason}
    return {
        "id": last.operation_id,
        "outcome": last.outcome,
        "ended_at": rfc3339(last.ended_at),
        **{name: value for name, value in optional.items() if value is not None},
    }


def format_rebuild(operation: Operation) -> dict[str, Any]:
    """Return a rebuild as clients see it."""
    return {
        **format_progress(operation),
        "projection": operation.subject,
        "swap": operation.swap,
        "swapped": operation.swapped,
        **({} if operation.differing is None else {"differing": operation.differing}),
        "differences": operation.differences,
    }


def format_progress(operation: Operation) -> dict[str, Any]:
    """Return the members that all operations have."""
    return {
        "id": operation.id,
        "state": operation.state,
        "started_by": operation.started_by,
        "started_at": rfc3339(operation.started_at),
        "updated_at": rfc3339(operation.updated_at),
        "seconds": operation.seconds,
        "stage": operation.stage,
        "done": operation.done,
        "total": operation.total,
        "notes": operation.notes,
        **({} if operation.error is None else {"error": operation.error}),
    }
