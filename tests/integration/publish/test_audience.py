"""The owners and codes of an event's time decide which clients get it, even if they change while they are read."""

import asyncio
from typing import Any, cast
from uuid import UUID

from ledger.publish.webhooks.choice import Audience, LoggedEvent
from ledger.store.connections import Reader
from ledger.store.reader import read_range
from tests.support.controls import Api


class HeldReader:
    """Reads from PostgreSQL, and hands over what it has found once it is released."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.found = asyncio.Event()
        self.released = asyncio.Event()

    async def fetch(self, sql: str, *arguments: Any) -> Any:
        rows = await self._connection.fetch(sql, *arguments)
        if "account_owners" in sql:
            self.found.set()
            await self.released.wait()
        return rows


async def read_log(connection: Any, after: int = 0) -> list[LoggedEvent]:
    return [LoggedEvent(stored) for stored in await read_range(connection, after, 10**9, 10_000)]


async def change_owner(api: Api, account: dict[str, Any], user_id: str) -> None:
    body = {**(await api.get(f"/v1/accounts/{account['id']}")).body, "user_id": user_id}
    assert 200 == (await api.put(f"/v1/accounts/{account['id']}", body)).status


async def test_an_owner_that_changes_while_it_is_read_is_not_kept(api: Api, connection: Any) -> None:
    account = await api.new_account(balance_cents=5)
    reader = HeldReader(connection)
    audience = Audience(cast("Reader", reader))
    before = [event for event in await read_log(connection) if str(event.stored.stream_id) == account["id"]]
    describing = asyncio.create_task(audience.describe(before))
    await reader.found.wait()
    new_owner = await api.new_user()
    await change_owner(api, account, new_owner["id"])
    after = await read_log(connection, before[-1].position)
    audience.forget(after)
    reader.released.set()
    await describing
    assert {account["user_id"]} == {str(place.owner_id) for event in before for place in event.places}

    await api.transfer(account, await api.new_account(), 5)
    following = [
        event
        for event in await read_log(connection, after[-1].position)
        if str(event.stored.stream_id) == account["id"]
    ]
    await audience.describe(following)
    assert {new_owner["id"]} == {str(place.owner_id) for event in following for place in event.places}


async def test_an_account_that_is_forgotten_while_others_are_read_is_described(api: Api, connection: Any) -> None:
    accounts = [await api.new_account(balance_cents=5) for _ in range(2)]
    ids = {UUID(account["id"]) for account in accounts}
    reader = HeldReader(connection)
    reader.released.set()
    audience = Audience(cast("Reader", reader))
    events = [event for event in await read_log(connection) if event.stored.stream_id in ids]
    first = [event for event in events if str(event.stored.stream_id) == accounts[0]["id"]]
    await audience.describe(first)
    reader.found.clear()
    reader.released.clear()
    mixed = [LoggedEvent(event.stored) for event in events]
    describing = asyncio.create_task(audience.describe(mixed))
    await reader.found.wait()
    audience.forget(first)
    reader.released.set()
    await describing
    assert {UUID(account["user_id"]) for account in accounts} == {
        place.owner_id for event in mixed for place in event.places
    }
