"""Scheduled transactions: which wait for their time, and which accounts they concern. Balance monitors.

None exists before this version. No index of `transfers` changes, so a plain transfer costs what it cost.
"""

from alembic import op

revision = "0027"
down_revision = "0026"

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
    """
    CREATE TABLE monitors (
        id              uuid        PRIMARY KEY,
        account_id      uuid,
        code_prefix     text,
        currency        text,
        condition       text        NOT NULL,
        operator        text        NOT NULL,
        amount_cents    bigint      NOT NULL,
        triggered       boolean     NOT NULL,
        seen_version    bigint      NOT NULL,
        found_cents     bigint,
        position        bigint      NOT NULL,
        created_at      timestamptz NOT NULL,
        updated_at      timestamptz NOT NULL
    )
    """,
    "CREATE UNIQUE INDEX monitors_position_idx ON monitors (position)",
    """
    INSERT INTO followers (name, position)
        SELECT 'crossings', coalesce(max(notification_id), 0) FROM stored_events
    """,  # there is no monitor yet that could have missed an event
)


def upgrade() -> None:
    """Create the tables and the columns."""
    for statement in STATEMENTS:
        op.execute(statement)
