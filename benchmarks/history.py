"""Long histories, written in bulk as the service would write them; over HTTP they would take hours."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import asyncpg

# Transfers of one cent, with a command and three events each. Each has another pair of accounts than the one before.
_TRANSFERS = """
    CREATE TEMPORARY TABLE made ON COMMIT DROP AS
    SELECT gen_random_uuid() AS id, gen_random_uuid() AS command_id, $2::bigint + 3 * number AS position,
           ($1::uuid[])[1 + number % cardinality($1)] AS source,
           ($1::uuid[])[1 + (number + 1 + number / cardinality($1) % (cardinality($1) - 1)) % cardinality($1)]
               AS destination
    FROM generate_series(0, $3::bigint - 1) AS number
"""
_SIDES = """
    CREATE TEMPORARY TABLE sides ON COMMIT DROP AS
    SELECT transfer_id, command_id, account_id, sides.position, began, amount_cents,
           accounts.version + row_number() OVER line AS version,
           (accounts.balance_cents + sum(amount_cents) OVER line)::bigint AS balance_cents
    FROM (SELECT id AS transfer_id, command_id, source AS account_id, position + 1 AS position, position AS began,
                 -1 AS amount_cents FROM made
          UNION ALL SELECT id, command_id, destination, position + 2, position, 1 FROM made) AS sides
    JOIN accounts ON accounts.id = account_id
    WINDOW line AS (PARTITION BY account_id ORDER BY sides.position)
"""
_TIME = "to_timestamp($1) + ({} - $2::bigint) * interval '1 microsecond'"  # of the transfer with this position
_EVENTS = f"""
    INSERT INTO stored_events (originator_id, originator_version, topic, state, notification_id, command_id,
                               recorded_at)
    SELECT stream_id, version, topic, convert_to(state, 'UTF8'), position, command_id, {_TIME.format("began")}
    FROM (SELECT id AS stream_id, 1 AS version, 'MoneyTransferred' AS topic, position, command_id, position AS began,
                 format('{{"source_account_id":"%s","destination_account_id":"%s","amount_cents":1,"currency":"USD",'
                        '"kind":"transfer","reference":null}}', source, destination) AS state FROM made
          UNION ALL
          SELECT account_id, version, CASE WHEN amount_cents < 0 THEN 'AccountDebited' ELSE 'AccountCredited' END,
                 position, command_id, began,
                 format('{{"transfer_id":"%s","amount_cents":1,"balance_cents":%s}}', transfer_id, balance_cents)
          FROM sides) AS events
    ORDER BY position
"""
_ROWS = (
    f"""INSERT INTO transfers (id, source_account_id, destination_account_id, amount_cents, currency, kind, position,
                               recorded_at)
        SELECT id, source, destination, 1, 'USD', 'transfer', position, {_TIME.format("position")} FROM made""",
    f"""INSERT INTO command_log (command_id, name, outcome, recorded_at)
        SELECT command_id, 'TransferMoney', 'accepted', {_TIME.format("position")} FROM made""",
    f"""UPDATE accounts SET version = last.version, balance_cents = last.balance_cents, updated_at = at
        FROM (SELECT DISTINCT ON (account_id) account_id, version, balance_cents, {_TIME.format("began")} AS at
              FROM sides ORDER BY account_id, version DESC) AS last WHERE account_id = accounts.id""",
)
_HEADS = """
    UPDATE stream_heads SET version = accounts.version, state = convert_to(jsonb_set(
        convert_from(state, 'UTF8')::jsonb, '{balance_cents}', to_jsonb(balance_cents))::text, 'UTF8')
    FROM accounts WHERE id = originator_id AND id = ANY($1::uuid[])
"""
_PATIENCE_SECONDS = 600
_LOG_FILES = 128


async def grow(connection: "asyncpg.Connection[Any]", accounts: Sequence[str | UUID], events: int) -> None:
    """Append events of transfers among these accounts, three for each; all are in USD and have enough funds."""
    async with connection.transaction():
        await connection.execute(
            "SELECT pg_advisory_xact_lock('stored_events'::regclass::oid::bigint); SET LOCAL work_mem = '256MB'"
        )
        first, now = await connection.fetchrow(
            "SELECT max(notification_id) + 1, extract(epoch FROM max(recorded_at))::float8 + 1 FROM stored_events"
        ) or (1, 0.0)
        await connection.execute(_TRANSFERS, accounts, first, events // 3, timeout=_PATIENCE_SECONDS)
        await connection.execute(_SIDES, timeout=_PATIENCE_SECONDS)
        for sql in (_EVENTS, *_ROWS):
            await connection.execute(sql, now, first, timeout=_PATIENCE_SECONDS)
        await connection.execute(_HEADS, accounts)
        await connection.execute(
            "SELECT setval('stored_events_notification_id_seq', max(notification_id)) FROM stored_events"
        )
    await connection.execute("VACUUM ANALYZE", timeout=_PATIENCE_SECONDS)


async def fill_log(connection: "asyncpg.Connection[Any]") -> None:
    """Give the server write-ahead log files to recycle, as a server has that has run for a while.

    To create a file delays every waiting commit by 50 ms; a new server does so every 16 MiB.
    """
    for _ in range(_LOG_FILES):
        await connection.execute(
            "SELECT pg_logical_emit_message(false, 'benchmark', repeat('x', 1 << 20)) FROM generate_series(1, 16)"
        )
    await connection.execute("CHECKPOINT", timeout=_PATIENCE_SECONDS)


# Credits of one cent, each from an account outside the ledger's own.
_CREDITS = """
    INSERT INTO stored_events (originator_id, originator_version, topic, state, recorded_at)
    SELECT $1, $2 + number, 'AccountCredited',
           convert_to(format('{"transfer_id":"%s","amount_cents":1,"balance_cents":%s}',
                             gen_random_uuid(), $3 + number), 'UTF8'),
           clock_timestamp()
    FROM generate_series(1, $4::bigint) AS number
"""
_ACCOUNT = "UPDATE accounts SET version = $2, balance_cents = $3 WHERE id = $1"


async def lengthen(connection: "asyncpg.Connection[Any]", account_id: str, entries: int) -> None:
    """Give an account more entries, each with its event."""
    row = await connection.fetchrow("SELECT version, balance_cents FROM accounts WHERE id = $1", account_id)
    assert row is not None
    version, balance = row
    async with connection.transaction():
        await connection.execute(_CREDITS, account_id, version, balance, entries)
        await connection.execute(_ACCOUNT, account_id, version + entries, balance + entries)
        await connection.execute(_HEADS, [account_id])
    await connection.execute("ANALYZE")
