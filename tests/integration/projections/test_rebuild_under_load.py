"""Tables are rebuilt while clients read and write, and no client notices. Lessons 12, 13 and 14."""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ledger.audit.snapshot import snapshot
from ledger.events import fold
from ledger.events.accounts import Account
from ledger.projections import INLINE
from ledger.projections.rebuild.rebuild import Outcome, rebuild
from ledger.settings import Settings
from ledger.store import reader as event_reader
from ledger.store.citus import find_table
from ledger.store.pool import connect
from tests.support.controls import ADMIN_PASSWORD, Api, transfer_body, user_body
from tests.support.processes import DEADLINE_SECONDS, Ledger, ledger, until
from tests.support.serving import serving

ALL = [projection.name for projection in INLINE]
CLIENTS = 16
ACCOUNTS = 12
BALANCE_CENTS = 1_000_000


@dataclass
class Crowd:
    """Clients that read and write at random until `stopped`."""

    session: aiohttp.ClientSession
    url: str
    accounts: list[str] = field(default_factory=list)
    transfers: list[str] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    faults: list[Any] = field(default_factory=list)
    stopped: bool = False

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        async with self.session.request(method, f"{self.url}/v1{path}", json=body, headers=headers) as response:
            answer = await response.json() if response.content_type.endswith("json") else None
        self.statuses[response.status] += 1
        if response.status not in {200, 201, 204}:
            self.faults.append((method, path, response.status, answer))
        return answer

    async def start(self) -> None:
        pair = await self.call("POST", "/auth/login", {"username": "admin", "password": ADMIN_PASSWORD})
        self.session.headers["Authorization"] = f"Bearer {pair['access_token']}"
        user = await self.call("POST", "/users", user_body())
        for _ in range(ACCOUNTS):
            body = {"user_id": user["id"], "balance_cents": BALANCE_CENTS}
            self.accounts.append((await self.call("POST", "/accounts", body))["id"])

    async def act_until_stopped(self, seed: int) -> None:
        """Act as one client."""
        chance = random.Random(seed)  # noqa: S311
        while not self.stopped:
            await self.act(chance)

    async def act(self, chance: random.Random) -> None:
        match chance.choices(("transfer", "read", "list", "open", "session"), (60, 20, 10, 8, 2))[0]:
            case "transfer":
                source, destination = chance.sample(self.accounts, 2)
                transfer = await self.call("POST", "/transactions/transfer", transfer_body(source, destination, 7))
                self.transfers.append(transfer["id"])
                await self.call("GET", f"/transactions/{transfer['id']}")  # the client reads its own write
            case "read":
                await self.call("GET", f"/accounts/{chance.choice(self.accounts)}")
            case "list":
                await self.call("GET", chance.choice(("/accounts", "/users", "/auth/sessions")))
            case "open":
                user = await self.call("POST", "/users", user_body())
                await self.call("POST", "/accounts", {"user_id": user["id"], "balance_cents": 0})
                await self.call("DELETE", f"/users/{user['id']}") if chance.random() < 0.3 else None
            case _:
                credentials = {"username": "admin", "password": ADMIN_PASSWORD}
                pair = await self.call("POST", "/auth/login", credentials)
                rotated = await self.call("POST", "/auth/refresh", Authorization=f"Bearer {pair['refresh_token']}")
                await self.call("POST", "/auth/logout", Authorization=f"Bearer {rotated['refresh_token']}")


