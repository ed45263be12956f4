"""Writes: a caller's command is carried out, and the answer says up to where in the log its effect is."""

from uuid import UUID

import msgspec
from aiohttp import web

from ledger import stored
from ledger.batch import Origin, Outcome
from ledger.commands.decider import Command
from web.bodies import outcome_of
from web.context import RUNTIME, origin
from web.reply import Reply


async def submit(request: web.Request, command: Command, raw: bytes = b"") -> Outcome:
    """Carry out a command of the caller. Raises `Refused`, or a `LedgerError`."""
    return await submit_from(request, command, origin(request, raw))


async def submit_from(request: web.Request, command: Command, source: Origin, *, weight: int = 1) -> Outcome:
    """The same, from this origin, with this weight.

    What was carried out before, or had nothing to change, has no new events: then the position is that of its old ones,
    or of all that there was.
    """
    runtime = request.app[RUNTIME]
    outcome = await runtime.committer.submit(command, source, weight=weight)
    if outcome.position is not None:
        return outcome
    position = await stored.position_of_command(runtime.pool, source.command_id, outcome.recorded_at)
    return msgspec.structs.replace(outcome, position=position)


async def created(request: web.Request, command: Command, raw: bytes) -> Reply:
    """Execute a command that creates a resource; answer 201 with its path, and with its version as an entity tag.

    The version is that of the creation, also for a replay: the same answer, whatever happened since.
    """
    source = origin(request, raw)
    outcome = await submit_from(request, command, source)
    resource_id = outcome.result["id"]
    version = await stored.version_of_command(request.app[RUNTIME].pool, UUID(resource_id), source.command_id)
    reply = outcome_of(outcome, "created_at", "updated_at", status=201)
    reply.headers["Location"] = f"{request.path}/{resource_id}"
    reply.tag = f'"{version}"'
    return reply
