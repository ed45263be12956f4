"""Group commit: each command has its own answer, and whatever breaks, its effect is there once or not at all."""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
import structlog
from pydantic import SecretStr

from ledger.commands.accounts import OpenAccount
from ledger.commands.batch import TransferBatch
from ledger.commands.command import Command, Credential, Decision, States
from ledger.commands.transfers import TransferMoney
from ledger.commands.users import CreateUser, UpdateUser
from ledger.errors import DatabaseError, OverloadedError, Refused, StaleCommandError
from ledger.projections import INLINE, apply_all
from ledger.settings import Settings
from ledger.store import log as store
from ledger.store.pool import connect
from ledger.values.ids import new_id
from ledger.write.committer import MAX_ATTEMPTS, Committer
from ledger.write.group import Batch, Origin, Outcome
from tests.support.outages import are_gone, cut_off
from tests.support.processes import until

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
        opened = [
            OpenAccount(
                account_id=new_id(), owner_id=self.owner_id, currency="USD", balance_cents=balance, transfer_id=new_id()
            )
            for balance in balances
        ]
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
    return TransferMoney(
        transfer_id=new_id(),
        source_account_id=source,
        destination_account_id=destination,
        amount_cents=amount_cents,
        **members,
    )


async def nobody_is_told() -> None:
    """There is no mirror here."""


@asynccontextmanager
async def committing(
    settings: Settings, *, using: Callable[[], Awaitable[Any]] | None = None, **limits: Any
) -> AsyncIterator[Committer]:
    """A committer that runs, on a connection of its own."""
    bounds = {"queue_limit": 2048, "batch_limit": 256, "patience_seconds": 10, **limits}
    committer = Committer(using or (lambda: connect(settings)), announce=nobody_is_told, **bounds)
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
        await bank.submit(
            CreateUser(
                user_id=bank.owner_id,
                username="owner",
                email="owner@example.com",
                active=True,
                roles=("customer",),
                credential=credential,
            )
        )
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


class BrokenTransfer(TransferMoney, frozen=True):
    """A command with a fault in it."""

    def decide(self, states: States) -> Decision:
        raise ZeroDivisionError(states)


# Many in a transaction.


async def test_commands_that_wait_together_share_transactions(bank: Bank) -> None:
    source, destination = await bank.accounts(100, 0)
    await bank.outcomes(*(a_transfer(source, destination) for _ in range(100)))
    assert 100 == await bank.transfers()
    assert await bank.transactions() <= 10


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
    broken = BrokenTransfer(
        transfer_id=new_id(), source_account_id=source, destination_account_id=destination, amount_cents=1
    )
    outcomes = await bank.outcomes(a_transfer(source, destination), broken, a_transfer(source, destination))
    assert [Outcome, ZeroDivisionError, Outcome] == [type(outcome) for outcome in outcomes]
    assert [98, 2] == await bank.balances([source, destination])


async def test_a_command_that_the_database_refuses_to_write_fails_alone(bank: Bank) -> None:
    """Lessons 5 and 33."""
    source, destination = await bank.accounts(100, 0)
    poison = a_transfer(source, destination, reference="a NUL: \0")
    neighbours = [a_transfer(source, destination) for _ in range(5)]
    with structlog.testing.capture_logs() as records:
        outcomes = await bank.outcomes(*neighbours[:2], poison, *neighbours[2:])
    assert {6, 1} == {record["commands"] for record in records}, (
        "the batch is logged, and who is guilty, and nobody else"
    )
    assert MAX_ATTEMPTS == len(records)
    assert [Outcome, Outcome, DatabaseError, Outcome, Outcome, Outcome] == [type(outcome) for outcome in outcomes]
    assert [95, 5] == await bank.balances([source, destination])


async def test_a_command_that_cannot_be_encoded_fails_alone(bank: Bank) -> None:
    """Also when it is prepared while another batch is written."""
    source, destination = await bank.accounts(100, 0)
    await bank.submit(a_transfer(source, destination))  # from here on, its heads are remembered
    poison = a_transfer(source, destination, reference="half a pair: \ud800")
    neighbours = [a_transfer(source, destination) for _ in range(20)]
    outcomes = await bank.outcomes(*neighbours[:10], poison, *neighbours[10:])
    assert 20 == sum(isinstance(outcome, Outcome) for outcome in outcomes)
    assert isinstance(outcomes[10], DatabaseError)
    assert [79, 21] == await bank.balances([source, destination])


