"""Filters by labels find few accounts among many by an index, and many accounts in their order."""

import json
from typing import Any

import pytest

from ledger.projections import accounts
from ledger.projections.account_labels import LabelFilters, query_words
from ledger.projections.accounts import Filters
from ledger.store.reader import MAX_POSITION, Bounds
from ledger.values.account_codes import key_range

FEW = {
    "code": LabelFilters(code_keys=key_range("few")),
    "name": LabelFilters(words=query_words("FEW things")),
    "type": LabelFilters(type="equity"),
    "metadata": LabelFilters(metadata={"kind": "few"}),
}
MANY = {
    "code": LabelFilters(code_keys=key_range("many")),
    "name": LabelFilters(words=query_words("many")),
    "type": LabelFilters(type="asset"),
    "metadata": LabelFilters(metadata={"kind": "many"}),
}
MAX_BLOCKS = 700  # of a page; a scan of 20,000 accounts would read many more


async def grow(connection: Any, count: int) -> None:
    """Add accounts, of which one in 2,000 is of the few."""
    await connection.execute(
        f"""WITH new AS (
                INSERT INTO accounts (id, user_id, currency, balance_cents, status, version, position, created_at,
                                      updated_at, held_cents, overdraft_limit_cents, frozen)
                SELECT gen_random_uuid(), gen_random_uuid(), 'EUR', 0, 'open', 1, 1000000 + number, now(), now(), 0, 0,
                       'none'
                FROM generate_series(1, {count}) AS number RETURNING id, position)
            INSERT INTO account_labels
            SELECT id, code, code, kind || ' things', kind || ' things', type, json_build_object('kind', kind), 1
            FROM new, LATERAL (SELECT position % 2000 = 0 AS is_few) AS chosen,
                 LATERAL (SELECT CASE WHEN is_few THEN 'few' ELSE 'many' END AS kind,
                                 CASE WHEN is_few THEN 'equity' ELSE 'asset' END AS type) AS words,
                 LATERAL (SELECT kind || ':' || position AS code) AS codes"""
    )
    await connection.execute("VACUUM ANALYZE accounts, account_labels")


class Explained:
    """Counts the blocks that a query reads."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.blocks = 0

    async def fetch(self, sql: str, *values: object) -> Any:
        row = await self.connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", *values)
        plan = json.loads(row)[0]["Plan"]
        self.blocks = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        return await self.connection.fetch(sql, *values)


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_a_page_reads_little_whether_few_accounts_match_or_many(connection: Any, mode: str) -> None:
    await grow(connection, 20_000)
    await connection.execute(f"SET plan_cache_mode = {mode}")
    read = {}
    for kind, filters, count in (("few", FEW, 10), ("many", MANY, 20)):
        for name, labels in filters.items():
            explained = Explained(connection)
            found = await accounts.page(explained, Filters(labels=labels), Bounds(0, MAX_POSITION), 20)  # type: ignore[arg-type]
            assert count == len(found), (kind, name)
            assert sorted((position for position, _ in found), reverse=True) == [position for position, _ in found]
            read[kind, name] = explained.blocks
    assert {} == {key: blocks for key, blocks in read.items() if blocks > MAX_BLOCKS}
