"""Reconciliations of accounts with statements of banks, and the entries that each has matched with a line.

None exists before this version, and no table or index of accounts or transactions changes.
"""

from alembic import op

revision = "0029"
down_revision = "0028"

STATEMENTS = (
    """
    CREATE TABLE reconciliations (
        id            uuid        PRIMARY KEY,
        stream_id     uuid        NOT NULL,
        account_id    uuid        NOT NULL,
        source        text,
        first_day     text        NOT NULL,
        last_day      text        NOT NULL,
        matched       bigint      NOT NULL,
        opening_cents bigint,
        closing_cents bigint,
        position      bigint      NOT NULL,
        created_at    timestamptz NOT NULL,
        undone        boolean     NOT NULL,
        updated_at    timestamptz NOT NULL
    )
    """,
    "CREATE INDEX reconciliations_position_idx ON reconciliations (account_id, position)",
    """
    CREATE TABLE reconciled_entries (
        stream_id         uuid   NOT NULL,
        version           bigint NOT NULL,
        reconciliation_id uuid   NOT NULL,
        line_key          text   NOT NULL,
        line_day          text   NOT NULL,
        PRIMARY KEY (stream_id, version)
    )
    """,
    "CREATE INDEX reconciled_entries_line_idx ON reconciled_entries (stream_id, line_key)",
    "CREATE INDEX reconciled_entries_reconciliation_idx ON reconciled_entries (reconciliation_id)",
)


def upgrade() -> None:
    """Create the tables."""
    for statement in STATEMENTS:
        op.execute(statement)
