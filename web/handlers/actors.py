"""The commands that a user, session or token sent, for admins and auditors."""

from aiohttp import web

from ledger import errors
from ledger.audit import actors
from ledger.errors import Refused
from ledger.store.commands import Before
from ledger.store.connections import Reader
from web.http.json import answer
from web.http.pagination import Chunk, answer_list, read_span
from web.http.params import read_path_id
from web.http.replica import reader
from web.http.response import Reply, Stream


async def list_actor_commands(request: web.Request) -> Reply | Stream:
    """GET /audit/actors/{id}: the commands of a user, a session or a token, newest first."""
    actor_id = read_path_id(request)
    found = await actors.find(reader(request), actor_id)
    if found is None:
        raise Refused(errors.actor_not_found(actor_id))

    async def walk(source: Reader, before: Before | None, limit: int) -> Chunk[Before]:
        rows = await actors.list_commands(source, found, before=before, limit=limit + 1)
        last = Before(rows[limit - 1]["recorded_at"], rows[limit - 1]["command_id"]) if len(rows) > limit else None
        return Chunk(rows[:limit], last)

    return await answer_list(request, read_span(request, Before), walk)


async def get_command(request: web.Request) -> Reply:
    """GET /audit/commands/{id}: a command with its caller and its outcome. Each stored event names its command."""
    command_id = read_path_id(request)
    found = await actors.find_command(reader(request), command_id)
    if found is None:
        raise Refused(errors.command_not_found(command_id))
    return answer(found)
