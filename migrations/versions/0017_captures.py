"""Several captures of a hold, partial reversals, and what the holds of an account will pay to another.

Each capture has a row, because each moves money at a time of its own. A plain transfer is in none of the new indexes.
"""

from alembic import op

revision = "0017"
down_revision = "0016"

STATEMENTS = (
    "ALTER TABLE transfers ADD COLUMN reversed_cents bigint",
    "UPDATE rebuilds SET kept_position = NULL WHERE projection = 'transfers'",  # the table it keeps lacks the column
    """
    CREATE TABLE captures (
        transaction_id uuid        NOT NULL,
        version        bigint      NOT NULL,
        position       bigint      NOT NULL,
        recorded_at    timestamptz NOT NULL,
        amount_cents   bigint      NOT NULL,
        reference      text,
        description    text,
        metadata       jsonb,
        effective_at   timestamptz,
        PRIMARY KEY (transaction_id, version)
    )
    """,
    """
    INSERT INTO captures (transaction_id, version, position, recorded_at, amount_cents)
        SELECT id, 2, settled_position, settled_at, captured_cents FROM transfers WHERE status = 'captured'
    """,  # until now a hold was captured once, by the second event of its stream
    "CREATE UNIQUE INDEX captures_position_idx ON captures (position)",
    "CREATE INDEX captures_reference_idx ON captures (reference) WHERE reference IS NOT NULL",
    """
    CREATE INDEX transfers_pending_of_idx ON transfers (source_account_id, expires_at) WHERE status = 'pending'
    """,  # which holds of an account are overdue
    """
    CREATE INDEX transfers_pending_for_idx ON transfers (destination_account_id, expires_at) WHERE status = 'pending'
    """,
    """
    CREATE INDEX transfers_captured_idx ON transfers (settled_position) WHERE captured_cents IS NOT NULL
    """,  # what counts from its capture
    "DROP INDEX stored_events_landmark_idx",
    """
    CREATE INDEX stored_events_landmark_idx ON stored_events (originator_id, notification_id)
        WHERE topic IN ('AccountOpened', 'AccountOwnerChanged', 'AccountClosed', 'AccountReopened')
    """,
    """
    CREATE INDEX stored_events_incoming_idx ON stored_events (originator_id, notification_id)
        WHERE topic IN ('IncomingHeld', 'IncomingReleased')
    """,
)


def upgrade() -> None:
    """Create the table and the indexes."""
    for statement in STATEMENTS:
        op.execute(statement)
