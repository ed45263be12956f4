"""A session on PostgreSQL, with settings that it keeps.

They are made by a statement, because PgBouncer refuses them in the startup packet. The same statement finds out whether
the database has Citus.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import asyncpg

from ledger.store.connections import Connection
from ledger.store.hosts import connect_to
from ledger.store.statements import send_encoded_arrays

CONNECT_SECONDS = 10

# PostgreSQL finds out by itself, within seconds, that a client is gone. Not every system has each of these.
_VIGILANCE = {
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10s",
    "client_connection_check_interval": "2s",
}


class Session(Connection):
    """A connection that keeps its settings when it is reset, and knows its backend behind a pooler too.

    `has_citus` is whether its database has Citus.
    """

    settings_query = ""
    backend_pid = 0
    has_citus = False

    def get_server_pid(self) -> int:
        """Return the process id of the backend; a pooler invents another one for its clients."""
        return self.backend_pid

    def get_reset_query(self) -> str:
        """Return the statements that reset the session."""
        return f"{super().get_reset_query()}\n{self.settings_query}"

    async def apply(self, settings: Mapping[str, str]) -> None:
        """Make these settings of the session, besides those made before."""
        made = ", ".join(f"set_config('{name}', '{_quote(value)}', false)" for name, value in settings.items())
        query = f"SELECT pg_backend_pid(), to_regclass('pg_catalog.pg_dist_shard') IS NOT NULL, {made}"
        row: Any = await self.fetchrow(query)
        self.backend_pid, self.has_citus = row[:2]
        self.settings_query += f"{query};\n"


class Node(NamedTuple):
    """Where a server listens."""

    host: str
    port: int


class Opening(NamedTuple):
    """How to open a session."""

    dsn: str
    statement_seconds: float | None
    sends_arrays: bool
    settings: dict[str, str]


async def open_session(opening: Opening, node: Node | None = None) -> Session:
    """Open a session on the server of the URL or, with the same name and password, on another node."""
    where: Any = {} if node is None else node._asdict()
    connect: Any = connect_to if node is None else asyncpg.connect
    session: Any = await connect(
        opening.dsn,
        **where,
        timeout=CONNECT_SECONDS,
        command_timeout=opening.statement_seconds,
        connection_class=Session,
        server_settings={"application_name": opening.settings.get("application_name", "ledger")},
    )
    try:
        if opening.sends_arrays:
            send_encoded_arrays(session)
        try:
            await session.apply(_VIGILANCE | opening.settings)
        except (asyncpg.InvalidParameterValueError, asyncpg.UndefinedObjectError):
            await session.apply(opening.settings)
    except BaseException:
        session.terminate()
        raise
    opened: Session = session
    return opened


def _quote(value: str) -> str:
    return value.replace("'", "''")
