"""The event store: events, the heads of streams, and the log of commands.

`stored_events` has the layout of the `eventsourcing` library (9.5), so that library can read and append to it; what
is added has defaults.
"""

from alembic import op

revision = "0001"
down_revision = None

TABLES = """
CREATE TABLE stored_events (
    originator_id      uuid        NOT NULL,
    originator_version bigint      NOT NULL,
    topic              text        NOT NULL,
    state              bytea       NOT NULL,
    notification_id    bigserial   NOT NULL,
    recorded_at        timestamptz NOT NULL,
    command_id         uuid,
    PRIMARY KEY (originator_id, originator_version)
);
CREATE UNIQUE INDEX stored_events_notification_id_idx ON stored_events (notification_id);

-- Rewritten at every append: room on each page keeps an update from touching the index (HOT).
CREATE TABLE stream_heads (
    originator_id uuid   PRIMARY KEY,
    version       bigint NOT NULL,
    topic         text   NOT NULL,
    state         bytea  NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE command_log (
    command_id   uuid        PRIMARY KEY,
    name         text        NOT NULL,
    actor_id     uuid,
    session_id   uuid,
    jti          uuid,
    request_id   text,
    request_hash bytea,
    outcome      text        NOT NULL CHECK (outcome IN ('accepted', 'refused')),
    result       jsonb       NOT NULL,
    recorded_at  timestamptz NOT NULL
);

CREATE VIEW events AS
    SELECT notification_id AS position, originator_id AS stream_id, originator_version AS version, topic,
           convert_from(state, 'UTF8')::jsonb AS state, recorded_at, command_id
    FROM stored_events;
"""

APPEND_ONLY = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON stored_events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON command_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""

# Every writer, this service or another program, takes the lock before it draws its first position, and keeps it until
# the commit. The lock comes after the table's own (ROW EXCLUSIVE), as it must for a program that starts with
# LOCK TABLE, or the two would deadlock.
APPEND_LOCK = """
CREATE FUNCTION take_append_lock() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(TG_RELID::bigint);
    RETURN NULL;
END $$;
CREATE TRIGGER append_lock BEFORE INSERT ON stored_events
    FOR EACH STATEMENT EXECUTE FUNCTION take_append_lock();

CREATE FUNCTION append_time() RETURNS timestamptz LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
BEGIN
    RETURN greatest(clock_timestamp(),
                    (SELECT recorded_at FROM stored_events ORDER BY notification_id DESC LIMIT 1));
END $$;
ALTER TABLE stored_events ALTER COLUMN recorded_at SET DEFAULT append_time();

CREATE FUNCTION reserve_positions(count bigint, read_ids uuid[], read_versions bigint[],
                                  OUT first_position bigint, OUT recorded_at timestamptz)
LANGUAGE plpgsql AS $$
BEGIN
    LOCK TABLE stored_events IN ROW EXCLUSIVE MODE;
    PERFORM pg_advisory_xact_lock('stored_events'::regclass::oid::bigint);
    IF EXISTS (SELECT FROM unnest(read_ids, read_versions) AS read(id, version)
               LEFT JOIN stream_heads ON originator_id = read.id
               WHERE coalesce(stream_heads.version,
                              (SELECT max(originator_version) FROM stored_events WHERE originator_id = read.id),
                              0) <> read.version) THEN
        RAISE EXCEPTION 'a stream has changed since it was read' USING ERRCODE = 'serialization_failure';
    END IF;
    recorded_at := greatest(clock_timestamp(), (SELECT events.recorded_at FROM stored_events AS events
                                                ORDER BY notification_id DESC LIMIT 1));
    first_position := nextval('stored_events_notification_id_seq');
    PERFORM setval('stored_events_notification_id_seq', first_position + greatest(count, 1) - 1);
END $$;
"""


def upgrade() -> None:
    """Create the store."""
    for script in (TABLES, APPEND_ONLY, APPEND_LOCK):
        for statement in _statements(script):
            op.execute(statement)


def _statements(script: str) -> list[str]:
    """Split at the ends of statements: asyncpg runs one at a time."""
    parts, quoted = [""], False
    for line in script.strip().splitlines():
        parts[-1] += line + "\n"
        quoted ^= line.count("$$") % 2 == 1
        if not quoted and line.rstrip().endswith(";"):
            parts.append("")
    return [part for part in parts if part.strip()]
