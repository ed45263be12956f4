"""The command log and the events: each names the other, and both say the same time."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from asyncpg import Record

from ledger.audit.verify.findings import Finding
from ledger.audit.verify.reading import Scope, pages
from ledger.commands.accounts import CloseAccount, OpenAccount
from ledger.commands.holds import CaptureHold, PlaceHold, VoidHold
from ledger.commands.journal import PostJournalEntry
from ledger.commands.reversals import ReverseTransfer
from ledger.commands.tokens import RevokeAllTokens, RevokeUserTokens, StartSession
from ledger.commands.transfers import TransferMoney
from ledger.commands.users import CreateUser, DeleteUser
from ledger.store import integrity
from ledger.store.connections import Connection
from ledger.store.tables import COMMAND_LOG

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


async def check_commands(connection: Connection, scope: Scope) -> AsyncIterator[Finding]:
    """Events whose command is not in the log or was another time's, and commands whose events are gone."""
    async for rows in pages(connection, integrity.EVENTS_UNLIKE_THEIR_COMMAND, scope.since):
        for row in rows:
            for finding in _judge_event(row):
                yield finding
    async for rows in pages(connection, integrity.ACCEPTED_WITHOUT_EVENTS, scope.since, NEVER_WITHOUT_EVENT):
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
