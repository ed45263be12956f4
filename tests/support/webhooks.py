"""Webhooks through the API, as tests create and look at them."""

from typing import Any

from tests.support.controls import Api
from tests.support.receiver import Receiver

Body = dict[str, Any]
TRANSFERS = ["MoneyTransferred"]


async def create(api: Api, receiver: Receiver, path: str = "/hooks", **members: Any) -> Body:
    """Create a webhook for transfers, or for other topics, and return it with its secret."""
    answer = await api.post("/v1/webhooks", {"url": receiver.url(path), "topics": TRANSFERS, **members})
    assert 201 == answer.status, answer
    return dict(answer.body)


async def move(api: Api, accounts: tuple[Body, Body], *cents: int) -> list[int]:
    """Move these amounts from the first account to the second, and return the positions of the transfers."""
    moved = []
    for amount in cents:
        answer = await api.transfer(*accounts, amount)
        assert 200 == answer.status, answer
        events = (await api.get(f"/v1/events?stream={answer.body['id']}")).body
        moved.append(events[0]["position"])
    return moved


async def deliveries(api: Api, webhook: Body) -> list[Body]:
    """Return the deliveries of a webhook, oldest first."""
    answer = await api.get(f"/v1/webhooks/{webhook['id']}/deliveries")
    assert 200 == answer.status, answer
    return list(reversed(answer.body))


async def progress(api: Api, webhook: Body) -> Body:
    """Return how far a webhook has come."""
    answer = await api.get(f"/v1/webhooks/{webhook['id']}/progress")
    assert 200 == answer.status, answer
    return dict(answer.body)


async def shown(api: Api, webhook: Body) -> Body:
    """Return a webhook as it is now."""
    answer = await api.get(f"/v1/webhooks/{webhook['id']}")
    assert 200 == answer.status, answer
    return dict(answer.body)
