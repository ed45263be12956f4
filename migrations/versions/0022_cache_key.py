"""The key that authenticates the values of the revocation cache: 32 bytes from 244 random bits.

A value in Redis that another program has planted is not believed.
"""

from alembic import op

revision = "0022"
down_revision = "0021"

STATEMENTS = (
    "ALTER TABLE ledger_identity ADD COLUMN cache_key bytea",
    "UPDATE ledger_identity SET cache_key = sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))",
    "ALTER TABLE ledger_identity ALTER COLUMN cache_key SET NOT NULL",
)


def upgrade() -> None:
    """Add the key."""
    for statement in STATEMENTS:
        op.execute(statement)
