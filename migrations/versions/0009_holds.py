"""Journal entries, reversals and holds beside plain transfers, and what may be done with an account.

A plain transfer writes none of the new columns: null is `posted` for a status, and 1 for a version.
"""

from alembic import op

revision = "0009"
down_revision = "0008"

STATEMENTS = (
    """
    ALTER TABLE accounts
        ADD COLUMN held_cents            bigint NOT NULL DEFAULT 0,
        ADD COLUMN overdraft_limit_cents bigint NOT NULL DEFAULT 0,
        ADD COLUMN frozen                text   NOT NULL DEFAULT 'none'
    """,
    """
    ALTER TABLE transfers
        ALTER COLUMN source_account_id      DROP NOT NULL,  -- these four say what moves between two accounts
        ALTER COLUMN destination_account_id DROP NOT NULL,
        ALTER COLUMN amount_cents           DROP NOT NULL,
        ALTER COLUMN currency               DROP NOT NULL,
        ADD COLUMN postings         jsonb,  -- and this, what moves between more
        ADD COLUMN description      text,
        ADD COLUMN metadata         jsonb,
        ADD COLUMN effective_at     timestamptz,
        ADD COLUMN status           text,
        ADD COLUMN version          bigint,
        ADD COLUMN expires_at       timestamptz,
        ADD COLUMN captured_cents   bigint,
        ADD COLUMN settled_position bigint,  -- where and when a hold was captured, voided or expired
        ADD COLUMN settled_at       timestamptz,
        ADD COLUMN reverses         uuid,
        ADD COLUMN reversed_by      uuid
    """,
    "CREATE INDEX transfers_due_idx ON transfers (expires_at) WHERE status = 'pending'",  # what is to expire next
    """
    CREATE INDEX stored_events_funds_idx ON stored_events (originator_id, topic, notification_id)
        WHERE topic IN ('FundsHeld', 'FundsReleased', 'OverdraftLimitChanged', 'AccountFrozen', 'AccountUnfrozen')
    """,  # what was held, and what was allowed, as of a position
)


def upgrade() -> None:
    """Add the columns and the indexes."""
    for statement in STATEMENTS:
        op.execute(statement)
