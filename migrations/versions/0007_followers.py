"""How far the followers are, what stopped them and what they met with; and when an unfinished rebuild began.

A row is rewritten about once a second while the log grows: nothing in it is indexed but the name.
"""

from alembic import op

revision = "0007"
down_revision = "0006"

STATEMENTS = (
    """
    CREATE TABLE followers (
        name           text             PRIMARY KEY,
        position       bigint           NOT NULL,  -- up to which it has done its work
        per_second     double precision,           -- positions, when it last went on
        stopped        boolean          NOT NULL DEFAULT false,
        error          text,                       -- that stopped it, or keeps it from going on
        error_position bigint,                     -- of the event that it cannot apply
        error_topic    text,
        updated_at     timestamptz      NOT NULL DEFAULT now()
    ) WITH (fillfactor = 50)
    """,
    """
    INSERT INTO followers (name, position)
    SELECT 'seals', coalesce(max(last_position), 0) FROM seals UNION ALL SELECT 'mirror', 0
    """,
    """
    ALTER TABLE rebuilds ADD COLUMN started_at timestamptz, ADD COLUMN started_position bigint
    """,  # of the run that goes on, for its rate
)


def upgrade() -> None:
    """Create the table and the columns."""
    for statement in STATEMENTS:
        op.execute(statement)
