"""The command log stores no answer that follows from events, and its index of actors has no ids of commands.

`answer` is JSON as text, so a replay has the members in their first order; `result` stays for rows that have it.
Commands of one actor and time share an entry of the new index, which is created before without locking out writers.
"""

from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the column, and put the smaller index in place of the larger."""
    op.execute("ALTER TABLE command_log ALTER COLUMN result DROP NOT NULL, ADD COLUMN IF NOT EXISTS answer json")
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS command_log_actor_time_idx")  # an unfinished one
        op.execute("CREATE INDEX CONCURRENTLY command_log_actor_time_idx ON command_log (actor_id, recorded_at)")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS command_log_actor_idx")
