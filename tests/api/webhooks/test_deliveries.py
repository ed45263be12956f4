"""Webhooks over HTTP: what happens in the ledger reaches an endpoint, signed, in order and at least once."""

import asyncio
from typing import Any

import pytest
from aiohttp import web
from standardwebhooks.webhooks import WebhookVerificationError

from ledger.settings import Settings
from tests.support.api_server import serve_once
from tests.support.controls import Api
from tests.support.processes import until
from tests.support.receiver import Received, Receiver, SetClock, receive
from tests.support.webhooks import TRANSFERS, Body, create, deliveries, move, progress, shown

Accounts = tuple[Body, Body]
HOUR, DAY = 3600, 86_400


async def test_a_transfer_reaches_the_endpoint_signed(api: Api, receiver: Receiver, accounts: Accounts) -> None:
    webhook = await create(api, receiver)
    transfer = await api.transfer(*accounts, 30)
    (one,) = await until(lambda: receiver.received)
    one.verify(webhook["secret"])
    with pytest.raises(WebhookVerificationError):
        one.verify("whsec_" + 40 * "A")
    assert "application/cloudevents+json" == one.headers["Content-Type"]
    event = one.event
    assert ("ledger.MoneyTransferred.v1", transfer.body["id"]) == (event["type"], event["subject"])
    assert 30 == event["data"]["amount_cents"]
    assert f"msg_{webhook['id'].replace('-', '')}_{event['position']}" == one.id
    answer = await api.get("/v1/events?topic=MoneyTransferred")
    assert int(event["position"]) == answer.body[-1]["position"]


async def test_events_arrive_once_and_in_order(api: Api, receiver: Receiver, accounts: Accounts) -> None:
    await create(api, receiver)
    moved = await move(api, accounts, *range(1, 31))
    await until(lambda: len(receiver.received) >= len(moved))
    assert moved == receiver.positions()


async def test_without_topics_all_that_may_leave_is_sent(api: Api, receiver: Receiver, accounts: Accounts) -> None:
    await create(api, receiver, topics=[])
    await api.new_user()
    await move(api, accounts, 5)
    await until(lambda: len(receiver.received) >= 4)
    assert ["UserCreated", "MoneyTransferred", "AccountDebited", "AccountCredited"] == receiver.topics()


async def test_events_before_the_webhook_are_sent_if_it_is_asked_for(
    api: Api, receiver: Receiver, accounts: Accounts
) -> None:
    moved = await move(api, accounts, 1, 2, 3)
    await create(api, receiver, "/all", from_position=1)
    await create(api, receiver, "/some", from_position=moved[1])
    await create(api, receiver, "/new")
    moved += await move(api, accounts, 4)
    await until(lambda: [*map(len, map(receiver.positions, ("/all", "/some", "/new")))] == [5, 3, 1])
    assert moved == receiver.positions("/all")[1:]  # the first is that of the opening balance
    assert moved[1:] == receiver.positions("/some")
    assert moved[3:] == receiver.positions("/new")


async def test_only_accounts_below_the_code_prefix_are_chosen(api: Api, receiver: Receiver, accounts: Accounts) -> None:
    """By the code that an account had at the time of the event."""
    alice, bob = accounts
    await api.patch(f"/v1/accounts/{alice['id']}", {"code": "Users:alice"})
    await create(api, receiver, code_prefix="users:")
    moved = await move(api, accounts, 1)
    await api.patch(f"/v1/accounts/{alice['id']}", {"code": None})
    await move(api, accounts, 2)
    await api.patch(f"/v1/accounts/{bob['id']}", {"code": "users:bob"})
    moved += await move(api, accounts, 3)
    await until(lambda: len(receiver.received) >= 2)
    assert moved == receiver.positions()
    await create(api, receiver, "/again", code_prefix="users:", from_position=1)
    await until(lambda: len(receiver.positions("/again")) >= 2)
    assert moved == receiver.positions("/again")


# Failures


