"""For admins and auditors: who did what."""

from aiohttp import web

from ledger import errors
from ledger.audit import actors
from ledger.errors import Refused
from ledger.store import Before
from web.bodies import answer
from web.context import path_id
from web.cursors import cursor_in
from web.pages import limit_of, link_to_next
from web.reading import reader
from web.reply import Reply


async def list_actor_commands(request: web.Request) -> Reply:
    """GET /audit/actors/{id}: the commands of a user, a session or a token, newest first."""
    pool, actor_id = reader(request), path_id(request)
    found = await actors.find(pool, actor_id)
    if found is None:
        raise Refused(errors.actor_not_found(actor_id))
    limit, before = limit_of(request), cursor_in(request, Before)
    rows = await actors.commands(pool, found, before=before, limit=limit + 1)
    last = Before(rows[limit - 1]["recorded_at"], rows[limit - 1]["command_id"]) if len(rows) > limit else None
    return answer(rows[:limit], headers=link_to_next(request, limit, last))
