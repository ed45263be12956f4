"""Dry runs: `dry_run=true` answers what the response would be, and changes nothing.

The handler runs as always. In place of the committer and the pool of connections, it finds those of a `DryRun`.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from aiohttp import web

from ledger.errors import Refused
from ledger.runtime import take_dry_run
from ledger.values.timestamps import parse_end
from ledger.write.dry_run import DryRun, open_dry_run
from web.auth import Handler
from web.http.aiohttp_private import replace_app
from web.http.params import PATH_ID, flag_parameter, integer_parameter, read_point_in_time, time_parameter
from web.http.request import RUNTIME
from web.http.response import Reply, Stream

DRY_RUN = flag_parameter("dry_run", "Whether to answer what the response would be, and change nothing", default=False)
AT_TIME = time_parameter("at_time", "In a dry run: on the state at this time, or at the end of this date", parse_end)
AT_POSITION = integer_parameter("at_position", "In a dry run: on the state after the event at this position of the log")
PARAMETERS = (DRY_RUN, AT_TIME, AT_POSITION)
HEADER = "Dry-Run"
ONLY_THEN = "must be given together with dry_run=true"

_RUN = web.RequestKey("DRY_RUN", DryRun)


def allow_dry_run(handler: Handler) -> Handler:
    """Return the handler of a change, which also answers dry runs."""

    async def trying(request: web.Request) -> Reply | Stream:
        if "?" not in request.raw_path or not _is_wanted(request):
            return await handler(request)
        return await _answer(request, handler)

    return trying


def find_dry_run(request: web.Request) -> DryRun | None:
    """Return the dry run of a request, if it is one."""
    return request.get(_RUN)


def headers_of(request: web.Request) -> Mapping[str, str]:
    """Return the headers that say that a request was a dry run; none if it was not."""
    return {HEADER: "true"} if _RUN in request else {}


def read_clock(request: web.Request) -> datetime:
    """Return the time at which a request is decided: now, except in a dry run on a past state."""
    dry_run = find_dry_run(request)
    return (dry_run and dry_run.time) or datetime.now(UTC)


def _is_wanted(request: web.Request) -> bool:
    wanted = DRY_RUN.read(request) is True
    for parameter in (AT_TIME, AT_POSITION):
        if not wanted and parameter.name in request.query:
            parameter.refuse(ONLY_THEN)
    return wanted


async def _answer(request: web.Request, handler: Handler) -> Reply | Stream:
    runtime, point = request.app[RUNTIME], read_point_in_time(request)
    request[_RUN] = dry_run = await open_dry_run(
        runtime.pool, schema=runtime.settings.ledger_schema, point=point, streams=_read_streams(request)
    )
    with replace_app(request, _App(request.app, {RUNTIME: take_dry_run(runtime, dry_run)})):
        reply = await handler(request)
    if isinstance(reply, Reply):
        reply.headers.update(headers_of(request))
    return reply


def _read_streams(request: web.Request) -> tuple[UUID, ...]:
    """Return the id in the path, if there is one."""
    given = request.match_info.get(PATH_ID.name)
    try:
        return () if given is None else (PATH_ID.parse(given),)
    except Refused:  # the handler refuses it
        return ()


class _App:
    """The application as the handler of a dry run sees it, with other values for some of its keys."""

    def __init__(self, app: web.Application, values: Mapping[Any, Any]) -> None:
        self._app = app
        self._values = values

    def __getitem__(self, key: Any) -> Any:
        return self._values[key] if key in self._values else self._app[key]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._app, name)