@asynccontextmanager
async def active_clients(running: Ledger) -> AsyncIterator[Crowd]:
    """Run clients of a service."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(DEADLINE_SECONDS)) as session:
        crowd = Crowd(session, await running.url())
        await crowd.start()
        clients = [asyncio.create_task(crowd.act_until_stopped(number)) for number in range(CLIENTS)]
        try:
            yield crowd
        finally:
            crowd.stopped = True
            await asyncio.gather(*clients)


async def check_nothing_is_lost_or_doubled(crowd: Crowd, connection: Any, settings: Settings) -> None:
    """Compare balances and counts with the events, and all rows with a rebuild."""
    events = await event_reader.read_log(connection, limit=1_000_000)
    topics = Counter(type(row.event).__name__ for row in events)
    streams: dict[Any, list[Any]] = {}
    for row in events:
        streams.setdefault(row.stream_id, []).append(row.event)
    folded = {key: fold(rows) for key, rows in streams.items()}
    balances = {key: state.balance_cents for key, state in folded.items() if isinstance(state, Account)}
    assert balances == dict(await connection.fetch("SELECT id, balance_cents FROM accounts"))
    entries = await connection.fetchrow("SELECT count(*), sum(amount_cents)::bigint FROM entries")
    assert (topics["AccountDebited"] + topics["AccountCredited"], 0) == tuple(entries)
    assert topics["MoneyTransferred"] == await connection.fetchval("SELECT count(*) FROM transfers")
    assert topics["UserCreated"] - topics["UserDeleted"] == await connection.fetchval("SELECT count(*) FROM users")
    assert topics["TokensIssued"] == await connection.fetchval("SELECT count(*) FROM sessions")
    pairs = topics["TokensIssued"] + topics["TokensRotated"]
    assert 2 * pairs == await connection.fetchval("SELECT count(*) FROM tokens")
    assert [] == crowd.faults
    assert 0 == (await run_rebuild(settings, dry_run=True)).differing


async def run_rebuild(settings: Settings, **options: Any) -> Outcome:
    given = {"dry_run": False, "keep_old": False, "chunk": 500, "report": lambda _: None, **options}
    return await rebuild(settings, ALL, **given)


async def wait_for_transfers(crowd: Crowd, count: int) -> None:
    """Wait for this many more transfers."""
    enough = len(crowd.transfers) + count
    await until(lambda: crowd.faults or len(crowd.transfers) >= enough)
    assert [] == crowd.faults


async def test_all_tables_are_swapped_while_clients_read_and_write(
    settings: Settings, connection: Any, tmp_path: Path
) -> None:
    """Lesson 13: a rebuild that races the live projection, or that holds the service down.

    Every worker has prepared its statements before the first swap, so after it they run plans of tables that are gone.
    """
    with serving(tmp_path, settings, workers=2) as running:
        async with active_clients(running) as crowd:
            await wait_for_transfers(crowd, 100)
            for number in range(3):
                outcome = await run_rebuild(settings, keep_old=number % 2 == 0)
                assert (True, 0) == (outcome.swapped, outcome.differing), outcome.differences
                await wait_for_transfers(crowd, 50)
        await check_nothing_is_lost_or_doubled(crowd, connection, settings)
        assert 0 == await running.stop()
    assert [] == [record for record in running.records if record["level"] == "error"]
    assert "Traceback" not in running.log.read_text()


async def rebuilt_position(connection: Any) -> int:
    """Return the position that an unfinished rebuild has reached."""
    return int(await connection.fetchval("SELECT coalesce(max(position), 0) FROM rebuilds"))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
async def test_a_killed_rebuild_resumes(
    settings: Settings, connection: Any, tmp_path: Path, number: signal.Signals
) -> None:
    """Lesson 14: a checkpoint that is written in another transaction than its effect.

    A reader prevents the swap, so the rebuild cannot end before it is killed.
    """
    arguments = ("projections", "rebuild", "--all", "--batch", "2")  # still accepted for `--chunk`
    with serving(tmp_path, settings, workers=2) as running:
        async with active_clients(running) as crowd:
            await wait_for_transfers(crowd, 100)
            before = await connection.fetchval("SELECT 'accounts'::regclass::oid")
            with ledger(tmp_path / "killed", *arguments, **settings.environment()) as killed:
                async with open_reader(settings):
                    await until(lambda: is_past(connection, 100))
                    killed.send(number)
                    assert (-9 if number == signal.SIGKILL else 1) == await killed.status()
            assert before == await connection.fetchval("SELECT 'accounts'::regclass::oid")
            assert number == signal.SIGKILL or "run the command again to resume from here" in killed.lines[-1]
            reached = await rebuilt_position(connection)
            await wait_for_transfers(crowd, 20)
            outcome = await run_rebuild(settings)
            assert reached <= (outcome.resumed_from or 0)
            assert (True, 0) == (outcome.swapped, outcome.differing), outcome.differences
            await wait_for_transfers(crowd, 20)
        await check_nothing_is_lost_or_doubled(crowd, connection, settings)


@asynccontextmanager
async def open_reader(settings: Settings) -> AsyncIterator[None]:
    """Prevent swaps with a transaction that has read a table."""
    reader = await connect(settings)
    async with reader.transaction():
        await reader.execute("SELECT FROM accounts")
        yield
    await reader.close()


async def is_past(connection: Any, at: int) -> bool:
    return await rebuilt_position(connection) > at


async def swap_waits(connection: Any) -> bool:
    """Return whether a swap waits for a lock on the live tables."""
    found: bool = await connection.fetchval(
        """SELECT EXISTS (SELECT FROM pg_locks WHERE relation = ANY($1::text[]::regclass[])
                                                  AND NOT granted AND mode = 'AccessExclusiveLock')""",
        [await find_table(connection, name) for name in ("users", "accounts")],
    )
    return found


async def test_a_waiting_swap_does_not_block_readers(settings: Settings, connection: Any, tmp_path: Path) -> None:
    """An open transaction prevents the swap; other queries pass, and the swap follows when it ends."""
    with serving(tmp_path, settings) as running:
        async with active_clients(running) as crowd:
            await wait_for_transfers(crowd, 100)
            async with open_reader(settings):
                swapping = asyncio.create_task(run_rebuild(settings))
                await until(lambda: swap_waits(connection))
                await wait_for_transfers(crowd, 100)
                assert not swapping.done()
            outcome = await swapping
            assert (True, 0) == (outcome.swapped, outcome.differing)
        await check_nothing_is_lost_or_doubled(crowd, connection, settings)


async def test_a_snapshot_for_auditors_sees_complete_tables_during_a_rebuild(
    api: Api, settings: Settings, connection: Any
) -> None:
    """In the snapshot, a table that was swapped in later would be empty."""
    account = await api.new_account(balance_cents=1)
    async with snapshot(connection):
        swapping = asyncio.create_task(run_rebuild(settings))
        other = await connect(settings)
        await until(lambda: swap_waits(other))
        await other.close()
        for table in ("users", "accounts", "entries", "transfers", "sessions", "tokens"):
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") > 0, table
    assert (await swapping).swapped
    assert 1 == await api.balance(account)
