"""Ledgers for tests on a cluster of Citus: each is a schema, which the next test finds empty."""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
from alembic import command
from alembic.config import Config

from ledger.settings import Settings
from ledger.store.citus import local_schema
from ledger.store.migrate import FOLDER, migrate
from ledger.store.pool import connect
from tests.support.processes import until

URL = os.environ.get("CITUS_URL", "")  # of the coordinator; with it, `make test-citus` runs the suite's core there
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")
KEPT = frozenset({"alembic_version", "ledger_identity", "writer_heartbeat"})
FIRST_DISTRIBUTED = "0016"  # the schema of the first version that distributes a ledger

# What the core of the suite does not run there, and why.
LEFT_OUT = {
    "a proxy or pooler in front of the server: sessions leave it for the ledger's node": (
        "test_database.py",
        "test_pooler.py",
        "test_committer_failures.py",
        "test_several_servers.py",
        "test_a_look_at_foreign_locks_that_the_network_loses",
        "test_a_login_returns_working_tokens_wherever",
        "test_a_refresh_after_a_broken_connection",
    ),
    "they fill the buffer of a Unix socket": (
        "test_a_large_statement_is_sent_by_a_flush",
        "test_a_flush_ends_although_the_server_does_not_read",
    ),
    "the library opens sessions of its own, on the coordinator, which refuses to append": (
        "test_recorders.py",
        "test_reading_through_the_library_creates_nothing",
        "test_a_follower_misses_and_repeats_no_event_of_any_writer",
        "test_time_follows_the_positions_for_all_writers",
    ),
    "the test adds a trigger, a function or a view, which the next test on the schema would find": (
        "test_sealing_continues_after_a_kill",
        "test_a_write_that_takes_too_long",
        "test_a_full_server",
        "test_a_changed_schema_is_found",
    ),
    "an operator's view reads the ledger's views, which a swap of tables keeps": (
        "test_a_view_that_would_still_read_the_old_table",
    ),
    "it makes ledgers of its own, and compares them by their names": (
        "test_two_schemas_of_one_database",
        "test_concurrent_migrations",
    ),
    "no version that inserted entries runs on Citus": ("test_a_worker_of_the_version_before_inserts_entries",),
    "the plan of each query has the look at the ledger's place": ("test_no_query_costs_more_for_a_long_history",),
    "old tables are not kept": (
        "test_a_rollback_to_kept_tables",
        "test_every_command_prints_json",
        "test_all_tables_are_swapped_while_clients",
        "test_a_schema_that_changes_only_by_a_rebuild",
    ),
    "a schema without a ledger is on no node": ("test_the_error_of_a_process_is_that_of_the_check",),
    "two roles are refused there": ("test_serving_role.py",),
    "it compares the schema `ledger`": (
        "test_a_rebuilt_table_has_the_schema",
        "test_a_ledger_without_events_can_be_rebuilt",
        "test_tables.py",
        "test_catalog.py",
    ),
}

LEFT = "leftover from the previous move could not be cleaned up"
_free: list[str] = []
_created: list[str] = []


def runs_there(node_id: str) -> bool:
    """Return whether a test of the core runs on Citus."""
    return not any(name in node_id for names in LEFT_OUT.values() for name in names)


def settings(schema: str) -> dict[str, str]:
    """Return the settings that lead to a ledger on the cluster."""
    return {"database_url": URL, "ledger_schema": schema}


@asynccontextmanager
async def lend_schema() -> AsyncIterator[str]:
    """Yield the schema of an empty ledger."""
    schema = _free.pop() if _free else await _create()
    await _clear(schema)
    yield schema
    _free.append(schema)


async def drop_schema(schema: str) -> None:
    """Drop a ledger with what a run that was killed has left of it."""
    connection = await asyncpg.connect(URL)
    await connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
    nodes = await connection.fetch("SELECT nodename, nodeport FROM pg_dist_node")
    await connection.close()
    for host, port in nodes:
        connection = await asyncpg.connect(URL, host=host, port=port)
        await connection.execute("SET citus.enable_ddl_propagation = off")
        await connection.execute(f"DROP SCHEMA IF EXISTS {local_schema(schema)} CASCADE")
        await connection.close()


