"""The results of commands in the command log: as stored, or derived from the events where none is stored."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import msgspec

from ledger.commands import COMMANDS_BY_NAME
from ledger.store.commands import LoggedCommand
from ledger.store.connections import Reader
from ledger.store.reader import read_events_of_commands


async def read_results(reader: Reader, commands: Iterable[LoggedCommand]) -> dict[UUID, Any]:
    """Return the result of each of these commands; that of a refused one is the list of its refusals.

    A command is left out if its result would follow from events that are missing.
    """
    logged = list(commands)
    times = {row.command_id: row.recorded_at for row in logged if row.result is None and row.recorded_at is not None}
    events = await read_events_of_commands(reader, times) if times else {}
    return {
        row.command_id: COMMANDS_BY_NAME[row.name].derive_result(events[row.command_id])
        if row.result is None
        else msgspec.json.decode(row.result)
        for row in logged
        if row.result is not None or row.command_id in events
    }
