"""Transactions are found by currency and amount: each is in a band, 1 to 2, 2 to 5, 5 to 10 and so on, in time's order.

A band grows at its end only. To make an index locks out who writes to the table; what was made before, concurrently and
to its end, is left as it is. Old tables that a rebuild kept lack the indexes, so they cannot be taken back any more.
"""

from alembic import op

revision = "0011"
down_revision = "0010"

BANDS = ",".join(str(digit * 10**power) for power in range(16) for digit in (1, 2, 5))
STATEMENTS = (
    """
    DO $$
    DECLARE
        unfinished regclass;
    BEGIN
        FOR unfinished IN SELECT indexrelid FROM pg_index WHERE NOT indisvalid AND indrelid = 'transfers'::regclass LOOP
            EXECUTE format('DROP INDEX %s', unfinished);
        END LOOP;
    END $$
    """,
    f"""CREATE INDEX IF NOT EXISTS transfers_amount_idx
        ON transfers (currency, width_bucket(amount_cents, '{{{BANDS}}}'::bigint[]), position)""",
    "CREATE INDEX IF NOT EXISTS transfers_postings_idx ON transfers (position) WHERE postings IS NOT NULL",
    "UPDATE rebuilds SET kept_position = NULL WHERE projection = 'transfers'",
)


def upgrade() -> None:
    """Create the indexes."""
    for statement in STATEMENTS:
        op.execute(statement)
