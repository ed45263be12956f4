"""`ledger audit` by effective time, and `ledger periods`, at a terminal."""

from typing import Any

import pytest

from ledger.settings import Settings
from tests.support.controls import Api, transfer_body
from tests.support.processes import Ran, run_ledger


@pytest.fixture
async def account(api: Api) -> dict[str, Any]:
    """Return an account that was opened with 100, and paid 30 and 5 on earlier days."""
    source, destination = await api.new_account(balance_cents=100), await api.new_account()
    for cents, effective_at in ((30, "2026-04-10"), (5, "2026-03-10")):
        body = {**transfer_body(source, destination, cents), "effective_at": effective_at}
        assert 200 == (await api.post("/v1/transactions/transfer", body)).status
    return source


async def run(settings: Settings, *arguments: str) -> Ran:
    return await run_ledger(*arguments, variables=settings.environment())


async def test_json_is_that_of_the_api(api: Api, settings: Settings, account: dict[str, Any]) -> None:
    path, day = f"/v1/accounts/{account['id']}", "2026-03-31"
    asked = (
        (f"{path}?effective_at={day}", ("balance", account["id"], "--effective-at", day)),
        (f"{path}/entries?by=effective", ("history", account["id"], "--by", "effective")),
        (f"{path}/entries?effective_at={day}", ("history", account["id"], "--effective-at", day)),
        (f"/v1/ledger/trial-balance?effective_at={day}", ("trial-balance", "--effective-at", day)),
    )
    for question, arguments in asked:
        said = await run(settings, "audit", *arguments, "--json")
        expected = (await api.get(question)).body
        assert 0 == said.status, said.error
        assert said.documents == (expected if isinstance(expected, list) else [expected]), question
    table = await run(settings, "audit", "history", account["id"], "--by", "effective", "--limit", "2")
    assert ["0.65", "-0.35"] == [line.split()[5] for line in table.output.splitlines()[1:]]
    wrong = await run(settings, "audit", "balance", account["id"], "--effective-at", "March")
    assert (2, True) == (wrong.status, wrong.error.startswith("ledger: --effective-at: must be a date"))


@pytest.mark.usefixtures("account")
async def test_closing_and_reopening_can_be_tried(api: Api, settings: Settings) -> None:
    tried = await run(settings, "periods", "close", "2026-03-31", "--dry-run", "--json")
    assert [] == (await api.get("/v1/periods")).body
    again = await run(settings, "periods", "close", "2026-03-31", "--dry-run")
    assert (0, True) == (again.status, "dry run: nothing was written" in again.error)
    (made,) = (await run(settings, "periods", "close", "2026-03-31", "--json")).documents
    assert [{**made, "position": made["position"] - 1, "dry_run": True}] == tried.documents
    refused = await run(settings, "periods", "close", "2026-03-31", "--dry-run")
    assert (1, "ledger: period_closed: the period is closed through 2026-03-31\n") == (refused.status, refused.error)

    tried = await run(settings, "periods", "reopen", "--dry-run")
    assert (0, "dry run: would reopen the period through 2026-03-31\n") == (tried.status, tried.output)
    assert 1 == len((await api.get("/v1/periods")).body)


@pytest.mark.usefixtures("account")
async def test_periods_are_closed_listed_and_reopened(api: Api, settings: Settings) -> None:
    closed = await run(settings, "periods", "close", "2026-03-31", "--json")
    assert 0 == closed.status, closed.error
    (listed,) = (await api.get("/v1/periods")).body
    (document,) = closed.documents
    assert ("2026-03-31", listed["position"]) == (document["through"], document["position"])
    assert [listed] == (await run(settings, "periods", "list", "--json")).documents
    assert "2026-03-31" in (await run(settings, "periods", "list")).output
    again = await run(settings, "periods", "close", "2026-03-31")
    assert (1, "ledger: period_closed: the period is closed through 2026-03-31\n") == (again.status, again.error)
    assert 2 == (await run(settings, "periods", "close", "yesterday")).status

    opened = await run(settings, "periods", "reopen", "--through", "2026-03-31")
    assert (0, "reopened the period through 2026-03-31\n") == (opened.status, opened.output)
    assert [] == (await api.get("/v1/periods")).body
    none = await run(settings, "periods", "reopen", "--json")
    assert (1, True) == (none.status, "must be the last day of a closed period" in none.error)
