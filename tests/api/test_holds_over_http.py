"""Holds over HTTP: placing, capturing, voiding and expiry, by the right roles, and only one ending ever."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ledger.events import fold
from ledger.events.accounts import Account
from ledger.runtime import Runtime, open_runtime
from ledger.settings import Settings
from ledger.store import reader as event_reader
from ledger.values.ids import parse_id
from ledger.write.hold_expiry import Expirer
from tests.support.controls import NOBODY, Api, Response, new_id, transfer_body
from tests.support.holds import Body, due, funds, held_until_soon, hold, read
from tests.support.outages import terminate_connections
from tests.support.processes import until

Serve = Callable[[Settings], Awaitable[Api]]

ENDING = "SELECT pg_advisory_lock('stored_events'::regclass::oid::int, 2)"  # the lock of hold expiry


@pytest.fixture
async def accounts(api: Api) -> tuple[Body, Body]:
    """Return two accounts, with 100 and with 0."""
    return await api.new_account(balance_cents=100), await api.new_account()


async def test_a_hold_reserves_money_and_moves_none(api: Api, accounts: tuple[Body, Body]) -> None:
    held = await hold(api, accounts, reference="room 7", description="two nights", metadata={"guest": "Bob"})

    assert ("hold", "pending", 60, "room 7") == tuple(
        held[name] for name in ("kind", "status", "amount_cents", "reference")
    )
    assert {"description": "two nights", "metadata": {"guest": "Bob"}}.items() <= held.items()
    assert held == await read(api, held)
    assert (100, 60, 40) == await funds(api, accounts[0])
    assert (0, 0, 0) == await funds(api, accounts[1])
    assert [] == (await api.get(f"/v1/accounts/{accounts[1]['id']}/entries")).body


async def test_held_money_cannot_be_spent_or_held_again(api: Api, accounts: tuple[Body, Body]) -> None:
    await hold(api, accounts, 60)

    for path in ("transfer", "hold"):
        answer = await api.post(f"/v1/transactions/{path}", transfer_body(*accounts, 41))
        assert (422, ["transfer_insufficient_funds"]) == (answer.status, answer.codes)
    assert 200 == (await api.transfer(*accounts, 40)).status


async def test_a_hold_is_refused_for_the_same_reasons_as_a_transfer(api: Api, accounts: tuple[Body, Body]) -> None:
    euros = await api.new_account(currency="EUR")
    refused = {
        ("transfer_source_account_not_found", "transfer_destination_account_not_found"): transfer_body(
            NOBODY, str(new_id()), 1
        ),
        ("transfer_accounts_are_same",): transfer_body(accounts[0], accounts[0], 1),
        ("currency_mismatch",): transfer_body(accounts[0], euros, 1),
        ("transfer_insufficient_funds",): transfer_body(*accounts, 101),
    }
    for codes, body in refused.items():
        answer = await api.post("/v1/transactions/hold", body)
        assert (422, list(codes)) == (answer.status, answer.codes)


async def test_a_full_capture_moves_the_held_amount(api: Api, accounts: tuple[Body, Body]) -> None:
    held = await hold(api, accounts)

    captured = await api.post(f"/v1/transactions/{held['id']}/capture")

    assert (200, "captured", 60) == (captured.status, captured.body["status"], captured.body["captured_cents"])
    assert captured.body == await read(api, held)
    assert held["created_at"] == captured.body["created_at"] < captured.body["settled_at"]
    assert (40, 0, 40) == await funds(api, accounts[0])
    assert (60, 0, 60) == await funds(api, accounts[1])
    (line,) = (await api.get(f"/v1/accounts/{accounts[1]['id']}/entries")).body
    assert (60, "hold", accounts[0]["id"]) == (line["amount_cents"], line["kind"], line["other_account_id"])


async def test_a_partial_capture_releases_the_rest(api: Api, accounts: tuple[Body, Body]) -> None:
    held = await hold(api, accounts)

    captured = await api.post(f"/v1/transactions/{held['id']}/capture", {"amount_cents": 25})

    assert (60, 25) == (captured.body["amount_cents"], captured.body["captured_cents"])
    assert (75, 0, 75) == await funds(api, accounts[0])


async def test_no_more_than_is_held_can_be_captured(api: Api, accounts: tuple[Body, Body]) -> None:
    held = await hold(api, accounts)

    answer = await api.post(f"/v1/transactions/{held['id']}/capture", {"amount_cents": 61})

    assert (422, ["/amount_cents"]) == (answer.status, answer.pointers)
    assert (100, 60, 40) == await funds(api, accounts[0])


async def test_voiding_a_hold_moves_nothing(api: Api, accounts: tuple[Body, Body]) -> None:
    held = await hold(api, accounts)

    voided = await api.post(f"/v1/transactions/{held['id']}/void")

    assert (200, "voided") == (voided.status, voided.body["status"])
    assert voided.body == await read(api, held)
    assert (100, 0, 100) == await funds(api, accounts[0])


@pytest.mark.parametrize("first", ["capture", "void"])
@pytest.mark.parametrize("second", ["capture", "void"])
async def test_a_hold_can_be_ended_once(api: Api, accounts: tuple[Body, Body], first: str, second: str) -> None:
    held = await hold(api, accounts)
    await api.post(f"/v1/transactions/{held['id']}/{first}")
    before = await read(api, held)

    answer = await api.post(f"/v1/transactions/{held['id']}/{second}")

    assert (409, ["hold_not_pending"]) == (answer.status, answer.codes)
    assert {"transaction_id": held["id"], "status": before["status"]} == answer.body["errors"][0]["detail"]
    assert before == await read(api, held)


async def test_only_holds_can_be_captured_or_voided(api: Api, accounts: tuple[Body, Body]) -> None:
    transfer = (await api.transfer(*accounts, 1)).body
    for action in ("capture", "void"):
        answer = await api.post(f"/v1/transactions/{transfer['id']}/{action}")
        assert (409, ["hold_not_pending"]) == (answer.status, answer.codes)
        answer = await api.post(f"/v1/transactions/{NOBODY}/{action}")
        assert (404, ["transaction_not_found"]) == (answer.status, answer.codes)


async def test_a_repeated_request_is_executed_once_and_gets_the_same_response(
    api: Api, accounts: tuple[Body, Body]
) -> None:
    """Lesson 4. Also after the hold has expired."""
    body = {**transfer_body(*accounts, 60), "expires_in_seconds": 3600}
    held = await hold(api, accounts, 1)
    requests = [("/v1/transactions/hold", body), (f"/v1/transactions/{held['id']}/capture", {"amount_cents": 1})]
    sent = [(path, body, {"Idempotency-Key": path}) for path, body in requests]
    answers = [await api.post(path, body, headers=headers) for path, body, headers in sent]
    expiring, key, answer = await held_until_soon(api, transfer_body(*accounts, 1))

    for (path, body, headers), first in zip(
        [*sent, ("/v1/transactions/hold", expiring, key)], [*answers, answer], strict=True
    ):
        again = await api.post(path, body, headers=headers)
        assert (200, "true") == (again.status, again.headers["Idempotent-Replayed"])
        assert first.body == again.body


# Expiry.


async def test_a_hold_expires_at_its_own_time_or_the_default(api: Api, accounts: tuple[Body, Body]) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat(timespec="microseconds").replace("+00:00", "Z")

    for lasts, members in ((timedelta(days=7), {}), (timedelta(hours=1), {"expires_in_seconds": 3600})):
        before = datetime.now(UTC)
        ends = datetime.fromisoformat((await hold(api, accounts, 1, **members))["expires_at"])
        assert before + lasts <= ends <= datetime.now(UTC) + lasts
    assert tomorrow == (await hold(api, accounts, 1, expires_at=tomorrow))["expires_at"]


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ({"expires_at": "2099-01-01T00:00:00Z"}, "/expires_at"),
        ({"expires_in_seconds": 30 * 86400 + 1}, "/expires_in_seconds"),
        ({"expires_in_seconds": 5, "expires_at": "2099-01-01T00:00:00Z"}, "/expires_in_seconds"),
    ],
)
async def test_a_hold_must_expire_in_the_future_within_the_limit(
    api: Api, accounts: tuple[Body, Body], members: Body, pointer: str
) -> None:
    """Lesson 36."""
    answer = await api.post("/v1/transactions/hold", {**transfer_body(*accounts, 1), **members})
    assert (422, [pointer]) == (answer.status, answer.pointers)


@pytest.fixture
async def unexpired(serve: Serve, settings: Settings) -> Api:
    """Return a service that checks for expired holds only at its start."""
    return await serve(settings.model_copy(update={"ledger_expiry_seconds": 3600}))


async def _two(api: Api) -> tuple[Body, Body]:
    return await api.new_account(balance_cents=100), await api.new_account()


async def test_the_service_expires_due_holds(api: Api, accounts: tuple[Body, Body]) -> None:
    held, kept = await due(api, accounts), await hold(api, accounts, 10)

    await until(lambda: _is(api, held, "expired"))

    assert "pending" == (await read(api, kept))["status"]
    assert (100, 10, 90) == await funds(api, accounts[0])


async def _is(api: Api, transaction: Body, status: str) -> bool:
    return bool((await read(api, transaction))["status"] == status)


async def test_expiry_recovers_from_a_lost_database(serve: Serve, settings: Settings, connection: Any) -> None:
    api = await serve(settings.model_copy(update={"ledger_expiry_seconds": 0.05}))
    accounts = await _two(api)
    for _ in range(3):
        await terminate_connections(connection)
        await until(lambda: _answers(api))
        held = await due(api, accounts, 1)
        await until(lambda held=held: _is(api, held, "expired"))


async def _answers(api: Api) -> bool:
    return (await api.get("/v1/accounts")).status == 200


# Concurrency.


async def test_more_due_holds_than_a_chunk_are_expired(
    unexpired: Api, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lesson 36."""
    monkeypatch.setattr("ledger.write.hold_expiry.MAX_HOLDS", 3)
    accounts = await _two(unexpired)
    for _ in range(7):
        await hold(unexpired, accounts, 1, expires_in_seconds=60)
    expirer, then = Expirer(runtime.pool, runtime.committer), datetime.now(UTC) + timedelta(hours=1)

    assert [3, 3, 1, 0] == [await expirer.expire(then) for _ in range(4)]
    assert (100, 0, 100) == await funds(unexpired, accounts[0])


