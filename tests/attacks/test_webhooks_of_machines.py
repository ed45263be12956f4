"""A machine client's webhooks send only what the client may read, as long as it may, and no other client sees them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ledger.commands.command import Command
from ledger.commands.webhooks import DisableWebhook
from ledger.write.committer import Committer
from ledger.write.group import Origin, Outcome
from tests.support.controls import Api, new_id
from tests.support.machines import as_machine, machine, register
from tests.support.processes import until
from tests.support.receiver import Receiver, receive
from tests.support.webhooks import Body, create, move, shown

SCOPES = "webhooks:read webhooks:write transactions:write accounts:read"
Accounts = tuple[Body, Body]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receive() as found:
        yield found


@pytest.fixture
async def accounts(api: Api) -> Accounts:
    return await api.new_account(balance_cents=1000), await api.new_account(balance_cents=1000)


async def limited(api: Api, **limits: Any) -> tuple[Body, Api]:
    """Return a client that is limited to some accounts, and the API as that client."""
    client = await register(api, SCOPES, "customer", **limits)
    return client, await as_machine(api, client)


async def reach_end(api: Api, receiver: Receiver) -> None:
    """Wait until a webhook for everything has sent what has happened so far."""
    (account,) = [await api.new_account()]
    await until(lambda: any(one.event["subject"] == account["id"] for one in receiver.received if one.path == "/all"))


async def test_a_limited_client_gets_what_happens_to_its_accounts(
    api: Api, receiver: Receiver, accounts: Accounts
) -> None:
    own, other = accounts
    _, client = await limited(api, account_ids=[own["id"]])
    webhook = await create(client, receiver, "/own", topics=[])
    assert webhook["client_id"] == client_id(webhook)
    await create(api, receiver, "/all", topics=[])
    stranger = await api.new_account(balance_cents=5)
    await move(api, (own, other), 1)
    await move(api, (other, stranger), 2)
    held = await api.post(
        "/v1/transactions/hold",
        {"source_account_id": own["id"], "destination_account_id": other["id"], "amount_cents": 3},
    )
    assert 200 == (await api.post(f"/v1/transactions/{held.body['id']}/void")).status
    await api.patch(f"/v1/accounts/{own['id']}", {"name": "Alice"})
    await reach_end(api, receiver)
    events = [
        (one.event["type"].split(".")[1], one.event["subject"]) for one in receiver.received if one.path == "/own"
    ]
    transfer = next(subject for topic, subject in events if topic == "MoneyTransferred")
    expected = [
        *(("MoneyTransferred", transfer), ("AccountDebited", own["id"])),
        *(("HoldPlaced", held.body["id"]), ("FundsHeld", own["id"])),
        *(("HoldVoided", held.body["id"]), ("FundsReleased", own["id"])),
        ("AccountDescribed", own["id"]),
    ]
    assert sorted(expected) == sorted(events)
    assert all("Alice" not in one.body.decode() for one in receiver.received)


def client_id(webhook: Body) -> str:
    return str(webhook["client_id"])


async def test_limits_to_a_user_follow_the_owner(api: Api, receiver: Receiver, accounts: Accounts) -> None:
    """By the owner at the time of the event, also if it is sent later."""
    own, other = accounts
    _, client = await limited(api, user_ids=[own["user_id"]])
    await create(client, receiver, "/own")
    moved = await move(api, (own, other), 1)
    new_owner = await api.new_user()
    body = {**(await api.get(f"/v1/accounts/{own['id']}")).body, "user_id": new_owner["id"]}
    assert 200 == (await api.put(f"/v1/accounts/{own['id']}", body)).status
    await move(api, (own, other), 2)
    another = await api.new_account(own["user_id"], balance_cents=5)
    moved += await move(api, (another, other), 3)
    await until(lambda: len(receiver.positions("/own")) >= 3)
    opening = receiver.positions("/own")[1]
    assert [moved[0], opening, moved[1]] == receiver.positions("/own")
    await create(client, receiver, "/again", from_position=moved[0])
    await until(lambda: len(receiver.positions("/again")) >= 3)
    assert [moved[0], opening, moved[1]] == receiver.positions("/again")


async def test_a_narrowed_client_gets_less_at_once(api: Api, receiver: Receiver, accounts: Accounts) -> None:
    own, other = accounts
    client, as_client = await limited(api, account_ids=[own["id"], other["id"]])
    stranger = await api.new_account(balance_cents=50)
    await create(as_client, receiver, "/own")
    await create(api, receiver, "/all", topics=[])
    first = await move(api, (stranger, own), 1)
    first += await move(api, (stranger, other), 2)
    patched = await api.patch(f"/v1/clients/{client['id']}", {"account_ids": [own["id"]]})
    assert 200 == patched.status, patched
    await move(api, (stranger, other), 3)
    first += await move(api, (stranger, own), 4)
    await reach_end(api, receiver)
    await until(lambda: len(receiver.positions("/own")) >= 3)
    assert first == receiver.positions("/own")


@pytest.mark.parametrize("change", ["revoke", "scope"])
async def test_a_client_that_may_have_no_webhooks_gets_nothing(
    api: Api, receiver: Receiver, accounts: Accounts, change: str
) -> None:
    client, as_client = await limited(api, account_ids=[accounts[0]["id"]])
    webhook = await create(as_client, receiver, "/own")
    await create(api, receiver, "/all", topics=[])
    moved = await move(api, accounts, 1)
    await until(lambda: receiver.positions("/own"))
    path = f"/v1/clients/{client['id']}"
    changed = await (api.delete(path) if change == "revoke" else api.patch(path, {"scope": "accounts:read"}))
    assert 200 == changed.status
    await move(api, accounts, 2)
    await reach_end(api, receiver)
    assert moved == receiver.positions("/own")
    await until(lambda: _is_disabled(api, webhook))
    assert "client_revoked" == (await shown(api, webhook))["status_reason"]
    path = f"/v1/webhooks/{webhook['id']}"
    enabled = await api.post(f"{path}/enable")
    assert (409, ["webhook_client_revoked"]) == (enabled.status, enabled.codes)
    again = await api.post(f"{path}/redeliver", {"position": moved[0]})
    assert (422, ["validation_error"]) == (again.status, again.codes)


async def test_others_do_not_wait_until_a_webhook_is_disabled(
    api: Api, receiver: Receiver, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To disable it takes a write, which may be refused or held up for long."""
    may_write, attempts = asyncio.Event(), list[Command]()
    submit = Committer.submit

    async def hold_up(committer: Committer, command: Command, origin: Origin, **options: Any) -> Outcome:
        if isinstance(command, DisableWebhook):
            attempts.append(command)
            await may_write.wait()
        return await submit(committer, command, origin, **options)

    monkeypatch.setattr(Committer, "submit", hold_up)
    client, as_client = await limited(api, account_ids=[accounts[0]["id"]])
    webhook = await create(as_client, receiver, "/own")
    await create(api, receiver, "/all", topics=[])
    assert 200 == (await api.delete(f"/v1/clients/{client['id']}")).status
    await until(lambda: attempts)
    await reach_end(api, receiver)
    await create(api, receiver, "/new")
    moved = await move(api, accounts, 2)
    await until(lambda: receiver.positions("/new"))
    assert (moved, [], 1) == (receiver.positions("/new"), receiver.positions("/own"), len(attempts))
    may_write.set()
    await until(lambda: _is_disabled(api, webhook))


