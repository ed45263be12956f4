"""All that a ledger has written: its tables, its sequences, and its keys in Valkey."""

import re
from typing import Any

from ledger.identity.valkey import open_client
from ledger.settings import Settings
from ledger.store.sql import quote_name

# What the service writes by itself: proof that writes succeed, how far followers, webhooks and operations are, and the
# counters of rate limits and of failed attempts to present a secret.
OF_THE_SERVICE = frozenset({"writer_heartbeat", "followers", "webhook_cursors", "webhook_deliveries"})
match_counter = re.compile(
    rb"ledger-rates:|ledger-operations:|ledger-logins:.*:login:(?:account|address|filled):"
).match


async def read_everything(connection: Any, settings: Settings) -> dict[str, Any]:
    """Return every row of every table, the last value of every sequence, and the content of every key."""
    found: dict[str, Any] = {}
    for name, kind in await connection.fetch(_RELATIONS, settings.ledger_schema):
        if name not in OF_THE_SERVICE:
            source = f"{quote_name(settings.ledger_schema)}.{quote_name(name)}"
            rows = f"SELECT coalesce(array_agg(one::text ORDER BY one::text), ARRAY[]::text[]) FROM {source} AS one"
            found[name] = await connection.fetchval(rows if kind == "r" else f"SELECT last_value FROM {source}")
    found["temporary"] = await connection.fetchval(_TEMPORARY)
    return found | await _read_keys(connection, settings)


async def _read_keys(connection: Any, settings: Settings) -> dict[str, Any]:
    ledger_id = await connection.fetchval("SELECT id FROM ledger_identity")
    client = open_client(settings)
    try:
        keys = [key async for key in client.scan_iter(match=f"*{ledger_id}*", count=1000)]
        return {key: await client.dump(key) for key in sorted(keys) if not match_counter(key)}
    finally:
        await client.aclose()


_RELATIONS = """SELECT relname, CASE relkind WHEN 'S' THEN 'S' ELSE 'r' END FROM pg_class
                WHERE relnamespace = to_regnamespace($1) AND relkind IN ('r', 'p', 'S') ORDER BY relname"""
_TEMPORARY = "SELECT count(*) FROM pg_class WHERE relpersistence = 't'"