async def test_a_failed_delivery_is_repeated_and_later_events_wait(
    set_clock: SetClock, api: Api, receiver: Receiver, accounts: Accounts
) -> None:
    webhook = await create(api, receiver)
    receiver.answer = lambda _: web.Response(status=500, text="not now")
    moved = await move(api, accounts, 1, 2)
    delays = []
    for attempt in range(1, 12):
        await until(lambda number=attempt: len(receiver.received) == number and set_clock.awaited)
        delays.append(round(set_clock.awaited[0] - set_clock.time()))
        set_clock.forward(delays[-1] + 1)
    assert [2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900] == delays
    receiver.answer = lambda _: 200
    await until(lambda: set_clock.awaited)
    set_clock.forward(900)
    await until(lambda: receiver.positions()[-1] == moved[1])
    assert {moved[0]} == {*receiver.positions()[:-1]}
    assert 1 == len({one.id for one in receiver.received[:-1]})
    assert 1 == len({one.body for one in receiver.received[:-1]})
    listed = await until(lambda: _listed(api, webhook, 13))
    assert [*range(1, 13), 1] == [one["attempt"] for one in listed]
    assert {(500, "not now", None)} == {(one["status"], one["answer"], one["error"]) for one in listed[:11]}
    assert [200, 200] == [one["status"] for one in listed[-2:]]


async def _listed(api: Api, webhook: Body, count: int) -> list[Body] | None:
    found = await deliveries(api, webhook)
    return found if len(found) >= count else None


async def test_three_days_of_failure_disable_a_webhook(
    set_clock: SetClock, api: Api, receiver: Receiver, accounts: Accounts
) -> None:
    webhook = await create(api, receiver)
    receiver.answer = lambda _: 503
    moved = await move(api, accounts, 1, 2)
    await until(lambda: set_clock.awaited)
    set_clock.forward(3 * DAY - 60)
    await until(lambda: len(receiver.received) == 2 and set_clock.awaited)
    failing = await until(lambda: _failing(api, webhook))
    assert (2, 1) == (failing["failures"], failing["pending"])
    set_clock.forward(120)
    await until(lambda: _is_disabled(api, webhook))
    assert "failing" == (await shown(api, webhook))["status_reason"]
    (event,) = (await api.get("/v1/events?topic=WebhookDisabled")).body
    assert {"reason": "failing", "failed_position": moved[0]} == event["state"]
    moved += await move(api, accounts, 3)

    receiver.answer = lambda _: 204
    receiver.received.clear()
    enabled = await api.post(f"/v1/webhooks/{webhook['id']}/enable")
    assert (200, "enabled", None) == (enabled.status, enabled.body["status"], enabled.body["status_reason"])
    await until(lambda: len(receiver.received) >= 3)
    assert moved == receiver.positions()


async def _is_disabled(api: Api, webhook: Body) -> bool:
    return bool((await shown(api, webhook))["status"] == "disabled")


async def _failing(api: Api, webhook: Body) -> Body | None:
    found = await progress(api, webhook)
    return found if found["failures"] > 1 else None


async def test_an_endpoint_that_is_gone_disables_its_webhook_at_once(
    api: Api, receiver: Receiver, accounts: Accounts
) -> None:
    webhook = await create(api, receiver)
    receiver.answer = lambda _: 410
    (position,) = await move(api, accounts, 1)
    await until(lambda: _is_disabled(api, webhook))
    (event,) = (await api.get(f"/v1/events?stream={webhook['id']}&topic=WebhookDisabled")).body
    assert {"reason": "gone", "failed_position": position} == event["state"]
    await move(api, accounts, 2)
    assert [position] == receiver.positions()


async def test_a_changed_url_is_tried_at_once(
    set_clock: SetClock, api: Api, receiver: Receiver, accounts: Accounts
) -> None:
    webhook = await create(api, receiver, "/old")
    receiver.answer = lambda one: 204 if one.path == "/new" else 500
    moved = await move(api, accounts, 1, 2)
    await until(lambda: set_clock.awaited)
    patched = await api.patch(f"/v1/webhooks/{webhook['id']}", {"url": receiver.url("/new")})
    assert 200 == patched.status, patched
    await until(lambda: len(receiver.positions("/new")) >= 2)
    assert moved == receiver.positions("/new")


async def test_a_dead_endpoint_delays_no_other(api: Api, receiver: Receiver, accounts: Accounts) -> None:
    """One accepts connections and never answers, and one refuses them."""
    hanging = asyncio.Event()

    async def hang(_: Received) -> web.StreamResponse:
        await hanging.wait()
        return web.Response(status=204)

    async with receive() as silent, receive() as closed:
        silent.answer = hang
        await create(api, silent)
        await create(api, closed)
        await closed.server.close()
        webhooks = [await create(api, receiver, f"/{number}") for number in range(20)]
        moved = await move(api, accounts, *range(1, 6))
        await until(lambda: len(receiver.received) >= 100)
        for number in range(len(webhooks)):
            assert moved == receiver.positions(f"/{number}")
        assert [moved[0]] == silent.positions()
        hanging.set()
        await until(lambda: len(silent.received) >= 5)
        assert moved == silent.positions()


