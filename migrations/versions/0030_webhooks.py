"""Webhooks: their settings, the encrypted secrets that sign, how far each has come, and what was delivered.

None exists before this version.
"""

from alembic import op

revision = "0030"
down_revision = "0029"

STATEMENTS = (
    """
    CREATE TABLE webhooks (
        id             uuid        PRIMARY KEY,
        url            text        NOT NULL,
        topics         text        NOT NULL,
        code_prefix    text,
        delivery_order text        NOT NULL,
        description    text,
        client_id      uuid,
        status         text        NOT NULL,
        secrets        jsonb       NOT NULL,
        starts_after   bigint,
        started_by     bigint      NOT NULL,
        position       bigint      NOT NULL,
        created_at     timestamptz NOT NULL,
        updated_at     timestamptz NOT NULL
    )
    """,
    "CREATE UNIQUE INDEX webhooks_position_idx ON webhooks (position)",
    """
    CREATE TABLE webhook_redeliveries (
        webhook_id     uuid   NOT NULL,
        position       bigint NOT NULL,
        event_position bigint NOT NULL,
        PRIMARY KEY (webhook_id, position)
    )
    """,
    """
    CREATE TABLE webhook_secrets (
        webhook_id uuid  NOT NULL,
        id         uuid  NOT NULL,
        secret     bytea NOT NULL,
        PRIMARY KEY (webhook_id, id)
    )
    """,
    """
    CREATE TABLE webhook_cursors (
        webhook_id       uuid        PRIMARY KEY,
        started_by       bigint      NOT NULL,
        position         bigint      NOT NULL,
        pending          jsonb       NOT NULL,
        redelivered_upto bigint      NOT NULL,
        updated_at       timestamptz NOT NULL
    )
    """,
    """
    CREATE TABLE webhook_deliveries (
        webhook_id   uuid        NOT NULL,
        id           uuid        NOT NULL,
        kind         text        NOT NULL,
        position     bigint,
        topic        text        NOT NULL,
        attempt      bigint      NOT NULL,
        status       bigint,
        error        text,
        answer       text        NOT NULL,
        milliseconds bigint      NOT NULL,
        sent_at      timestamptz NOT NULL,
        PRIMARY KEY (webhook_id, id)
    )
    """,
    """
    INSERT INTO followers (name, position)
        SELECT 'deliveries', coalesce(max(notification_id), 0) FROM stored_events
    """,  # there is no webhook yet that could have missed an event
)


def upgrade() -> None:
    """Create the tables."""
    for statement in STATEMENTS:
        op.execute(statement)
