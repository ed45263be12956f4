"""Execute the commands of callers; each response has the log position of its effect."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import msgspec
from aiohttp import web

from ledger.commands.command import Command
from ledger.concurrency.deadline import DEADLINE, find_deadline
from ledger.concurrency.turns import Turns
from ledger.errors import OverloadedError, StaleCommandError
from ledger.store import reader as event_reader
from ledger.write.group import Origin, Outcome
from web.http.dry_run import find_dry_run
from web.http.idempotency import Canonical, make_origin
from web.http.json import answer_outcome
from web.http.request import RUNTIME
from web.http.response import Reply

TURNS = web.AppKey("TURNS", Turns)


async def submit(request: web.Request, command: Command, canonical: Canonical = bytes) -> Outcome:
    """Execute a command of the caller; `canonical` is that of `make_origin`. Raises `Refused`, or a `LedgerError`."""
    return await submit_from(request, command, make_origin(request, canonical))


async def submit_in_turn(
    request: web.Request, key: UUID, make: Callable[[], Awaitable[Command]], canonical: Canonical = bytes
) -> Outcome:
    """Make a command from the current state and execute it; make it again if another change came first.

    Changes with the same key queue within this worker, so only other workers can come first. Raises `OverloadedError`
    if they keep doing so for as long as a command may wait for the database.
    """
    clock = asyncio.get_running_loop().time
    deadline = find_deadline(request.app[RUNTIME].settings.ledger_database_patience_seconds)
    async with request.app[TURNS].take(key, until=deadline):
        while True:
            command = await make()
            try:
                return await submit(request, command, canonical)
            except StaleCommandError:
                if clock() > deadline:
                    raise OverloadedError("concurrent changes kept making the command stale") from None


async def submit_from(request: web.Request, command: Command, source: Origin, *, weight: int = 1) -> Outcome:
    """Execute a command with this origin and weight, and return its outcome with a position.

    A replay or a command without effect has no new events. Its position is that of the original events, or the end of
    the log at that time.
    """
    runtime = request.app[RUNTIME]
    outcome = await runtime.committer.submit(command, source, weight=weight, deadline=DEADLINE.get())
    if outcome.position is not None:
        return outcome
    position = await event_reader.position_of_command(runtime.pool, source.command_id, outcome.recorded_at)
    return msgspec.structs.replace(outcome, position=position)


async def submit_creation(request: web.Request, command: Command, canonical: Canonical, **shown_once: str) -> Reply:
    """Execute a command that creates a resource; answer 201 with its path, and its version as an entity tag.

    The version is that of the creation, so that a replay gets the same response after later changes. Only the first
    response has the members `shown_once`, which the command log does not keep.
    """
    source = make_origin(request, canonical)
    outcome = await submit_from(request, command, source)
    resource_id = outcome.result["id"]
    version = await _find_created_version(request, UUID(resource_id), source.command_id, outcome)
    shown = {} if outcome.replayed else shown_once
    reply = answer_outcome(outcome, "created_at", "updated_at", status=201, **shown)
    reply.headers["Location"] = f"{request.path}/{resource_id}"
    reply.tag = f'"{version}"'
    return reply


async def _find_created_version(request: web.Request, stream_id: UUID, command_id: UUID, outcome: Outcome) -> int:
    dry_run = find_dry_run(request)
    if dry_run is None or outcome.replayed:
        return await event_reader.version_of_command(request.app[RUNTIME].pool, stream_id, command_id)
    return dry_run.version_of(stream_id)
