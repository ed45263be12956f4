"""The tables of the deliveries: what webhooks that were deleted have left is found without reading all deliveries."""

import json
from typing import Any, cast
from uuid import UUID

import pytest

from ledger.publish.webhooks import cursors
from ledger.publish.webhooks.cursors import KEPT_DELIVERIES
from ledger.store.connections import Reader
from ledger.values.ids import new_id

WEBHOOKS = 30  # with as many deliveries as are kept
BLOCKS_EACH = 8  # of a webhook: a way down the index, and the row of the webhook itself
DELIVERIES = """
INSERT INTO webhook_deliveries (webhook_id, id, kind, topic, attempt, answer, milliseconds, sent_at)
SELECT webhook_id, gen_random_uuid(), 'event', 'MoneyTransferred', 1, '', 1, now()
FROM unnest($1::uuid[]) AS webhook_id, generate_series(1, $2)"""
CURSORS = """
INSERT INTO webhook_cursors (webhook_id, started_by, position, pending, redelivered_upto, updated_at)
SELECT webhook_id, 1, 1, '[]', 1, now() FROM unnest($1::uuid[]) AS webhook_id"""
PRESENT = """
INSERT INTO webhooks (id, url, topics, delivery_order, status, secrets, started_by, position, created_at, updated_at)
SELECT id, 'https://example.com', '', 'webhook', 'enabled', '[]', number, number, now(), now()
FROM unnest($1::uuid[]) WITH ORDINALITY AS webhook (id, number)"""


class Explained:
    """A connection that counts the blocks of each query before it executes it."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.blocks = 0

    async def fetch(self, sql: str, *values: object) -> Any:
        plan = json.loads(await self._connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", *values))
        self.blocks += plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"]
        return await self._connection.fetch(sql, *values)


async def list_strays(connection: Any) -> set[UUID]:
    return {*await cursors.list_strays(cast("Reader", connection))}


@pytest.mark.usefixtures("runtime")
async def test_a_webhook_that_is_gone_is_found_by_its_cursor_or_by_its_deliveries(connection: Any) -> None:
    assert set() == await list_strays(connection)
    present, moved, tested = (new_id() for _ in range(3))
    await connection.execute(DELIVERIES, [present, tested], 2)
    await connection.execute(CURSORS, [present, moved])
    await connection.execute(PRESENT, [present])
    assert {moved, tested} == await list_strays(connection)
    await cursors.delete(connection, [moved, tested])
    assert set() == await list_strays(connection)


@pytest.mark.usefixtures("runtime")
async def test_the_look_for_them_reads_little_of_each_webhook(connection: Any) -> None:
    webhooks = [new_id() for _ in range(WEBHOOKS)]
    await connection.execute(DELIVERIES, webhooks, KEPT_DELIVERIES)
    await connection.execute(CURSORS, webhooks[1:])
    await connection.execute(PRESENT, webhooks[2:])
    await connection.execute("ANALYZE webhook_deliveries, webhook_cursors, webhooks")
    explained = Explained(connection)
    assert {*webhooks[:2]} == await list_strays(explained)
    assert explained.blocks < BLOCKS_EACH * WEBHOOKS
