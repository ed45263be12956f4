"""Scheduled transactions over HTTP: they are posted, fail or are cancelled, and move no money before their time."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ledger.runtime import Runtime
from ledger.settings import Settings
from ledger.write.scheduler import Scheduler
from tests.support.controls import NOBODY, Api, transfer_body
from tests.support.holds import Body, due, funds, read
from tests.support.processes import until
from tests.support.schedules import in_seconds, post_soon, schedule, schedule_soon, until_due

Serve = Callable[[Settings], Awaitable[Api]]


@pytest.fixture
async def idle(serve: Serve, settings: Settings) -> Api:
    """Return the API of a service that executes nothing by itself."""
    return await serve(settings.model_copy(update={"ledger_schedule_seconds": 3600}))


@pytest.fixture
async def accounts(idle: Api) -> tuple[Body, Body]:
    """Return two accounts, with 100 and with 0."""
    return await idle.new_account(balance_cents=100), await idle.new_account()


async def test_a_transfer_is_scheduled_and_moves_no_money(idle: Api, accounts: tuple[Body, Body]) -> None:
    body = await schedule(idle, accounts, 1000, reference="rent", description="for May", metadata={"to": "Bob"})

    assert ("transfer", "scheduled", 1000, "rent") == tuple(
        body[name] for name in ("kind", "status", "amount_cents", "reference")
    )
    assert {"description": "for May", "metadata": {"to": "Bob"}}.items() <= body.items()
    assert body == await read(idle, body)
    assert (100, 0, 100) == await funds(idle, accounts[0])
    assert [] == (await idle.get(f"/v1/accounts/{accounts[1]['id']}/entries")).body


async def test_a_due_transfer_is_posted(idle: Api, accounts: tuple[Body, Body], runtime: Runtime) -> None:
    body = await schedule_soon(idle, accounts, 60, reference="rent")
    scheduler = Scheduler(runtime.pool, runtime.committer)
    await until_due(body)

    assert [1, 0] == [await scheduler.execute() for _ in range(2)]

    posted = await read(idle, body)
    assert body | {"status": "posted", "settled_at": posted["settled_at"]} == posted
    assert body["created_at"] < body["execute_at"] <= posted["settled_at"]
    assert (40, 60) == (await idle.balance(accounts[0]), await idle.balance(accounts[1]))
    (entry,) = (await idle.get(f"/v1/accounts/{accounts[1]['id']}/entries")).body
    assert (60, 60, posted["settled_at"], "rent") == tuple(
        entry[name] for name in ("amount_cents", "balance_cents", "created_at", "reference")
    )
    reversal = await idle.post(f"/v1/transactions/{body['id']}/reverse")
    assert (200, body["id"]) == (reversal.status, reversal.body["reverses"])


async def test_a_due_transfer_without_funds_fails(idle: Api, accounts: tuple[Body, Body], runtime: Runtime) -> None:
    body = await schedule_soon(idle, accounts, 101, reference="too much")
    await until_due(body)

    assert 1 == await Scheduler(runtime.pool, runtime.committer).execute()

    failed = await read(idle, body)
    codes = ["transfer_insufficient_funds"]
    assert body | {"status": "failed", "failure_codes": codes, "settled_at": failed["settled_at"]} == failed
    assert (100, 0, 100) == await funds(idle, accounts[0])
    again = await idle.post("/v1/transactions/transfer", {**transfer_body(*accounts, 1), "reference": "too much"})
    assert 200 == again.status


async def test_a_scheduled_transfer_is_cancelled(idle: Api, accounts: tuple[Body, Body], runtime: Runtime) -> None:
    body = await schedule_soon(idle, accounts, reference="rent")

    answer = await idle.post(f"/v1/transactions/{body['id']}/void", headers={"Idempotency-Key": "cancel-1"})
    assert (200, "voided") == (answer.status, answer.body["status"])
    assert answer.body == await read(idle, body)
    replay = await idle.post(f"/v1/transactions/{body['id']}/void", headers={"Idempotency-Key": "cancel-1"})
    assert (answer.body, "true") == (replay.body, replay.headers["Idempotent-Replayed"])
    again = await idle.post(f"/v1/transactions/{body['id']}/void")
    assert (409, ["transaction_not_scheduled"]) == (again.status, again.codes)
    await until_due(body)
    assert 0 == await Scheduler(runtime.pool, runtime.committer).execute()
    assert (100, 0, 100) == await funds(idle, accounts[0])
    reused = await idle.post("/v1/transactions/transfer", {**transfer_body(*accounts, 1), "reference": "rent"})
    assert 200 == reused.status


async def test_a_journal_entry_is_scheduled_and_posted(
    idle: Api, accounts: tuple[Body, Body], runtime: Runtime
) -> None:
    postings = [
        {"account_id": accounts[0]["id"], "amount_cents": -7},
        {"account_id": accounts[1]["id"], "amount_cents": 7},
    ]
    answer = await idle.post("/v1/transactions", {"postings": postings, "execute_at": in_seconds(3600)})
    assert (200, "journal", "scheduled") == (answer.status, answer.body["kind"], answer.body["status"])
    assert answer.body == await read(idle, answer.body)
    soon = await post_soon(idle, "", {"postings": postings})
    await until_due(soon)

    assert 1 == await Scheduler(runtime.pool, runtime.committer).execute()
    posted = await read(idle, soon)
    assert soon | {"status": "posted", "settled_at": posted["settled_at"]} == posted
    assert (93, 7) == (await idle.balance(accounts[0]), await idle.balance(accounts[1]))


@pytest.mark.parametrize("members", [{"source_version": 1}, {"conditions": {"source_available_min_cents": 0}}])
async def test_a_scheduled_transfer_has_no_conditions(idle: Api, accounts: tuple[Body, Body], members: Body) -> None:
    body = {**transfer_body(*accounts, 1), "execute_at": in_seconds(60)}
    answer = await idle.post("/v1/transactions/transfer", {**body, **members})
    assert (422, ["/execute_at"]) == (answer.status, answer.pointers)
    answer = await idle.post("/v1/transactions/transfer", body, headers={"If-Match": '"1"'})
    assert (422, ["header If-Match"]) == (answer.status, answer.parameters)


async def test_the_time_is_in_the_future_and_within_the_limit(serve: Serve, settings: Settings) -> None:
    api = await serve(settings.model_copy(update={"ledger_schedule_limit_seconds": 100}))
    accounts = await api.new_account(balance_cents=1), await api.new_account()
    for time in (in_seconds(-1), in_seconds(200)):
        answer = await api.post("/v1/transactions/transfer", {**transfer_body(*accounts, 1), "execute_at": time})
        assert (422, ["/execute_at"]) == (answer.status, answer.pointers)
    assert "scheduled" == (await schedule(api, accounts, execute_at=in_seconds(90)))["status"]


async def test_an_item_of_a_batch_cannot_be_scheduled(idle: Api, accounts: tuple[Body, Body]) -> None:
    """It is refused, because to ignore the member would move the money now."""
    item = {**transfer_body(*accounts, 1), "execute_at": in_seconds(60)}
    answer = await idle.post("/v1/transactions/batch", {"atomic": True, "items": [item]})
    assert (422, ["/items/0/execute_at"]) == (answer.status, answer.pointers)
    assert 100 == await idle.balance(accounts[0])


async def test_a_request_with_a_key_schedules_once(idle: Api, accounts: tuple[Body, Body]) -> None:
    body, headers = {**transfer_body(*accounts, 1), "execute_at": in_seconds(60)}, {"Idempotency-Key": "rent-5"}
    first = await idle.post("/v1/transactions/transfer", body, headers=headers)
    again = await idle.post("/v1/transactions/transfer", body, headers=headers)
    assert (first.body, "true") == (again.body, again.headers["Idempotent-Replayed"])


async def test_a_service_executes_what_is_due_by_itself(api: Api) -> None:
    accounts = await api.new_account(balance_cents=100), await api.new_account()
    body = await schedule_soon(api, accounts)
    await until(lambda: _has_status(api, body, "posted"))


async def _has_status(api: Api, body: Body, status: str) -> bool:
    return bool((await read(api, body))["status"] == status)


async def test_an_overdue_hold_keeps_no_money_from_a_scheduled_transfer(
    serve: Serve, settings: Settings, runtime: Runtime
) -> None:
    never = {"ledger_schedule_seconds": 3600, "ledger_expiry_seconds": 3600}
    api = await serve(settings.model_copy(update=never))
    accounts = await api.new_account(balance_cents=100), await api.new_account()
    body = await schedule_soon(api, accounts, 60)
    await due(api, accounts, 60)
    await until_due(body)

    await Scheduler(runtime.pool, runtime.committer).execute()
    assert "posted" == (await read(api, body))["status"]


async def test_more_due_transactions_than_a_group_are_executed_in_order(
    idle: Api, accounts: tuple[Body, Body], runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.write.scheduler.MAX_DUE", 3)
    later, sooner = in_seconds(20.2), in_seconds(20.1)
    last = [await schedule(idle, accounts, 1, execute_at=later) for _ in range(4)]
    first = [await schedule(idle, accounts, 1, execute_at=sooner) for _ in range(3)]
    scheduler = Scheduler(runtime.pool, runtime.committer)
    assert 0 == await scheduler.execute()
    await until_due(last[0])

    assert [3, 3, 1, 0] == [await scheduler.execute() for _ in range(4)]
    entries = (await idle.get(f"/v1/accounts/{accounts[1]['id']}/entries?order=asc")).body
    ids = [entry["transaction_id"] for entry in entries]
    assert ({body["id"] for body in first}, {body["id"] for body in last}) == ({*ids[:3]}, {*ids[3:]})


async def test_only_one_process_at_a_time_executes(
    idle: Api, accounts: tuple[Body, Body], runtime: Runtime, connection: Any
) -> None:
    body = await schedule_soon(idle, accounts)
    await until_due(body)
    scheduler = Scheduler(runtime.pool, runtime.committer)
    await connection.execute("SELECT pg_advisory_lock('stored_events'::regclass::oid::int, 5)")
    assert 0 == await scheduler.execute()
    await connection.execute("SELECT pg_advisory_unlock('stored_events'::regclass::oid::int, 5)")
    assert 1 == await scheduler.execute()


# Lists and the log.


async def test_lists_find_scheduled_transactions(idle: Api, accounts: tuple[Body, Body], runtime: Runtime) -> None:
    waiting = await schedule(idle, accounts, 10, reference="waits")
    voided = await schedule(idle, accounts, 11)
    assert 200 == (await idle.post(f"/v1/transactions/{voided['id']}/void")).status
    plain = (await idle.transfer(*accounts, 1)).body
    failed, posted = await schedule_soon(idle, accounts, 1000), await schedule_soon(idle, accounts, 12)
    between = (await idle.transfer(*accounts, 2)).body
    await until_due(posted)
    await Scheduler(runtime.pool, runtime.committer).execute()
    everything = [posted, between, failed, plain, voided, waiting]
    account = f"account_id={accounts[1]['id']}"

    for query, expected in (
        (account, everything),
        ("status=scheduled", [waiting]),
        ("status=failed", [failed]),
        ("status=voided", [voided]),
        (f"status=posted&{account}", [posted, between, plain]),
        (f"status=scheduled&{account}", [waiting]),
        (f"kind=transfer&{account}", everything),
        ("min_amount_cents=10&max_amount_cents=12&currency=USD&kind=transfer", [posted, voided, waiting]),
        ("reference=waits", [waiting]),
    ):
        assert [body["id"] for body in expected] == await _list(idle, query), query
    assert everything_ids(everything) == [one for one in await _list(idle, "") if one in everything_ids(everything)]
    assert everything_ids(everything) == await _list_by_twos(idle, account)


def everything_ids(bodies: list[Body]) -> list[str]:
    return [body["id"] for body in bodies]


async def _list(api: Api, query: str) -> list[str]:
    answer = await api.get(f"/v1/transactions?{query}")
    assert 200 == answer.status, answer
    return [body["id"] for body in answer.body]


async def _list_by_twos(api: Api, query: str) -> list[str]:
    found, path = list[str](), f"/v1/transactions?limit=2&{query}"
    while True:
        answer = await api.get(path)
        found += [body["id"] for body in answer.body]
        if "Link" not in answer.headers:
            return found
        path = answer.headers["Link"].partition(">")[0].removeprefix("<")


async def test_the_feed_has_what_becomes_of_a_schedule(
    idle: Api, accounts: tuple[Body, Body], runtime: Runtime
) -> None:
    admin = (await idle.get("/v1/users?username=admin")).body[0]["id"]
    body = await schedule_soon(idle, accounts, 1)
    failed = await schedule_soon(idle, accounts, 1000)
    await until_due(failed)
    await Scheduler(runtime.pool, runtime.committer).execute()

    topics = [event["topic"] for event in (await idle.get(f"/v1/events?stream={body['id']}")).body]
    assert ["TransactionScheduled", "ScheduleExecuted", "MoneyTransferred"] == topics
    (event,) = (await idle.get("/v1/events?topic=ScheduleFailed")).body
    assert (failed["id"], {"failure_codes": ["transfer_insufficient_funds"]}) == (event["stream_id"], event["state"])
    commands = (await idle.get(f"/v1/audit/actors/{admin}")).body
    assert 2 == len([command for command in commands if command["name"] == "ExecuteSchedule"])


async def test_metrics_say_how_late_scheduled_transactions_are(idle: Api, accounts: tuple[Body, Body]) -> None:
    body = await schedule_soon(idle, accounts)
    await until_due(body)
    found = (await idle.get("/metrics")).body.splitlines()
    (late,) = (line.partition(" ")[2] for line in found if line.startswith("ledger_schedules_overdue_seconds "))
    assert "ledger_schedules_waiting 1.0" in found
    assert 0 < float(late)


# Access.


async def test_customers_schedule_and_cancel_their_own(idle: Api) -> None:
    alice, bob = await idle.as_new_user("customer"), await idle.as_new_user("customer")
    purse = await idle.new_account(alice.user_id, 100)
    till = await idle.new_account(bob.user_id)
    body = await schedule(alice, (purse, till), 1)
    of_admin = await schedule(idle, (purse, till), 2)

    for api, transaction in ((alice, of_admin), (bob, body), (alice, {"id": NOBODY})):
        answer = await api.post(f"/v1/transactions/{transaction['id']}/void")
        assert (403, ["authentication_forbidden"]) == (answer.status, answer.codes)
    foreign = {**transfer_body(till, purse, 1), "execute_at": in_seconds(60)}
    answer = await alice.post("/v1/transactions/transfer", foreign)
    assert (422, ["transfer_source_account_not_found"]) == (answer.status, answer.codes)
    assert [of_admin["id"], body["id"]] == await _list(bob, "status=scheduled")
    assert 200 == (await alice.post(f"/v1/transactions/{body['id']}/void")).status
    assert 200 == (await idle.post(f"/v1/transactions/{of_admin['id']}/void")).status


@pytest.mark.parametrize("change", ["deactivated", "sold"])
async def test_a_customer_who_may_no_longer_pay_does_not(idle: Api, runtime: Runtime, change: str) -> None:
    alice = await idle.as_new_user("customer")
    accounts = await idle.new_account(alice.user_id, 100), await idle.new_account()
    body = await schedule_soon(alice, accounts, 1)
    if change == "deactivated":
        answer = await idle.patch(f"/v1/users/{alice.user_id}", {"active": False})
    else:
        other = await idle.new_user()
        answer = await idle.patch(f"/v1/accounts/{accounts[0]['id']}", {"user_id": other["id"]})
    assert 200 == answer.status, answer
    await until_due(body)

    await Scheduler(runtime.pool, runtime.committer).execute()
    failed = await read(idle, body)
    codes = {"deactivated": "authentication_forbidden", "sold": "transfer_source_account_not_found"}
    assert ("failed", [codes[change]]) == (failed["status"], failed["failure_codes"])
