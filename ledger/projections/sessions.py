"""Queries on sessions: the user of a session or token, and the active sessions."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from asyncpg import Record

from ledger.projections.tokens import EVERYBODY
from ledger.store.connections import Reader


async def find_actor(reader: Reader, some_id: UUID) -> tuple[UUID, datetime, UUID, UUID | None] | None:
    """Find a session by its id or by that of a token.

    Return the user, the start and the id of the session, and the id of the token if `some_id` is that of a token.
    """
    row = await reader.fetchrow(
        """SELECT user_id, created_at, id, NULL::uuid FROM sessions WHERE id = $1
           UNION ALL
           SELECT sessions.user_id, created_at, id, jti FROM tokens JOIN sessions ON id = session_id WHERE jti = $1""",
        some_id,
    )
    return (row[0], row[1], row[2], row[3]) if row else None


async def is_recent(reader: Reader, session_id: UUID, seconds: int) -> bool:
    """Return whether a session began less than `seconds` ago."""
    sql = "SELECT created_at > now() - make_interval(secs => $2) FROM sessions WHERE id = $1"
    return bool(await reader.fetchval(sql, session_id, float(seconds)))


async def list_sessions(
    reader: Reader, user_id: UUID | None, *, before: int, limit: int
) -> list[tuple[int, dict[str, Any]]]:
    """Return up to `limit` active sessions of one user or all users, newest first, each with its position."""
    rows = await reader.fetch(
        f"""SELECT sessions.*, address, agent FROM sessions
            LEFT JOIN session_clients ON session_id = sessions.id
            LEFT JOIN cutoffs ON cutoffs.user_id = sessions.user_id
            LEFT JOIN cutoffs AS everybody ON everybody.user_id = '{EVERYBODY}'
            WHERE sessions.position < $1 AND ($2::uuid IS NULL OR sessions.user_id = $2) AND ended_at IS NULL
              AND expires_at > now() AND greatest(sessions.position, revoked_below)
                                         >= greatest(cutoffs.position, everybody.position, 0)
            ORDER BY sessions.position DESC LIMIT $3""",
        before,
        user_id,
        limit,
    )
    return [(row["position"], _body(row)) for row in rows]


async def find_known(reader: Reader, sessions: Collection[tuple[UUID, UUID]]) -> dict[tuple[UUID, UUID], bool]:
    """Return those pairs of a session and its user that are in this ledger, ended or not."""
    pairs = list(sessions)
    rows = await reader.fetch(
        """SELECT asked.id, asked.user_id FROM unnest($1::uuid[], $2::uuid[]) AS asked(id, user_id)
           JOIN sessions ON sessions.id = asked.id AND sessions.user_id = asked.user_id""",
        [session_id for session_id, _ in pairs],
        [user_id for _, user_id in pairs],
    )
    return {(row[0], row[1]): True for row in rows}


def _body(row: Record) -> dict[str, Any]:
    """Return a session, without an address or agent that is not known."""
    always, if_known = ("id", "user_id", "created_at", "refreshed_at", "expires_at"), ("address", "agent")
    known = {member: row[member] for member in if_known if row[member] is not None}
    return {member: row[member] for member in always} | known
