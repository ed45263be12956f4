"""Ledgers on Citus: a ledger's schema is placed on one node, and its sessions are on that node (decision 36).

There, the schema's tables are shards, and Citus does not plan statements on a shard. Views on the shards bear the
tables' names, in a schema of their own that comes first in the search path. So every statement means what it means on
PostgreSQL, and costs the same. If the ledger has moved, a view raises an error that ends the session: the next one goes
to the other node.
"""

import re
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import asyncpg

from ledger.store.connections import UNREACHABLE, Connection, Reader
from ledger.store.session import Node, Opening, Session, open_session

HOPS = 3  # to a ledger that moves while a session looks for it
_PREFIX_LENGTH = 50  # of a schema's name, to leave room for a suffix: PostgreSQL truncates names after 63
# The session may write to shards, and sees them in the catalogs. What it creates concerns no other node.
_SETTINGS = {
    "citus.enable_manual_changes_to_shards": "on",
    "citus.override_table_visibility": "off",
    "citus.enable_ddl_propagation": "off",
}


class Placement(NamedTuple):
    """The node that a ledger is placed on, whether this is the node, and whether the views exist there."""

    node: Node
    is_here: bool
    has_views: bool


_SHARD = re.compile(r"_\d+$")
_MOVED = re.compile(r"the ledger is on node (\S+) (\d+)")
_homes: dict[tuple[str, str], Node] = {}  # by URL and schema: where a ledger was found last


def name_without_shard(name: str | None) -> str | None:
    """Return the name of a constraint without the number that Citus adds to it on a shard."""
    return name and _SHARD.sub("", name)


def without_shard(name: str) -> str:
    """Return SQL for the name of a table, given that of its shard or its own."""
    return rf"regexp_replace({name}, '_\d+$', '')"


def local_schema(schema: str) -> str:
    """Return the schema of the views on a ledger's shards."""
    return f"{schema[:_PREFIX_LENGTH]}_local"


async def open_at_home(opening: Opening, schema: str) -> Session:
    """Open a session on the node that a ledger is placed on; without Citus, on the server of the URL."""
    session = await _open_known(opening, _homes.get((opening.dsn, schema)))
    for _ in range(HOPS):
        elsewhere = await _settle_or_find(session, opening.dsn, schema)
        if elsewhere is None:
            return session
        session.terminate()
        session = await open_session(opening, elsewhere)
    session.terminate()
    raise asyncpg.CannotConnectNowError("the ledger is moving between nodes of Citus")


async def _settle_or_find(session: Session, dsn: str, schema: str) -> Node | None:
    """Return the node to go to, or None if the session is where it should be."""
    try:
        placement = await find_placement(session, schema) if session.has_citus else None
        if placement is None:
            return None
        if not placement.is_here:
            return placement.node
        await _settle(session, schema, has_views=placement.has_views)
    except BaseException:
        session.terminate()
        raise
    _homes[dsn, schema] = placement.node
    session.add_log_listener(partial(_note_move, (dsn, schema)))
    return None


async def _open_known(opening: Opening, home: Node | None) -> Session:
    """Open a session where the ledger was found last, because the server of the URL may be away."""
    if home is not None:
        with suppress(*UNREACHABLE):
            return await open_session(opening, home)
    return await open_session(opening)


def _note_move(ledger: tuple[str, str], _: object, message: Any) -> None:
    """Note the node that `refuse_moved` names, so that the next session need not ask for it."""
    if found := _MOVED.fullmatch(message.message):
        _homes[ledger] = Node(found[1], int(found[2]))


async def find_placement(session: Connection, schema: str) -> Placement | None:
    """Return where a ledger is placed; None if its tables are not distributed."""
    row = await session.fetchrow(_PLACEMENT, f'"{schema}".stored_events', f'"{local_schema(schema)}".stored_events')
    return None if row is None else Placement(Node(row[0], row[1]), row[2], row[3])


async def _settle(session: Session, schema: str, *, has_views: bool) -> None:
    """Let a session see the shards under the names of the tables."""
    local = local_schema(schema)
    await session.apply({**_SETTINGS, "search_path": f'"{local}", "{schema}"'})
    if not has_views:
        script = _CREATE_VIEWS.replace("{view}", view_on("%I.%I", "%s", schema))
        await session.execute(script.replace("{schema}", schema).replace("{local}", local))


async def list_shards(connection: Reader, schema: str) -> dict[str, str]:
    """Return the names of a ledger's shards by those of the tables; none if they are not distributed."""
    return {row[0]: row[1] for row in await connection.fetch(_SHARDS, f'"{schema}"')}


