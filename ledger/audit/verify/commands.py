"""The command log and the events: each names the other, and both say the same time."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from asyncpg import Connection, Record

from ledger.audit.verify.findings import Finding
from ledger.audit.verify.reading import Scope, pages
from ledger.commands.accounts import CloseAccount, OpenAccount
from ledger.commands.holds import CaptureHold, PlaceHold, VoidHold
from ledger.commands.journal import PostJournalEntry
from ledger.commands.reversals import ReverseTransfer
from ledger.commands.tokens import RevokeAllTokens, RevokeUserTokens, StartSession
from ledger.commands.transfers import TransferMoney
from ledger.commands.users import CreateUser, DeleteUser

# Those that are never accepted without an event; another may find that nothing is left to change.
NEVER_WITHOUT_EVENT = [
    command.name
    for command in (
        CaptureHold,
        CloseAccount,
        CreateUser,
        DeleteUser,
        OpenAccount,
        PlaceHold,
        PostJournalEntry,
        ReverseTransfer,
        RevokeAllTokens,
        RevokeUserTokens,
        StartSession,
        TransferMoney,
        VoidHold,
    )
]

_EVENTS = """
SELECT notification_id, originator_id, originator_version, stored_events.command_id, stored_events.recorded_at,
       command_log.recorded_at AS logged_at
FROM stored_events LEFT JOIN command_log USING (command_id)
WHERE notification_id > $1 AND command_id IS NOT NULL
  AND command_log.recorded_at IS DISTINCT FROM stored_events.recorded_at
"""

_COMMANDS = """
SELECT command_id, name FROM command_log
WHERE outcome = 'accepted' AND name = ANY($2)
  AND recorded_at >= coalesce((SELECT recorded_at FROM stored_events WHERE notification_id > $1
                               ORDER BY notification_id LIMIT 1), '-infinity')
  AND NOT EXISTS (SELECT FROM stored_events WHERE stored_events.command_id = command_log.command_id)
"""


async def check_commands(connection: "Connection[Any]", scope: Scope) -> AsyncIterator[Finding]:
    """Events whose command is not in the log or was another time's, and commands whose events are gone."""
    async for rows in pages(connection, _EVENTS, scope.since):
        for row in rows:
            for finding in _judge_event(row):
                yield finding
    async for rows in pages(connection, _COMMANDS, scope.since, NEVER_WITHOUT_EVENT):
        for row in rows:
            yield Finding(
                "a command that was accepted has its events",
                f"events of a {row['name']}",
                table="command_log",
                row=str(row["command_id"]),
            )


def _judge_event(row: Record) -> Iterator[Finding]:
    place: dict[str, Any] = {
        "stream_id": row["originator_id"],
        "version": row["originator_version"],
        "position": row["notification_id"],
        "table": "command_log",
        "row": str(row["command_id"]),
    }
    if row["logged_at"] is None:
        yield Finding("the command of every event is in the command log", "a row", **place)
    else:
        rule = "a command was recorded with its events"
        yield Finding(rule, row["recorded_at"], row["logged_at"], column="recorded_at", **place)
