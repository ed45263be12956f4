"""What rebuilds of projections have reached, kept and met with; and a trigger that notes which rows of a shadow change.

Shadow and old tables are in schemas of their own, `<schema>_rebuild` and `<schema>_old`, which come and go.
"""

from alembic import op

revision = "0005"
down_revision = "0004"

STATEMENTS = (
    """
    CREATE TABLE rebuilds (
        projection    text PRIMARY KEY,
        position      bigint,      -- that the shadow tables reach; null: there are none
        code          text,        -- what wrote them
        kept_position bigint,      -- that the old tables reach; null: none are kept
        error         text,        -- that ended the last rebuild
        updated_at    timestamptz NOT NULL DEFAULT now()
    )
    """,
    """
    CREATE FUNCTION note_touched() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        EXECUTE format('INSERT INTO %I.%I SELECT %s FROM touched',
                       TG_TABLE_SCHEMA, 'touched_' || TG_TABLE_NAME, TG_ARGV[0]);
        RETURN NULL;
    END $$
    """,
)


def upgrade() -> None:
    """Create the table and the function."""
    for statement in STATEMENTS:
        op.execute(statement)
