"""Group commit: each command has its own answer, and whatever breaks, its effect is there once or not at all."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
import structlog

from ledger.commands.accounts import OpenAccount
from ledger.commands.decider import Command, Credential, Decision, States
from ledger.commands.transfers import TransferMoney
from ledger.commands.users import CreateUser
from ledger.committer import Committer, Origin, Outcome
from ledger.database import connect
from ledger.errors import DatabaseError, OverloadedError, Refused
from ledger.ids import new_id
from ledger.settings import Settings
from tests.processes import until

HASH = b"the hash of a request"


@dataclass(frozen=True)
class Bank:
    """A ledger through its committer, and a connection beside it that looks at what came of it."""

    committer: Committer
    eyes: Any
    owner_id: UUID

    async def submit(
        self, command: Command, command_id: UUID | None = None, request_hash: bytes | None = None
    ) -> Outcome:
        return await self.committer.submit(command, Origin(command_id or new_id(), request_hash=request_hash))

    async def outcomes(self, *commands: Command) -> list[Any]:
        """What becomes of commands that are submitted at once: outcomes, or what was raised."""
        return await asyncio.gather(*map(self.submit, commands), return_exceptions=True)

    async def accounts(self, *balances: int) -> list[UUID]:
        opened = [OpenAccount(new_id(), self.owner_id, "USD", balance, new_id()) for balance in balances]
        for outcome in await self.outcomes(*opened):
            assert isinstance(outcome, Outcome), outcome
        return [command.account_id for command in opened]

    async def balances(self, account_ids: Sequence[UUID]) -> list[int]:
        rows = await self.eyes.fetch("SELECT id, balance_cents FROM accounts")
        found = dict(rows)
        return [found[account_id] for account_id in account_ids]

    async def transfers(self, kind: str = "transfer") -> int:
        """How many events of transfers there are."""
        query = "SELECT count(*) FROM events WHERE topic = 'MoneyTransferred' AND state->>'kind' = $1"
        return int(await self.eyes.fetchval(query, kind))

    async def transactions(self, name: str = "TransferMoney") -> int:
        """In how many transactions the commands of a name were carried out."""
        query = "SELECT count(DISTINCT (xmin::text, recorded_at)) FROM command_log WHERE name = $1"
        return int(await self.eyes.fetchval(query, name))

    async def blocked(self) -> bool:
        """Whether a statement waits for a lock."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        return bool(await self.eyes.fetchval(query))


def a_transfer(source: UUID, destination: UUID, amount_cents: int = 1, **members: Any) -> TransferMoney:
    return TransferMoney(new_id(), source, destination, amount_cents, **members)


@asynccontextmanager
async def committing(
    settings: Settings, *, using: Callable[[], Awaitable[Any]] | None = None, **limits: Any
) -> AsyncIterator[Committer]:
    """A committer that runs, on a connection of its own."""
    bounds = {"queue_limit": 2048, "batch_limit": 256, "patience_seconds": 10, **limits}
    committer = Committer(using or (lambda: connect(settings)), **bounds)
    committer.start()
    try:
        yield committer
    finally:
        await committer.close()


@asynccontextmanager
async def banking(settings: Settings, eyes: Any, **options: Any) -> AsyncIterator[Bank]:
    """A committer with a user who may own accounts."""
    async with committing(settings, **options) as committer:
        bank = Bank(committer, eyes, new_id())
        credential = Credential(new_id(), bank.owner_id, "a hash")
        await bank.submit(CreateUser(bank.owner_id, "owner", "owner@example.com", True, ("customer",), credential))
        yield bank


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[Any]]:
    """What is logged, unprinted: dozens of failures with all their variables take longer than the rest."""
    with structlog.testing.capture_logs() as records:
        yield records


@pytest.fixture
async def bank(settings: Settings, connection: Any) -> AsyncIterator[Bank]:
    async with banking(settings, connection) as opened:
        yield opened


@asynccontextmanager
async def holding(settings: Settings, account_id: UUID) -> AsyncIterator[None]:
    """While this lasts, nobody else can change the account."""
    other = await connect(settings)
    try:
        async with other.transaction():
            await other.execute("SELECT FROM stream_heads WHERE originator_id = $1 FOR UPDATE", account_id)
            yield
    finally:
        await other.close()