async def test_only_one_process_at_a_time_expires_holds(unexpired: Api, runtime: Runtime, connection: Any) -> None:
    accounts = await _two(unexpired)
    await hold(unexpired, accounts, 1, expires_in_seconds=60)
    expirer, then = Expirer(runtime.pool, runtime.committer), datetime.now(UTC) + timedelta(hours=1)

    await connection.execute(ENDING)
    assert 0 == await expirer.expire(then)
    await connection.execute("SELECT pg_advisory_unlock('stored_events'::regclass::oid::int, 2)")
    assert 1 == await expirer.expire(then)


@pytest.mark.parametrize("actions", [("capture", "capture"), ("capture", "void"), ("void", "void")])
async def test_only_one_of_many_endings_through_two_processes_wins(
    serve: Serve, settings: Settings, connection: Any, actions: tuple[str, str]
) -> None:
    """Lesson 1. The sums are right, whichever request wins."""
    apis = [await serve(settings), await serve(settings)]
    accounts = await _two(apis[0])
    holds = [await hold(apis[0], accounts, 5) for _ in range(8)]

    async def end(number: int, held: Body) -> Response:
        return await apis[number % 2].post(f"/v1/transactions/{held['id']}/{actions[number // 2 % 2]}")

    for held in holds:
        answers = await asyncio.gather(*(end(number, held) for number in range(8)))
        assert [200, *[409] * 7] == sorted(answer.status for answer in answers)
    captured = [held for held in holds if (await read(apis[0], held))["status"] == "captured"]
    assert (100 - 5 * len(captured), 0, 100 - 5 * len(captured)) == await funds(apis[1], accounts[0])
    assert await _rows_are_folds(connection, accounts)


