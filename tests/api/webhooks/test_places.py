"""The place of a webhook in the log: neither a request nor a change of the webhook lets it leave out an event."""

import pytest

from ledger.publish.webhooks import engine
from tests.support.controls import Api
from tests.support.processes import until
from tests.support.receiver import Receiver, SetClock
from tests.support.webhooks import Body, create, deliveries, move, progress

Accounts = tuple[Body, Body]
HOUR = 3600


@pytest.mark.parametrize("order", ["webhook", "account"])
async def test_going_back_leaves_out_nothing_that_was_not_delivered(
    set_clock: SetClock, api: Api, receiver: Receiver, accounts: Accounts, order: str
) -> None:
    """In the order of accounts the webhook is beyond an event that fails; in the other one, it is at that event."""
    others = await api.new_account(balance_cents=100), await api.new_account()
    webhook = await create(api, receiver, order=order)
    failing = 0
    receiver.answer = lambda one: 500 if one.position == failing else 204
    (before,) = await move(api, others, 1)
    await until(lambda: receiver.positions() == [before])
    failing = before + 3
    moved = [*await move(api, accounts, 2), *await move(api, others, 3, 4)]
    assert failing == moved[0]
    await until(lambda: set_clock.awaited)
    if order == "account":
        await until(lambda: receiver.positions()[-1] == moved[-1])
    receiver.received.clear()
    answer = await api.post(f"/v1/webhooks/{webhook['id']}/redeliver", {"from_position": moved[2]})
    assert 200 == answer.status
    await until(lambda: failing in receiver.positions())
    failing = 0
    await until(lambda: set_clock.awaited)
    set_clock.forward(HOUR)
    moved += await move(api, others, 5)
    await until(lambda: {moved[0], *moved[2:]} <= {*receiver.positions()})
    if order == "webhook":
        assert moved == [*dict.fromkeys(receiver.positions())]


async def test_the_place_of_the_last_webhook_is_kept_while_it_is_disabled(
    monkeypatch: pytest.MonkeyPatch, api: Api, receiver: Receiver, accounts: Accounts
) -> None:
    """Nothing is written between the deliveries and the end of the last webhook."""
    webhook = await create(api, receiver)
    moved = await move(api, accounts, 1)
    await until(lambda: _is_listed(api, webhook, 1))
    monkeypatch.setattr(engine, "FLUSH_SECONDS", HOUR)
    moved += await move(api, accounts, 2, 3)
    await until(lambda: len(receiver.received) == 3)
    path = f"/v1/webhooks/{webhook['id']}"
    assert 200 == (await api.post(f"{path}/disable")).status
    monkeypatch.setattr(engine, "FLUSH_SECONDS", 0.0)
    await until(lambda: _is_listed(api, webhook, 3))
    assert moved[-1] <= (await progress(api, webhook))["position"]
    assert 200 == (await api.post(f"{path}/enable")).status
    moved += await move(api, accounts, 4)
    await until(lambda: receiver.positions()[-1] == moved[-1])
    assert moved == receiver.positions()


async def _is_listed(api: Api, webhook: Body, count: int) -> bool:
    return len(await deliveries(api, webhook)) >= count
