"""A hold is over when it expires, and not when the service records that: its expiry task may be late or dead."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ledger.settings import Settings
from tests.support.controls import Api, transfer_body
from tests.support.holds import Body, due, funds, hold, read
from tests.support.processes import until

Serve = Callable[[Settings], Awaitable[Api]]

ENDING = "SELECT pg_advisory_lock('stored_events'::regclass::oid::int, 2)"  # the lock of hold expiry


@pytest.fixture
async def api(serve: Serve, settings: Settings, connection: Any) -> Api:
    """Return a service whose expiry task does nothing."""
    await connection.execute(ENDING)
    return await serve(settings.model_copy(update={"ledger_expiry_seconds": 3600}))


@pytest.fixture
async def accounts(api: Api) -> tuple[Body, Body]:
    """Return two accounts, with 100 and with 0."""
    return await api.new_account(balance_cents=100), await api.new_account()


async def test_reads_say_that_an_overdue_hold_has_expired(api: Api, accounts: tuple[Body, Body]) -> None:
    kept = await hold(api, accounts, 10)
    held = await due(api, accounts)

    shown = await read(api, held)
    assert "expired" == shown["status"]
    assert (100, 10, 90) == await funds(api, accounts[0])
    for status, found in (("expired", [held]), ("pending", [kept]), ("voided", [])):
        answer = await api.get("/v1/transactions", params={"status": status})
        assert [one["id"] for one in found] == [row["id"] for row in answer.body]
        assert [one["id"] for one in found] == [
            row["id"]
            for row in (
                await api.get("/v1/transactions", params={"status": status, "account_id": accounts[0]["id"]})
            ).body
        ]
    listed = (await api.get("/v1/accounts")).body
    assert [(10, 90)] == [
        (row["held_cents"], row["available_cents"]) for row in listed if row["id"] == accounts[0]["id"]
    ]


async def test_the_tag_changes_when_a_hold_expires(api: Api, accounts: tuple[Body, Body]) -> None:
    held = await due(api, accounts, 5)
    path = f"/v1/accounts/{accounts[0]['id']}"

    tags = [(await api.get(one)).headers["ETag"] for one in (path, f"/v1/transactions/{held['id']}")]

    assert [".5", ".over"] == [tag[tag.index(".") : -1] for tag in tags]
    answer = await api.put(path, {"overdraft_limit_cents": 7}, headers={"If-Match": tags[0]})
    assert 200 == answer.status, answer


async def test_an_overdue_hold_can_be_voided_but_not_captured(api: Api, accounts: tuple[Body, Body]) -> None:
    held = await due(api, accounts)
    path = f"/v1/transactions/{held['id']}"

    answer = await api.post(f"{path}/capture")
    assert (409, ["hold_not_pending"]) == (answer.status, answer.codes)
    assert "expired" == answer.body["errors"][0]["detail"]["status"]
    for _ in range(2):  # whether or not the expiry is recorded
        answer = await api.post(f"{path}/void")
        assert (200, "expired") == (answer.status, answer.body["status"])
        assert answer.body == await read(api, held)
    assert (100, 0, 100) == await funds(api, accounts[0])


async def test_the_command_that_ends_an_overdue_hold_is_the_ledgers_own(api: Api, accounts: tuple[Body, Body]) -> None:
    held = await due(api, accounts)
    await api.transfer(*accounts, 100)  # needs the held money
    events = (await api.get(f"/v1/events?stream={held['id']}")).body

    command = await api.get(f"/v1/audit/commands/{events[-1]['command_id']}")

    assert (200, "ExpireHold", None) == (command.status, command.body["name"], command.body["user_id"])


@pytest.mark.parametrize("kind", ["transfer", "hold", "entry", "batch", "condition"])
async def test_money_of_an_overdue_hold_can_be_spent(
    api: Api, accounts: tuple[Body, Body], connection: Any, kind: str
) -> None:
    held = await due(api, accounts, 60)
    body = transfer_body(*accounts, 100)
    postings = [
        {"account_id": one["id"], "amount_cents": cents} for one, cents in zip(accounts, (-100, 100), strict=True)
    ]
    path, body = {
        "transfer": ("transfer", body),
        "hold": ("hold", body),
        "entry": ("", {"postings": postings}),
        "batch": ("batch", {"atomic": False, "items": [body]}),
        "condition": ("transfer", {**body, "conditions": {"source_available_min_cents": 100}}),
    }[kind]

    answer = await api.post(f"/v1/transactions/{path}".rstrip("/"), body)

    assert 200 == answer.status, answer
    assert kind != "batch" or [200] == [row["status"] for row in answer.body["results"]]
    assert "expired" == await connection.fetchval("SELECT status FROM transfers WHERE id = $1::text::uuid", held["id"])
    assert (100, 0) == ((await funds(api, accounts[0]))[0] + (await funds(api, accounts[1]))[0], 0)
    assert 0 == (await funds(api, accounts[0]))[2]


async def test_money_that_is_still_held_stays_held(api: Api, accounts: tuple[Body, Body]) -> None:
    await hold(api, accounts, 30)
    await due(api, accounts, 60)

    answer = await api.post("/v1/transactions/transfer", transfer_body(*accounts, 71))

    assert (422, ["transfer_insufficient_funds"]) == (answer.status, answer.codes)
    assert 200 == (await api.post("/v1/transactions/transfer", transfer_body(*accounts, 70))).status


async def test_an_overdue_hold_keeps_no_account_open_and_no_user(api: Api) -> None:
    user = await api.as_new_user("customer")
    payer, payee = await api.new_account(user.user_id, overdraft_limit_cents=10), await api.new_account(user.user_id)
    other = await api.new_account(overdraft_limit_cents=10)
    await due(api, (payer, payee), 10)
    assert 200 == (await api.delete(f"/v1/accounts/{payer['id']}")).status
    await due(api, (other, payee), 10)
    assert 200 == (await api.delete(f"/v1/users/{user.user_id}")).status


async def test_the_reference_of_an_overdue_hold_is_free(api: Api, accounts: tuple[Body, Body]) -> None:
    held = await due(api, accounts, 10, reference="room 7")

    again = await hold(api, accounts, 20, reference="room 7")

    assert ("expired", "pending") == ((await read(api, held))["status"], (await read(api, again))["status"])
    refused = await api.post("/v1/transactions/hold", {**transfer_body(*accounts, 1), "reference": "room 7"})
    assert (409, ["reference_already_exists"]) == (refused.status, refused.codes)


async def is_over(api: Api, held: Body) -> bool:
    return bool((await read(api, held))["status"] != "pending")


async def test_an_overdue_hold_with_a_capture_counts_as_captured(api: Api, accounts: tuple[Body, Body]) -> None:
    held = await hold(api, accounts, 60, expires_in_seconds=1)
    await api.post(f"/v1/transactions/{held['id']}/capture", {"amount_cents": 25, "final": False})
    assert (75, 35, 40) == await funds(api, accounts[0])
    await until(lambda: is_over(api, held))
    shown = await read(api, held)

    assert ("captured", 25) == (shown["status"], shown["captured_cents"])
    assert (75, 0, 75) == await funds(api, accounts[0])
    assert 200 == (await api.post(f"/v1/transactions/{held['id']}/reverse", {"amount_cents": 5})).status
    assert 200 == (await api.transfer(*accounts, 80)).status
