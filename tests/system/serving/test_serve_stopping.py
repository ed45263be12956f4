"""A stop under load: no client is reset, and what was acknowledged is there afterwards."""

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from uuid import UUID

import aiohttp

from ledger.settings import Settings
from ledger.store.pool import connect
from tests.support.controls import ADMIN_PASSWORD, user_body
from tests.support.processes import Ledger
from tests.support.serving import call, log_in

CLIENTS = 24
ROUNDS = int(os.environ.get("LEDGER_TEST_STOPS", "3"))


class Load:
    """Clients that keep their connections and send one transfer after the other, until they cannot connect."""

    def __init__(self, url: str, token: str, accounts: list[str]) -> None:
        self.acknowledged: list[UUID] = []
        self.resets: list[str] = []
        self.statuses: Counter[int] = Counter()
        self._url, self._token, self._accounts = url, token, accounts

    async def client(self, number: int) -> None:
        one, other = self._accounts[number % 2], self._accounts[1 - number % 2]
        body = {"source_account_id": one, "destination_account_id": other, "amount_cents": 1}
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {self._token}"}) as session:
            with suppress(aiohttp.ClientConnectorError):  # refused: it has stopped
                while True:
                    try:
                        await self._send(session, body)
                    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                        if isinstance(error, aiohttp.ClientConnectorError):
                            raise
                        self.resets.append(repr(error))

    async def _send(self, session: aiohttp.ClientSession, body: dict[str, object]) -> None:
        async with session.post(f"{self._url}/v1/transactions/transfer", json=body) as response:
            answer = await response.json()
            self.statuses[response.status] += 1
            if response.status == 200:
                self.acknowledged.append(UUID(answer["id"]))


async def test_a_stop_resets_no_client_and_loses_nothing(
    run: Callable[..., Ledger], shared: dict[str, str], settings: Settings
) -> None:
    connection = await connect(settings)
    accounts: list[str] = []
    for number in range(ROUNDS):
        running = run("serve", "--workers", "2", **shared)
        url = await running.url()
        token = await log_in(url, "admin", ADMIN_PASSWORD)
        if not accounts:
            _, user = await call("POST", f"{url}/v1/users", user_body(), token)
            for _ in range(2):
                body = {"user_id": user["id"], "balance_cents": 1_000_000}
                accounts.append((await call("POST", f"{url}/v1/accounts", body, token))[1]["id"])
        load = Load(url, token, accounts)
        clients = [asyncio.create_task(load.client(client)) for client in range(CLIENTS)]
        await asyncio.sleep(1 + number / 7)
        assert 0 == await running.stop()
        await asyncio.gather(*clients)

        assert [] == load.resets
        assert {200} == load.statuses.keys()
        found = await connection.fetchval(
            "SELECT count(*) FROM transfers WHERE id = ANY($1::uuid[])", load.acknowledged
        )
        assert len(load.acknowledged) == found
    await connection.close()
