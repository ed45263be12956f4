"""The command log and the events: each names the other, and both say the same time."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from asyncpg import Record

from ledger.audit.verify.findings import Finding
from ledger.audit.verify.reading import Scope, pages
from ledger.commands import COMMANDS
from ledger.store import integrity
from ledger.store.connections import Connection
from ledger.store.tables import COMMAND_LOG

ALWAYS_APPEND = [command.name for command in COMMANDS if command.always_appends]


async def check_commands(connection: Connection, scope: Scope) -> AsyncIterator[Finding]:
    """Events whose command is not in the log or was another time's, and commands whose events are gone."""
    async for rows in pages(connection, integrity.EVENTS_UNLIKE_THEIR_COMMAND, scope.since):
        for row in rows:
            for finding in _judge_event(row):
                yield finding
    async for rows in pages(connection, integrity.ACCEPTED_WITHOUT_EVENTS, scope.since, ALWAYS_APPEND):
        for row in rows:
            yield Finding(
                "a command that was accepted has its events",
                f"events of a {row['name']}",
                table=COMMAND_LOG,
                row=str(row["command_id"]),
            )


def _judge_event(row: Record) -> Iterator[Finding]:
    place: dict[str, Any] = {
        "stream_id": row["originator_id"],
        "version": row["originator_version"],
        "position": row["notification_id"],
        "table": COMMAND_LOG,
        "row": str(row["command_id"]),
    }
    if row["logged_at"] is None:
        yield Finding("the command of every event is in the command log", "a row", **place)
    else:
        rule = "a command was recorded with its events"
        yield Finding(rule, row["recorded_at"], row["logged_at"], column="recorded_at", **place)
