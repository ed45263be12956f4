"""Who owned an account, and from when on: a user sees the part of its history that was theirs."""

from alembic import op

revision = "0019"
down_revision = "0018"

STATEMENTS = (
    """
    CREATE TABLE account_owners (
        account_id uuid   NOT NULL,
        version    bigint NOT NULL,
        user_id    uuid,
        position   bigint NOT NULL,
        PRIMARY KEY (account_id, version)
    )
    """,
    """
    INSERT INTO account_owners (account_id, version, user_id, position)
        SELECT originator_id, originator_version, (convert_from(state, 'UTF8')::jsonb ->> 'owner_id')::uuid,
               notification_id
        FROM stored_events WHERE topic IN ('AccountOpened', 'AccountOwnerChanged')
    """,
    "CREATE INDEX account_owners_position_idx ON account_owners (account_id, position)",
    "CREATE INDEX account_owners_user_idx ON account_owners (user_id, account_id)",
)


def upgrade() -> None:
    """Create the table with the owners of all accounts."""
    for statement in STATEMENTS:
        op.execute(statement)
