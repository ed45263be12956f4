"""Writes: a caller's command is carried out, and the answer says up to where in the log its effect is."""

import msgspec
from aiohttp import web

from ledger import stored
from ledger.batch import Outcome
from ledger.commands.decider import Command
from web.context import RUNTIME, origin


async def submit(request: web.Request, command: Command, raw: bytes = b"") -> Outcome:
    """Carry out a command of the caller. Raises `Refused`, or a `LedgerError`.

    What was carried out before, or had nothing to change, has no new events: then the position is that of its old ones,
    or of all that there was.
    """
    runtime, source = request.app[RUNTIME], origin(request, raw)
    outcome = await runtime.committer.submit(command, source)
    if outcome.position is not None:
        return outcome
    position = await stored.position_of_command(runtime.pool, source.command_id, outcome.recorded_at)
    return msgspec.structs.replace(outcome, position=position)