class BrokenTransfer(TransferMoney):
    """A command with a fault in it."""

    def decide(self, states: States) -> Decision:
        raise ZeroDivisionError(states)


# Many in a transaction.


async def test_commands_that_wait_together_share_one_transaction(bank: Bank) -> None:
    source, destination = await bank.accounts(100, 0)
    await bank.outcomes(*(a_transfer(source, destination) for _ in range(100)))
    assert (100, 1) == (await bank.transfers(), await bank.transactions())


async def test_no_more_commands_than_the_limit_share_a_transaction(settings: Settings, connection: Any) -> None:
    """Lesson 36."""
    async with banking(settings, connection, batch_limit=4) as bank:
        source, destination = await bank.accounts(100, 0)
        await bank.outcomes(*(a_transfer(source, destination) for _ in range(10)))
        assert (10, 3) == (await bank.transfers(), await bank.transactions())


async def test_an_answer_says_where_and_when_it_was_recorded(bank: Bank) -> None:
    source, destination = await bank.accounts(100, 0)
    command = a_transfer(source, destination)
    outcome = await bank.submit(command)
    row = await bank.eyes.fetchrow("SELECT max(position), max(recorded_at) FROM events WHERE topic LIKE 'Account%'")
    assert tuple(row) == (outcome.position, outcome.recorded_at)


# What goes wrong with one command.


async def test_a_refused_command_fails_alone(bank: Bank) -> None:
    """Lesson 5."""
    source, destination = await bank.accounts(100, 0)
    amounts = (60, 60, 40)
    outcomes = await bank.outcomes(*(a_transfer(source, destination, amount) for amount in amounts))
    assert [Outcome, Refused, Outcome] == [type(outcome) for outcome in outcomes]
    assert [0, 100] == await bank.balances([source, destination])
    assert 1 == await bank.transactions()


async def test_a_refusal_is_in_the_log_of_commands(bank: Bank) -> None:
    source, destination = await bank.accounts(0, 0)
    command_id = new_id()
    with pytest.raises(Refused):
        await bank.submit(a_transfer(source, destination), command_id)
    row = await bank.eyes.fetchrow(
        "SELECT outcome, result->0->>'code' FROM command_log WHERE command_id = $1", command_id
    )
    assert ("refused", "transfer_insufficient_funds") == tuple(row)


async def test_a_command_with_a_fault_fails_alone(bank: Bank) -> None:
    """Lesson 5."""
    source, destination = await bank.accounts(100, 0)
    broken = BrokenTransfer(new_id(), source, destination, 1)
    outcomes = await bank.outcomes(a_transfer(source, destination), broken, a_transfer(source, destination))
    assert [Outcome, ZeroDivisionError, Outcome] == [type(outcome) for outcome in outcomes]
    assert [98, 2] == await bank.balances([source, destination])


async def test_a_command_that_the_database_refuses_to_write_fails_alone(bank: Bank) -> None:
    """Lessons 5 and 33."""
    source, destination = await bank.accounts(100, 0)
    poison = a_transfer(source, destination, reference="a NUL: \0")
    neighbours = [a_transfer(source, destination) for _ in range(5)]
    outcomes = await bank.outcomes(*neighbours[:2], poison, *neighbours[2:])
    assert [Outcome, Outcome, DatabaseError, Outcome, Outcome, Outcome] == [type(outcome) for outcome in outcomes]
    assert [95, 5] == await bank.balances([source, destination])


async def test_after_a_write_that_failed_others_go_on(bank: Bank) -> None:
    source, destination = await bank.accounts(100, 0)
    with pytest.raises(DatabaseError):
        await bank.submit(a_transfer(source, destination, reference="\0"))
    await bank.submit(a_transfer(source, destination))
    assert [99, 1] == await bank.balances([source, destination])


# Bounds, and clients that leave.


