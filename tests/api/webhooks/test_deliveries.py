"""Webhooks over HTTP: what happens in the ledger reaches an endpoint, signed, in order and at least once."""

from typing import Any

from tests.support.controls import Api
from tests.support.processes import until
from tests.support.receiver import Receiver

Body = dict[str, Any]


async def create(api: Api, receiver: Receiver, path: str = "/hooks", **members: Any) -> Body:
    answer = await api.post("/v1/webhooks", {"url": receiver.url(path), **members})
    assert 201 == answer.status, answer
    return dict(answer.body)


async def test_a_transfer_reaches_the_endpoint_signed(sending: Api, receiver: Receiver) -> None:
    accounts = await sending.new_account(balance_cents=100), await sending.new_account()
    webhook = await create(sending, receiver, topics=["MoneyTransferred"])
    transfer = await sending.transfer(*accounts, 30)
    (one,) = await until(lambda: receiver.received)
    one.verify(webhook["secret"])
    assert "application/cloudevents+json" == one.headers["Content-Type"]
    event = one.event
    assert "ledger.MoneyTransferred.v1" == event["type"]
    assert transfer.body["id"] == event["subject"]
    assert 30 == event["data"]["amount_cents"]
    assert f"msg_{webhook['id'].replace('-', '')}_{event['position']}" == one.id
