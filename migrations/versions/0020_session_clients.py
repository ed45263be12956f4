"""From where sessions are used, so that users recognize them. It is kept beside the log, and purged with the session."""

from alembic import op

revision = "0020"
down_revision = "0019"

STATEMENTS = (
    """
    CREATE TABLE session_clients (
        session_id uuid        PRIMARY KEY,
        address    text        NOT NULL,
        agent      text,
        used_at    timestamptz NOT NULL
    )
    """,
)


def upgrade() -> None:
    """Create the table."""
    for statement in STATEMENTS:
        op.execute(statement)
