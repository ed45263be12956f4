"""Searches find few transactions among many by an index, and many in their order."""

import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest

from benchmarks.search import FEW, FIRST_DAY, RARE_DAY, REVERSED, fill
from ledger.projections import transaction_search
from ledger.projections.transaction_filters import Filters
from ledger.store.reader import MAX_POSITION
from ledger.values.account_codes import key_range
from ledger.values.words import split_phrases
from tests.support.controls import Api, transfer_body

COUNT = 20_000
MAX_BLOCKS = 900  # of a page; a scan of the transactions would read many more
TERMS, CODES = "transaction_terms_position_idx", "account_labels_code_idx"
ALL = Filters(phrases=split_phrases("few"), metadata={"batch": "few"}, reverses=REVERSED, effective_to=RARE_DAY)
FEW_MATCH = {
    "description": (Filters(phrases=split_phrases("FEW invoice")), TERMS),
    "metadata": (Filters(metadata={"kind": "invoice", "batch": "few"}), TERMS),
    "effective dates": (Filters(effective_from=RARE_DAY, effective_to=RARE_DAY), TERMS),
    "effective dates before one": (Filters(effective_to=RARE_DAY), TERMS),
    "reverses": (Filters(reverses=REVERSED), TERMS),
    "all": (ALL, TERMS),
    "account code": (Filters(code_keys=key_range("few")), CODES),
}
MANY_MATCH = {
    "description": (Filters(phrases=split_phrases("many invoice")), TERMS),
    "metadata": (Filters(metadata={"kind": "invoice"}), TERMS),
    "effective dates": (Filters(effective_from=FIRST_DAY), TERMS),
}


class Explained:
    """Counts the blocks that queries read, and keeps the indexes that they use."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.blocks = 0
        self.plans = ""

    async def fetch(self, sql: str, *values: object) -> Any:
        return await self._explain(self.connection.fetch, sql, values)

    async def fetchval(self, sql: str, *values: object) -> Any:
        return await self._explain(self.connection.fetchval, sql, values)

    async def fetchrow(self, sql: str, *values: object) -> Any:
        return await self._explain(self.connection.fetchrow, sql, values)

    async def _explain(self, read: Callable[..., Awaitable[Any]], sql: str, values: tuple[object, ...]) -> Any:
        text = await self.connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", *values)
        plan = json.loads(text)[0]["Plan"]
        self.blocks += plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        self.plans += text
        return await read(sql, *values)


@pytest.fixture
async def many(api: Api, connection: Any) -> None:
    """Make many transactions, of which few match."""
    source, destination = await api.new_account(balance_cents=100), await api.new_account(code="few:1")
    for _ in range(FEW):
        assert 200 == (await api.transfer(source, destination, 1)).status
    await fill(connection, [source["id"], (await api.new_account())["id"]], COUNT)
    await connection.execute(
        """INSERT INTO account_labels (account_id, code, code_key, changes)
           SELECT gen_random_uuid(), 'many:' || number, 'many:' || number, 1 FROM generate_series(1, 5000) AS number;
           ANALYZE"""
    )


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.usefixtures("many")
async def test_each_filter_uses_its_index_and_reads_little(connection: Any, mode: str) -> None:
    await connection.execute(f"SET plan_cache_mode = {mode}")
    read = {}
    for kind, searches, is_last in (("few", FEW_MATCH, True), ("many", MANY_MATCH, False)):
        for name, (filters, index) in searches.items():
            explained = Explained(connection)
            found = await transaction_search.page(explained, filters, before=MAX_POSITION, limit=FEW)  # type: ignore[arg-type]
            assert (FEW, is_last) == (len(found.bodies), found.reached is None), (kind, name)
            assert index in explained.plans, (kind, name)
            read[kind, name] = explained.blocks
    assert {} == {key: blocks for key, blocks in read.items() if blocks > MAX_BLOCKS}


async def test_terms_follow_where_a_transaction_counts(api: Api, connection: Any) -> None:
    """A capture moves the terms of its hold, and adds its own; an amendment adds those of its words."""
    source, destination = await api.new_account(balance_cents=100), await api.new_account()
    body = transfer_body(source, destination, 50)
    hold = (await api.post("/v1/transactions/hold", {**body, "description": "one two"})).body["id"]
    plain = (await api.transfer(source, destination, 5)).body["id"]
    assert [2, 0] == [len(await terms_of(connection, one)) for one in (hold, plain)]
    await api.post(f"/v1/transactions/{hold}/capture", {"amount_cents": 5, "final": False, "description": "two three"})
    await api.patch(f"/v1/transactions/{plain}", {"description": "four", "metadata": {"a": "b"}})
    await api.patch(f"/v1/transactions/{hold}", {"description": "five"})
    await api.patch(f"/v1/transactions/{plain}", {"description": None, "metadata": None})
    assert [4, 2] == [len(await terms_of(connection, one)) for one in (hold, plain)]
    for one in (hold, plain):
        counted = await connection.fetchval(
            "SELECT coalesce(settled_position, position) FROM transfers WHERE id = $1", UUID(one)
        )
        assert {counted} == {*await terms_of(connection, one)}


async def terms_of(connection: Any, transaction_id: str) -> list[int]:
    """Return the positions of the terms of a transaction."""
    rows = await connection.fetch(
        "SELECT position FROM transaction_terms WHERE transaction_id = $1", UUID(transaction_id)
    )
    return [row[0] for row in rows]
