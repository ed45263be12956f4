"""Requests of every kind besides the transfers of a trial: journal entries, holds, batches and reads."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tests.support.faults.trial import Trial

PAUSE_SECONDS = 0.05
DONE = frozenset({200, 201})


class MixedLoad:
    """A client that sends one request after the other. `others` lists those that were not answered as they should be.

    `is_well` is whether the last request was.
    """

    def __init__(self, trial: Trial) -> None:
        self.others: list[tuple[str, int | str]] = []
        self.count = 0
        self.is_well = False
        self._trial = trial
        self._session: aiohttp.ClientSession

    async def run(self) -> None:
        """Send requests until the task is cancelled."""
        headers = {"Authorization": f"Bearer {self._trial.token}"}
        async with aiohttp.ClientSession(headers=headers) as self._session:
            while True:
                await self._write()
                await self._read()

    async def _write(self) -> None:
        source, destination, third = random.sample(self._trial.load.accounts.cold, 3)
        transfer = {"source_account_id": source, "destination_account_id": destination, "amount_cents": 3}
        amounts = {source: -5, destination: 2, third: 3}
        postings = [{"account_id": account, "amount_cents": cents} for account, cents in amounts.items()]
        await self._send("POST", "/v1/transactions", {"postings": postings})
        for ending in ("capture", "void"):
            hold = await self._send("POST", "/v1/transactions/hold", transfer)
            if hold is not None:
                await self._send("POST", f"/v1/transactions/{hold['id']}/{ending}", {})
        await self._send("POST", "/v1/transactions/batch", {"atomic": False, "items": [transfer] * 5})

    async def _read(self) -> None:
        source, destination = random.sample(self._trial.load.accounts.cold, 2)
        for path in (
            f"/v1/accounts/{source}",
            f"/v1/accounts/{source}/entries?limit=20",
            f"/v1/accounts/{source}?at_version=2",
            f"/v1/transactions?account_id={destination}&limit=20",
            "/v1/ledger/trial-balance",
        ):
            await self._send("GET", path)

    async def _send(self, method: str, path: str, body: Any = None) -> Any:
        """Return the body of a response, or None if it is not the expected one."""
        self.count += 1
        outcome: int | str
        try:
            async with self._session.request(method, f"{self._trial.urls[0]}{path}", json=body) as response:
                answer, outcome = await response.json(), response.status
        except (aiohttp.ClientError, OSError) as error:  # OSError: a timeout, too
            answer, outcome = None, type(error).__name__
        self.is_well = outcome in DONE
        if not self.is_well:
            self.others.append((f"{method} {path}", outcome))
        await asyncio.sleep(PAUSE_SECONDS)
        return answer if self.is_well else None


@asynccontextmanager
async def mixed_load(trial: Trial) -> AsyncIterator[MixedLoad]:
    """Run such a client."""
    load = MixedLoad(trial)
    task = asyncio.create_task(load.run())
    try:
        yield load
    finally:
        task.cancel()
        await asyncio.wait({task})
