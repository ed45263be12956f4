"""The address and user agent from which each session was last used, by which users recognize their sessions.

They are personal data, so no event has them: they are kept beside the log, and are purged after the session.
"""

from typing import NamedTuple
from uuid import UUID

from ledger.store.connections import Pool

MAX_AGENT_LENGTH = 200

_REMEMBER = """
INSERT INTO session_clients (session_id, address, agent, used_at) VALUES ($1, $2, $3, clock_timestamp())
ON CONFLICT (session_id) DO UPDATE
SET address = excluded.address, agent = excluded.agent, used_at = excluded.used_at"""
_PURGE = """
DELETE FROM session_clients
WHERE NOT EXISTS (SELECT FROM sessions WHERE id = session_id AND ended_at IS NULL AND expires_at > now())"""


class Client(NamedTuple):
    """Where a request comes from. The agent is what the client says of itself."""

    address: str
    agent: str | None


async def remember(pool: Pool, session_id: UUID, client: Client) -> None:
    """Note from where a session was used, in place of what was noted before."""
    agent = None if client.agent is None else client.agent[:MAX_AGENT_LENGTH]
    async with pool.acquire() as lent:
        await lent.connection.execute(_REMEMBER, session_id, client.address, agent)


async def purge(pool: Pool) -> None:
    """Delete what is noted of sessions that have ended or expired."""
    async with pool.acquire() as lent:
        await lent.connection.execute(_PURGE)
