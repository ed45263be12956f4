"""The read tables of the inline projections, and the credentials, which no event ever holds.

No foreign keys: these rows follow from the log, and a rebuild writes them table by table.
"""

from alembic import op

revision = "0002"
down_revision = "0001"

STATEMENTS = (
    """
    CREATE TABLE users (
        id         uuid        PRIMARY KEY,
        username   text        NOT NULL,
        email      text        NOT NULL,
        active     boolean     NOT NULL,
        roles      text        NOT NULL,
        name_id    uuid        NOT NULL,
        position   bigint      NOT NULL,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL
    )
    """,
    "CREATE UNIQUE INDEX users_name_id_idx ON users (name_id)",  # login by name
    "CREATE UNIQUE INDEX users_position_idx ON users (position)",  # the list, newest first
    """
    CREATE TABLE accounts (
        id            uuid        PRIMARY KEY,
        user_id       uuid,
        currency      text        NOT NULL,
        balance_cents bigint      NOT NULL,
        status        text        NOT NULL,
        version       bigint      NOT NULL,
        position      bigint      NOT NULL,
        created_at    timestamptz NOT NULL,
        updated_at    timestamptz NOT NULL
    ) WITH (fillfactor = 70)
    """,
    "CREATE UNIQUE INDEX accounts_position_idx ON accounts (position)",  # the list, newest first
    "CREATE INDEX accounts_user_idx ON accounts (user_id, position)",  # a customer's own list
    """
    CREATE TABLE entries (
        account_id    uuid        NOT NULL,
        version       bigint      NOT NULL,
        transfer_id   uuid        NOT NULL,
        amount_cents  bigint      NOT NULL,
        balance_cents bigint      NOT NULL,
        position      bigint      NOT NULL,
        recorded_at   timestamptz NOT NULL,
        PRIMARY KEY (account_id, version)
    )
    """,
    """
    CREATE TABLE transfers (
        id                     uuid        PRIMARY KEY,
        source_account_id      uuid        NOT NULL,
        destination_account_id uuid        NOT NULL,
        amount_cents           bigint      NOT NULL,
        currency               text        NOT NULL,
        kind                   text        NOT NULL,
        reference              text,
        position               bigint      NOT NULL,
        recorded_at            timestamptz NOT NULL
    )
    """,
    """
    CREATE TABLE tokens (
        jti        uuid        PRIMARY KEY,
        session_id uuid        NOT NULL,
        user_id    uuid        NOT NULL,
        type       smallint    NOT NULL,
        position   bigint      NOT NULL,
        expires_at timestamptz NOT NULL
    )
    """,
    """
    CREATE TABLE credentials (
        user_id    uuid PRIMARY KEY,
        id         uuid NOT NULL,
        hash       text NOT NULL
    )
    """,
)


def upgrade() -> None:
    """Create the tables."""
    for statement in STATEMENTS:
        op.execute(statement)
