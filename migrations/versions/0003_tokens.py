"""Sessions, what revoked their tokens, and which ledger this is; the command log is found by who gave the command.

`sessions.revoked_below` and `cutoffs.position` are what a token is checked against: it is dead if it was issued at a
smaller position. A statement that revokes tells all processes (NOTIFY) that they know too little.
"""

from alembic import op

revision = "0003"
down_revision = "0002"

STATEMENTS = (
    """
    CREATE TABLE sessions (
        id               uuid        PRIMARY KEY,
        user_id          uuid        NOT NULL,
        position         bigint      NOT NULL,
        revoked_below    bigint      NOT NULL,
        revoked_position bigint,
        created_at       timestamptz NOT NULL,
        refreshed_at     timestamptz NOT NULL,
        expires_at       timestamptz NOT NULL,
        ended_at         timestamptz,
        ended_by         text
    )
    """,
    "CREATE INDEX sessions_user_idx ON sessions (user_id, position)",  # a user's own list, newest first
    "CREATE INDEX sessions_revoked_idx ON sessions (revoked_position) WHERE revoked_position IS NOT NULL",  # revocation cache
    "CREATE TABLE cutoffs (user_id uuid PRIMARY KEY, position bigint NOT NULL)",
    "CREATE INDEX cutoffs_position_idx ON cutoffs (position)",  # the revocation cache
    "ALTER TABLE tokens ADD COLUMN revoked_position bigint, ADD COLUMN forgotten boolean NOT NULL DEFAULT false",
    "CREATE INDEX tokens_session_idx ON tokens (session_id)",
    "CREATE INDEX tokens_user_idx ON tokens (user_id) WHERE revoked_position IS NULL",
    """
    CREATE INDEX tokens_revoked_idx ON tokens (expires_at)  -- clean-up
        WHERE revoked_position IS NOT NULL AND NOT forgotten
    """,
    "CREATE INDEX command_log_actor_idx ON command_log (actor_id, recorded_at, command_id)",
    "CREATE TABLE ledger_identity (id uuid NOT NULL)",
    "INSERT INTO ledger_identity VALUES (gen_random_uuid())",
    """
    CREATE FUNCTION tell_of_revocation() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_notify(TG_TABLE_SCHEMA || '.revoked', '');
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER tell AFTER INSERT OR UPDATE ON sessions
        FOR EACH ROW WHEN (NEW.revoked_position IS NOT NULL) EXECUTE FUNCTION tell_of_revocation()
    """,
    "CREATE TRIGGER tell AFTER INSERT OR UPDATE ON cutoffs FOR EACH STATEMENT EXECUTE FUNCTION tell_of_revocation()",
)


def upgrade() -> None:
    """Create the tables."""
    for statement in STATEMENTS:
        op.execute(statement)