async def test_a_full_queue_takes_nothing_more(settings: Settings, connection: Any) -> None:
    """Lesson 36."""
    async with banking(settings, connection, queue_limit=3) as bank:
        source, destination = await bank.accounts(100, 0)
        async with holding(settings, source):
            running = asyncio.create_task(bank.submit(a_transfer(source, destination)))
            await until(bank.blocked)
            waiting = [asyncio.create_task(bank.submit(a_transfer(source, destination))) for _ in range(5)]
            await until(lambda: any(task.done() for task in waiting))
        outcomes = await asyncio.gather(running, *waiting, return_exceptions=True)
        assert {Outcome: 4, OverloadedError: 2} == Counter(type(outcome) for outcome in outcomes)
        assert [96, 4] == await bank.balances([source, destination])


async def test_a_client_that_stops_waiting_cancels_nothing(settings: Settings, bank: Bank) -> None:
    """Lesson 37."""
    source, destination = await bank.accounts(100, 0)
    async with holding(settings, source):
        running = asyncio.create_task(bank.submit(a_transfer(source, destination)))
        await until(bank.blocked)
        waiting = asyncio.create_task(bank.submit(a_transfer(source, destination)))
        await asyncio.sleep(0)
        for task in (running, waiting):
            task.cancel()
        await asyncio.wait((running, waiting))
        assert (True, True) == (running.cancelled(), waiting.cancelled())
    await bank.submit(a_transfer(source, destination))
    assert [97, 3] == await bank.balances([source, destination])


async def test_closing_carries_out_what_waits_and_takes_nothing_more(settings: Settings, connection: Any) -> None:
    async with banking(settings, connection, batch_limit=7) as bank:
        source, destination = await bank.accounts(100, 0)
        async with holding(settings, source):
            waiting = [asyncio.create_task(bank.submit(a_transfer(source, destination))) for _ in range(50)]
            await until(bank.blocked)
            closing = asyncio.create_task(bank.committer.close())
            await asyncio.sleep(0)
            with pytest.raises(OverloadedError):
                await bank.submit(a_transfer(source, destination))
        await closing
        outcomes = [task.result() for task in waiting]
    assert {Outcome: 50} == Counter(type(outcome) for outcome in outcomes)
    assert [50, 50] == await bank.balances([source, destination])


# The same command again.


async def test_a_command_that_was_carried_out_is_answered_from_the_log(bank: Bank) -> None:
    """Lesson 4."""
    source, destination = await bank.accounts(100, 0)
    command, command_id = a_transfer(source, destination), new_id()
    first = await bank.submit(command, command_id, HASH)
    again = await bank.submit(a_transfer(source, destination), command_id, HASH)
    assert (False, True) == (first.replayed, again.replayed)
    assert (first.result, first.recorded_at) == (again.result, again.recorded_at)
    assert [99, 1] == await bank.balances([source, destination])


async def test_a_command_that_was_refused_is_refused_again_whatever_has_changed(bank: Bank) -> None:
    source, destination = await bank.accounts(0, 100)
    command, command_id = a_transfer(source, destination), new_id()
    for _ in range(2):
        with pytest.raises(Refused, match="transfer_insufficient_funds"):
            await bank.submit(command, command_id, HASH)
        await bank.submit(a_transfer(destination, source, 10))
    assert [20, 80] == await bank.balances([source, destination])


async def test_an_id_that_was_used_for_another_request_is_refused(bank: Bank) -> None:
    """Lesson 4."""
    source, destination = await bank.accounts(100, 0)
    command_id = new_id()
    await bank.submit(a_transfer(source, destination), command_id, HASH)
    with pytest.raises(Refused, match="idempotency_key_reused"):
        await bank.submit(a_transfer(source, destination, 2), command_id, b"another hash")
    assert [99, 1] == await bank.balances([source, destination])


async def test_one_id_twice_at_once_has_one_effect(bank: Bank) -> None:
    """Lesson 4: one key sent twice in a batch."""
    source, destination = await bank.accounts(100, 0)
    command, command_id = a_transfer(source, destination), new_id()
    outcomes = await asyncio.gather(*(bank.submit(command, command_id, HASH) for _ in range(3)), return_exceptions=True)
    assert {Outcome: 1, Refused: 2} == Counter(type(outcome) for outcome in outcomes)
    assert [99, 1] == await bank.balances([source, destination])


