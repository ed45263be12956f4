"""Writers that have nothing else to write update a row every second: readiness and alerts learn whether writes succeed.

The free space on its page keeps each update there (HOT), so the table does not grow.
"""

from alembic import op

revision = "0012"
down_revision = "0011"

STATEMENTS = (
    "CREATE TABLE writer_heartbeat (beat_at timestamptz NOT NULL) WITH (fillfactor = 10)",
    "INSERT INTO writer_heartbeat VALUES (now())",
)


def upgrade() -> None:
    """Create the table."""
    for statement in STATEMENTS:
        op.execute(statement)
