"""A client that sends batches of transfers while faults happen, each until it is acknowledged."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aiohttp

from ledger.concurrency.tasks import running
from ledger.values.ids import new_id
from tests.support.faults.load import DONE

ITEMS = 100
PAUSE_SECONDS = 0.1
RETRY_SECONDS = 0.2


class Batches:
    """Counts the transfers that are acknowledged. `urls` may change while it runs."""

    def __init__(self, urls: Sequence[str], token: str, accounts: Sequence[str]) -> None:
        self.acknowledged = 0
        self._urls = urls
        self._headers = {"Authorization": f"Bearer {token}"}
        self._accounts = accounts

    @asynccontextmanager
    async def sending(self) -> AsyncIterator[None]:
        """Send batches for the length of the context."""
        async with running(self._send_all()):
            yield

    async def _send_all(self) -> None:
        timeout = aiohttp.ClientTimeout(total=20)
        async with aiohttp.ClientSession(headers=self._headers, timeout=timeout) as session:
            while True:
                key, items = str(new_id()), [self._make_item() for _ in range(ITEMS)]
                while not await self._is_acknowledged(session, key, items):  # noqa: ASYNC110 - the service comes back
                    await asyncio.sleep(RETRY_SECONDS)
                self.acknowledged += ITEMS
                await asyncio.sleep(PAUSE_SECONDS)

    def _make_item(self) -> dict[str, object]:
        source, destination = random.sample(self._accounts, 2)
        return {"source_account_id": source, "destination_account_id": destination, "amount_cents": 1}

    async def _is_acknowledged(
        self, session: aiohttp.ClientSession, key: str, items: Sequence[dict[str, object]]
    ) -> bool:
        body, headers = {"atomic": True, "items": items}, {"Idempotency-Key": key}
        try:
            url = f"{self._urls[0]}/v1/transactions/batch"
            async with session.post(url, json=body, headers=headers) as response:
                await response.read()
                return response.status in DONE
        except (aiohttp.ClientError, OSError):
            return False