@pytest.mark.parametrize("request_hash", [HASH, None], ids=["a client's id", "an id of our own"])
async def test_one_id_at_two_processes_at_once_has_one_effect(
    request_hash: bytes | None, settings: Settings, bank: Bank
) -> None:
    """Lesson 4."""
    source, destination = await bank.accounts(1000, 0)
    async with committing(settings) as other:
        for _ in range(20):
            origin = Origin(new_id(), request_hash=request_hash)
            outcomes = await asyncio.gather(
                *(committer.submit(a_transfer(source, destination), origin) for committer in (bank.committer, other))
            )
            assert 1 == len({outcome.result["id"] for outcome in outcomes})
    assert [980, 20] == await bank.balances([source, destination])


# Connections that break.


async def end_backend(eyes: Any, pid: int) -> None:
    await eyes.execute("SELECT pg_terminate_backend($1)", pid)
    await until(lambda: _gone(eyes, pid))


async def _gone(eyes: Any, pid: int) -> bool:
    return not await eyes.fetchval("SELECT count(*) FROM pg_stat_activity WHERE pid = $1", pid)


async def test_a_connection_that_was_lost_while_idle_is_opened_again(settings: Settings, connection: Any) -> None:
    opened: list[Any] = []

    async def remembered() -> Any:
        opened.append(await connect(settings))
        return opened[-1]

    async with banking(settings, connection, using=remembered) as bank:
        source, destination = await bank.accounts(100, 0)
        await end_backend(connection, opened[-1].get_server_pid())
        await bank.submit(a_transfer(source, destination))
        assert [99, 1] == await bank.balances([source, destination])
        assert 2 == len(opened)


