"""A clean-up deletes the rows of tokens, and of sessions that have ended: what it only marked before is deleted here.

The column `forgotten` stays for workers of the version before, until the next clean-up deletes what they mark.
"""

from alembic import op

revision = "0016"
down_revision = "0015"

STATEMENTS = (
    "DELETE FROM tokens WHERE forgotten",
    """
    DELETE FROM sessions USING (
        SELECT (event_json(topic, state) ->> 'as_of_position')::bigint AS as_of,
               to_timestamp((event_json(topic, state) ->> 'expired_before')::bigint) AS before
        FROM stored_events WHERE topic = 'RevokedTokensForgotten') AS cleanup
    WHERE ended_by IS NOT NULL AND revoked_position <= as_of AND expires_at < before
    """,
)


def upgrade() -> None:
    """Delete the rows."""
    for statement in STATEMENTS:
        op.execute(statement)
