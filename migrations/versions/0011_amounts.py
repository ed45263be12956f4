"""Transactions are found by currency and amount: each is in a band, 1 to 2, 2 to 5, 5 to 10 and so on, in time's order.

A band grows at its end only. To make an index locks out who writes to the table; what was made before, concurrently, is
left as it is.
"""

from alembic import op

revision = "0011"
down_revision = "0010"

BANDS = ",".join(str(digit * 10**power) for power in range(16) for digit in (1, 2, 5))
STATEMENTS = (
    f"""CREATE INDEX IF NOT EXISTS transfers_amount_idx
        ON transfers (currency, width_bucket(amount_cents, '{{{BANDS}}}'::bigint[]), position)""",
    "CREATE INDEX IF NOT EXISTS transfers_postings_idx ON transfers (position) WHERE postings IS NOT NULL",
)


def upgrade() -> None:
    """Create the indexes."""
    for statement in STATEMENTS:
        op.execute(statement)
