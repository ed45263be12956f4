"""Registered assets beside the currencies of ISO 4217, and accounts whose balance is bounded above.

No asset exists before this version, so the table begins empty.
"""

from alembic import op

revision = "0026"
down_revision = "0025"

STATEMENTS = (
    """
    CREATE TABLE assets (
        id         uuid        PRIMARY KEY,
        code       text        NOT NULL,
        name       text        NOT NULL,
        digits     smallint    NOT NULL,
        position   bigint      NOT NULL,
        created_at timestamptz NOT NULL
    )
    """,
    "CREATE UNIQUE INDEX assets_code_idx ON assets (code)",
    "CREATE UNIQUE INDEX assets_position_idx ON assets (position)",
    "ALTER TABLE accounts ADD COLUMN max_balance_cents bigint",
    "UPDATE rebuilds SET kept_position = NULL WHERE projection = 'accounts'",  # the table it keeps lacks the column
    "DROP INDEX stored_events_funds_idx",
    """
    CREATE INDEX stored_events_funds_idx ON stored_events (originator_id, topic, notification_id)
        WHERE topic IN ('FundsHeld', 'FundsReleased', 'OverdraftLimitChanged', 'AccountFrozen', 'AccountUnfrozen', 'MaxBalanceChanged')
    """,
)


def upgrade() -> None:
    """Create the table, and add the column and the topic of the limit."""
    for statement in STATEMENTS:
        op.execute(statement)
