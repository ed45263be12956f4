"""The encrypted secrets of second factors, which no event ever holds."""

from alembic import op

revision = "0023"
down_revision = "0022"

STATEMENTS = (
    """
    CREATE TABLE second_factors (
        stream_id uuid PRIMARY KEY,
        id uuid NOT NULL,
        secret bytea NOT NULL
    )
    """,
)


def upgrade() -> None:
    """Create the table."""
    for statement in STATEMENTS:
        op.execute(statement)
