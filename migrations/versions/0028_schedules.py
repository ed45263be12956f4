"""Scheduled transactions: which wait for their time, and which accounts they concern.

None exists before this version. No index of `transfers` changes, so a plain transfer costs what it cost.
"""

from alembic import op

revision = "0028"
down_revision = "0022"

STATEMENTS = (
    "ALTER TABLE transfers ADD COLUMN execute_at timestamptz",
    "ALTER TABLE transfers ADD COLUMN scheduled_at timestamptz",
    "ALTER TABLE transfers ADD COLUMN failure_codes jsonb",
    "UPDATE rebuilds SET kept_position = NULL WHERE projection = 'transfers'",  # the table it keeps lacks the columns
    """
    CREATE TABLE schedules (
        id         uuid        PRIMARY KEY,
        execute_at timestamptz,
        waiting    boolean     NOT NULL
    )
    """,
    "CREATE INDEX schedules_due_idx ON schedules (execute_at, id) WHERE waiting",
    """
    CREATE TABLE scheduled_accounts (
        transaction_id uuid   NOT NULL,
        account_id     uuid   NOT NULL,
        position       bigint NOT NULL,
        PRIMARY KEY (transaction_id, account_id)
    )
    """,
    "CREATE INDEX scheduled_accounts_position_idx ON scheduled_accounts (account_id, position)",
)


def upgrade() -> None:
    """Create the tables and the columns."""
    for statement in STATEMENTS:
        op.execute(statement)
