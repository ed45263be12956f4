"""The commands of a user, a client, a session or a token, so that one query shows what a stolen token did."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from ledger.audit.results import read_results
from ledger.events.clients import Client
from ledger.events.tokens import Session
from ledger.events.users import User
from ledger.projections import sessions
from ledger.store.commands import Before, LoggedCommand, find_commands, read_commands
from ledger.store.connections import Reader
from ledger.store.heads import read_heads


class Actor(NamedTuple):
    """A user or client, one of their sessions, or one of its tokens; `since` is the earliest time of their commands."""

    user_id: UUID
    since: datetime | None = None
    session_id: UUID | None = None
    jti: UUID | None = None


async def find(reader: Reader, actor_id: UUID) -> Actor | None:
    """Find the token, session, user or client with this id, including deleted ones."""
    found = await sessions.find_actor(reader, actor_id)
    if found is not None:
        return Actor(*found)
    heads = await read_heads(reader, [actor_id])
    match heads[actor_id].state if heads else None:
        case User() | Client():
            return Actor(actor_id)
        case Session(user_id=user_id):  # a clean-up has deleted its row
            return Actor(user_id, session_id=actor_id)
        case _:
            return None


async def list_commands(reader: Reader, actor: Actor, *, before: Before | None, limit: int) -> list[dict[str, Any]]:
    """Return up to `limit` commands that an actor sent, newest first, each with its outcome."""
    rows = await read_commands(
        reader,
        actor.user_id,
        since=actor.since,
        session_id=actor.session_id,
        jti=actor.jti,
        before=before,
        limit=limit,
    )
    return await _describe(reader, rows)


async def find_command(reader: Reader, command_id: UUID) -> dict[str, Any] | None:
    """Find the command with this id, with its outcome."""
    found = await find_commands(reader, [command_id])
    return (await _describe(reader, [*found.values()]))[0] if found else None


async def _describe(reader: Reader, rows: list[LoggedCommand]) -> list[dict[str, Any]]:
    results = await read_results(reader, rows)
    return [
        {
            "command_id": row.command_id,
            "name": row.name,
            "user_id": row.actor_id,
            "session_id": row.session_id,
            "jti": row.jti,
            "request_id": row.request_id,
            "outcome": row.outcome,
            "result": results.get(row.command_id),
            "recorded_at": row.recorded_at,
        }
        for row in rows
    ]
