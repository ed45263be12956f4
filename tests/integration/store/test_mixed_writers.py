"""A reader that resumes from its last position misses no event, whichever program appends. Lesson 9."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest

from ledger.commands.accounts import OpenAccount
from ledger.commands.command import Credential
from ledger.commands.transfers import TransferMoney
from ledger.commands.users import CreateUser
from ledger.events import encode
from ledger.events.users import NameClaimed
from ledger.runtime import Runtime, open_runtime
from ledger.settings import Settings
from ledger.store import reader as event_reader
from ledger.store.library import LedgerApplication, LedgerEvent, environment
from ledger.store.pool import connect
from ledger.values.ids import new_id
from ledger.write.group import Origin
from ledger.write.writer import Writer

EACH = 150  # appends of each writer
CLAIMED = NameClaimed(UUID(int=1))


@pytest.fixture
async def rival(settings: Settings) -> AsyncIterator[Runtime]:
    """Open a second runtime, which the database cannot tell from a second process."""
    async with open_runtime(settings) as opened:
        yield opened


async def transfer(committer: Writer, source: UUID, destination: UUID) -> None:
    """Write as the ledger does, with many commands in one database transaction."""
    for _ in range(EACH // 5):
        commands = [
            TransferMoney(
                transaction_id=new_id(), source_account_id=source, destination_account_id=destination, amount_cents=1
            )
            for _ in range(5)
        ]
        await asyncio.gather(*(committer.submit(command, Origin(new_id())) for command in commands))


async def insert(settings: Settings, *, rows: int) -> None:
    """Write as a program that knows only the table, in slow transactions, some of which roll back."""
    connection = await connect(settings)
    statement = "INSERT INTO stored_events (originator_id, originator_version, topic, state) VALUES ($1, 1, $2, $3)"
    for number in range(EACH):
        transaction = connection.transaction()
        await transaction.start()
        for _ in range(rows):
            await connection.execute(statement, new_id(), "NameClaimed", encode(CLAIMED))
            await connection.execute("SELECT 1")
        await (transaction.rollback() if number % 7 == 0 else transaction.commit())
    await connection.close()


def save(application: LedgerApplication) -> None:
    """Write as the `eventsourcing` library does, with its own recorder."""
    for _ in range(EACH):
        stream_id = new_id()
        application.events.put([LedgerEvent(stream_id, version, CLAIMED) for version in (1, 2)])


@asynccontextmanager
async def library(settings: Settings, **options: str) -> AsyncIterator[LedgerApplication]:
    variables = {**environment(settings), "CREATE_TABLE": "y", **options}  # it appends with its own types
    application = await asyncio.to_thread(LedgerApplication, variables)
    yield application
    await asyncio.to_thread(application.close)


async def follow(settings: Settings, done: asyncio.Event) -> list[int]:
    """Return the positions that a follower sees, which always asks for events after its last one."""
    connection = await connect(settings)
    seen: list[int] = []
    while True:
        was_done = done.is_set()
        page = await event_reader.read_log(connection, after_position=seen[-1] if seen else 0, limit=50)
        seen += [row.position for row in page]
        if was_done and not page:
            break
    await connection.close()
    return seen


async def accounts(runtime: Runtime) -> tuple[UUID, UUID]:
    """Return two accounts that can pay for all transfers, in any order of the writers."""
    owner_id, source, destination = new_id(), new_id(), new_id()
    credential = Credential(new_id(), owner_id, "")
    for command in (
        CreateUser(
            user_id=owner_id,
            username="owner",
            email="owner@example.com",
            active=True,
            roles=("customer",),
            credential=credential,
        ),
        OpenAccount(
            account_id=source, owner_id=owner_id, currency="USD", balance_cents=3 * EACH, transaction_id=new_id()
        ),
        OpenAccount(
            account_id=destination, owner_id=owner_id, currency="USD", balance_cents=3 * EACH, transaction_id=new_id()
        ),
    ):
        await runtime.committer.submit(command, Origin(new_id()))
    return source, destination


async def test_a_follower_misses_and_repeats_no_event_of_any_writer(
    settings: Settings, runtime: Runtime, rival: Runtime, connection: Any
) -> None:
    source, destination = await accounts(runtime)
    done = asyncio.Event()
    followers = [asyncio.create_task(follow(settings, done)) for _ in range(2)]
    async with library(settings) as locking, library(settings, POSTGRES_ENABLE_DB_FUNCTIONS="y") as calling:
        await asyncio.gather(
            transfer(runtime.committer, source, destination),
            transfer(rival.committer, destination, source),
            transfer(rival.committer, source, destination),
            insert(settings, rows=1),
            insert(settings, rows=3),
            asyncio.to_thread(save, locking),
            asyncio.to_thread(save, calling),
        )
    done.set()
    rows = await connection.fetch("SELECT notification_id FROM stored_events ORDER BY notification_id")
    positions = [row[0] for row in rows]
    rolled_back = len(range(0, EACH, 7))
    assert 3 * 3 * EACH + 2 * 2 * EACH + (1 + 3) * (EACH - rolled_back) <= len(positions)
    for follower in followers:
        assert positions == await follower


async def test_time_follows_the_positions_for_all_writers(
    settings: Settings, runtime: Runtime, connection: Any
) -> None:
    source, destination = await accounts(runtime)
    async with library(settings) as application:
        await asyncio.gather(
            transfer(runtime.committer, source, destination),
            insert(settings, rows=2),
            asyncio.to_thread(save, application),
        )
    rows = await connection.fetch("SELECT recorded_at FROM stored_events ORDER BY notification_id")
    assert sorted(rows) == rows
