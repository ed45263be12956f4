"""A block also covers the commands of its events, and a tree of its own covers the commands whose answers are stored.

Blocks that were sealed before have no values in the new columns. A plain transfer has no stored answer, so it has no
entry in the index, which is created before without locking out writers.
"""

from alembic import op

revision = "0018"
down_revision = "0017"

ANSWERED = "outcome = 'refused' OR answer IS NOT NULL OR result IS NOT NULL"


def upgrade() -> None:
    """Add the columns and the index."""
    op.execute(
        """
        ALTER TABLE seals
            ADD COLUMN IF NOT EXISTS command_count   bigint,
            ADD COLUMN IF NOT EXISTS command_root    bytea,
            ADD COLUMN IF NOT EXISTS commands_since  timestamptz,
            ADD COLUMN IF NOT EXISTS commands_before timestamptz,
            ADD COLUMN IF NOT EXISTS command_leaves  bytea
        """
    )
    op.execute("ALTER TABLE seals ALTER COLUMN command_leaves SET STORAGE EXTERNAL")
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS command_log_answered_idx")  # an unfinished one
        op.execute(
            f"""
            CREATE INDEX CONCURRENTLY command_log_answered_idx ON command_log (recorded_at, command_id)
            WHERE {ANSWERED}
            """
        )
