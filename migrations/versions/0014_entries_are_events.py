r"""Entries are read from the events of accounts: `entries` is a view now, with the columns and grants of the table.

The table repeated the log: two rows and two index entries a transfer. Workers of the version before still insert into
it while they are replaced, which has no effect. It is dropped in no time, once queries that read it have ended.
"""

from alembic import op

revision = "0014"
down_revision = "0013"

VIEW = """
    CREATE VIEW entries AS
    SELECT originator_id AS account_id, originator_version AS version,
           (convert_from(state, 'UTF8')::json ->> 'transfer_id')::uuid AS transfer_id,
           CASE topic WHEN 'AccountDebited' THEN -1 ELSE 1 END
               * (convert_from(state, 'UTF8')::json ->> 'amount_cents')::bigint AS amount_cents,
           (convert_from(state, 'UTF8')::json ->> 'balance_cents')::bigint AS balance_cents,
           notification_id AS position, recorded_at
    FROM stored_events WHERE topic IN ('AccountDebited', 'AccountCredited')
"""
STATEMENTS = (
    f"""
    DO $do$
    DECLARE
        grants text[] := ARRAY(
            SELECT format('GRANT %s ON entries TO %s%s', privilege_type,
                          CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END,
                          CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
            FROM pg_class, aclexplode(relacl) WHERE pg_class.oid = 'entries'::regclass AND privilege_type <> 'MAINTAIN');
        granted text;
    BEGIN
        EXECUTE format('DROP TABLE IF EXISTS %I.entries', left(current_schema(), 50) || '_old');
        DROP TABLE entries;
        {VIEW};
        FOREACH granted IN ARRAY grants LOOP
            EXECUTE granted;
        END LOOP;
    END $do$
    """,
    "DELETE FROM rebuilds WHERE projection = 'entries'",
    """
    CREATE FUNCTION ignore_entry() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RETURN NEW;
    END $$
    """,
    "CREATE TRIGGER ignore INSTEAD OF INSERT ON entries FOR EACH ROW EXECUTE FUNCTION ignore_entry()",
)


def upgrade() -> None:
    """Put the view in place of the table."""
    for statement in STATEMENTS:
        op.execute(statement)