async def test_only_one_of_expiry_and_capture_wins(serve: Serve, settings: Settings, connection: Any) -> None:
    """Lesson 1."""
    api = await serve(settings.model_copy(update={"ledger_expiry_seconds": 3600}))
    accounts = await _two(api)
    async with open_runtime(settings) as other:
        expirer, then = Expirer(other.pool, other.committer), datetime.now(UTC) + timedelta(hours=1)
        for _ in range(10):
            held = await hold(api, accounts, 1, expires_in_seconds=60)
            expired, answer = await asyncio.gather(
                expirer.expire(then), api.post(f"/v1/transactions/{held['id']}/capture")
            )
            status = (await read(api, held))["status"]
            assert (status, answer.status) in {("captured", 200), ("expired", 409)}
            assert expired in {0, 1}
    assert await _rows_are_folds(connection, accounts)


async def _rows_are_folds(connection: Any, accounts: tuple[Body, Body]) -> bool:
    for account in accounts:
        log = await event_reader.read_log(connection)
        events = [row for row in log if row.stream_id == parse_id(account["id"])]
        state = fold(row.event for row in events)
        row = await connection.fetchrow("SELECT * FROM accounts WHERE id = $1", parse_id(account["id"]))
        assert isinstance(state, Account)
        assert (row["balance_cents"], row["held_cents"]) == (state.balance_cents, state.held_cents)
        assert 0 <= state.held_cents
    return True


