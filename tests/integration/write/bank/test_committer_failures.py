"""Connections break and databases stay away, and no command is lost or done twice."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from ledger.errors import DatabaseError, OutcomeUnknownError, Refused
from ledger.settings import Settings
from ledger.store.pool import connect
from ledger.write.group import Outcome
from tests.support.bank import Bank, open_bank, submit_with_conflict, transfer_command
from tests.support.outages import are_gone, terminate_connections
from tests.support.processes import until
from tests.support.proxy import Direction, Proxy


async def end_backend(eyes: Any, pid: int) -> None:
    await eyes.execute("SELECT pg_terminate_backend($1)", pid)
    await until(lambda: are_gone(eyes, [pid]))


async def test_a_connection_lost_while_idle_is_reopened(settings: Settings, connection: Any) -> None:
    opened: list[Any] = []
    patience: dict[str, Any] = {}  # unlimited until everything is set up

    async def remembered() -> Any:
        opened.append(await connect(settings, **patience))
        return opened[-1]

    async with open_bank(settings, connection, using=remembered) as bank:
        source, destination = await bank.accounts(100, 0)
        await end_backend(connection, opened[-1].get_server_pid())
        await bank.submit(transfer_command(source, destination))
        assert [99, 1] == await bank.balances([source, destination])
        assert 2 == len(opened)


async def test_repeatedly_killed_backends_lose_and_double_nothing(bank: Bank) -> None:
    """Lesson 4: each time in the middle of a database transaction."""
    account_ids = await bank.accounts(*[10_000] * 4)
    chance = random.Random(4)  # noqa: S311 - not for secrets
    answered = 0
    enough = asyncio.Event()

    async def client() -> None:
        nonlocal answered
        while not enough.is_set():
            source, destination = chance.sample(account_ids, 2)
            await bank.submit(transfer_command(source, destination, chance.randint(1, 9)))
            answered += 1

    async def end_one() -> int:
        return int(
            await bank.observer.fetchval(
                """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                   WHERE datname = current_database() AND application_name = 'ledger' AND xact_start IS NOT NULL"""
            )
        )

    clients = [asyncio.create_task(client()) for _ in range(16)]
    for _ in range(15):
        goal = answered + 30
        await until(lambda goal=goal: answered >= goal or any(task.done() for task in clients))
        await until(end_one)
    enough.set()
    await asyncio.gather(*clients)

    assert answered == await bank.transfers()
    assert 40_000 == sum(await bank.balances(account_ids))


@asynccontextmanager
async def banking_through_proxy(settings: Settings, observer: Any) -> AsyncIterator[tuple[Bank, Proxy]]:
    async with Proxy.to_database(settings) as proxy:
        proxied = proxy.database_settings(settings)
        async with open_bank(settings, observer, using=lambda: connect(proxied)) as bank:
            yield bank, proxy


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("locked", [False, True], ids=["", "after a conflict"])
async def test_money_moves_once_wherever_the_connection_breaks(
    direction: Direction, locked: bool, settings: Settings, connection: Any
) -> None:
    """Lesson 4: the command log has the outcome of a write whose answer was lost."""
    async with banking_through_proxy(settings, connection) as (bank, proxy):
        for chunk in itertools.count(1):
            source, destination = await bank.accounts(102, 0)
            if locked:  # the next transactions have the append lock from the start
                await submit_with_conflict(settings, bank, source, destination)
                await bank.submit(transfer_command(destination, source, 2))
            proxy.cut_at(direction, chunk)
            outcomes = await bank.outcomes(*(transfer_command(source, destination, amount) for amount in (62, 62, 40)))
            assert [Outcome, Refused, Outcome] == [type(outcome) for outcome in outcomes]
            assert [0, 102] == await bank.balances([source, destination])
            if proxy.cuts < chunk:
                break
        assert proxy.cuts >= 1


class DeadConnection:
    """A connection that looks open and fails every query."""

    _transport = SimpleNamespace(get_write_buffer_size=lambda: 0)

    def is_closed(self) -> bool:
        return False

    def terminate(self) -> None:
        """There is nothing to close."""

    def add_log_listener(self, _: Any) -> None:
        """It says nothing."""

    def get_server_pid(self) -> int:
        return 0

    async def close(self, **_: Any) -> None:
        """There is nothing to close."""

    async def _fail(self, *_: Any) -> Any:
        raise ConnectionResetError

    fetch = fetchrow = fetchval = execute = _fail


async def test_a_command_that_meets_only_dead_connections_fails(settings: Settings, connection: Any) -> None:
    """Lesson 36."""
    dead = False
    opened: list[Any] = []

    async def connect_or_fail() -> Any:
        opened.append(DeadConnection() if dead else await connect(settings))
        return opened[-1]

    async with open_bank(settings, connection, using=connect_or_fail, patience_seconds=1) as bank:
        source, destination = await bank.accounts(100, 0)
        dead = True
        await end_backend(connection, opened[0].get_server_pid())
        with pytest.raises(OutcomeUnknownError):
            await bank.submit(transfer_command(source, destination))
        dead = False
        await bank.submit(transfer_command(source, destination))
        assert [99, 1] == await bank.balances([source, destination])


async def test_commands_fail_while_the_database_is_away_and_succeed_later(settings: Settings, connection: Any) -> None:
    away = False

    async def connect_when_available() -> Any:
        if away:
            raise ConnectionRefusedError
        return await connect(settings)

    async with open_bank(settings, connection, using=connect_when_available, patience_seconds=0.5) as bank:
        source, destination = await bank.accounts(100, 0)
        away = True
        await terminate_connections(connection)
        outcomes = await bank.outcomes(transfer_command(source, destination), transfer_command(source, destination))
        assert [DatabaseError] * 2 == [type(outcome) for outcome in outcomes]
        away = False
        await bank.submit(transfer_command(source, destination))
        assert [99, 1] == await bank.balances([source, destination])
