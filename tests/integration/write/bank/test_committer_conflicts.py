"""Processes that write at the same time decide again instead of failing."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

import msgspec
import pytest
import structlog

from ledger.commands.accounts import OpenAccount
from ledger.commands.batch import TransferBatch
from ledger.commands.command import Command
from ledger.commands.users import UpdateUser
from ledger.errors import DatabaseError, Refused, StaleCommandError
from ledger.settings import Settings
from ledger.store.pool import connect
from ledger.values.ids import new_id
from ledger.write.committer import Committer
from ledger.write.group import Origin, Outcome
from tests.support.bank import Bank, competing_commit, open_bank, run_committer, submit_with_conflict, transfer_command
from tests.support.processes import until


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[Any]]:
    """Capture the log: rendering dozens of failures with their variables takes longer than the rest."""
    with structlog.testing.capture_logs() as records:
        yield records


async def test_a_decision_on_a_changed_balance_is_repeated(settings: Settings, bank: Bank) -> None:
    """Lesson 1."""
    source, destination = await bank.accounts(100, 0)
    async with competing_commit(settings, transfer_command(source, destination, 60)):
        too_much = asyncio.create_task(bank.submit(transfer_command(source, destination, 60)))
        await until(bank.blocked)
        affordable = asyncio.create_task(bank.submit(transfer_command(source, destination, 40)))
    outcomes = await asyncio.gather(too_much, affordable, return_exceptions=True)
    assert [Refused, Outcome] == [type(outcome) for outcome in outcomes]
    assert [0, 100] == await bank.balances([source, destination])


async def test_a_refusal_on_a_changed_balance_is_decided_again(settings: Settings, bank: Bank) -> None:
    """Lesson 3: a transfer that has become affordable is not refused."""
    source, destination = await bank.accounts(100, 0)
    async with competing_commit(settings, transfer_command(source, destination, 60)):
        waiting = asyncio.create_task(bank.submit(transfer_command(destination, source, 60)))
        await until(bank.blocked)
    assert isinstance(await waiting, Outcome)
    assert [100, 0] == await bank.balances([source, destination])


async def test_a_remade_command_succeeds_although_the_process_had_a_stale_user(settings: Settings, bank: Bank) -> None:
    """A process may have cached an old user; a command made from the current one must not conflict twice."""
    owner = bank.owner_id
    async with run_committer(settings) as other:
        await bank.submit(rename_user(owner, "owner", "one"))
        await other.submit(rename_user(owner, "one", "two"), Origin(new_id()))
        try:
            await bank.submit(rename_user(owner, "two", "three"))
        except StaleCommandError:
            await bank.submit(rename_user(owner, "two", "three"))
    assert "three" == await bank.observer.fetchval("SELECT username FROM users WHERE id = $1", owner)


def rename_user(user_id: UUID, before: str, after: str) -> UpdateUser:
    email = "owner@example.com"
    return UpdateUser(
        user_id=user_id,
        known_username=before,
        known_email=email,
        username=after,
        email=email,
        active=None,
        roles=("customer",),
        credential=None,
    )


async def test_an_id_that_a_client_chose_is_taken_once(settings: Settings, bank: Bank) -> None:
    """This holds within a process, between two, and long after."""
    source, destination = await bank.accounts(100, 0)
    command = transfer_command(source, destination, id_was_chosen=True)
    await bank.submit(command)
    async with run_committer(settings) as other:
        for committer in (bank.committer, other, bank.committer):
            with pytest.raises(Refused, match="transaction_already_exists"):
                await committer.submit(command, Origin(new_id()))
    assert [99, 1] == await bank.balances([source, destination])


async def test_a_lock_timeout_fails_its_own_commands_only(settings: Settings, connection: Any) -> None:
    """A database transaction that could not begin must not block later ones."""

    opened: list[Any] = []
    patience: dict[str, Any] = {}  # unlimited until everything is set up

    async def remembered() -> Any:
        opened.append(await connect(settings, **patience))
        return opened[-1]

    async with open_bank(settings, connection, using=remembered) as bank:
        source, destination = await bank.accounts(100, 0)
        await submit_with_conflict(settings, bank, source, destination)
        patience["lock_timeout"] = "50ms"
        await opened[-1].execute("SET lock_timeout = '50ms'")
        async with competing_commit(settings, transfer_command(source, destination)):
            with pytest.raises(DatabaseError):
                await bank.submit(transfer_command(source, destination))
        await bank.submit(transfer_command(source, destination))
        assert [96, 4] == await bank.balances([source, destination])


async def test_two_processes_refuse_no_affordable_transfer_on_hot_accounts(
    settings: Settings, bank: Bank, logs: list[Any]
) -> None:
    """Lessons 1 and 3."""
    account_ids = await bank.accounts(1000, 1000, 1000)
    chance = random.Random(3)  # noqa: S311 - not for secrets
    async with run_committer(settings, group_limit=8) as other:
        outcomes = await asyncio.gather(
            *(
                committer.submit(transfer_command(source, destination), Origin(new_id()))
                for _ in range(300)
                for committer in (bank.committer, other)
                for source, destination in [chance.sample(account_ids, 2)]
            ),
            return_exceptions=True,
        )
    assert {Outcome: 600} == Counter(type(outcome) for outcome in outcomes)
    assert 600 == await bank.transfers()
    assert [] == logs  # no database transaction was repeated
    assert 3000 == sum(await bank.balances(account_ids))


async def test_no_process_gives_up_on_an_affordable_transfer(settings: Settings, bank: Bank) -> None:
    """Lesson 3: of twenty transfers from one account, ten are affordable, and these ten succeed."""
    source, destination = await bank.accounts(10, 0)
    async with AsyncExitStack() as stack:
        committers = [await stack.enter_async_context(run_committer(settings, group_limit=1)) for _ in range(10)]
        outcomes = await asyncio.gather(
            *(
                committer.submit(transfer_command(source, destination), Origin(new_id()))
                for committer in committers
                for _ in range(2)
            ),
            return_exceptions=True,
        )
    assert {Outcome: 10, Refused: 10} == Counter(type(outcome) for outcome in outcomes)
    assert [0, 10] == await bank.balances([source, destination])


async def test_two_processes_can_both_open_the_first_account_of_a_currency(settings: Settings, bank: Bank) -> None:
    """No process can lock a `world` account before it exists."""
    async with run_committer(settings) as other:
        outcomes = await asyncio.gather(
            *(
                committer.submit(
                    OpenAccount(
                        account_id=new_id(),
                        owner_id=bank.owner_id,
                        currency=currency,
                        balance_cents=5,
                        transaction_id=new_id(),
                    ),
                    Origin(new_id()),
                )
                for currency in ("EUR", "CHF", "SEK", "NOK", "DKK")
                for committer in (bank.committer, other)
            ),
            return_exceptions=True,
        )
    assert {Outcome: 10} == Counter(type(outcome) for outcome in outcomes)
    rows = await bank.observer.fetch("SELECT balance_cents FROM accounts WHERE user_id IS NULL")
    assert [-10] * 5 == [row[0] for row in rows]


async def test_an_id_is_given_once_by_two_processes(settings: Settings, bank: Bank) -> None:
    async with run_committer(settings) as other:
        for _ in range(10):
            command = OpenAccount(
                account_id=new_id(), owner_id=bank.owner_id, currency="USD", balance_cents=0, transaction_id=new_id()
            )
            outcomes = await asyncio.gather(
                *(committer.submit(command, Origin(new_id())) for committer in (bank.committer, other)),
                return_exceptions=True,
            )
            assert {Outcome: 1, Refused: 1} == Counter(type(outcome) for outcome in outcomes)


async def test_a_fault_of_the_committer_fails_waiting_commands_only(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, destination = await bank.accounts(100, 0)
    with monkeypatch.context() as patch:
        patch.setattr(Committer, "_take_group", lambda _: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            await bank.submit(transfer_command(source, destination, 1))
    await bank.submit(transfer_command(source, destination, 1))
    assert [99, 1] == await bank.balances([source, destination])


async def test_a_heavy_command_has_a_commit_group_to_itself(settings: Settings, connection: Any) -> None:
    written: list[list[str]] = []
    async with open_bank(
        settings,
        connection,
        group_limit=4,
        watch=lambda commands, _: written.append([one.command.name for one in commands]),
    ) as bank:
        alice, bob = await bank.accounts(100, 0)
        written.clear()
        many = TransferBatch(tuple(transfer_command(alice, bob) for _ in range(5)))
        weighted: list[tuple[Command, int]] = [
            *((transfer_command(alice, bob), 1) for _ in range(3)),
            (many, 5),
            (transfer_command(alice, bob), 1),
            (transfer_command(alice, bob), 3),
            (transfer_command(alice, bob), 1),
        ]
        submitted = [bank.committer.submit(command, Origin(new_id()), weight=weight) for command, weight in weighted]

        await asyncio.gather(*submitted)

    assert [["TransferMoney"] * 3, ["TransferMany"], ["TransferMoney"] * 2, ["TransferMoney"]] == written


async def test_ids_that_only_seemed_new_are_found_by_the_write(bank: Bank) -> None:
    """Lesson 4: another import made the transfers between the look-up and the write."""
    alice, bob = await bank.accounts(100, 0)
    transfers = tuple(
        msgspec.structs.replace(transfer_command(alice, bob), id_was_chosen=True, reference=f"r{number}")
        for number in range(3)
    )
    made = await bank.submit(TransferBatch(transfers[:2], seem_new=True))
    again = await bank.submit(TransferBatch(transfers, seem_new=True))

    assert [True, True] == ["currency" in result for result in msgspec.to_builtins(made.result["results"])]
    assert [False, False, True] == ["currency" in result for result in msgspec.to_builtins(again.result["results"])]
    assert [97, 3] == await bank.balances([alice, bob])
