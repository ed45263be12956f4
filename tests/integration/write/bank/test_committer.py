"""Group commit: each command has its own outcome, and under any failure it is executed once or not at all."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
import structlog

from ledger.commands.command import Decision, States
from ledger.commands.transfers import TransferMoney
from ledger.errors import DatabaseError, OverloadedError, Refused
from ledger.settings import Settings
from ledger.store.catalog import list_tables, load_catalog
from ledger.store.pool import connect
from ledger.values.ids import new_id
from ledger.write.group import Origin, Outcome
from tests.support.bank import Bank, open_bank, run_committer, transfer_command
from tests.support.processes import until

HASH = b"the hash of a request"


@asynccontextmanager
async def holding(settings: Settings, account_id: UUID) -> AsyncIterator[None]:
    """Lock the account against all other writers."""
    other = await connect(settings)
    try:
        async with other.transaction():
            await other.execute("SELECT FROM stream_heads WHERE originator_id = $1 FOR UPDATE", account_id)
            yield
    finally:
        await other.close()


class BrokenTransfer(TransferMoney, frozen=True):
    """A command that raises when it decides."""

    def decide(self, states: States) -> Decision:
        raise ZeroDivisionError(states)


async def test_waiting_commands_share_database_transactions(bank: Bank) -> None:
    source, destination = await bank.accounts(100, 0)
    await bank.outcomes(*(transfer_command(source, destination) for _ in range(100)))
    assert 100 == await bank.transfers()
    assert await bank.transactions() <= 10


async def test_a_commit_group_is_bounded(settings: Settings, connection: Any) -> None:
    """Lesson 36."""
    async with open_bank(settings, connection, group_limit=4) as bank:
        source, destination = await bank.accounts(100, 0)
        await bank.outcomes(*(transfer_command(source, destination) for _ in range(10)))
        assert (10, 3) == (await bank.transfers(), await bank.transactions())


async def test_an_outcome_has_its_position_and_time(bank: Bank) -> None:
    source, destination = await bank.accounts(100, 0)
    command = transfer_command(source, destination)
    outcome = await bank.submit(command)
    row = await bank.observer.fetchrow("SELECT max(position), max(recorded_at) FROM events WHERE topic LIKE 'Account%'")
    assert tuple(row) == (outcome.position, outcome.recorded_at)


async def test_a_refused_command_fails_alone(bank: Bank) -> None:
    """Lesson 5."""
    source, destination = await bank.accounts(100, 0)
    amounts = (60, 60, 40)
    outcomes = await bank.outcomes(*(transfer_command(source, destination, amount) for amount in amounts))
    assert [Outcome, Refused, Outcome] == [type(outcome) for outcome in outcomes]
    assert [0, 100] == await bank.balances([source, destination])
    assert 1 == await bank.transactions()


async def test_a_refusal_is_in_the_log_of_commands(bank: Bank) -> None:
    source, destination = await bank.accounts(0, 0)
    command_id = new_id()
    with pytest.raises(Refused):
        await bank.submit(transfer_command(source, destination), command_id)
    row = await bank.observer.fetchrow(
        "SELECT outcome, answer->0->>'code' FROM command_log WHERE command_id = $1", command_id
    )
    assert ("refused", "transfer_insufficient_funds") == tuple(row)


async def test_a_command_with_a_fault_fails_alone(bank: Bank) -> None:
    """Lesson 5."""
    source, destination = await bank.accounts(100, 0)
    broken = BrokenTransfer(
        transaction_id=new_id(), source_account_id=source, destination_account_id=destination, amount_cents=1
    )
    outcomes = await bank.outcomes(transfer_command(source, destination), broken, transfer_command(source, destination))
    assert [Outcome, ZeroDivisionError, Outcome] == [type(outcome) for outcome in outcomes]
    assert [98, 2] == await bank.balances([source, destination])


async def test_a_command_that_the_database_refuses_to_write_fails_alone(bank: Bank) -> None:
    """Lessons 5 and 33."""
    source, destination = await bank.accounts(100, 0)
    poison = transfer_command(source, destination, reference="a NUL: \0")
    neighbours = [transfer_command(source, destination) for _ in range(5)]
    with structlog.testing.capture_logs() as records:
        outcomes = await bank.outcomes(*neighbours[:2], poison, *neighbours[2:])
    assert ["command failed"] == [record["event"] for record in records], "the guilty one is logged, and nobody else"
    assert [Outcome, Outcome, DatabaseError, Outcome, Outcome, Outcome] == [type(outcome) for outcome in outcomes]
    assert [95, 5] == await bank.balances([source, destination])


async def test_a_command_that_cannot_be_encoded_fails_alone(bank: Bank) -> None:
    """This holds when it is prepared while another commit group is written."""
    source, destination = await bank.accounts(100, 0)
    await bank.submit(transfer_command(source, destination))  # from here on, its heads are cached
    poison = transfer_command(source, destination, reference="half a pair: \ud800")
    neighbours = [transfer_command(source, destination) for _ in range(20)]
    outcomes = await bank.outcomes(*neighbours[:10], poison, *neighbours[10:])
    assert 20 == sum(isinstance(outcome, Outcome) for outcome in outcomes)
    assert isinstance(outcomes[10], DatabaseError)
    assert [79, 21] == await bank.balances([source, destination])


async def test_a_failed_write_leaves_no_row(bank: Bank, connection: Any) -> None:
    """Lesson 6: no row of a command is written outside its database transaction."""
    source, destination = await bank.accounts(100, 0)
    tables = list_tables(load_catalog())
    before = {table: await connection.fetchval(f"SELECT count(*) FROM {table}") for table in tables}
    with pytest.raises(DatabaseError):
        await bank.submit(transfer_command(source, destination, reference="\0"))
    after = {table: await connection.fetchval(f"SELECT count(*) FROM {table}") for table in tables}
    assert {"stored_events", "command_log", "transfers"} <= set(tables)
    assert before == after


async def test_after_a_failed_write_others_succeed(bank: Bank) -> None:
    source, destination = await bank.accounts(100, 0)
    with pytest.raises(DatabaseError):
        await bank.submit(transfer_command(source, destination, reference="\0"))
    await bank.submit(transfer_command(source, destination))
    assert [99, 1] == await bank.balances([source, destination])


async def test_a_full_queue_accepts_no_command(settings: Settings, connection: Any) -> None:
    """Lesson 36."""
    async with open_bank(settings, connection, queue_limit=3) as bank:
        source, destination = await bank.accounts(100, 0)
        async with holding(settings, source):
            running = asyncio.create_task(bank.submit(transfer_command(source, destination)))
            await until(bank.blocked)
            waiting = [asyncio.create_task(bank.submit(transfer_command(source, destination))) for _ in range(5)]
            await until(lambda: any(task.done() for task in waiting))
        outcomes = await asyncio.gather(running, *waiting, return_exceptions=True)
        assert {Outcome: 4, OverloadedError: 2} == Counter(type(outcome) for outcome in outcomes)
        assert [96, 4] == await bank.balances([source, destination])


async def test_a_client_that_stops_waiting_cancels_nothing(settings: Settings, bank: Bank) -> None:
    """Lesson 37."""
    source, destination = await bank.accounts(100, 0)
    async with holding(settings, source):
        running = asyncio.create_task(bank.submit(transfer_command(source, destination)))
        await until(bank.blocked)
        waiting = asyncio.create_task(bank.submit(transfer_command(source, destination)))
        await asyncio.sleep(0)
        for task in (running, waiting):
            task.cancel()
        await asyncio.wait((running, waiting))
        assert (True, True) == (running.cancelled(), waiting.cancelled())
    await bank.submit(transfer_command(source, destination))
    assert [97, 3] == await bank.balances([source, destination])


async def test_closing_executes_waiting_commands_and_accepts_no_more(settings: Settings, connection: Any) -> None:
    async with open_bank(settings, connection, group_limit=7) as bank:
        source, destination = await bank.accounts(100, 0)
        async with holding(settings, source):
            waiting = [asyncio.create_task(bank.submit(transfer_command(source, destination))) for _ in range(50)]
            await until(bank.blocked)
            closing = asyncio.create_task(bank.committer.close())
            await asyncio.sleep(0)
            with pytest.raises(OverloadedError):
                await bank.submit(transfer_command(source, destination))
        await closing
        outcomes = [task.result() for task in waiting]
    assert {Outcome: 50} == Counter(type(outcome) for outcome in outcomes)
    assert [50, 50] == await bank.balances([source, destination])


async def test_an_executed_command_is_answered_from_the_log(bank: Bank) -> None:
    """Lesson 4."""
    source, destination = await bank.accounts(100, 0)
    command, command_id = transfer_command(source, destination), new_id()
    first = await bank.submit(command, command_id, HASH)
    again = await bank.submit(transfer_command(source, destination), command_id, HASH)
    assert (False, True) == (first.replayed, again.replayed)
    assert (first.result, first.recorded_at) == (again.result, again.recorded_at)
    assert [99, 1] == await bank.balances([source, destination])


async def test_a_refused_command_is_refused_again_whatever_has_changed(bank: Bank) -> None:
    source, destination = await bank.accounts(0, 100)
    command, command_id = transfer_command(source, destination), new_id()
    for _ in range(2):
        with pytest.raises(Refused, match="transfer_insufficient_funds"):
            await bank.submit(command, command_id, HASH)
        await bank.submit(transfer_command(destination, source, 10))
    assert [20, 80] == await bank.balances([source, destination])


async def test_an_id_that_was_used_for_another_request_is_refused(bank: Bank) -> None:
    """Lesson 4."""
    source, destination = await bank.accounts(100, 0)
    command_id = new_id()
    await bank.submit(transfer_command(source, destination), command_id, HASH)
    with pytest.raises(Refused, match="idempotency_key_reused"):
        await bank.submit(transfer_command(source, destination, 2), command_id, b"another hash")
    assert [99, 1] == await bank.balances([source, destination])


async def test_one_id_submitted_twice_at_once_is_executed_once(bank: Bank) -> None:
    """Lesson 4: one key sent twice in a batch."""
    source, destination = await bank.accounts(100, 0)
    command, command_id = transfer_command(source, destination), new_id()
    outcomes = await asyncio.gather(*(bank.submit(command, command_id, HASH) for _ in range(3)), return_exceptions=True)
    assert {Outcome: 1, Refused: 2} == Counter(type(outcome) for outcome in outcomes)
    assert [99, 1] == await bank.balances([source, destination])


@pytest.mark.parametrize("request_hash", [HASH, None], ids=["a client's id", "an id of our own"])
async def test_one_id_at_two_processes_at_once_is_executed_once(
    request_hash: bytes | None, settings: Settings, bank: Bank
) -> None:
    """Lesson 4."""
    source, destination = await bank.accounts(1000, 0)
    async with run_committer(settings) as other:
        for _ in range(20):
            origin = Origin(new_id(), request_hash=request_hash)
            outcomes = await asyncio.gather(
                *(
                    committer.submit(transfer_command(source, destination), origin)
                    for committer in (bank.committer, other)
                )
            )
            assert 1 == len({outcome.result["id"] for outcome in outcomes})
    assert [980, 20] == await bank.balances([source, destination])
