"""An entry is one index row less: what a version was at a position is found by bisection, as it is for all streams.

`version_at` looks at the end first, for most questions are about a moment after an account's last event.
"""

from alembic import op

revision = "0008"
down_revision = "0007"

STATEMENTS = (
    "DROP INDEX entries_position_idx",
    """
    CREATE OR REPLACE FUNCTION version_at(stream_id uuid, at_position bigint) RETURNS bigint LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT AS $$
    DECLARE
        low bigint := 0;
        high bigint;
        middle bigint;
        found record;
    BEGIN
        SELECT originator_version AS version, notification_id AS position INTO found FROM stored_events
        WHERE originator_id = stream_id ORDER BY originator_version DESC LIMIT 1;
        IF found.position <= at_position THEN RETURN found.version; END IF;
        high := coalesce(found.version, 1);
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
    """Drop the index, and put the bisection in its place."""
    for statement in STATEMENTS:
        op.execute(statement)
