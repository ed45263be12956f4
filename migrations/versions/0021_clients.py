"""Machine clients: what each may do, and which of its secrets are valid until when. Their digests are in the log alone.

No client exists before this version, so the table begins empty.
"""

from alembic import op

revision = "0021"
down_revision = "0020"

STATEMENTS = (
    """
    CREATE TABLE clients (
        id          uuid        PRIMARY KEY,
        name        text        NOT NULL,
        roles       text        NOT NULL,
        scope       text        NOT NULL,
        account_ids text,
        user_ids    text,
        secrets     jsonb       NOT NULL,
        position    bigint      NOT NULL,
        created_at  timestamptz NOT NULL,
        updated_at  timestamptz NOT NULL
    )
    """,
    "CREATE UNIQUE INDEX clients_position_idx ON clients (position)",
)


def upgrade() -> None:
    """Create the table."""
    for statement in STATEMENTS:
        op.execute(statement)
