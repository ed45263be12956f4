"""What was so when: an account's lines by position, its landmarks, and rare events by topic; times become positions.

`recorded_at` never decreases with the position, so `position_at` finds a time by bisection, in some thirty look-ups of
one row, and appending pays for no index on times. Nor does it pay for one on the topics that every transfer has. In the
same way `version_at` finds a position in a stream.
"""

from alembic import op

revision = "0004"
down_revision = "0003"

STATEMENTS = (
    "CREATE INDEX entries_position_idx ON entries (account_id, position)",  # a balance as of a position
    """
    CREATE INDEX stored_events_landmark_idx ON stored_events (originator_id, notification_id)
        WHERE topic IN ('AccountOpened', 'AccountOwnerChanged', 'AccountClosed')
    """,  # an account's owner and status as of a position
    """
    CREATE INDEX stored_events_topic_idx ON stored_events (topic, notification_id)
        WHERE topic NOT IN ('AccountDebited', 'AccountCredited', 'MoneyTransferred')
    """,  # the log of one topic; those that every transfer has are never far in the log itself
    """
    CREATE FUNCTION position_at(moment timestamptz) RETURNS bigint LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT AS $$
    DECLARE
        low bigint := 0;  -- recorded by then, or before all
        high bigint := coalesce((SELECT max(notification_id) FROM stored_events), 0) + 1;  -- later, or after all
        middle bigint;
        found record;
    BEGIN
        WHILE high - low > 1 LOOP
            middle := low + (high - low) / 2;
            SELECT notification_id AS position, recorded_at INTO found FROM stored_events
            WHERE notification_id >= middle AND notification_id < high ORDER BY notification_id LIMIT 1;
            IF found.recorded_at <= moment THEN low := found.position; ELSE high := middle; END IF;
        END LOOP;
        RETURN low;
    END $$
    """,
    """
    CREATE FUNCTION version_at(stream_id uuid, at_position bigint) RETURNS bigint LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT AS $$
    DECLARE
        low bigint := 0;
        high bigint := coalesce((SELECT max(originator_version) FROM stored_events
                                 WHERE originator_id = stream_id), 0) + 1;
        middle bigint;
        found record;
    BEGIN
        WHILE high - low > 1 LOOP
            middle := low + (high - low) / 2;
            SELECT originator_version AS version, notification_id AS position INTO found FROM stored_events
            WHERE originator_id = stream_id AND originator_version >= middle AND originator_version < high
            ORDER BY originator_version LIMIT 1;
            IF found.position <= at_position THEN low := found.version; ELSE high := middle; END IF;
        END LOOP;
        RETURN low;
    END $$
    """,
)


def upgrade() -> None:
    """Create the indexes and the functions."""
    for statement in STATEMENTS:
        op.execute(statement)
