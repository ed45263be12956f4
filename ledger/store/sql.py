"""Pieces of SQL for queries that join the store's tables with read tables in one snapshot.

Columns of the log get the names used by the rest of the program: `stream_id`, `version`, `position`. These subqueries
cost nothing, because PostgreSQL flattens them.
"""

from collections.abc import Iterable
from typing import TypeAlias
from uuid import UUID

from ledger.events import TOPICS
from ledger.events.accounts import BALANCE_EVENTS

LOG_END = "coalesce((SELECT max(notification_id) FROM stored_events), 0)"
HEAD_VERSIONS = "SELECT originator_id AS stream_id, version FROM stream_heads"
EVENT_COMMANDS = """SELECT originator_id AS stream_id, originator_version AS version, command_log.name AS command
                    FROM stored_events LEFT JOIN command_log USING (command_id)"""
FIRST_EVENTS = """SELECT originator_id AS stream_id, topic, state FROM stored_events WHERE originator_version = 1"""
NEWEST_BETWEEN = """SELECT originator_id AS stream_id, notification_id AS position, topic FROM stored_events
                    WHERE notification_id > $1 AND notification_id < $2 ORDER BY notification_id DESC"""

# The events that are the entries of accounts. Their members are decoded by the caller, or by SQL where rows are joined.
ENTRY_EVENTS = f"""SELECT originator_id AS account_id, originator_version AS version, topic, state,
                          notification_id AS position, recorded_at
                   FROM stored_events WHERE topic IN ({", ".join(f"'{TOPICS[kind]}'" for kind in BALANCE_EVENTS)})"""
ENTRY_TRANSACTION = r"""CASE substring(state FROM 1 FOR 1) WHEN '\x01' THEN stored_uuid(state, 2)
                       ELSE (convert_from(state, 'UTF8')::json ->> 'transfer_id')::uuid END"""


def quote_name(name: str) -> str:
    """Return a name as an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def topic_at(position: str) -> str:
    """Return SQL for the topic of the event at a position, which is a column or a parameter."""
    return f"(SELECT topic FROM stored_events WHERE notification_id = {position})"


def streams_with_later(topic: type, position: str, limit: int) -> str:
    """Return SQL for the streams of the first events of a topic after a position, at most `limit`."""
    return f"""(SELECT originator_id FROM stored_events WHERE topic = '{TOPICS[topic]}' AND notification_id > {position}
                ORDER BY notification_id LIMIT {limit})"""


def count_after(position: str, limit: int | None = None) -> str:
    """Return SQL for the number of events after a position, or for the limit if there are more."""
    if limit is not None:
        return f"""(SELECT count(*) FROM (SELECT FROM stored_events WHERE notification_id > {position}
                                          LIMIT {limit}) AS counted)"""
    return f"(SELECT count(*) FROM stored_events WHERE notification_id > {position})"


def sender_of(stream_id: str) -> str:
    """Return SQL for who sent the command that began a stream."""
    return f"""(SELECT actor_id FROM stored_events JOIN command_log USING (command_id)
                WHERE originator_id = {stream_id} AND originator_version = 1)"""


def time_after(position: str) -> str:
    """Return SQL for the time when the first event after a position was recorded."""
    return f"""(SELECT recorded_at FROM stored_events WHERE notification_id > {position}
                ORDER BY notification_id LIMIT 1)"""


def lag_seconds(position: str) -> str:
    """Return SQL for the age in seconds of the first event after a position; 0 if there is no such event."""
    return f"coalesce(extract(epoch FROM clock_timestamp() - {time_after(position)}), 0)::float8"


Party: TypeAlias = UUID | tuple[UUID, ...]  # a user, or the users and accounts that a client is limited to


def belongs_to(party: Party | None, owner_id: str = "user_id", account_id: str = "accounts.id") -> str:
    """Return the condition that an account with this owner belongs to a party, which is the parameter `{0}`."""
    if isinstance(party, tuple):
        return f"({owner_id} = ANY({{0}}) OR {account_id} = ANY({{0}}))"
    return f"{owner_id} = {{0}}"


def where_clause(filters: Iterable[tuple[str, object]], first: int) -> tuple[str, list[object]]:
    """Return the AND-terms of the filters that have a value, and these values.

    In a filter's SQL, `{}` stands for its parameter. Parameters are numbered from `first`.
    """
    active = [(sql, value) for sql, value in filters if value is not None]
    sql = "".join(f" AND {sql.format(f'${number}')}" for number, (sql, _) in enumerate(active, first))
    return sql, [value for _, value in active]