# Order


async def test_events_of_other_accounts_do_not_wait_in_the_order_of_accounts(
    set_clock: SetClock, api: Api, receiver: Receiver, accounts: Accounts
) -> None:
    others = await api.new_account(balance_cents=100), await api.new_account()
    webhook = await create(api, receiver, order="account")
    failing: set[int] = set()
    receiver.answer = lambda one: 500 if one.position in failing else 204
    moved = await move(api, accounts, 1)
    await until(lambda: receiver.received)
    failing.add(moved[0] + 3)
    blocked = await move(api, accounts, 2, 3)
    assert [moved[0] + 3] == blocked[:1]
    apart = await move(api, others, 4, 5, 6)
    mixed = await move(api, (others[0], accounts[1]), 7)
    await until(lambda: receiver.positions()[-1] == apart[-1] and set_clock.awaited)
    assert [*moved, blocked[0], *apart] == receiver.positions()
    assert 3 == (await until(lambda: _pending(api, webhook, 3)))["pending"]  # the failed one and those behind it

    failing.clear()
    set_clock.forward(HOUR)
    await until(lambda: len(receiver.received) == 8)
    assert [blocked[0], blocked[1], mixed[0]] == receiver.positions()[-3:]


async def _pending(api: Api, webhook: Body, count: int) -> Body | None:
    found = await progress(api, webhook)
    return found if found["pending"] == count else None


# Restarts


async def test_a_restart_repeats_and_loses_nothing(settings: Settings, receiver: Receiver) -> None:
    async with serve_once(settings) as api:
        accounts = await api.new_account(balance_cents=100), await api.new_account()
        await create(api, receiver)
        moved = await move(api, accounts, 1, 2, 3)
        await until(lambda: len(receiver.received) >= 3)
        receiver.answer = lambda _: 500
        moved += await move(api, accounts, 4)
        await until(lambda: len(receiver.received) >= 4)
        moved += await move(api, accounts, 5)
    receiver.answer = lambda _: 204
    receiver.received.clear()
    async with serve_once(settings) as api:
        moved += await move(api, accounts, 6)
        await until(lambda: receiver.positions()[-1:] == moved[-1:])
    assert moved[3:] == receiver.positions()


async def test_failures_are_remembered_over_a_restart(
    set_clock: SetClock, settings: Settings, receiver: Receiver
) -> None:
    receiver.answer = lambda _: 500
    async with serve_once(settings) as api:
        accounts = await api.new_account(balance_cents=100), await api.new_account()
        webhook = await create(api, receiver)
        await move(api, accounts, 1)
        await until(lambda: set_clock.awaited)
        set_clock.forward(2)
        await until(lambda: len(receiver.received) == 2 and set_clock.awaited)
    async with serve_once(settings) as api:
        await until(lambda: set_clock.awaited)
        found = await progress(api, webhook)
        assert (2, 1) == (found["failures"], found["pending"])
        assert 2 == len(receiver.received)
        set_clock.forward(3 * DAY)
        await until(lambda: _is_disabled(api, webhook))


# Sending again


async def test_one_delivery_is_sent_again(api: Api, receiver: Receiver, accounts: Accounts) -> None:
    webhook = await create(api, receiver)
    moved = await move(api, accounts, 1, 2, 3)
    first = await until(lambda: _listed(api, webhook, 3))
    path = f"/v1/webhooks/{webhook['id']}/redeliver"
    assert 200 == (await api.post(path, {"delivery_id": first[1]["id"]})).status
    assert 200 == (await api.post(path, {"position": moved[0]})).status
    await until(lambda: len(receiver.received) == 5)
    assert [*moved, moved[1], moved[0]] == receiver.positions()
    assert receiver.received[1].id == receiver.received[3].id
    assert receiver.received[1].body == receiver.received[3].body
    listed = await until(lambda: _listed(api, webhook, 5))
    assert ["event"] * 3 + ["redelivery"] * 2 == [one["kind"] for one in listed]


