"""Writes: a caller's command is executed, and the response says up to where in the log its effect is."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import msgspec
from aiohttp import web

from ledger.commands.command import Command
from ledger.concurrency.turns import Turns
from ledger.errors import OverloadedError, StaleCommandError
from ledger.store import reader as stored
from ledger.write.group import Origin, Outcome
from web.http.idempotency import Canonical, make_origin
from web.http.json import answer_outcome
from web.http.request import RUNTIME
from web.http.response import Reply

TURNS = web.AppKey("TURNS", Turns)


async def submit(request: web.Request, command: Command, canonical: Canonical = bytes) -> Outcome:
    """Execute a command of the caller; `canonical` as `origin` wants it. Raises `Refused`, or a `LedgerError`."""
    return await submit_from(request, command, make_origin(request, canonical))


async def submit_in_turn(
    request: web.Request, key: UUID, make: Callable[[], Awaitable[Command]], canonical: Canonical = bytes
) -> Outcome:
    """Make a command from what is so now and execute it; make it again when another change came first.

    Changes with the same key, in this worker, wait for each other: only those of other workers can come first. Raises
    `OverloadedError` if that goes on for as long as a command may wait for the database.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + request.app[RUNTIME].settings.ledger_database_patience_seconds
    async with request.app[TURNS].take(key, until=deadline):
        while True:
            command = await make()
            try:
                return await submit(request, command, canonical)
            except StaleCommandError:
                if clock() > deadline:
                    raise OverloadedError("others kept changing what the command depends on") from None


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


async def submit_creation(request: web.Request, command: Command, canonical: Canonical) -> Reply:
    """Execute a command that creates a resource; answer 201 with its path, and with its version as an entity tag.

    The version is that of the creation, also for a replay: the same answer, whatever happened since.
    """
    source = make_origin(request, canonical)
    outcome = await submit_from(request, command, source)
    resource_id = outcome.result["id"]
    version = await stored.version_of_command(request.app[RUNTIME].pool, UUID(resource_id), source.command_id)
    reply = answer_outcome(outcome, "created_at", "updated_at", status=201)
    reply.headers["Location"] = f"{request.path}/{resource_id}"
    reply.tag = f'"{version}"'
    return reply
