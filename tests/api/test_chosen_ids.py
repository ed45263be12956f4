"""Clients can choose ids of new resources, but not ids that the ledger derives for its own streams."""

from typing import Any
from uuid import UUID

from ledger.events.accounts import world_account_id
from ledger.events.users import email_streams, username_stream
from tests.support.controls import Api, Response, transfer_body


async def send_transfer(api: Api, transaction_id: UUID) -> Response:
    """Send a customer's transfer between two own accounts, with a chosen id."""
    mine = await api.new_account(balance_cents=100)
    theirs: dict[str, Any] = await api.new_account(user_id=mine["user_id"])
    return await api.post("/v1/transactions/transfer", {"id": str(transaction_id), **transfer_body(mine, theirs, 1)})


async def test_a_transfer_cannot_take_the_stream_of_a_name(api: Api) -> None:
    """Anyone can compute the id of a name's stream; a transfer there would make the name unusable."""
    await send_transfer(api, username_stream("carol"))
    await send_transfer(api, email_streams("carol@example.com")[0])

    carol = await api.new_user(username="carol", email="carol@example.com")
    renamed = await api.put(f"/v1/users/{carol['id']}", {"username": "caro", "email": carol["email"], "roles": "guest"})

    assert (200, "caro") == (renamed.status, renamed.body.get("username")), renamed


async def test_a_transfer_cannot_take_the_stream_of_world(api: Api) -> None:
    await send_transfer(api, world_account_id("EUR"))

    first = await api.new_account(balance_cents=5, currency="EUR")
    second = await api.new_account(balance_cents=5, currency="EUR")

    assert (5, 5) == (await api.balance(first), await api.balance(second))


async def test_nobody_can_own_the_account_world(api: Api) -> None:
    """Opening balances of other users would debit that account below zero."""
    owner = await api.new_user()
    body = {"id": str(world_account_id("EUR")), "user_id": owner["id"], "currency": "EUR"}

    refused = await api.post("/v1/accounts", body)

    assert (422, ["validation_error"], ["/id"]) == (refused.status, refused.codes, refused.pointers)
