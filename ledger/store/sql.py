"""Pieces of SQL on the store's tables, for queries that join the log with read tables in one snapshot.

Columns of the log get the names that the rest of the program uses: `stream_id`, `version`, `position`. PostgreSQL
flattens these subqueries, so they cost nothing.
"""

LOG_END = "coalesce((SELECT max(notification_id) FROM stored_events), 0)"
HEAD_VERSIONS = "SELECT originator_id AS stream_id, version FROM stream_heads"
EVENT_COMMANDS = """SELECT originator_id AS stream_id, originator_version AS version, command_log.name AS command
                    FROM stored_events LEFT JOIN command_log USING (command_id)"""
NEWEST_BETWEEN = """SELECT originator_id AS stream_id, notification_id AS position, topic FROM stored_events
                    WHERE notification_id > $1 AND notification_id < $2 ORDER BY notification_id DESC"""


def topic_at(position: str) -> str:
    """Return the topic of the event at a position, which is a column or a parameter."""
    return f"(SELECT topic FROM stored_events WHERE notification_id = {position})"


def count_after(position: str) -> str:
    """Return the number of events after a position."""
    return f"(SELECT count(*) FROM stored_events WHERE notification_id > {position})"


def time_after(position: str) -> str:
    """Return when the first event after a position was recorded."""
    return f"""(SELECT recorded_at FROM stored_events WHERE notification_id > {position}
                ORDER BY notification_id LIMIT 1)"""


def lag_seconds(position: str) -> str:
    """Return the age of the first event after a position; 0 if there is no such event."""
    return f"coalesce(extract(epoch FROM clock_timestamp() - {time_after(position)}), 0)::float8"
