"""Every command has an outcome or an error at its deadline, and only commands that touch what is stuck wait for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest

from ledger.errors import DatabaseError, OutcomeUnknownError
from ledger.settings import Settings
from ledger.store.heads import find_locked
from ledger.store.pool import connect
from ledger.values.ids import new_id
from tests.support.bank import Bank, open_bank, transfer_command
from tests.support.processes import until
from tests.support.proxy import Proxy


@pytest.fixture
async def hasty(settings: Settings, connection: Any) -> AsyncIterator[Bank]:
    """A bank whose commands have one and a half seconds."""
    async with open_bank(settings, connection, patience_seconds=1.5) as bank:
        yield bank


@asynccontextmanager
async def lock_row(settings: Settings, table: str, column: str, key: UUID) -> AsyncIterator[None]:
    other = await connect(settings)
    try:
        async with other.transaction():
            await other.execute(f"SELECT FROM {table} WHERE {column} = $1 FOR UPDATE", key)
            yield
    finally:
        await other.close()


@pytest.mark.parametrize(("table", "column"), [("stream_heads", "originator_id"), ("accounts", "id")])
async def test_a_foreign_lock_on_one_account_stops_only_that_account(
    table: str, column: str, settings: Settings, connection: Any
) -> None:
    async with open_bank(settings, connection, patience_seconds=4) as bank:
        stuck, source, destination = await bank.accounts(100, 100, 0)
        async with lock_row(settings, table, column, stuck):
            waiting = asyncio.create_task(bank.submit(transfer_command(stuck, destination)))
            for _ in range(20):
                await bank.submit(transfer_command(source, destination))
            with pytest.raises(DatabaseError):
                await waiting
        await bank.submit(transfer_command(stuck, destination))
        assert [99, 80, 21] == await bank.balances([stuck, source, destination])


async def test_a_command_goes_on_once_a_foreign_lock_is_gone(settings: Settings, connection: Any) -> None:
    async with open_bank(settings, connection, patience_seconds=20) as bank:
        source, destination = await bank.accounts(100, 0)
        async with lock_row(settings, "stream_heads", "originator_id", source):
            waiting = asyncio.create_task(bank.submit(transfer_command(source, destination)))
            await asyncio.sleep(1.5)  # longer than a write waits for a lock
            assert not waiting.done()
        await waiting
        assert [99, 1] == await bank.balances([source, destination])


async def test_a_look_at_foreign_locks_that_the_network_loses_stops_nothing(
    settings: Settings, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    async def lose_second(*arguments: Any) -> set[UUID]:
        nonlocal looks
        looks += 1
        if looks == 2:
            proxy.strand()
        return await find_locked(*arguments)

    monkeypatch.setattr("ledger.write.parking.find_locked", lose_second)
    async with Proxy.to_database(settings) as proxy:
        behind = proxy.database_settings(settings)
        async with open_bank(
            settings, connection, using=lambda: connect(behind, statement_seconds=None, lock_timeout="1s")
        ) as bank:
            source, destination = await bank.accounts(100, 0)
            async with lock_row(settings, "stream_heads", "originator_id", source):
                waiting = asyncio.create_task(bank.submit(transfer_command(source, destination)))
                await until(lambda: looks == 2)
            await waiting
            assert [99, 1] == await bank.balances([source, destination])


async def test_a_write_that_takes_too_long_has_an_unknown_outcome_and_happens_once(
    hasty: Bank, connection: Any
) -> None:
    source, destination = await hasty.accounts(100, 0)
    await connection.execute(
        """CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN PERFORM pg_sleep(3); RETURN NULL; END $$;
           CREATE TRIGGER dawdle AFTER INSERT ON command_log FOR EACH STATEMENT EXECUTE FUNCTION dawdle()"""
    )
    transfer, command_id = transfer_command(source, destination), new_id()
    with pytest.raises(OutcomeUnknownError) as caught:
        await hasty.submit(transfer, command_id, request_hash=b"a hash")
    assert transfer.transaction_id == caught.value.resource_id
    await connection.execute("DROP TRIGGER dawdle ON command_log")
    await hasty.submit(transfer, command_id, request_hash=b"a hash")
    assert [99, 1] == await hasty.balances([source, destination])


async def test_a_command_that_was_not_sent_at_its_deadline_never_happens(settings: Settings, hasty: Bank) -> None:
    source, destination = await hasty.accounts(100, 0)
    async with lock_row(settings, "stream_heads", "originator_id", source):
        with pytest.raises(DatabaseError):
            await hasty.submit(transfer_command(source, destination))
    await hasty.submit(transfer_command(source, destination))
    assert [99, 1] == await hasty.balances([source, destination])


async def test_a_full_server_fails_commands_once_each(hasty: Bank, connection: Any) -> None:
    """No command is tried again that cannot succeed, and none of its group alone."""
    source, destination = await hasty.accounts(100, 0)
    await connection.execute(
        """CREATE SEQUENCE attempts;
           CREATE FUNCTION be_full() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN PERFORM nextval('attempts'); RAISE EXCEPTION 'no space' USING ERRCODE = 'disk_full'; END $$;
           CREATE TRIGGER be_full BEFORE INSERT ON command_log FOR EACH STATEMENT EXECUTE FUNCTION be_full()"""
    )
    outcomes = await hasty.outcomes(*(transfer_command(source, destination) for _ in range(5)))
    assert {DatabaseError} == {type(outcome) for outcome in outcomes}
    assert "disk full" == hasty.committer.health.reason
    assert 1 == await connection.fetchval("SELECT last_value FROM attempts")
    await connection.execute("DROP TRIGGER be_full ON command_log")
    await until(lambda: hasty.committer.health.reason is None)
    await hasty.submit(transfer_command(source, destination))
    assert [99, 1] == await hasty.balances([source, destination])
