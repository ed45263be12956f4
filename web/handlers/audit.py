"""For admins and auditors: who did what."""

from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from ledger import errors
from ledger.audit import actors
from ledger.errors import Refused
from ledger.ids import parse_id
from ledger.store import Before
from ledger.times import rfc3339
from web.bodies import answer
from web.context import RUNTIME, path_id
from web.pages import limit_of, link_to_next
from web.reply import Reply

CURSOR = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z_[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"


async def actor(request: web.Request) -> Reply:
    """GET /audit/actors/{id}: the commands of a user, a session or a token, newest first."""
    pool, actor_id = request.app[RUNTIME].pool, path_id(request)
    found = await actors.find(pool, actor_id)
    if found is None:
        raise Refused(errors.actor_not_found(actor_id))
    limit = limit_of(request)
    rows = await actors.commands(pool, found, before=_before(request), limit=limit + 1)
    cursor = _cursor(rows[limit - 1]) if len(rows) > limit else None
    return answer(rows[:limit], headers=link_to_next(request, limit, cursor))


def _cursor(row: dict[str, Any]) -> str:
    return f"{rfc3339(row['recorded_at'])}_{row['command_id']}"


def _before(request: web.Request) -> Before | None:
    text = request.query.get("before")
    if text is None:
        return None
    try:
        moment, command_id = text.split("_")
        return datetime.strptime(moment, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC), parse_id(command_id)
    except ValueError:
        raise Refused(errors.invalid("/before", "must be that of a `Link` to a next page")) from None