async def test_what_is_being_sent_goes_on_while_another_event_is_sent_again(
    api: Api, receiver: Receiver, accounts: Accounts
) -> None:
    webhook = await create(api, receiver)
    moved = await move(api, accounts, 1)
    await until(lambda: len(receiver.received) == 1)
    answers = asyncio.Event()

    async def answer_later(_: Received) -> web.Response:
        await answers.wait()
        return web.Response(status=204)

    receiver.answer = answer_later
    moved += await move(api, accounts, 2)
    await until(lambda: len(receiver.received) == 2)
    assert 200 == (await api.post(f"/v1/webhooks/{webhook['id']}/redeliver", {"position": moved[0]})).status
    await until(lambda: len(receiver.received) == 3)
    answers.set()
    moved += await move(api, accounts, 3)
    await until(lambda: moved[2] in receiver.positions())
    assert [*moved[:2], moved[0], moved[2]] == receiver.positions()
    assert webhook["updated_at"] == (await shown(api, webhook))["updated_at"]


async def test_events_are_sent_again_from_a_position(api: Api, receiver: Receiver, accounts: Accounts) -> None:
    webhook = await create(api, receiver)
    moved = await move(api, accounts, 1, 2, 3)
    await until(lambda: len(receiver.received) == 3)
    path = f"/v1/webhooks/{webhook['id']}/redeliver"
    assert 200 == (await api.post(path, {"from_position": moved[1]})).status
    await until(lambda: len(receiver.received) == 5)
    moved += await move(api, accounts, 4)
    await until(lambda: len(receiver.received) == 6)
    assert [*moved[:3], *moved[1:3], moved[3]] == receiver.positions()


@pytest.mark.parametrize(
    ("body", "status", "codes"),
    [
        ({"position": 10**9}, 422, ["validation_error"]),
        ({"from_position": 10**9}, 422, ["validation_error"]),
        ({"delivery_id": "01890a5d-ac96-774b-bcce-b302099a8057"}, 404, ["resource_not_found"]),
        ({}, 422, ["validation_error"]),
        ({"position": 1, "from_position": 1}, 422, ["validation_error"]),
    ],
    ids=str,
)
async def test_only_what_exists_is_sent_again(
    api: Api, receiver: Receiver, body: dict[str, Any], status: int, codes: list[str]
) -> None:
    webhook = await create(api, receiver)
    answer = await api.post(f"/v1/webhooks/{webhook['id']}/redeliver", body)
    assert (status, codes) == (answer.status, answer.codes)


async def test_an_event_that_the_webhook_does_not_send_is_not_sent_again(
    api: Api, receiver: Receiver, accounts: Accounts
) -> None:
    webhook = await create(api, receiver)
    (moved,) = await move(api, accounts, 1)
    (delivery,) = await until(lambda: _listed(api, webhook, 1))
    path = f"/v1/webhooks/{webhook['id']}"
    debited = await api.post(f"{path}/redeliver", {"position": moved + 1})
    assert (422, "must be the position of an event that this webhook sends") == (debited.status, debited.body["detail"])
    assert 200 == (await api.patch(path, {"topics": ["AccountCredited"]})).status
    for body in ({"position": moved}, {"delivery_id": delivery["id"]}):
        answer = await api.post(f"{path}/redeliver", body)
        assert (422, [f"/{name}" for name in body]) == (answer.status, answer.pointers)


@pytest.mark.parametrize(
    ("topic", "message"),
    [
        ("MoneyTransfered", "did you mean MoneyTransferred?"),
        ("ledger.MoneyTransferred.v1", "did you mean MoneyTransferred?"),
        ("LoggedIn", ", which /asyncapi.json lists"),
        ("x" * 10_000, ", which /asyncapi.json lists"),
    ],
)
async def test_a_wrong_topic_is_told_the_nearest(api: Api, receiver: Receiver, topic: str, message: str) -> None:
    answer = await api.post("/v1/webhooks", {"url": receiver.url(), "topics": ["AccountCredited", topic]})
    assert (422, ["/topics/1"]) == (answer.status, answer.pointers)
    assert str(answer.body["detail"]).endswith(message)


async def test_a_disabled_webhook_sends_nothing_again(api: Api, receiver: Receiver, accounts: Accounts) -> None:
    webhook = await create(api, receiver)
    disabled = await api.post(f"/v1/webhooks/{webhook['id']}/disable")
    assert ("disabled", "requested") == (disabled.body["status"], disabled.body["status_reason"])
    moved = await move(api, accounts, 1)
    answer = await api.post(f"/v1/webhooks/{webhook['id']}/redeliver", {"position": moved[0]})
    assert (409, ["webhook_disabled"]) == (answer.status, answer.codes)
    assert 200 == (await api.post(f"/v1/webhooks/{webhook['id']}/enable")).status
    moved += await move(api, accounts, 2)
    await until(lambda: len(receiver.received) == 2)
    assert moved == receiver.positions()


