"""Ledgers for tests on a cluster of Citus: each is a schema, which the next test finds empty."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg

from ledger.settings import Settings
from ledger.store.migrate import migrate
from ledger.store.pool import connect

URL = os.environ.get("CITUS_URL", "")  # of the coordinator; with it, `make test-citus` runs the suite's core there
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")
KEPT = frozenset({"alembic_version", "ledger_identity", "writer_heartbeat"})

_free: list[str] = []
_created: list[str] = []


def settings(schema: str) -> dict[str, Any]:
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
    await connection.close()


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
            INSERT INTO followers (name, position) VALUES ('seals', 0), ('mirror', 0);
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
            sql = "SELECT citus_schema_move($1::text::regnamespace, $2::text, $3::integer)"
            await self._coordinator.execute(sql, given.ledger_schema, *node)

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
