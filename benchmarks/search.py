"""The cost of a search that few transactions match, among a million of them against ten thousand."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg

from benchmarks.figures import ROUNDS, Row, at_most
from benchmarks.service import BALANCE_CENTS, Service, running
from ledger.projections.transaction_terms import date_terms, metadata_terms, reversal_term, word_terms

LONG, SHORT = 1_000_000, 10_000
FEW = 20  # that match
READS = 20  # in a turn
WANTED = 2.0
DAYS, CHUNK = 3650, 50_000
FIRST_DAY, RARE_DAY = datetime(2014, 1, 1, tzinfo=UTC), datetime(2013, 5, 17, tzinfo=UTC)
REVERSED = UUID(int=7)
SEARCHES = {
    "words of the description": "description=FEW+invoice",
    "a word that all have": "description=invoice",
    "metadata": "metadata.kind=invoice&metadata.batch=few",
    "effective dates": "effective_from=2013-05-01&effective_to=2013-05-31",
    "reversals": f"reverses={REVERSED}",
    "codes of accounts": "account_code=few",
    "all of them": f"description=few+invoice&metadata.batch=few&effective_to=2013-12-31&reverses={REVERSED}"
    "&currency=USD&min_amount_cents=1&status=posted",
}
# Transfers with a text, metadata and an effective date, each with its terms. Their entries are not written.
_TRANSFERS = """
    WITH made AS (
        SELECT ('018f0000-0000-7000-8000-' || lpad(to_hex(number), 12, '0'))::uuid AS id, number,
               1000000000 + number AS position, number % ($4::bigint / $5) = 0 AS is_few
        FROM generate_series($1::bigint, $2::bigint) AS number),
    written AS (
        INSERT INTO transfers (id, source_account_id, destination_account_id, amount_cents, currency, kind, position,
                               recorded_at, description, metadata, effective_at, reverses)
        SELECT id, ($3::uuid[])[1], ($3::uuid[])[2], 1 + number % 1000, 'USD', 'reversal', position, now(),
               'Invoice w' || number % 1000 || CASE WHEN is_few THEN ' few' ELSE ' many' END,
               jsonb_build_object('kind', 'invoice', 'batch',
                                  CASE WHEN is_few THEN 'few' ELSE 'b' || number % 1000 END),
               CASE WHEN is_few THEN $6 ELSE $7::timestamptz + number % $8::bigint * interval '1 day' END,
               CASE WHEN is_few THEN $9::uuid ELSE id END
        FROM made)
    INSERT INTO transaction_terms
    SELECT id, term, position FROM made, unnest(
        $10::bigint[]
        || CASE WHEN is_few THEN $11::bigint[]
                ELSE ARRAY[($12::bigint[])[1], ($13::bigint[])[1 + number % 1000]]
                     || ($14::bigint[])[3 * (number % $8) + 1 : 3 * (number % $8) + 3] END
        || ($15::bigint[])[1 + number % 1000]) AS term
"""


async def measure() -> list[Row]:
    """Measure each search on two ledgers in turns."""
    async with _filled(LONG) as long, _filled(SHORT) as short:
        return [await _compare(long, short, query, name) for name, query in SEARCHES.items()]


@asynccontextmanager
async def _filled(count: int) -> AsyncIterator[Service]:
    async with running() as service:
        await _make_few(service)
        database = await asyncpg.connect(service.database_url, server_settings={"search_path": "ledger"})
        await fill(database, await service.open_accounts(2), count)
        await database.close()
        yield service


async def _make_few(service: Service) -> None:
    """Make transfers of an account with a code."""
    (other,) = await service.open_accounts(1)
    async with aiohttp.ClientSession(service.url, headers={"Authorization": f"Bearer {service.token}"}) as session:
        account = {"user_id": service.owner_id, "balance_cents": BALANCE_CENTS, "code": "few:transfers"}
        async with session.post("/v1/accounts", json=account) as response:
            assert response.status == 201, await response.text()
        transfer = {"source_account_id": "few:transfers", "destination_account_id": other, "amount_cents": 1}
        for _ in range(FEW):
            async with session.post("/v1/transactions/transfer", json=transfer) as response:
                assert response.status == 200, await response.text()


async def fill(database: "asyncpg.Connection[Any]", accounts: Sequence[str], count: int) -> None:
    """Write transfers with details, of which a few differ from all others."""
    days = [FIRST_DAY + timedelta(days=number) for number in range(DAYS)]
    few = [*word_terms(["few"]), *metadata_terms({"batch": "few"}), *date_terms(RARE_DAY), reversal_term(REVERSED)]
    ids = [UUID(account) for account in accounts]
    values = (
        *(count, FEW, RARE_DAY, FIRST_DAY, DAYS, REVERSED),
        [*word_terms(["invoice"]), *metadata_terms({"kind": "invoice"})],
        few,
        [*word_terms(["many"])],
        [term for number in range(1000) for term in metadata_terms({"batch": f"b{number}"})],
        [term for day in days for term in date_terms(day)],
        [*word_terms(f"w{number}" for number in range(1000))],
    )
    for first in range(1, count + 1, CHUNK):
        await database.execute(_TRANSFERS, first, min(first + CHUNK - 1, count), ids, *values, timeout=3600)
    await database.execute("VACUUM ANALYZE transfers, transaction_terms", timeout=3600)


async def _compare(long: Service, short: Service, query: str, name: str) -> Row:
    rounds = [[await _seconds(service, query) for service in (long, short)] for _ in range(ROUNDS)]
    slow, fast = (median(seconds) * 1000 for seconds in zip(*rounds, strict=True))
    return at_most(f"search by {name}: ms among 1,000,000 transactions, against 10,000", slow, fast, WANTED)


async def _seconds(service: Service, query: str) -> float:
    """Return the median time of some searches."""
    took: list[float] = []
    async with aiohttp.ClientSession(service.url, headers={"Authorization": f"Bearer {service.token}"}) as session:
        for _ in range(READS):
            began = time.perf_counter()
            async with session.get(f"/v1/transactions?limit={FEW}&{query}") as response:
                found: Any = await response.json()
            took.append(time.perf_counter() - began)
            assert (response.status, len(found)) == (200, FEW), (query, found)
    return median(took)
