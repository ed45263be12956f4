"""Whatever the history, over HTTP: balances are naive sums, closed periods keep theirs, and dry runs foretell."""

from datetime import datetime
from typing import Any

import hypothesis

from tests.support.controls import Api
from tests.support.random_books import RandomBooks, Step, histories

ON_ONE_LEDGER = hypothesis.settings(
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
    max_examples=8,
    phases=set(hypothesis.Phase) - {hypothesis.Phase.explain, hypothesis.Phase.shrink},
)


@ON_ONE_LEDGER
@hypothesis.given(history=histories)
async def test_balances_are_naive_sums_and_closed_periods_keep_theirs_and_dry_runs_foretell(
    history: list[Step], api: Api
) -> None:
    books = await RandomBooks.open(api)
    positions = [books.position]
    for step in history:
        await books.execute(step)
        positions.append(books.position)
        for through, closing in books.closed.items():
            assert closing["currencies"] == await read_sums(api, f"{through}"), (through, step)

    for moment in books.times():
        for position in {positions[len(positions) // 2], positions[-1]}:
            assert books.sum_up(moment, position) == await read_balances(books, moment, position), (moment, position)
    for account_id in books.account_ids:
        assert books.statement(account_id) == await read_statement(api, account_id)
    await books.check_tried()
    while books.closed:
        assert 200 == (await api.post("/v1/periods/reopen", {})).status
        books.closed.popitem()


async def read_sums(api: Api, effective_at: str) -> Any:
    answer = await api.get("/v1/ledger/trial-balance", params={"effective_at": effective_at})
    assert answer.body["balanced"]
    return answer.body["currencies"]


async def read_balances(books: RandomBooks, moment: datetime, position: int) -> dict[str, int]:
    params = {"effective_at": moment.isoformat().replace("+00:00", "Z"), "at_position": str(position)}
    listed = (await books.api.get("/v1/accounts", params=params)).body
    return {row["id"]: row["balance_cents"] for row in listed if row["id"] in books.account_ids}


async def read_statement(api: Api, account_id: str) -> list[tuple[int, int]]:
    answer = await api.get(f"/v1/accounts/{account_id}/entries", params={"by": "effective", "order": "asc"})
    return [(row["amount_cents"], row["balance_cents"]) for row in answer.body]
