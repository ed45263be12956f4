r"""The events of plain transfers may be stored in a short form (`ledger.events.compact`): `events` shows both as JSON."""

from alembic import op

revision = "0015"
down_revision = "0014"

STATEMENTS = (
    r"""
    CREATE FUNCTION stored_uuid(state bytea, start integer) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN encode(substring(state FROM start FOR 16), 'hex')::uuid
    """,
    r"""
    CREATE FUNCTION stored_integer(state bytea, start integer) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ('x' || encode(substring(state FROM start FOR 8), 'hex'))::bit(64)::bigint
    """,
    r"""
    CREATE FUNCTION event_json(topic text, state bytea) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE
        WHEN substring(state FROM 1 FOR 1) <> '\x01' THEN convert_from(state, 'UTF8')::jsonb
        WHEN topic = 'MoneyTransferred' THEN jsonb_build_object(
            'source_account_id', stored_uuid(state, 2), 'destination_account_id', stored_uuid(state, 18),
            'amount_cents', stored_integer(state, 34), 'currency', convert_from(substring(state FROM 42), 'UTF8'),
            'kind', 'transfer', 'reference', NULL)
        ELSE jsonb_build_object(
            'transfer_id', stored_uuid(state, 2), 'amount_cents', stored_integer(state, 18),
            'balance_cents', stored_integer(state, 26))
    END
    """,
    r"""
    CREATE OR REPLACE VIEW events AS
    SELECT notification_id AS position, originator_id AS stream_id, originator_version AS version, topic,
           event_json(topic, state) AS state, recorded_at, command_id
    FROM stored_events
    """,
    r"""
    CREATE OR REPLACE VIEW entries AS
    SELECT originator_id AS account_id, originator_version AS version,
           CASE substring(state FROM 1 FOR 1) WHEN '\x01' THEN stored_uuid(state, 2)
               ELSE (convert_from(state, 'UTF8')::json ->> 'transfer_id')::uuid END AS transfer_id,
           CASE topic WHEN 'AccountDebited' THEN -1 ELSE 1 END
               * CASE substring(state FROM 1 FOR 1) WHEN '\x01' THEN stored_integer(state, 18)
                     ELSE (convert_from(state, 'UTF8')::json ->> 'amount_cents')::bigint END AS amount_cents,
           CASE substring(state FROM 1 FOR 1) WHEN '\x01' THEN stored_integer(state, 26)
               ELSE (convert_from(state, 'UTF8')::json ->> 'balance_cents')::bigint END AS balance_cents,
           notification_id AS position, recorded_at
    FROM stored_events WHERE topic IN ('AccountDebited', 'AccountCredited')
    """,
)


def upgrade() -> None:
    """Create the functions, and let the views use them."""
    for statement in STATEMENTS:
        op.execute(statement)