async def test_a_write_that_failed_leaves_no_row_anywhere(bank: Bank, connection: Any) -> None:
    """Lesson 6: nothing that belongs to a command is written outside its transaction."""
    source, destination = await bank.accounts(100, 0)
    tables = [row[0] for row in await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'ledger'")]
    before = {table: await connection.fetchval(f"SELECT count(*) FROM {table}") for table in tables}
    with pytest.raises(DatabaseError):
        await bank.submit(a_transfer(source, destination, reference="\0"))
    after = {table: await connection.fetchval(f"SELECT count(*) FROM {table}") for table in tables}
    assert {"stored_events", "command_log", "entries", "transfers"} <= set(tables)
    assert before == after


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
    await until(lambda: are_gone(eyes, [pid]))


async def test_a_connection_that_was_lost_while_idle_is_opened_again(settings: Settings, connection: Any) -> None:
    opened: list[Any] = []
    patience: dict[str, Any] = {}  # without end, until all is set up

    async def remembered() -> Any:
        opened.append(await connect(settings, **patience))
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
            source, destination = chance.sample(account_ids, 2)
            await bank.submit(a_transfer(source, destination, chance.randint(1, 9)))
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


class Line:
    """A line to PostgreSQL that breaks, if it is told to, instead of passing the n-th message on in one direction."""

    def __init__(self, dsn: str) -> None:
        parts = urlsplit(dsn)
        folder = parse_qs(parts.query)["host"][0]
        self._socket = f"{folder}/.s.PGSQL.5432"
        self._database = parts.path
        self._direction, self._left = "", 0
        self.breaks = 0

    def break_at(self, direction: str, moment: int) -> None:
        self._direction, self._left = direction, moment

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        """Where to connect to, to use it."""
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            yield f"postgresql://ledger@127.0.0.1:{port}{self._database}?sslmode=disable"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_unix_connection(self._socket)
        pumps = [self._pump("there", reader, to_server), self._pump("back", from_server, writer)]
        await asyncio.wait(map(asyncio.create_task, pumps), return_when=asyncio.FIRST_COMPLETED)
        for end in (writer, to_server):
            end.close()

    async def _pump(self, direction: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while message := await reader.read(1_000_000):
                if direction == self._direction:
                    self._left -= 1
                    if self._left == 0:
                        self.breaks += 1
                        return
                writer.write(message)


@asynccontextmanager
async def banking_on_a_line(settings: Settings, eyes: Any) -> AsyncIterator[tuple[Bank, Line]]:
    line = Line(settings.database_dsn())
    async with line.open() as dsn:
        at_its_end = settings.model_copy(update={"database_url": SecretStr(dsn)})
        async with banking(settings, eyes, using=lambda: connect(at_its_end)) as bank:
            yield bank, line


@pytest.mark.parametrize("direction", ["there", "back"])
@pytest.mark.parametrize("locked", [False, True], ids=["", "after a conflict"])
async def test_money_moves_once_at_whatever_moment_the_connection_breaks(
    direction: str, locked: bool, settings: Settings, connection: Any
) -> None:
    """Lesson 4: what became of a write without an answer is in the log of commands."""
    async with banking_on_a_line(settings, connection) as (bank, line):
        for moment in itertools.count(1):
            source, destination = await bank.accounts(102, 0)
            if locked:  # the next transactions have the append lock from the start
                await conflict(settings, bank, source, destination)
                await bank.submit(a_transfer(destination, source, 2))
            line.break_at(direction, moment)
            outcomes = await bank.outcomes(*(a_transfer(source, destination, amount) for amount in (62, 62, 40)))
            assert [Outcome, Refused, Outcome] == [type(outcome) for outcome in outcomes]
            assert [0, 102] == await bank.balances([source, destination])
            if line.breaks < moment:
                break
        assert line.breaks >= 1


class DeadConnection:
    """A connection that is open, and on which nothing works."""

    def is_closed(self) -> bool:
        return False

    async def close(self, **_: Any) -> None:
        """Nothing to close."""

    async def _fail(self, *_: Any) -> Any:
        raise ConnectionResetError

    fetch = fetchrow = fetchval = execute = _fail


async def test_a_command_that_meets_dead_connections_only_is_given_up(settings: Settings, connection: Any) -> None:
    """Lesson 36."""
    dead = False
    opened: list[Any] = []

    async def perhaps_dead() -> Any:
        opened.append(DeadConnection() if dead else await connect(settings))
        return opened[-1]

    async with banking(settings, connection, using=perhaps_dead) as bank:
        source, destination = await bank.accounts(100, 0)
        dead = True
        await end_backend(connection, opened[0].get_server_pid())
        with pytest.raises(DatabaseError):
            await bank.submit(a_transfer(source, destination))
        dead = False
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
        await cut_off(connection)
        outcomes = await bank.outcomes(a_transfer(source, destination), a_transfer(source, destination))
        assert [DatabaseError] * 2 == [type(outcome) for outcome in outcomes]
        away = False
        await bank.submit(a_transfer(source, destination))
        assert [99, 1] == await bank.balances([source, destination])


# Two processes on the same accounts.


@asynccontextmanager
async def rival(settings: Settings, command: Command) -> AsyncIterator[None]:
    """Another process that has carried out a command, and commits when this is over; nobody else can write before."""
    connection = await connect(settings)
    try:
        await store.begin_locked(connection)
        batch = Batch(await store.read_heads(connection, list(command.streams())))
        batch.decide(command, new_id())
        statements = [store.append_events(batch.appended, batch.command_ids), *store.replace_heads(batch.changed)]
        await store.write(connection, {}, len(batch.appended), [*statements, *apply_all(INLINE, batch.appended)])
        yield
        await connection.execute("COMMIT")
    finally:
        await connection.close()


async def conflict(settings: Settings, bank: Bank, source: UUID, destination: UUID) -> None:
    """A transfer of 1; between its reading and its writing another process makes the same one."""
    async with rival(settings, a_transfer(source, destination)):
        waiting = asyncio.create_task(bank.submit(a_transfer(source, destination)))
        await until(bank.blocked)
    await waiting


async def test_what_was_decided_on_a_balance_that_has_changed_is_decided_again(settings: Settings, bank: Bank) -> None:
    """Lesson 1."""
    source, destination = await bank.accounts(100, 0)
    async with rival(settings, a_transfer(source, destination, 60)):
        too_much = asyncio.create_task(bank.submit(a_transfer(source, destination, 60)))
        await until(bank.blocked)
        affordable = asyncio.create_task(bank.submit(a_transfer(source, destination, 40)))
    outcomes = await asyncio.gather(too_much, affordable, return_exceptions=True)
    assert [Refused, Outcome] == [type(outcome) for outcome in outcomes]
    assert [0, 100] == await bank.balances([source, destination])


async def test_a_refusal_on_a_balance_that_has_changed_is_decided_again(settings: Settings, bank: Bank) -> None:
    """Lesson 3: what has become affordable meanwhile is not refused."""
    source, destination = await bank.accounts(100, 0)
    async with rival(settings, a_transfer(source, destination, 60)):
        waiting = asyncio.create_task(bank.submit(a_transfer(destination, source, 60)))
        await until(bank.blocked)
    assert isinstance(await waiting, Outcome)
    assert [100, 0] == await bank.balances([source, destination])


async def test_who_made_a_command_anew_gets_through_although_this_process_had_old_news(
    settings: Settings, bank: Bank
) -> None:
    """What a process remembers of a user may be old; a command that was made from the truth must not be stale twice."""
    owner = bank.owner_id
    async with committing(settings) as other:
        await bank.submit(a_renaming(owner, "owner", "one"))
        await other.submit(a_renaming(owner, "one", "two"), Origin(new_id()))
        try:
            await bank.submit(a_renaming(owner, "two", "three"))
        except StaleCommandError:
            await bank.submit(a_renaming(owner, "two", "three"))
    assert "three" == await bank.eyes.fetchval("SELECT username FROM users WHERE id = $1", owner)


def a_renaming(user_id: UUID, before: str, after: str) -> UpdateUser:
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
    """In one process, in another one, and long after."""
    source, destination = await bank.accounts(100, 0)
    command = a_transfer(source, destination, id_was_chosen=True)
    await bank.submit(command)
    async with committing(settings) as other:
        for committer in (bank.committer, other, bank.committer):
            with pytest.raises(Refused, match="transaction_already_exists"):
                await committer.submit(command, Origin(new_id()))
    assert [99, 1] == await bank.balances([source, destination])


async def test_a_lock_that_cannot_be_had_in_time_fails_its_commands_and_none_after_them(
    settings: Settings, connection: Any
) -> None:
    """A transaction that could not begin must not stay in the way of all that follow."""

    opened: list[Any] = []
    patience: dict[str, Any] = {}  # without end, until all is set up

    async def remembered() -> Any:
        opened.append(await connect(settings, **patience))
        return opened[-1]

    async with banking(settings, connection, using=remembered) as bank:
        source, destination = await bank.accounts(100, 0)
        await conflict(settings, bank, source, destination)
        patience["lock_timeout"] = "50ms"
        await opened[-1].execute("SET lock_timeout = '50ms'")
        async with rival(settings, a_transfer(source, destination)):
            with pytest.raises(DatabaseError):
                await bank.submit(a_transfer(source, destination))
        await bank.submit(a_transfer(source, destination))
        assert [96, 4] == await bank.balances([source, destination])


async def test_two_processes_refuse_nothing_that_is_affordable_on_hot_accounts(
    settings: Settings, bank: Bank, logs: list[Any]
) -> None:
    """Lessons 1 and 3."""
    account_ids = await bank.accounts(1000, 1000, 1000)
    chance = random.Random(3)  # noqa: S311 - not for secrets
    async with committing(settings, batch_limit=8) as other:
        outcomes = await asyncio.gather(
            *(
                committer.submit(a_transfer(source, destination), Origin(new_id()))
                for _ in range(300)
                for committer in (bank.committer, other)
                for source, destination in [chance.sample(account_ids, 2)]
            ),
            return_exceptions=True,
        )
    assert {Outcome: 600} == Counter(type(outcome) for outcome in outcomes)
    assert 600 == await bank.transfers()
    assert [] == logs  # no transaction had to be repeated
    assert 3000 == sum(await bank.balances(account_ids))


async def test_of_many_processes_none_gives_up_on_what_is_affordable(settings: Settings, bank: Bank) -> None:
    """Lesson 3: of twenty transfers, ten are affordable, and ten are made, however many go for the same account."""
    source, destination = await bank.accounts(10, 0)
    async with AsyncExitStack() as stack:
        committers = [await stack.enter_async_context(committing(settings, batch_limit=1)) for _ in range(10)]
        outcomes = await asyncio.gather(
            *(
                committer.submit(a_transfer(source, destination), Origin(new_id()))
                for committer in committers
                for _ in range(2)
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
                committer.submit(
                    OpenAccount(
                        account_id=new_id(),
                        owner_id=bank.owner_id,
                        currency=currency,
                        balance_cents=5,
                        transfer_id=new_id(),
                    ),
                    Origin(new_id()),
                )
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
            command = OpenAccount(
                account_id=new_id(), owner_id=bank.owner_id, currency="USD", balance_cents=0, transfer_id=new_id()
            )
            outcomes = await asyncio.gather(
                *(committer.submit(command, Origin(new_id())) for committer in (bank.committer, other)),
                return_exceptions=True,
            )
            assert {Outcome: 1, Refused: 1} == Counter(type(outcome) for outcome in outcomes)


async def test_a_fault_of_the_committer_fails_those_who_wait_and_no_one_after_them(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, destination = await bank.accounts(100, 0)
    with monkeypatch.context() as patch:
        patch.setattr(Committer, "_next_batch", lambda _: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            await bank.submit(a_transfer(source, destination, 1))
    await bank.submit(a_transfer(source, destination, 1))
    assert [99, 1] == await bank.balances([source, destination])


async def test_a_command_that_weighs_much_has_a_transaction_to_itself(settings: Settings, connection: Any) -> None:
    written: list[list[str]] = []
    async with banking(
        settings,
        connection,
        batch_limit=4,
        watch=lambda commands, _: written.append([one.command.name for one in commands]),
    ) as bank:
        alice, bob = await bank.accounts(100, 0)
        written.clear()
        many = TransferBatch(tuple(a_transfer(alice, bob) for _ in range(5)))
        weighted: list[tuple[Command, int]] = [
            *((a_transfer(alice, bob), 1) for _ in range(3)),
            (many, 5),
            (a_transfer(alice, bob), 1),
            (a_transfer(alice, bob), 3),
            (a_transfer(alice, bob), 1),
        ]
        submitted = [bank.committer.submit(command, Origin(new_id()), weight=weight) for command, weight in weighted]

        await asyncio.gather(*submitted)

    assert [["TransferMoney"] * 3, ["TransferMany"], ["TransferMoney"] * 2, ["TransferMoney"]] == written