@asynccontextmanager
async def lend_dump(dump: str) -> AsyncIterator[dict[str, str]]:
    """Yield the settings of a ledger from a dump of the schema `ledger`, as an earlier version has distributed it."""
    schema = f"test_{WORKER}_dump"
    await drop_schema(schema)
    connection = await asyncpg.connect(URL)
    await connection.execute(f"DROP SCHEMA IF EXISTS {schema}_old CASCADE")
    await connection.execute(re.sub(r"\bledger(?=_old;|[.;'])", schema, dump))
    await connection.close()
    await asyncio.to_thread(_upgrade, Settings(**settings(schema)), FIRST_DISTRIBUTED)
    yield {"database": "", **settings(schema)}


def _upgrade(given: Settings, version: str) -> None:
    config = Config(attributes={"settings": given})
    config.set_main_option("script_location", str(FOLDER))
    command.upgrade(config, version)


async def _create() -> str:
    schema = f"test_{WORKER}_{len(_created)}"
    _created.append(schema)
    await drop_schema(schema)
    await migrate(Settings(**settings(schema)))
    return schema


async def _clear(schema: str) -> None:
    connection = await connect(Settings(**settings(schema)), application_name="test")
    await connection.execute("SET session_replication_role = replica")  # no trigger keeps the log's rows
    await connection.execute(_END_SESSIONS, schema)
    rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", schema)
    shards = [row[0] for row in rows if row[0].rsplit("_", 1)[-1].isdigit()]
    cleared = [f"{schema}.{name}" for name in shards if name.rsplit("_", 1)[0] not in KEPT]
    await connection.execute(
        f"""TRUNCATE {", ".join(cleared)};
            SELECT setval('stored_events_notification_id_seq', 1, false);
            INSERT INTO followers (name, position)
            VALUES ('seals', 0), ('mirror', 0), ('crossings', 0), ('deliveries', 0);
            UPDATE ledger_identity SET id = gen_random_uuid()"""
    )
    await connection.close()


_END_SESSIONS = """
SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_class ON pg_class.oid = relation
WHERE relnamespace = $1::text::regnamespace AND pid <> pg_backend_pid()"""


class Cluster:
    """The cluster, as its operator sees it."""

    def __init__(self, coordinator: Any) -> None:
        self._coordinator = coordinator

    @classmethod
    @asynccontextmanager
    async def connect(cls) -> AsyncIterator["Cluster"]:
        connection = await asyncpg.connect(URL)
        yield cls(connection)
        await connection.close()

    async def node_of(self, given: Settings) -> tuple[str, int]:
        """Return the host and port of the node that a ledger is placed on."""
        table = f"{given.ledger_schema}.stored_events"
        sql = "SELECT nodename, nodeport FROM citus_shards WHERE table_name = $1::text::regclass"
        return tuple(await self._coordinator.fetchrow(sql, table))

    async def other_node(self, given: Settings) -> tuple[str, int]:
        """Return the host and port of a node that a ledger can be moved to."""
        sql = "SELECT nodename, nodeport FROM pg_dist_node WHERE shouldhaveshards AND (nodename, nodeport) <> ($1, $2)"
        return tuple(await self._coordinator.fetchrow(f"{sql} LIMIT 1", *await self.node_of(given)))

    async def move(self, given: Settings, node: tuple[str, int]) -> None:
        """Move a ledger to a node, unless it is there."""
        if node != await self.node_of(given):
            await self._coordinator.execute("SET citus.enable_unsafe_triggers = on")
            await self._coordinator.execute("SET client_connection_check_interval = '20ms'")
            await until(lambda: self._try_move(given.ledger_schema, node))

    async def _try_move(self, schema: str, node: tuple[str, int]) -> bool:
        """Move a ledger, unless a session still uses what an earlier move has left on the node."""
        sql = "SELECT citus_schema_move($1::text::regnamespace, $2::text, $3::integer)"
        try:
            await self._coordinator.execute(sql, schema, *node)
        except asyncpg.InternalServerError as error:
            if LEFT not in str(error):
                raise
            return False
        return True

    async def restart(self, node: tuple[str, int]) -> None:
        """Let a node end all its sessions at once and recover from its log, as after a crash."""
        connection = await asyncpg.connect(URL, host=node[0], port=node[1])
        with suppress(asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError):
            victim = await connection.fetchval(
                "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter' LIMIT 1"
            )
            await connection.execute(f"COPY (SELECT) TO PROGRAM 'kill -9 {victim}'")
            await connection.fetchval("SELECT pg_sleep(10)")
        connection.terminate()
