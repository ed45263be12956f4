"""The seals of the log: one row a block, never changed.

`leaves` are the hashes of the block's leaves, 32 bytes each: with them, an event that was changed can be named. They do
not get smaller by compression.
"""

from alembic import op

revision = "0006"
down_revision = "0005"

STATEMENTS = (
    """
    CREATE TABLE seals (
        number         bigint      PRIMARY KEY,
        first_position bigint      NOT NULL,
        last_position  bigint      NOT NULL,
        count          bigint      NOT NULL,
        root           bytea       NOT NULL,
        previous       bytea       NOT NULL,
        sealed_at      timestamptz NOT NULL,
        key_id         text        NOT NULL,
        signature      bytea       NOT NULL,
        leaves         bytea       NOT NULL
    )
    """,
    "ALTER TABLE seals ALTER COLUMN leaves SET STORAGE EXTERNAL",
    "CREATE UNIQUE INDEX seals_last_position_idx ON seals (last_position)",  # which block a position is in
    """
    CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON seals
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
    """,
)


def upgrade() -> None:
    """Create the table."""
    for statement in STATEMENTS:
        op.execute(statement)
