"""What lists are chosen by. A plain transfer is in none of these indexes, and an account enters them once.

The list of all transactions, newest first, is read along the log.
"""

from alembic import op

revision = "0010"
down_revision = "0009"

STATEMENTS = (
    "CREATE INDEX transfers_reference_idx ON transfers (reference, position) WHERE reference IS NOT NULL",
    "CREATE INDEX transfers_kind_idx ON transfers (kind, position) WHERE kind <> 'transfer'",
    "CREATE INDEX transfers_status_idx ON transfers (status, position) WHERE status IS NOT NULL",
    "CREATE INDEX transfers_held_of_idx ON transfers (source_account_id, position) WHERE kind = 'hold'",
    "CREATE INDEX transfers_held_for_idx ON transfers (destination_account_id, position) WHERE kind = 'hold'",
    "CREATE INDEX accounts_currency_idx ON accounts (currency, position)",
    "CREATE INDEX accounts_closed_idx ON accounts (position) WHERE status = 'closed'",
    "CREATE INDEX users_inactive_idx ON users (position) WHERE NOT active",
)


def upgrade() -> None:
    """Create the indexes."""
    for statement in STATEMENTS:
        op.execute(statement)
