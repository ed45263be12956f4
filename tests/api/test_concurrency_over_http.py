"""Concurrent clients on real processes: even if these are killed, no money appears, vanishes or moves twice."""

import asyncio
import os
import random
import signal
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from ledger.events import fold
from ledger.events.accounts import Account
from ledger.events.transactions import MoneyTransferred
from ledger.settings import Settings
from ledger.store import reader as event_reader
from ledger.store.heads import read_heads
from tests.support.controls import ADMIN_PASSWORD, PASSWORD, transfer_body, user_body
from tests.support.processes import DEADLINE_SECONDS, Ledger, until
from tests.support.serving import serving

ACCOUNTS = 20
HOT_ACCOUNTS = 3  # take part in most transfers
CLIENTS = 64
BALANCE_CENTS = 1000


@dataclass
class Crowd:
    """Clients of one service, and the responses they received."""

    session: aiohttp.ClientSession
    url: str
    account_ids: list[str] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    accepted: dict[str, str] = field(default_factory=dict)  # transfer id by idempotency key
    broken_connections: int = 0

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        async with self.session.request(method, self.url + path, json=body, headers=headers) as response:
            return response.status, await response.json()

    async def log_in(self) -> None:
        body = {"username": "admin", "password": ADMIN_PASSWORD}
        status, answer = await self.call("POST", "/v1/auth/login", body)
        assert 200 == status
        self.session.headers["Authorization"] = f"Bearer {answer['access_token']}"

    async def open_accounts(self) -> None:
        _, user = await self.call("POST", "/v1/users", user_body(password=PASSWORD))
        for _ in range(ACCOUNTS):
            body = {"user_id": user["id"], "balance_cents": BALANCE_CENTS}
            status, account = await self.call("POST", "/v1/accounts", body)
            assert 201 == status
            self.account_ids.append(account["id"])

    async def transfer(self, count: int, *, seed: int = 0) -> None:
        """Send random transfers at once. A client without an answer retries with the same key."""
        work = iter(range(count))
        await asyncio.gather(*(self._client(work, random.Random(seed * CLIENTS + n)) for n in range(CLIENTS)))  # noqa: S311

    async def _client(self, work: Any, chance: random.Random) -> None:
        for _ in work:
            pool = self.account_ids[:HOT_ACCOUNTS] if chance.random() < 0.5 else self.account_ids
            source, destination = chance.sample(pool, 2)
            body = transfer_body(source, destination, chance.randint(1, 400))
            key = f"{chance.getrandbits(64):x}"
            status, answer = await self._persistent("/v1/transactions/transfer", body, key)
            self.statuses[status] += 1
            if status == 200:
                self.accepted[key] = answer["id"]
            else:
                assert ["transfer_insufficient_funds"] == [error["code"] for error in answer["errors"]], answer

    async def _persistent(self, path: str, body: Any, key: str) -> tuple[int, Any]:
        while True:
            try:
                status, answer = await self.call("POST", path, body, **{"Idempotency-Key": key})
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
                self.broken_connections += 1
                await asyncio.sleep(0)
                continue
            if status != 409:  # the first request with this key may still be running
                return status, answer


@asynccontextmanager
async def run_crowd(running: Ledger) -> AsyncIterator[Crowd]:
    """Yield clients of a newly started service."""
    url = await running.url()
    connector = aiohttp.TCPConnector(limit=CLIENTS)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(DEADLINE_SECONDS)) as session:
        clients = Crowd(session, url)
        await clients.log_in()
        await clients.open_accounts()
        yield clients


async def check_books(clients: Crowd, connection: Any) -> None:
    """Assert the invariants of the books. Lessons 1 and 4."""
    events = await event_reader.read_log(connection, limit=100_000)
    streams: dict[str, list[Any]] = defaultdict(list)
    for row in events:
        streams[str(row.stream_id)].append(row)
    for rows in streams.values():
        assert list(range(1, len(rows) + 1)) == [row.version for row in rows]

    folded = {key: fold(row.event for row in rows) for key, rows in streams.items()}
    balances = {key: state.balance_cents for key, state in folded.items() if isinstance(state, Account)}
    table = await connection.fetch("SELECT id::text, balance_cents FROM accounts")
    heads = await read_heads(connection, [row.stream_id for row in events])
    told = {key: (await clients.call("GET", f"/v1/accounts/{key}"))[1]["balance_cents"] for key in clients.account_ids}

    assert balances == dict(table)
    assert folded == {str(key): head.state for key, head in heads.items()}
    assert {key: balances[key] for key in clients.account_ids} == told
    assert 0 == sum(balances.values())
    assert ACCOUNTS * BALANCE_CENTS == sum(told.values())
    assert 0 <= min(told.values())
    made = [row for row in events if isinstance(row.event, MoneyTransferred) and row.event.kind == "transfer"]
    assert Counter(clients.accepted.values()) == Counter(str(row.stream_id) for row in made)


async def test_thousands_of_concurrent_transfers_keep_the_books_right(
    settings: Settings, connection: Any, tmp_path: Path
) -> None:
    """Lessons 1, 3 and 4."""
    with serving(tmp_path, settings, workers=2) as running:
        async with run_crowd(running) as clients:
            await clients.transfer(5000)
            assert 5000 == clients.statuses[200] + clients.statuses[422] == sum(clients.statuses.values())
            assert 0 == clients.broken_connections
            await check_books(clients, connection)


async def test_killed_workers_lose_and_repeat_nothing(settings: Settings, connection: Any, tmp_path: Path) -> None:
    """Lessons 4 and 14: clients retry with the same key; read tables are never ahead of or behind the log."""
    with serving(tmp_path, settings, workers=2) as running:
        async with run_crowd(running) as clients:
            transferring = asyncio.create_task(clients.transfer(3000, seed=1))
            for kills in range(1, 5):
                await until(lambda kills=kills: clients.statuses.total() >= 500 * kills or transferring.done())
                both = await until(lambda: len(running.workers()) == 2 and running.workers())
                os.kill(both[kills % 2], signal.SIGKILL)
            await transferring
            assert clients.broken_connections > 0
            assert 3000 == clients.statuses[200] + clients.statuses[422]
            await until(lambda: len(running.logged("worker died")) == 4)
            await check_books(clients, connection)