async def test_a_backend_that_is_killed_again_and_again_loses_and_doubles_nothing(bank: Bank) -> None:
    """Lesson 4: each time in the middle of a transaction."""
    account_ids = await bank.accounts(*[10_000] * 4)
    chance = random.Random(4)  # noqa: S311 - not for secrets
    answered = 0
    enough = asyncio.Event()

    async def client() -> None:
        nonlocal answered
        while not enough.is_set():
            await bank.submit(a_transfer(*chance.sample(account_ids, 2), chance.randint(1, 9)))
            answered += 1

    async def end_one() -> int:
        return int(
            await bank.eyes.fetchval(
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


class Unlucky:
    """A connection that breaks at the next COMMITs: before the server has it, or when the answer should come."""

    def __init__(self, connection: Any, moments: list[str]) -> None:
        self._connection = connection
        self._moments = moments

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        moment = self._moments.pop(0) if self._moments else "never"
        async with self._connection.transaction():
            yield
            if moment == "before":
                raise ConnectionResetError
        if moment == "after":
            raise ConnectionResetError


@asynccontextmanager
async def unlucky_banking(settings: Settings, eyes: Any) -> AsyncIterator[tuple[Bank, list[str]]]:
    moments: list[str] = []

    async def unlucky() -> Any:
        return Unlucky(await connect(settings), moments)

    async with banking(settings, eyes, using=unlucky) as bank:
        yield bank, moments


@pytest.mark.parametrize(
    "moments", [["before"], ["after"], ["before", "before", "after"], ["after", "before", "before"]]
)
async def test_money_moves_once_whenever_the_connection_breaks(
    moments: list[str], settings: Settings, connection: Any
) -> None:
    """Lesson 4: what became of a COMMIT without an answer is in the log of commands."""
    async with unlucky_banking(settings, connection) as (bank, breaks):
        source, destination = await bank.accounts(100, 0)
        breaks.extend(moments)
        outcomes = await bank.outcomes(*(a_transfer(source, destination, 10) for _ in range(3)))
        assert [Outcome] * 3 == [type(outcome) for outcome in outcomes]
        assert ([70, 30], 3) == (await bank.balances([source, destination]), await bank.transfers())


async def test_a_refusal_stays_one_when_the_answer_to_the_commit_is_lost(settings: Settings, connection: Any) -> None:
    async with unlucky_banking(settings, connection) as (bank, breaks):
        source, destination = await bank.accounts(100, 0)
        breaks.append("after")
        outcomes = await bank.outcomes(a_transfer(source, destination, 100), a_transfer(source, destination, 1))
        assert [Outcome, Refused] == [type(outcome) for outcome in outcomes]


async def test_a_connection_that_always_breaks_is_given_up(settings: Settings, connection: Any) -> None:
    """Lesson 36."""
    async with unlucky_banking(settings, connection) as (bank, breaks):
        source, destination = await bank.accounts(100, 0)
        breaks.extend(["before"] * 4)
        with pytest.raises(DatabaseError):
            await bank.submit(a_transfer(source, destination))
        await bank.submit(a_transfer(source, destination))
        assert [99, 1] == await bank.balances([source, destination])


async def test_a_database_that_stays_away_fails_those_who_wait_and_is_found_again(
    settings: Settings, connection: Any
) -> None:
    away = False

    async def when_there() -> Any:
        if away:
            raise ConnectionRefusedError
        return await connect(settings)

    async with banking(settings, connection, using=when_there, patience_seconds=0.05) as bank:
        source, destination = await bank.accounts(100, 0)
        away = True
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'ledger'"
        )
        outcomes = await bank.outcomes(a_transfer(source, destination), a_transfer(source, destination))
        assert [DatabaseError] * 2 == [type(outcome) for outcome in outcomes]
        away = False
        await bank.submit(a_transfer(source, destination))
        assert [99, 1] == await bank.balances([source, destination])


# Two processes on the same accounts.


async def test_two_processes_refuse_nothing_that_is_affordable_on_hot_accounts(settings: Settings, bank: Bank) -> None:
    """Lessons 1 and 3."""
    account_ids = await bank.accounts(1000, 1000, 1000)
    chance = random.Random(3)  # noqa: S311 - not for secrets
    async with committing(settings, batch_limit=8) as other:
        outcomes = await asyncio.gather(
            *(
                committer.submit(a_transfer(*chance.sample(account_ids, 2)), Origin(new_id()))
                for _ in range(300)
                for committer in (bank.committer, other)
            ),
            return_exceptions=True,
        )
    assert {Outcome: 600} == Counter(type(outcome) for outcome in outcomes)
    assert 600 == await bank.transfers()
    assert 3000 == sum(await bank.balances(account_ids))


async def test_two_processes_spend_money_once(settings: Settings, bank: Bank) -> None:
    """Lessons 1 and 3: of twenty transfers, ten are affordable, and ten are made."""
    source, destination = await bank.accounts(10, 0)
    async with committing(settings, batch_limit=1) as other:
        outcomes = await asyncio.gather(
            *(
                committer.submit(a_transfer(source, destination), Origin(new_id()))
                for _ in range(10)
                for committer in (bank.committer, other)
            ),
            return_exceptions=True,
        )
    assert {Outcome: 10, Refused: 10} == Counter(type(outcome) for outcome in outcomes)
    assert [0, 10] == await bank.balances([source, destination])


async def test_two_processes_can_both_open_the_first_account_of_a_currency(settings: Settings, bank: Bank) -> None:
    """Nobody can lock a `world` that is not there yet."""
    async with committing(settings) as other:
        outcomes = await asyncio.gather(
            *(
                committer.submit(OpenAccount(new_id(), bank.owner_id, currency, 5, new_id()), Origin(new_id()))
                for currency in ("EUR", "CHF", "SEK", "NOK", "DKK")
                for committer in (bank.committer, other)
            ),
            return_exceptions=True,
        )
    assert {Outcome: 10} == Counter(type(outcome) for outcome in outcomes)
    rows = await bank.eyes.fetch("SELECT balance_cents FROM accounts WHERE user_id IS NULL")
    assert [-10] * 5 == [row[0] for row in rows]


async def test_an_id_is_given_once_by_two_processes(settings: Settings, bank: Bank) -> None:
    async with committing(settings) as other:
        for _ in range(10):
            command = OpenAccount(new_id(), bank.owner_id, "USD", 0, new_id())
            outcomes = await asyncio.gather(
                *(committer.submit(command, Origin(new_id())) for committer in (bank.committer, other)),
                return_exceptions=True,
            )
            assert {Outcome: 1, Refused: 1} == Counter(type(outcome) for outcome in outcomes)
