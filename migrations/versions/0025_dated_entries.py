"""Entries of transactions with an effective time of their own: each with running sums of its year, month and day.

An entry without one counts when it was recorded, and has no row here. Transactions of earlier versions get their rows.
"""

from alembic import op

revision = "0025"
down_revision = "0024"

STATEMENTS = (
    """
    CREATE TABLE dated_entries (
        account_id   uuid        NOT NULL,
        position     bigint      NOT NULL,
        version      bigint      NOT NULL,
        effective_at timestamptz NOT NULL,
        amount_cents bigint      NOT NULL,
        year         bigint      NOT NULL,
        month        bigint      NOT NULL,
        day          bigint      NOT NULL,
        total_cents  numeric     NOT NULL,
        year_cents   numeric     NOT NULL,
        month_cents  numeric     NOT NULL,
        day_cents    numeric     NOT NULL,
        PRIMARY KEY (account_id, position)
    )
    """,
    """
    INSERT INTO dated_entries
    SELECT account_id, position, version, effective_at, amount_cents, year, month, day,
           sum(amount_cents) OVER (PARTITION BY account_id ORDER BY position),
           sum(amount_cents) OVER (PARTITION BY account_id, year ORDER BY position),
           sum(amount_cents) OVER (PARTITION BY account_id, month ORDER BY position),
           sum(amount_cents) OVER (PARTITION BY account_id, day ORDER BY position)
    FROM (SELECT entries.*, effective_at, extract(year FROM at)::bigint AS year,
                 (12 * extract(year FROM at) + extract(month FROM at) - 1)::bigint AS month,
                 (at::date - '0001-01-01'::date + 1)::bigint AS day
          FROM (SELECT id, position, effective_at, coalesce(jsonb_array_length(postings), 2) AS reach
                FROM transfers WHERE effective_at IS NOT NULL AND kind <> 'hold'
                UNION ALL
                SELECT transaction_id, position, effective_at, 4 FROM captures WHERE effective_at IS NOT NULL) AS dated
          JOIN LATERAL (SELECT account_id, position, version, amount_cents FROM entries
                        WHERE entries.position > dated.position AND entries.position <= dated.position + reach
                          AND entries.transfer_id = dated.id) AS entries ON true,
               LATERAL (SELECT effective_at AT TIME ZONE 'UTC' AS at) AS utc) AS counted
    """,
    "CREATE INDEX dated_entries_effective_idx ON dated_entries (account_id, effective_at, version)",
    "CREATE INDEX dated_entries_year_idx ON dated_entries (account_id, year, position)",
    "CREATE INDEX dated_entries_month_idx ON dated_entries (account_id, month, position)",
    "CREATE INDEX dated_entries_day_idx ON dated_entries (account_id, day, position)",
)


def upgrade() -> None:
    """Create the table with the entries of all transactions that have an effective time."""
    for statement in STATEMENTS:
        op.execute(statement)
