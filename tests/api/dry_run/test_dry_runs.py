"""What a dry run takes into account, and what it leaves alone."""

import asyncio
import json
from typing import Any

from ledger.settings import Settings
from tests.support.controls import PASSWORD, Api, Clock, Response, Serve, new_id, transfer_body
from tests.support.everything import read_everything
from tests.support.holds import due, hold
from tests.support.machines import machine
from tests.support.second_factors import REMOVE, enrol

DRY = {"dry_run": "true"}
TRANSFER, BATCH = "/v1/transactions/transfer", "/v1/transactions/batch"
LINES = {"Content-Type": "application/jsonl"}


def at(position: int | str) -> dict[str, str]:
    return {**DRY, "at_position": str(position)}


async def accounts(api: Api, cents: int = 100, **members: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    return await api.new_account(balance_cents=cents, **members), await api.new_account()


async def log_end(api: Api) -> int:
    return int((await api.get("/v1/ledger/trial-balance")).body["position"])


def statuses(answer: Response) -> list[int]:
    items = [json.loads(line) for line in answer.body.splitlines()] if isinstance(answer.body, str) else None
    return [item["status"] for item in items or answer.body["results"]]


async def test_refusals_say_that_it_was_a_dry_run(api: Api) -> None:
    answer = await api.transfer(*(await accounts(api)), 101, params=DRY)

    assert (422, ["transfer_insufficient_funds"], "true") == (answer.status, answer.codes, answer.headers["Dry-Run"])


async def test_false_is_no_dry_run(api: Api) -> None:
    alice, bob = await accounts(api)

    answer = await api.transfer(alice, bob, 1, params={"dry_run": "false"})

    assert (200, None) == (answer.status, answer.headers.get("Dry-Run"))
    assert 99 == await api.balance(alice)


async def test_a_point_in_time_without_a_dry_run_is_refused(api: Api) -> None:
    alice, bob = await accounts(api)

    for params in ({"at_position": "3"}, {"at_time": "2026-05-01", "dry_run": "false"}):
        answer = await api.transfer(alice, bob, 1, params=params)
        assert 422 == answer.status
        assert "must be given together with dry_run=true" == answer.body["errors"][0]["message"]
    both = await api.transfer(alice, bob, 1, params={**at(3), "at_time": "2026-05-01"})
    assert 2 == len(both.parameters)
    assert 100 == await api.balance(alice)


async def test_items_of_a_batch_and_of_a_stream_see_the_effects_of_earlier_ones(
    api: Api, connection: Any, settings: Settings
) -> None:
    alice, bob = await accounts(api)
    known = {**transfer_body(bob, alice, 50), "id": str(new_id())}
    items = [known, transfer_body(alice, bob, 60), transfer_body(alice, bob, 60), known, {**known, "amount_cents": 7}]
    items = [items[1], *items]
    before = await read_everything(connection, settings)

    batch = await api.post(BATCH, {"atomic": False, "items": items}, params=DRY)
    atomic = await api.post(BATCH, {"atomic": True, "items": items}, params=DRY)
    lines = b"".join(json.dumps(item).encode() + b"\n" for item in items)
    stream = await api.post(BATCH, data=lines, headers=LINES, params=DRY)

    assert [200, 200, 200, 422, 200, 422] == statuses(batch) == statuses(stream)
    assert True is batch.body["results"][4]["replayed"]
    assert batch.body["results"][1]["transaction"] == batch.body["results"][4]["transaction"]
    assert ["/items/3"] == atomic.pointers
    assert ["true"] * 3 == [answer.headers["Dry-Run"] for answer in (batch, atomic, stream)]
    assert before == await read_everything(connection, settings)
    real = await api.post(BATCH, data=lines, headers=LINES)
    assert statuses(stream) == statuses(real)


async def test_an_idempotency_key_is_not_used_up_and_shows_what_it_was_used_for(
    api: Api, connection: Any, settings: Settings
) -> None:
    alice, bob = await accounts(api)
    key = {"Idempotency-Key": "rent"}
    before = await read_everything(connection, settings)

    for cents in (30, 40):
        tried = await api.transfer(alice, bob, cents, params=DRY, headers=key)
        assert (200, cents, None) == (
            tried.status,
            tried.body["amount_cents"],
            tried.headers.get("Idempotent-Replayed"),
        )
    assert before == await read_everything(connection, settings)

    made = await api.transfer(alice, bob, 50, headers=key)
    again = await api.transfer(alice, bob, 50, headers=key, params=DRY)
    other = await api.transfer(alice, bob, 60, headers=key, params=DRY)
    assert (made.body, made.headers["Ledger-Position"]) == (again.body, again.headers["Ledger-Position"])
    assert "true" == again.headers["Idempotent-Replayed"]
    assert ["idempotency_key_reused"] == other.codes


async def test_a_past_position_decides_on_the_state_of_then(api: Api) -> None:
    alice, bob = await accounts(api)
    begin = await log_end(api)
    held = await hold(api, (alice, bob), 30)
    pending = await log_end(api)
    await api.post(f"/v1/transactions/{held['id']}/void")
    await api.transfer(alice, bob, 100)
    await api.delete(f"/v1/accounts/{alice['id']}")
    capture, body = f"/v1/transactions/{held['id']}/capture", transfer_body(alice, bob, 80)

    found = [await api.post(TRANSFER, body, params=at(position)) for position in (1, begin, pending)]
    assert [422, 200, 422] == [answer.status for answer in found]
    assert ["transfer_source_account_not_found", "transfer_destination_account_not_found"] == found[0].codes
    assert ["transfer_insufficient_funds"] == found[2].codes
    assert str(begin) == found[1].headers["Ledger-Position"]
    assert [404, 200, 409] == [
        (await api.post(capture, params=at(position))).status for position in (begin, pending, pending + 3)
    ]
    changed = await api.patch(f"/v1/accounts/{alice['id']}", {"overdraft_limit_cents": 5}, params=at(pending))
    assert ("open", 100, 30, 75) == tuple(
        changed.body[name] for name in ("status", "balance_cents", "held_cents", "available_cents")
    )
    now = await api.patch(f"/v1/accounts/{alice['id']}", {"overdraft_limit_cents": 5}, params=DRY)
    assert ["account_closed"] == now.codes


async def test_a_time_stands_for_the_position_it_had(api: Api) -> None:
    alice, bob = await accounts(api)
    time = (await api.transfer(alice, bob, 100)).body["created_at"]

    early = await api.transfer(bob, alice, 1, params={**DRY, "at_time": "2026-01-01"})
    late = await api.transfer(bob, alice, 1, params={**DRY, "at_time": time})

    assert ["transfer_source_account_not_found", "transfer_destination_account_not_found"] == early.codes
    assert (200, time) == (late.status, late.body["created_at"])


async def test_a_customer_tries_what_a_customer_may_do(api: Api) -> None:
    customer = await api.as_new_user("customer")
    own, other = await api.new_account(customer.user_id, 100), await api.new_account(balance_cents=100)
    begin = await log_end(api)
    await api.put(f"/v1/accounts/{own['id']}", {"user_id": other["user_id"]})

    for params in (DRY, at(begin)):
        assert ["transfer_source_account_not_found"] == (await customer.transfer(other, own, 1, params=params)).codes
        assert 403 == (await customer.put(f"/v1/accounts/{own['id']}", {"balance_cents": 1}, params=params)).status
    assert ["transfer_source_account_not_found"] == (await customer.transfer(own, other, 1, params=DRY)).codes
    assert 200 == (await customer.transfer(own, other, 1, params=at(begin))).status


async def test_a_machine_has_the_limits_of_now(api: Api) -> None:
    alice, bob = await accounts(api)
    begin = await log_end(api)
    limited = await machine(api, roles="customer", account_ids=[alice["id"]])

    for params in (DRY, at(begin)):
        assert 200 == (await limited.transfer(alice, bob, 1, params=params)).status
        assert ["transfer_source_account_not_found"] == (await limited.transfer(bob, alice, 1, params=params)).codes


async def test_a_revoked_token_tries_nothing(api: Api) -> None:
    alice, bob = await accounts(api)
    customer = await api.as_new_user("customer")
    begin = await log_end(api)
    await api.post("/v1/auth/revoke-user", {"user_id": customer.user_id})

    for params in (DRY, at(begin)):
        assert 401 == (await customer.transfer(alice, bob, 1, params=params)).status


async def test_a_wrong_password_counts_as_a_failed_login_and_a_right_one_changes_nothing(
    serve: Serve, settings: Settings, connection: Any, code_clock: Clock
) -> None:
    api = await serve(settings.model_copy(update={"ledger_login_attempts_per_account": 3}))
    customer = await api.as_new_user("customer")
    otp = (await enrol(customer, code_clock)).next_code()
    await customer.get("/v1/accounts")  # the service caches that a token is valid
    before = await read_everything(connection, settings)

    right, wrong = ({"current_password": password, "otp": otp} for password in (PASSWORD, "not the password"))
    answers = [await customer.post(REMOVE, body, params=DRY) for body in (right, wrong, wrong, right, wrong, right)]

    assert [200, 422, 422, 200, 422, 429] == [answer.status for answer in answers]
    assert before == await read_everything(connection, settings)


async def test_an_overdue_hold_ends_in_a_dry_run_as_it_would(api: Api, connection: Any) -> None:
    await connection.execute("SELECT pg_advisory_lock('stored_events'::regclass::oid::int, 2)")  # of hold expiry
    alice, bob = await accounts(api)
    held = await due(api, (alice, bob), 60)
    overdue = await log_end(api)

    tried = await api.transfer(alice, bob, 50, params=DRY)
    assert (200, overdue) == (tried.status, await log_end(api))
    assert 200 == (await api.transfer(alice, bob, 50)).status
    assert "expired" == (await api.get(f"/v1/transactions/{held['id']}")).body["status"]


async def test_dry_runs_at_once_do_not_stop_what_is_made(api: Api) -> None:
    alice, bob = await accounts(api, 10_000)
    path = f"/v1/accounts/{alice['id']}"

    async def try_out() -> None:
        for _ in range(10):
            assert 200 == (await api.patch(path, {"overdraft_limit_cents": 7}, params=DRY)).status
            assert 200 == (await api.transfer(alice, bob, 3, params=DRY)).status

    async def make() -> None:
        for _ in range(10):
            assert 200 == (await api.transfer(alice, bob, 1)).status

    await asyncio.gather(*(try_out() for _ in range(4)), *(make() for _ in range(4)))

    assert 10_000 - 40 == await api.balance(alice)
    assert 0 == (await api.get(path)).body["overdraft_limit_cents"]
