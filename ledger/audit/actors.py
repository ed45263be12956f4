"""What a user, a session or a token carried out or was refused: "what did this stolen token do" is one question."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from ledger.events.users import User
from ledger.projections import sessions
from ledger.store import log as event_log
from ledger.store.connections import Reader
from ledger.store.log import Before


class Actor(NamedTuple):
    """A user, or one session of that user, or one token of that session; and since when there can be commands."""

    user_id: UUID
    since: datetime | None = None
    session_id: UUID | None = None
    jti: UUID | None = None


async def find(reader: Reader, actor_id: UUID) -> Actor | None:
    """Whose id this is: a token's, a session's or a user's, deleted ones included."""
    found = await sessions.find_actor(reader, actor_id)
    if found is not None:
        return Actor(*found)
    heads = await event_log.read_heads(reader, [actor_id])
    return Actor(actor_id) if heads and isinstance(heads[actor_id].state, User) else None


async def commands(reader: Reader, actor: Actor, *, before: Before | None, limit: int) -> list[dict[str, Any]]:
    """Up to `limit` commands that an actor gave, newest first, with what came of each."""
    rows = await event_log.read_commands(
        reader,
        actor.user_id,
        since=actor.since,
        session_id=actor.session_id,
        jti=actor.jti,
        before=before,
        limit=limit,
    )
    return [
        {
            "command_id": row.command_id,
            "name": row.name,
            "user_id": row.actor_id,
            "session_id": row.session_id,
            "jti": row.jti,
            "request_id": row.request_id,
            "outcome": row.outcome,
            "result": _result(row.result),
            "recorded_at": row.recorded_at,
        }
        for row in rows
    ]


def _result(result: bytes) -> Mapping[str, Any] | list[Any]:
    decoded: Mapping[str, Any] | list[Any] = msgspec.json.decode(result)
    return decoded