async def read_place(reader: Reader) -> tuple[str, bool]:
    """Return the schema of the ledger, and whether the database has Citus, where it is the last in the search path."""
    row = await reader.fetchrow(
        """SELECT path[array_upper(path, 1)], to_regclass('pg_catalog.pg_dist_shard') IS NOT NULL
           FROM current_schemas(false) AS path"""
    )
    assert row is not None  # noqa: S101 - the function returns a row
    return row[0], row[1]


async def find_table(connection: Connection, name: str) -> str:
    """Return SQL for a table itself, for a statement that cannot read it through a view."""
    schema, has_citus = await read_place(connection)
    shards = await list_shards(connection, schema) if has_citus else {}
    return f'"{schema}"."{shards.get(name, name)}"'


async def is_moving(connection: Connection, schema: str) -> bool:
    """Return whether Citus is moving a ledger; until the transaction ends, it cannot complete a move."""
    await connection.execute(f'SELECT "{schema}".stay()')
    return bool(await connection.fetchval(_IS_MOVING, f'"{schema}"'))


def view_on(table: str, number: str, schema: str) -> str:
    """Return the query of the view on the shard with a number; its condition is evaluated once for each statement."""
    return f"""SELECT * FROM {table} WHERE CASE WHEN (
        SELECT EXISTS (SELECT FROM pg_dist_placement JOIN pg_dist_local_group USING (groupid) WHERE shardid = {number})
    ) THEN true ELSE "{schema}".refuse_moved() END"""


_SHARDS = """
SELECT relname, relname || '_' || shardid FROM pg_dist_shard JOIN pg_class ON pg_class.oid = logicalrelid
WHERE relnamespace = to_regnamespace($1)"""
_IS_MOVING = """
SELECT EXISTS (SELECT FROM pg_publication_rel JOIN pg_class ON pg_class.oid = prrelid
               WHERE relnamespace = to_regnamespace($1))"""
_PLACEMENT = """
SELECT nodename, nodeport, groupid = (SELECT groupid FROM pg_dist_local_group), to_regclass($2) IS NOT NULL
FROM pg_dist_shard JOIN pg_dist_placement USING (shardid) JOIN pg_dist_node USING (groupid)
WHERE logicalrelid = to_regclass($1) AND noderole = 'primary'"""

# Views of the ledger's own, such as `entries`, must read the views on the shards: their definitions are read before
# these exist, and name no schema then. Each node has a sequence of its own, which continues where the log ends.
_CREATE_VIEWS = """
DO $do$
DECLARE
    names text[];
    queries text[];
    given record;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('{local}'));
    -- Another session may have been faster. `to_regclass` may answer from a cache that is older than the lock.
    IF EXISTS (SELECT FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
               WHERE nspname = '{local}' AND relname = 'stored_events') THEN RETURN; END IF;
    SET LOCAL search_path TO "{schema}";
    SELECT array_agg(name ORDER BY rank), array_agg(query ORDER BY rank) INTO names, queries FROM (
        SELECT 1 AS rank, relname AS name,
               format($view${view}$view$, '{schema}', relname || '_' || shardid, shardid) AS query
        FROM pg_dist_shard JOIN pg_class ON pg_class.oid = logicalrelid
        WHERE relnamespace = '"{schema}"'::regnamespace
        UNION ALL
        SELECT 2, relname, pg_get_viewdef(oid) FROM pg_class
        WHERE relkind = 'v' AND relnamespace = '"{schema}"'::regnamespace) AS views;
    CREATE SCHEMA IF NOT EXISTS "{local}";
    SET LOCAL search_path TO "{local}", "{schema}";
    FOR number IN 1 .. cardinality(names) LOOP
        EXECUTE format('CREATE OR REPLACE VIEW "{local}".%I AS %s', names[number], queries[number]);
    END LOOP;
    FOR given IN SELECT relname, attname, pg_get_expr(adbin, adrelid) AS value FROM pg_attrdef
                 JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum JOIN pg_class ON pg_class.oid = adrelid
                 JOIN pg_dist_shard ON logicalrelid = adrelid
                 WHERE relnamespace = '"{schema}"'::regnamespace AND attname <> 'notification_id' LOOP
        EXECUTE format('ALTER VIEW "{local}".%I ALTER COLUMN %I SET DEFAULT %s',
                       given.relname, given.attname, given.value);
    END LOOP;
    CREATE SEQUENCE IF NOT EXISTS "{local}".stored_events_notification_id_seq;
    ALTER VIEW "{local}".stored_events ALTER COLUMN notification_id
        SET DEFAULT nextval('"{local}".stored_events_notification_id_seq');
    PERFORM pg_advisory_xact_lock('"{local}".stored_events'::regclass::oid::bigint);
    PERFORM setval('"{local}".stored_events_notification_id_seq', coalesce(max(notification_id), 1), count(*) > 0)
    FROM (SELECT notification_id FROM "{local}".stored_events ORDER BY notification_id DESC LIMIT 1) AS last;
END $do$"""
