"""Distribute a ledger on Citus: its tables are placed on one node, with what writing needs there.

Citus cannot migrate distributed tables as PostgreSQL does. So migrations run while the tables are on the coordinator.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from ledger.errors import DatabaseError
from ledger.settings import Settings
from ledger.store.citus import find_placement, local_schema
from ledger.store.connections import Connection
from ledger.store.locks import Lock
from ledger.store.pool import connect, connect_to_url
from ledger.store.session import Session

NOT_THE_COORDINATOR = "DATABASE_URL leads to a worker node of Citus: `ledger migrate` needs that of the coordinator"
ATTEMPTS = 10  # to move tables that a service uses
NO_NODES = "this cluster of Citus has no node for the ledger: add one with citus_add_node"


async def is_distributed(settings: Settings) -> bool:
    """Return whether the ledger's tables are distributed, as they are to be where the database has Citus."""
    async with _open_session(settings) as session:
        return not session.has_citus or await find_placement(session, settings.ledger_schema) is not None


async def undistribute(settings: Settings) -> None:
    """Move the ledger's tables to the coordinator, if they are distributed. Raises `DatabaseError`."""
    async with _open_session(settings) as session:
        if not session.has_citus:
            return
        await _check_cluster(session)
        if await find_placement(session, settings.ledger_schema) is not None:
            async with _stop_writers(settings):
                await _bring_back(session, settings.ledger_schema)
                await session.execute(_CONTINUE_POSITIONS)


async def distribute(settings: Settings) -> None:
    """Place the ledger's tables on a node, if the database has Citus."""
    schema = settings.ledger_schema
    async with _open_session(settings) as session:
        if not session.has_citus:
            return
        for statement in _PREPARE:
            await session.execute(statement.replace("{schema}", schema).replace("{local}", local_schema(schema)))
        # Citus calls triggers unsafe that reach another node: these do not.
        await session.execute("SET citus.enable_unsafe_triggers = on")
        await session.execute(f"SELECT citus_schema_distribute('\"{schema}\"')")
        await _drop_local_rows(session, schema)


async def _bring_back(session: Connection, schema: str) -> None:
    """Move the tables; a service that still reads them locks them in another order."""
    for attempt in range(ATTEMPTS):
        try:
            await session.execute(f"SELECT citus_schema_undistribute('\"{schema}\"')")
        except asyncpg.DeadlockDetectedError:
            if attempt == ATTEMPTS - 1:
                raise
        else:
            return


@asynccontextmanager
async def _open_session(settings: Settings) -> AsyncIterator[Session]:
    session = await connect_to_url(settings, statement_seconds=None)
    try:
        yield session
    finally:
        await session.close()


async def _check_cluster(session: Connection) -> None:
    if not await session.fetchval("SELECT citus_is_coordinator()"):
        raise DatabaseError(NOT_THE_COORDINATOR)
    if not await session.fetchval("SELECT EXISTS (SELECT FROM pg_dist_node WHERE shouldhaveshards)"):
        raise DatabaseError(NO_NODES)


@asynccontextmanager
async def _stop_writers(settings: Settings) -> AsyncIterator[None]:
    """Keep writers from the log and the seals: then they find that the ledger has moved."""
    session = await connect(settings, statement_seconds=None)
    try:
        async with session.transaction():
            for lock in (Lock.APPEND, Lock.SEAL):
                await session.execute(f"SELECT pg_advisory_xact_lock({lock})")
            yield
    finally:
        await session.close()


async def _drop_local_rows(session: Connection, schema: str) -> None:
    """Remove the rows that Citus has copied to the node and leaves on the coordinator, also from append-only tables."""
    refuses = await session.fetchval("SELECT pg_get_functiondef('refuse_change'::regproc)")
    async with session.transaction():
        await session.execute("SET LOCAL citus.enable_ddl_propagation = off")
        await session.execute(_ALLOW_CHANGE)
        await session.execute(_DROP_LOCAL_ROWS.replace("{schema}", schema))
        await session.execute(refuses)


_CONTINUE_POSITIONS = """
SELECT setval('stored_events_notification_id_seq', max(notification_id)) FROM stored_events"""
_ALLOW_CHANGE = """
CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$"""
_DROP_LOCAL_ROWS = """
SELECT truncate_local_data_after_distributing_table(logicalrelid) FROM pg_dist_partition JOIN pg_class
ON pg_class.oid = logicalrelid WHERE relnamespace = '"{schema}"'::regnamespace"""

