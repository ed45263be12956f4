"""Check the command log against the events: each command has its events, each event its command, at the same time."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from asyncpg import Record

from ledger.audit.verify.findings import Finding
from ledger.audit.verify.reading import Scope, read_pages
from ledger.commands import COMMANDS
from ledger.store import integrity
from ledger.store.connections import Connection
from ledger.store.tables import COMMAND_LOG, STORED_EVENTS

ALWAYS_APPEND = [command.name for command in COMMANDS if command.always_appends]


async def check_commands(connection: Connection, scope: Scope) -> AsyncIterator[Finding]:
    """Yield findings for events whose command is missing or has another time, and for commands without events."""
    async for rows in read_pages(connection, integrity.EVENTS_UNLIKE_THEIR_COMMAND, scope.since):
        for row in rows:
            for finding in _judge_event(row):
                yield finding
    async for rows in read_pages(connection, integrity.ACCEPTED_WITHOUT_EVENTS, scope.since, ALWAYS_APPEND):
        for row in rows:
            yield Finding(
                "every accepted command has its events",
                f"events of {row['name']}",
                table=COMMAND_LOG,
                row=str(row["command_id"]),
            )


def _judge_event(row: Record) -> Iterator[Finding]:
    place: dict[str, Any] = {
        "stream_id": row["originator_id"],
        "version": row["originator_version"],
        "position": row["notification_id"],
    }
    if row["command_id"] is None:
        yield Finding("every event has a command", "a command", table=STORED_EVENTS, **place)
        return
    place |= {"table": COMMAND_LOG, "row": str(row["command_id"])}
    if row["logged_at"] is None:
        yield Finding("the command of every event is in the command log", "a row", **place)
    else:
        rule = "a command and its events are recorded at the same time"
        yield Finding(rule, row["recorded_at"], row["logged_at"], column="recorded_at", **place)
