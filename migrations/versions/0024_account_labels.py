"""The codes, names, types and metadata of accounts: those in force, and all that there were.

No account has any before this version, so the tables begin empty. Codes are unique because each has a stream.
"""

from alembic import op

revision = "0024"
down_revision = "0023"

STATEMENTS = (
    """
    CREATE TABLE account_labels (
        account_id uuid    PRIMARY KEY,
        code       text,
        code_key   text    COLLATE "C",
        name       text,
        words      text,
        type       text,
        metadata   jsonb,
        changes    bigint  NOT NULL
    )
    """,
    "CREATE INDEX account_labels_code_idx ON account_labels (code_key) WHERE code_key IS NOT NULL",
    "CREATE INDEX account_labels_type_idx ON account_labels (type) WHERE type IS NOT NULL",
    """CREATE INDEX account_labels_words_idx ON account_labels
       USING gin (array_to_tsvector(string_to_array(words, ' ')))""",
    "CREATE INDEX account_labels_metadata_idx ON account_labels USING gin (metadata jsonb_path_ops)",
    """
    CREATE TABLE account_label_history (
        account_id  uuid        NOT NULL,
        version     bigint      NOT NULL,
        position    bigint      NOT NULL,
        recorded_at timestamptz NOT NULL,
        code        text,
        name        text,
        type        text,
        metadata    jsonb,
        PRIMARY KEY (account_id, version)
    )
    """,
    "CREATE INDEX account_label_history_position_idx ON account_label_history (account_id, position)",
)


def upgrade() -> None:
    """Create the tables."""
    for statement in STATEMENTS:
        op.execute(statement)