# Access.


async def test_a_customer_can_hold_own_money_but_not_end_the_hold(api: Api) -> None:
    customer = await api.as_new_user("customer")
    own, other = await api.new_account(customer.user_id, balance_cents=100), await api.new_account(balance_cents=100)

    held = await hold(customer, (own, other), 10)

    assert held == await read(customer, held)
    refused = await customer.post("/v1/transactions/hold", transfer_body(other, own, 1))
    assert (422, ["transfer_source_account_not_found"]) == (refused.status, refused.codes)
    for action in ("capture", "void", "reverse"):
        assert 403 == (await customer.post(f"/v1/transactions/{held['id']}/{action}")).status


async def test_an_account_with_a_hold_cannot_be_closed(api: Api) -> None:
    accounts = await api.new_account(overdraft_limit_cents=10), await api.new_account()
    held = await hold(api, accounts, 10)

    answer = await api.delete(f"/v1/accounts/{accounts[0]['id']}")

    assert (409, ["account_not_empty"]) == (answer.status, answer.codes)
    await api.post(f"/v1/transactions/{held['id']}/void")
    assert 200 == (await api.delete(f"/v1/accounts/{accounts[0]['id']}")).status


async def test_held_amounts_can_be_read_at_a_point_in_time(api: Api, accounts: tuple[Body, Body]) -> None:
    opened = (await api.get(f"/v1/accounts/{accounts[0]['id']}", params={"at_version": 999})).body["version"]
    held = await hold(api, accounts)
    await api.post(f"/v1/transactions/{held['id']}/capture", {"amount_cents": 25})

    path = f"/v1/accounts/{accounts[0]['id']}"
    then = [(await api.get(path, params={"at_version": opened + n})).body for n in range(4)]

    assert [(100, 0), (100, 60), (100, 0), (75, 0)] == [(one["balance_cents"], one["held_cents"]) for one in then]
    assert [opened + n for n in range(4)] == [one["version"] for one in then]