# The functions that PostgreSQL's migrations create find the shards: the search path of those that keep one has the
# views' schema first.
_FIND_SHARDS = """
DO $do$
DECLARE
    function regprocedure;
BEGIN
    FOR function IN SELECT oid FROM pg_proc WHERE pronamespace = '"{schema}"'::regnamespace
                    AND array_to_string(proconfig, ' ') LIKE 'search_path=%' LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = "{local}", "{schema}"', function);
    END LOOP;
END $do$"""
_REFUSE_MOVED = """
CREATE OR REPLACE FUNCTION refuse_moved() RETURNS boolean LANGUAGE plpgsql STABLE AS $$
DECLARE
    home CONSTANT text := (SELECT nodename || ' ' || nodeport FROM pg_dist_shard JOIN pg_dist_placement USING (shardid)
                           JOIN pg_dist_node USING (groupid)
                           WHERE logicalrelid = to_regclass('"{schema}".stored_events') AND noderole = 'primary');
BEGIN
    RAISE WARNING 'the ledger is on node %', home;  -- a client finds no node in an error, which ends its session
    RAISE EXCEPTION 'the ledger has moved to another node' USING ERRCODE = 'cannot_connect_now';
END $$"""

# A session that writes to a shard must take the lock that statements planned by Citus take: a move waits for it.
_STAY = """
CREATE OR REPLACE FUNCTION stay() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    moved_with CONSTANT bigint := (SELECT shardid FROM pg_dist_shard
                                   WHERE logicalrelid = to_regclass('"{schema}".stored_events'));
    here CONSTANT integer := (SELECT groupid FROM pg_dist_local_group);
BEGIN
    IF to_regclass('"{local}".stored_events') IS NULL THEN RETURN; END IF;  -- no session of the ledger
    PERFORM lock_shard_metadata(5, ARRAY[moved_with]);  -- ShareLock
    IF NOT EXISTS (SELECT FROM pg_dist_placement WHERE shardid = moved_with AND groupid = here) THEN
        PERFORM "{schema}".refuse_moved();
    END IF;
END $$"""
_STAY_FOR_CHANGE = """
CREATE OR REPLACE FUNCTION stay_for_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM "{schema}".stay();
    RETURN NULL;
END $$"""

# The append lock must be the same for all sessions: it is that of the view. And positions must come from one sequence,
# but a statement that the coordinator sends here has taken them from its own.
_TAKE_APPEND_LOCK = """
CREATE OR REPLACE FUNCTION take_append_lock() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM "{schema}".stay();
    IF current_setting('application_name') LIKE 'citus_internal%' AND to_regclass('"{local}".stored_events') IS NOT NULL
    THEN
        RAISE EXCEPTION 'connect to the node of the ledger to append events'
            USING HINT = 'Its search path begins with "{local}".', ERRCODE = 'feature_not_supported';
    END IF;
    PERFORM pg_advisory_xact_lock(coalesce(to_regclass('"{local}".stored_events')::oid, TG_RELID)::bigint);
    RETURN NULL;
END $$"""

# Citus copies rows in transactions that it prepares, and PostgreSQL prepares none that notifies.
_TELL_OF_REVOCATION = """
CREATE OR REPLACE FUNCTION tell_of_revocation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF to_regclass('"{local}".stored_events') IS NULL THEN RETURN NULL; END IF;  -- no session of the ledger
    PERFORM pg_notify(TG_TABLE_SCHEMA || '.revoked', '');
    RETURN NULL;
END $$"""
_PREPARE = (
    _FIND_SHARDS,
    _REFUSE_MOVED,
    _STAY,
    _STAY_FOR_CHANGE,
    "CREATE OR REPLACE TRIGGER stay BEFORE INSERT ON command_log FOR EACH STATEMENT EXECUTE FUNCTION stay_for_change()",
    "CREATE OR REPLACE TRIGGER stay BEFORE INSERT ON seals FOR EACH STATEMENT EXECUTE FUNCTION stay_for_change()",
    _TAKE_APPEND_LOCK,
    _TELL_OF_REVOCATION,
    # A move replicates changes, and those of tables without a key only with the whole row.
    "ALTER TABLE ledger_identity REPLICA IDENTITY FULL",
    "ALTER TABLE writer_heartbeat REPLICA IDENTITY FULL",
)
