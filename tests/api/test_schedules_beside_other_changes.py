"""What was scheduled meets codes, effective times, closed periods, amendments, dry runs and second factors."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from ledger.runtime import Runtime
from ledger.settings import Settings
from ledger.write.scheduler import Scheduler
from tests.support.controls import Api, Response, transfer_body
from tests.support.everything import read_everything
from tests.support.holds import Body, read
from tests.support.processes import until
from tests.support.schedules import in_seconds, post_soon, schedule, schedule_soon, until_due

Serve = Callable[[Settings], Awaitable[Api]]
THROUGH, CLOSED, OPEN = "2026-03-31", "2026-02-10T00:00:00Z", "2026-04-01T00:00:00.000000Z"
TEXTS = {"description": "rent, Mai", "metadata": {"unit": "4", "tenant": "A"}}


@pytest.fixture
async def idle(serve: Serve, settings: Settings) -> Api:
    """Return the API of a service that executes nothing by itself."""
    return await serve(settings.model_copy(update={"ledger_schedule_seconds": 3600}))


@pytest.fixture
async def accounts(idle: Api) -> tuple[Body, Body]:
    """Return two accounts with codes, with 100 and with 0."""
    return await idle.new_account(balance_cents=100, code="assets:bank"), await idle.new_account(code="expenses:rent")


async def execute(runtime: Runtime, body: Body) -> None:
    await until_due(body)
    assert 1 == await Scheduler(runtime.pool, runtime.committer).execute()


async def close(api: Api) -> None:
    assert 200 == (await api.post("/v1/periods/close", {"through": THROUGH})).status


async def balance_as_of(api: Api, account: Body, effective_at: str) -> int:
    answer = await api.get(f"/v1/accounts/{account['id']}", params={"effective_at": effective_at})
    return int(answer.body["balance_cents"])


# Codes.


async def test_codes_name_the_accounts_that_have_them_when_it_is_scheduled(
    idle: Api, accounts: tuple[Body, Body], runtime: Runtime
) -> None:
    by_code = tuple({"id": one["code"]} for one in accounts)
    transfer = await schedule_soon(idle, by_code, 3)  # type: ignore[arg-type]
    postings = [{"account_id": "assets:bank", "amount_cents": -4}, {"account_id": "expenses:rent", "amount_cents": 4}]
    entry = await post_soon(idle, "", {"postings": postings})
    assert [one["id"] for one in accounts] == [transfer["source_account_id"], transfer["destination_account_id"]]
    assert [one["id"] for one in accounts] == [posting["account_id"] for posting in entry["postings"]]

    await idle.patch("/v1/accounts/assets:bank", {"code": None})
    other = await idle.new_account(balance_cents=100, code="assets:bank")
    await until_due(entry)
    assert 2 == await Scheduler(runtime.pool, runtime.committer).execute()
    assert [93, 7, 100] == [await idle.balance(one) for one in (*accounts, other)]


async def test_an_unknown_code_is_refused_at_once(idle: Api, accounts: tuple[Body, Body]) -> None:
    unknown = {**transfer_body({"id": "assets:none"}, accounts[1], 1), "execute_at": in_seconds(60)}
    answer = await idle.post("/v1/transactions/transfer", unknown)
    assert (422, ["transfer_source_account_not_found"]) == (answer.status, answer.codes)
    assert {"source_account_id": "assets:none"}.items() <= answer.body["errors"][0]["detail"].items()


# Effective times and closed periods.


@pytest.mark.parametrize("kind", ["transfer", "entry"])
async def test_an_effective_time_counts_once_the_transaction_is_posted(
    idle: Api, accounts: tuple[Body, Body], runtime: Runtime, connection: Any, kind: str
) -> None:
    if kind == "transfer":
        body = await schedule_soon(idle, accounts, 7, effective_at=OPEN)
    else:
        postings = [
            {"account_id": one["id"], "amount_cents": cents} for one, cents in zip(accounts, (-7, 7), strict=True)
        ]
        body = await post_soon(idle, "", {"postings": postings, "effective_at": OPEN})
    assert (OPEN, 0) == (body["effective_at"], await balance_as_of(idle, accounts[1], OPEN))
    assert 0 == await connection.fetchval("SELECT count(*) FROM dated_entries")

    await execute(runtime, body)
    assert [0, 7] == [await balance_as_of(idle, accounts[1], time) for time in (THROUGH, OPEN)]
    rows = await connection.fetch("SELECT account_id::text, amount_cents FROM dated_entries")
    assert {accounts[0]["id"]: -7, accounts[1]["id"]: 7} == dict(map(tuple, rows))
    (entry,) = (await idle.get(f"/v1/accounts/{accounts[1]['id']}/entries")).body
    assert (body["id"], OPEN) == (entry["transaction_id"], entry["effective_at"])


@pytest.mark.parametrize("path", ["/transfer", ""])
async def test_nothing_is_scheduled_into_a_closed_period(idle: Api, accounts: tuple[Body, Body], path: str) -> None:
    await close(idle)
    postings = [{"account_id": one["id"], "amount_cents": cents} for one, cents in zip(accounts, (-7, 7), strict=True)]
    planned: Body = transfer_body(*accounts, 7) if path else {"postings": postings}
    body = {**planned, "execute_at": in_seconds(3600)}
    refused = await idle.post(f"/v1/transactions{path}", {**body, "effective_at": CLOSED})
    assert (409, ["period_closed"], ["/effective_at"]) == (refused.status, refused.codes, refused.pointers)
    assert 200 == (await idle.post(f"/v1/transactions{path}", {**body, "effective_at": OPEN})).status


async def test_what_falls_due_after_its_period_was_closed_fails(
    idle: Api, accounts: tuple[Body, Body], runtime: Runtime
) -> None:
    body = await schedule_soon(idle, accounts, 7, effective_at=CLOSED, reference="rent")
    await close(idle)
    await execute(runtime, body)

    failed = await read(idle, body)
    assert ("failed", ["period_closed"]) == (failed["status"], failed["failure_codes"])
    assert [100, 0] == [await idle.balance(one) for one in accounts]
    again = await idle.post("/v1/transactions/transfer", {**transfer_body(*accounts, 7), "reference": "rent"})
    assert 200 == again.status


async def test_a_reopened_period_takes_it(idle: Api, accounts: tuple[Body, Body], runtime: Runtime) -> None:
    body = await schedule_soon(idle, accounts, 7, effective_at=CLOSED)
    await close(idle)
    assert 200 == (await idle.post("/v1/periods/reopen", {"through": THROUGH})).status
    await execute(runtime, body)
    assert ("posted", 7) == ((await read(idle, body))["status"], await balance_as_of(idle, accounts[1], THROUGH))


# Amendments.


async def test_an_amendment_of_what_is_scheduled_stays_when_it_is_posted(
    idle: Api, accounts: tuple[Body, Body], runtime: Runtime
) -> None:
    body = await schedule_soon(idle, accounts, 7, **TEXTS)
    path = f"/v1/transactions/{body['id']}"
    amended = await idle.patch(path, {"description": "rent, May", "metadata": {"tenant": None}})
    expected = {"description": "rent, May", "metadata": {"unit": "4"}}
    assert (200, body | expected) == (amended.status, amended.body)
    await execute(runtime, body)

    posted = await read(idle, body)
    assert body | expected | {"status": "posted", "settled_at": posted["settled_at"]} == posted
    (entry,) = (await idle.get(f"/v1/accounts/{accounts[1]['id']}/entries")).body
    assert expected.items() <= entry.items()
    again = await idle.patch(path, {"metadata": {"late": "no"}})
    assert {"unit": "4", "late": "no"} == again.body["metadata"]
    said = [
        (one["version"], one["description"], one["metadata"]) for one in (await idle.get(f"{path}/amendments")).body
    ]
    assert said == [
        (1, *TEXTS.values()),
        (2, *expected.values()),
        (5, "rent, May", {"unit": "4", "late": "no"}),
    ]


async def test_a_cancelled_transaction_is_shown_with_its_amendments(idle: Api, accounts: tuple[Body, Body]) -> None:
    body = await schedule(idle, accounts, 7, **TEXTS)
    path = f"/v1/transactions/{body['id']}"
    await idle.patch(path, {"description": None, "metadata": {"tenant": "B"}})
    answer = await idle.post(f"{path}/void")
    assert "description" not in answer.body
    assert answer.body == await read(idle, body)
    assert {"unit": "4", "tenant": "B"} == answer.body["metadata"]


# Dry runs.


async def test_a_dry_run_schedules_and_cancels_nothing(
    idle: Api, accounts: tuple[Body, Body], connection: Any, settings: Settings
) -> None:
    body = await schedule(idle, accounts, 7, reference="rent")
    before = await read_everything(connection, settings)
    dry = {"params": {"dry_run": "true"}}
    request = {**transfer_body(*accounts, 1), "execute_at": in_seconds(60)}

    tried = await idle.post("/v1/transactions/transfer", request, **dry)
    assert (200, "scheduled") == (tried.status, tried.body["status"])
    taken = await idle.post("/v1/transactions/transfer", {**request, "reference": "rent"}, **dry)
    assert (409, ["reference_already_exists"]) == (taken.status, taken.codes)
    past = await idle.post("/v1/transactions/transfer", {**request, "execute_at": in_seconds(-1)}, **dry)
    assert (422, ["/execute_at"]) == (past.status, past.pointers)
    voided = await idle.post(f"/v1/transactions/{body['id']}/void", **dry)
    assert (200, "voided") == (voided.status, voided.body["status"])
    assert before == await read_everything(connection, settings)


async def test_a_dry_run_on_a_past_state_has_the_time_of_then(
    idle: Api, accounts: tuple[Body, Body], runtime: Runtime
) -> None:
    body = await schedule_soon(idle, accounts, 7)
    then = {"params": {"dry_run": "true", "at_position": str(await _log_end(idle))}}
    await execute(runtime, body)

    async def try_at(time: str) -> Response:
        request = {**transfer_body(*accounts, 1), "execute_at": time}
        return await idle.post("/v1/transactions/transfer", request, **then)

    assert 200 == (await try_at(body["execute_at"])).status, "it was in the future then"
    assert ["/execute_at"] == (await try_at(body["created_at"])).pointers
    voided = await idle.post(f"/v1/transactions/{body['id']}/void", **then)
    assert (200, "voided") == (voided.status, voided.body["status"])
    now = await idle.post(f"/v1/transactions/{body['id']}/void", params={"dry_run": "true"})
    assert (409, ["transaction_not_scheduled"]) == (now.status, now.codes)


async def _log_end(api: Api) -> int:
    return int((await api.get("/v1/ledger/trial-balance")).body["position"])


async def test_a_dry_run_says_whether_a_monitor_would_be_triggered(idle: Api, accounts: tuple[Body, Body]) -> None:
    rule = {"account_id": "assets:bank", "condition": "balance_cents", "operator": "<", "amount_cents": 100}
    before = await _log_end(idle)
    await idle.transfer(*accounts, 1)

    tried = [
        await idle.post("/v1/monitors", rule, params={"dry_run": "true", **at})
        for at in ({}, {"at_position": str(before)})
    ]
    assert [(201, True), (201, False)] == [(one.status, one.body["triggered"]) for one in tried]
    assert [] == (await idle.get("/v1/monitors")).body


# The rights of the caller.


async def test_a_role_that_needs_a_second_factor_is_needed_again_when_it_is_due(
    serve: Serve, settings: Settings, idle: Api, accounts: tuple[Body, Body]
) -> None:
    """The operator requires the factor after alice, who has none, has scheduled a transaction."""
    alice = await idle.as_new_user("customer")
    purse = await idle.new_account(alice.user_id, 100)
    of_alice = await schedule_soon(alice, (purse, accounts[1]), 1)
    of_admin = await schedule_soon(idle, accounts, 2)
    await serve(settings.model_copy(update={"ledger_require_second_factor": "customer"}))

    async def has_ended() -> bool:
        return {"scheduled"}.isdisjoint([(await read(idle, one))["status"] for one in (of_alice, of_admin)])

    await until(has_ended)
    failed = await read(idle, of_alice)
    assert ("failed", ["authentication_forbidden"]) == (failed["status"], failed["failure_codes"])
    assert "posted" == (await read(idle, of_admin))["status"]
    assert datetime.now(UTC) > datetime.fromisoformat(failed["settled_at"])
