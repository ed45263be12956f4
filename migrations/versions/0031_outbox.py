"""Events that wait until a service appends them to the log, and the id of the stop that lasts for a follower.

A process that may not append puts an event into the outbox, in the database transaction that does what the event tells.
"""

from alembic import op

revision = "0031"
down_revision = "0030"

STATEMENTS = (
    """
    CREATE TABLE outbox (
        id         uuid        PRIMARY KEY,
        topic      text        NOT NULL,
        state      bytea       NOT NULL,
        actor_id   uuid,                  -- who started the operation
        request_id text,
        created_at timestamptz NOT NULL   -- in the order of the events of a stream
    )
    """,
    "ALTER TABLE followers ADD COLUMN stop_id uuid",
)


def upgrade() -> None:
    """Create the table and the column."""
    for statement in STATEMENTS:
        op.execute(statement)
