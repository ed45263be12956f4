"""Verification names each object of the schema that somebody with the database's password has changed."""

import json
from typing import Any

import pytest

from ledger.runtime import Runtime
from tests.support.processes import run_ledger

SCHEMA = "the schema is what the migrations make"
VERSION = "the schema has the version of the last migration"
AHEAD = "no follower is ahead of the log"

ATTACKS = {
    "a disabled trigger": (
        "ALTER TABLE stored_events DISABLE TRIGGER append_only",
        SCHEMA,
        "trigger stored_events.append_only",
    ),
    "a trigger for replication only": (
        "ALTER TABLE command_log ENABLE REPLICA TRIGGER append_only",
        SCHEMA,
        "trigger command_log.append_only",
    ),
    "a dropped trigger": ("DROP TRIGGER append_lock ON stored_events", SCHEMA, "trigger stored_events.append_lock"),
    "a trigger of the attacker's": (
        """CREATE FUNCTION give() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
           CREATE TRIGGER give BEFORE INSERT ON accounts FOR EACH ROW EXECUTE FUNCTION give()""",
        SCHEMA,
        "trigger accounts.give",
    ),
    "a rule": (
        "CREATE RULE forget AS ON INSERT TO seals DO INSTEAD NOTHING",
        SCHEMA,
        "rule seals.forget",
    ),
    "row security": (
        "ALTER TABLE sessions ENABLE ROW LEVEL SECURITY; CREATE POLICY hide ON sessions USING (false)",
        SCHEMA,
        "policy sessions.hide",
    ),
    "rows of an inheriting table": (
        "CREATE TABLE forged () INHERITS (stored_events)",
        SCHEMA,
        "table stored_events",
    ),
    "a table that a crash empties": ("ALTER TABLE command_log SET UNLOGGED", SCHEMA, "table command_log"),
    "a dropped constraint": (
        "ALTER TABLE command_log DROP CONSTRAINT command_log_outcome_check",
        SCHEMA,
        "constraint command_log.command_log_outcome_check",
    ),
    "a dropped key": (
        "ALTER TABLE credentials DROP CONSTRAINT credentials_pkey",
        SCHEMA,
        "index credentials.credentials_pkey",
    ),
    "a column that may be null": (
        "ALTER TABLE transfers ALTER kind DROP NOT NULL",
        SCHEMA,
        "column transfers.kind",
    ),
    "a default": (
        "ALTER TABLE accounts ALTER overdraft_limit_cents SET DEFAULT 1000000",
        SCHEMA,
        "column accounts.overdraft_limit_cents",
    ),
    "a dropped index": (
        "DROP INDEX stored_events_notification_id_idx",
        SCHEMA,
        "index stored_events.stored_events_notification_id_idx",
    ),
    "an index that calls a function": (
        "CREATE INDEX spy ON tokens ((abs(position)))",
        SCHEMA,
        "index tokens.spy",
    ),
    "a replaced function": (
        """CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS
           'BEGIN RETURN NULL; END'""",
        SCHEMA,
        "function refuse_change()",
    ),
    "a function with another schema first": (
        "ALTER FUNCTION append_time() SET search_path = public",
        SCHEMA,
        "function append_time()",
    ),
    "a replaced view": (
        """CREATE OR REPLACE VIEW events AS SELECT * FROM (
           SELECT notification_id AS position, originator_id AS stream_id, originator_version AS version, topic,
           event_json(topic, state) AS state, recorded_at, command_id FROM stored_events) AS others
           WHERE position < 3""",
        SCHEMA,
        "view events",
    ),
    "triggers off for a role": (
        "ALTER ROLE CURRENT_USER IN DATABASE {database} SET session_replication_role = replica",
        SCHEMA,
        "setting session_replication_role of ledger in this database",
    ),
    "an older version": ("UPDATE alembic_version SET version_num = '0001'", VERSION, None),
    "a later version": ("UPDATE alembic_version SET version_num = '9999'", VERSION, None),
    "a follower ahead of the log": ("UPDATE followers SET position = 1000000 WHERE name = 'seals'", AHEAD, "seals"),
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_changed_schema_is_found(busy: Runtime, connection: Any, attack: str) -> None:
    sql, rule, place = ATTACKS[attack]
    await connection.execute(sql.format(database=await connection.fetchval("SELECT current_database()")))

    ran = await run_ledger("audit", "verify", "--fast", "--json", variables=busy.settings.environment())

    found = [json.loads(line) for line in ran.output.splitlines()]
    assert 1 == ran.status, ran.error
    assert (rule, place) in [(finding["rule"], finding.get("row")) for finding in found]


async def test_a_schema_that_changes_only_by_a_rebuild_is_right(busy: Runtime) -> None:
    for arguments in (("rebuild", "--all", "--keep-old"), ("rollback", "accounts")):
        assert 0 == (await run_ledger("projections", *arguments, variables=busy.settings.environment())).status
        ran = await run_ledger("audit", "verify", "--fast", "--json", variables=busy.settings.environment())
        assert (0, "") == (ran.status, ran.output), ran.error
