"""A long history, written in bulk: what it would take hours to make over HTTP."""

from typing import Any

import asyncpg

# Every column as the service writes it; credits of one cent from an account outside the ledger's own.
_EVENTS = """
    INSERT INTO stored_events (originator_id, originator_version, topic, state, recorded_at)
    SELECT $1, $2 + number, 'AccountCredited',
           convert_to(format('{"transfer_id":"%s","amount_cents":1,"balance_cents":%s}',
                             gen_random_uuid(), $3 + number), 'UTF8'),
           clock_timestamp()
    FROM generate_series(1, $4::bigint) AS number
"""
_ENTRIES = """
    INSERT INTO entries (account_id, version, transfer_id, amount_cents, balance_cents, position, recorded_at)
    SELECT originator_id, originator_version, (convert_from(state, 'UTF8')::json->>'transfer_id')::uuid, 1,
           (convert_from(state, 'UTF8')::json->>'balance_cents')::bigint, notification_id, recorded_at
    FROM stored_events WHERE originator_id = $1 AND originator_version > $2
"""
_HEAD = """
    UPDATE stream_heads SET version = $2, state = convert_to(
        jsonb_set(convert_from(state, 'UTF8')::jsonb, '{balance_cents}', to_jsonb($3::bigint))::text, 'UTF8')
    WHERE originator_id = $1
"""
_ACCOUNT = "UPDATE accounts SET version = $2, balance_cents = $3 WHERE id = $1"


async def lengthen(connection: "asyncpg.Connection[Any]", account_id: str, entries: int) -> None:
    """Give an account that many more entries, each with its event."""
    row = await connection.fetchrow("SELECT version, balance_cents FROM accounts WHERE id = $1", account_id)
    assert row is not None
    version, balance = row
    async with connection.transaction():
        await connection.execute(_EVENTS, account_id, version, balance, entries)
        await connection.execute(_ENTRIES, account_id, version)
        await connection.execute(_HEAD, account_id, version + entries, balance + entries)
        await connection.execute(_ACCOUNT, account_id, version + entries, balance + entries)
    await connection.execute("ANALYZE")