async def _is_disabled(api: Api, webhook: Body) -> bool:
    return bool((await shown(api, webhook))["status"] == "disabled")


async def test_a_client_reaches_only_its_own_webhooks(api: Api, receiver: Receiver, accounts: Accounts) -> None:
    _, client = await limited(api, account_ids=[accounts[0]["id"]])
    own, admins = await create(client, receiver, "/own"), await create(api, receiver, "/admins")
    _, other = await limited(api, account_ids=[accounts[1]["id"]])
    assert [own["id"]] == [one["id"] for one in (await client.get("/v1/webhooks")).body]
    assert [] == (await other.get("/v1/webhooks")).body
    assert {own["id"], admins["id"]} == {one["id"] for one in (await api.get("/v1/webhooks")).body}
    for caller, webhook in ((other, own), (client, admins), (client, {"id": str(new_id())})):
        path = f"/v1/webhooks/{webhook['id']}"
        answers = [
            await caller.get(path),
            await caller.get(f"{path}/deliveries"),
            await caller.get(f"{path}/progress"),
            await caller.patch(path, {"topics": []}),
            await caller.post(f"{path}/rotate-secret"),
            await caller.post(f"{path}/enable"),
            await caller.post(f"{path}/disable"),
            await caller.post(f"{path}/test"),
            await caller.post(f"{path}/redeliver", {"position": 1}),
            await caller.delete(path),
        ]
        assert [(404, ["resource_not_found"])] * 10 == [(answer.status, answer.codes) for answer in answers]
    assert 200 == (await api.delete(f"/v1/webhooks/{own['id']}")).status


async def test_events_of_others_are_not_sent_again(api: Api, receiver: Receiver, accounts: Accounts) -> None:
    own, other = accounts
    _, client = await limited(api, account_ids=[own["id"]])
    webhook = await create(client, receiver, "/own")
    theirs = await move(api, (other, await api.new_account()), 1)
    mine = await move(api, (own, other), 2)
    path = f"/v1/webhooks/{webhook['id']}/redeliver"
    refused = [await client.post(path, {"position": position}) for position in (*theirs, 1, 10**9)]
    assert [(422, ["validation_error"])] * 3 == [(answer.status, answer.codes) for answer in refused]
    assert 1 == len({answer.body["detail"] for answer in refused})  # which does not tell whether there is an event
    assert 200 == (await client.post(path, {"position": mine[0]})).status
    await until(lambda: len(receiver.received) == 2)
    assert [*mine, *mine] == receiver.positions("/own")


@pytest.mark.parametrize(
    ("scope", "roles", "status"),
    [
        ("webhooks:read", "admin", 403),
        ("accounts:read", "admin", 403),
        ("webhooks:write", "admin", 201),
        ("webhooks:write", "auditor", 201),
        ("webhooks:write", "guest,auditor", 201),
    ],
)
async def test_a_client_needs_the_scope(api: Api, receiver: Receiver, scope: str, roles: str, status: int) -> None:
    client = await machine(api, scope, roles)
    answer = await client.post("/v1/webhooks", {"url": receiver.url()})
    assert status == answer.status, answer


async def test_a_client_has_a_limited_number_of_webhooks(
    api: Api, receiver: Receiver, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.handlers.webhooks.MAX_WEBHOOKS_EACH", 2)
    _, client = await limited(api, account_ids=[accounts[0]["id"]])
    for path in ("/one", "/two"):
        await create(client, receiver, path)
    answer = await client.post("/v1/webhooks", {"url": receiver.url()})
    assert (409, ["too_many_webhooks"]) == (answer.status, answer.codes)
    await create(api, receiver)
    monkeypatch.setattr("web.handlers.webhooks.MAX_WEBHOOKS", 3)
    answer = await api.post("/v1/webhooks", {"url": receiver.url()})
    assert (409, ["too_many_webhooks"]) == (answer.status, answer.codes)