async def test_a_webhook_is_enabled_from_another_position_on(api: Api, receiver: Receiver, accounts: Accounts) -> None:
    webhook = await create(api, receiver)
    assert 200 == (await api.post(f"/v1/webhooks/{webhook['id']}/disable")).status
    moved = await move(api, accounts, 1, 2, 3)
    body = {"from_position": moved[2]}
    assert 200 == (await api.post(f"/v1/webhooks/{webhook['id']}/enable", body)).status
    await until(lambda: receiver.received)
    moved += await move(api, accounts, 4)
    await until(lambda: len(receiver.received) == 2)
    assert moved[2:] == receiver.positions()


# Secrets and tests


async def test_a_rotated_secret_signs_beside_the_one_before(api: Api, receiver: Receiver, accounts: Accounts) -> None:
    webhook = await create(api, receiver)
    path = f"/v1/webhooks/{webhook['id']}/rotate-secret"
    rotated = await api.post(path, {"overlap_seconds": 3600})
    assert 2 == len(rotated.body["secrets"])
    await move(api, accounts, 1)
    (one,) = await until(lambda: receiver.received)
    one.verify(webhook["secret"])
    one.verify(rotated.body["secret"])
    replaced = await api.post(path, {"overlap_seconds": 0})
    assert 1 == len(replaced.body["secrets"])
    await move(api, accounts, 2)
    two = await until(lambda: receiver.received[1:])
    two[0].verify(replaced.body["secret"])
    for old in (webhook["secret"], rotated.body["secret"]):
        with pytest.raises(WebhookVerificationError):
            two[0].verify(old)


async def test_a_test_is_sent_at_once_and_listed(api: Api, receiver: Receiver) -> None:
    webhook = await create(api, receiver, topics=[])
    await api.post(f"/v1/webhooks/{webhook['id']}/disable")
    receiver.received.clear()
    receiver.answer = lambda _: web.Response(status=418, text="short and \0 stout")
    answer = await api.post(f"/v1/webhooks/{webhook['id']}/test")
    assert (200, 418, "short and \ufffd stout") == (answer.status, answer.body["status"], answer.body["answer"])
    (one,) = [one for one in receiver.received if one.id.startswith("test_")]
    one.verify(webhook["secret"])
    assert {"webhook_id": webhook["id"]} == one.event["data"]
    assert [answer.body] == [each for each in await deliveries(api, webhook) if each["kind"] == "test"]


async def test_deleted_webhooks_leave_nothing_behind(
    api: Api, receiver: Receiver, accounts: Accounts, connection: Any
) -> None:
    webhook = await create(api, receiver)
    await move(api, accounts, 1)
    await until(lambda: _listed(api, webhook, 1))
    assert 200 == (await api.delete(f"/v1/webhooks/{webhook['id']}")).status
    for path in ("", "/deliveries", "/progress"):
        assert 404 == (await api.get(f"/v1/webhooks/{webhook['id']}{path}")).status
    await move(api, accounts, 2)
    await create(api, receiver, "/other")
    await move(api, accounts, 3)
    await until(lambda: receiver.positions("/other"))
    assert 1 == len(receiver.positions("/hooks"))
    assert 0 == await connection.fetchval("SELECT count(*) FROM webhook_secrets WHERE webhook_id = $1", webhook["id"])

    async def is_gone() -> bool:
        tables = ("webhook_cursors", "webhook_deliveries")
        counts = [
            await connection.fetchval(f"SELECT count(*) FROM {table} WHERE webhook_id = $1", webhook["id"])
            for table in tables
        ]
        return counts == [0, 0]

    await until(is_gone)


async def test_topics_of_a_webhook_can_change(api: Api, receiver: Receiver, accounts: Accounts) -> None:
    webhook = await create(api, receiver)
    tag = (await api.get(f"/v1/webhooks/{webhook['id']}")).headers["ETag"]
    await move(api, accounts, 1)
    await until(lambda: receiver.received)
    path = f"/v1/webhooks/{webhook['id']}"
    patched = await api.patch(path, {"topics": ["AccountCredited"]}, headers={"If-Match": tag})
    assert (200, ["AccountCredited"]) == (patched.status, patched.body["topics"])
    stale = await api.patch(path, {"topics": TRANSFERS}, headers={"If-Match": tag})
    assert (412, ["precondition_failed"]) == (stale.status, stale.codes)
    await move(api, accounts, 2)
    await until(lambda: len(receiver.received) == 2)
    assert ["MoneyTransferred", "AccountCredited"] == receiver.topics()
