"""What waits in the outbox, and what the log says about operations, for tests."""

from typing import Any, get_args

from ledger.events import TOPICS, decode_event
from ledger.events.operations import OperationEvent
from ledger.store import outbox
from ledger.store.connections import Connection

OPERATION_TOPICS = [TOPICS[kind] for kind in get_args(OperationEvent)]
ALL = 1000


async def waiting(connection: Connection) -> list[Any]:
    """Return the events in the outbox, oldest first."""
    return [decode_event(one.topic, one.state) for one in await outbox.read_entries(connection, None, ALL)]


async def recorded(connection: Connection, after: int = 0) -> list[Any]:
    """Return the events of operations in the log after a position, oldest first."""
    rows = await connection.fetch(
        """SELECT topic, state FROM stored_events WHERE topic = ANY($1) AND notification_id > $2
           ORDER BY notification_id""",
        OPERATION_TOPICS,
        after,
    )
    return [decode_event(row["topic"], row["state"]) for row in rows]


async def read_commands(connection: Connection, after: int = 0) -> list[tuple[str, Any, str | None]]:
    """Return the name, actor and request id of the command of each event of an operation."""
    rows = await connection.fetch(
        """SELECT name, actor_id, request_id FROM stored_events JOIN command_log USING (command_id)
           WHERE topic = ANY($1) AND notification_id > $2 ORDER BY notification_id""",
        OPERATION_TOPICS,
        after,
    )
    return [tuple(row) for row in rows]
