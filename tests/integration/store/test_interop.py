"""Through the `eventsourcing` library, the repository and the log of the same database agree with the ledger."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from eventsourcing.application import AggregateNotFoundError
from eventsourcing.persistence import Notification, StoredEvent

from ledger.commands.accounts import CloseAccount, OpenAccount, UpdateAccount
from ledger.commands.command import Command, Credential
from ledger.commands.holds import PlaceHold, VoidHold
from ledger.commands.transfers import TransferMoney
from ledger.commands.users import CreateUser
from ledger.events import TOPICS, Event, encode_event, fold
from ledger.events.accounts import Account
from ledger.events.transactions import Transaction
from ledger.runtime import Runtime
from ledger.settings import Settings
from ledger.store import reader as event_reader
from ledger.store.heads import read_heads
from ledger.store.library import LedgerApplication, LedgerEvent, LedgerMapper, Stream, environment
from ledger.values.ids import new_id
from ledger.write.group import Origin

OWNER, HEIR = new_id(), new_id()
KEPT, EMPTIED, HELD = new_id(), new_id(), new_id()
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
async def history(runtime: Runtime) -> Runtime:
    """Fill a ledger with accounts that have every kind of event."""
    commands: list[Command] = [
        CreateUser(
            user_id=OWNER,
            username="owner",
            email="owner@example.com",
            active=True,
            roles=("customer",),
            credential=Credential(new_id(), OWNER, ""),
        ),
        CreateUser(
            user_id=HEIR,
            username="heir",
            email="heir@example.com",
            active=True,
            roles=("customer",),
            credential=Credential(new_id(), HEIR, ""),
        ),
        OpenAccount(account_id=KEPT, owner_id=OWNER, currency="EUR", balance_cents=100, transaction_id=new_id()),
        OpenAccount(account_id=EMPTIED, owner_id=OWNER, currency="EUR", balance_cents=50, transaction_id=new_id()),
        *(
            TransferMoney(
                transaction_id=new_id(), source_account_id=KEPT, destination_account_id=EMPTIED, amount_cents=amount
            )
            for amount in (1, 2, 3)
        ),
        TransferMoney(
            transaction_id=new_id(),
            source_account_id=EMPTIED,
            destination_account_id=KEPT,
            amount_cents=56,
            reference="all of it",
        ),
        PlaceHold(
            transaction_id=HELD,
            source_account_id=KEPT,
            destination_account_id=EMPTIED,
            amount_cents=5,
            now=NOON,
            expires_at=NOON + timedelta(hours=1),
            limit_seconds=3600,
        ),
        VoidHold(transaction_id=HELD, source_account_id=KEPT, destination_account_id=EMPTIED, now=NOON),
        UpdateAccount(
            account_id=KEPT,
            owner_id=HEIR,
            balance_cents=200,
            currency="EUR",
            transaction_id=new_id(),
            overdraft_limit_cents=50,
        ),
        UpdateAccount(
            account_id=KEPT,
            owner_id=None,
            balance_cents=None,
            currency="EUR",
            transaction_id=new_id(),
            overdraft_limit_cents=None,
            frozen="all",
        ),
        CloseAccount(EMPTIED),
    ]
    for command in commands:
        await runtime.committer.submit(command, Origin(new_id()))
    return runtime


@pytest.fixture
async def library(settings: Settings) -> AsyncIterator[LedgerApplication]:
    application = await asyncio.to_thread(LedgerApplication, environment(settings))
    yield application
    await asyncio.to_thread(application.close)


async def get(library: LedgerApplication, stream_id: UUID, **options: Any) -> Stream:
    """Return an aggregate from the library's repository, which is synchronous."""

    def stream() -> Stream:
        found: Stream = library.repository.get(stream_id, **options)
        return found

    return await asyncio.to_thread(stream)


def event_of(library: LedgerApplication, item: Notification) -> Event:
    found = library.mapper.to_domain_event(item)
    assert isinstance(found, LedgerEvent)
    return found.event


@pytest.mark.parametrize("account_id", [KEPT, EMPTIED])
async def test_the_library_sees_the_account_that_the_ledger_sees(
    account_id: UUID, history: Runtime, library: LedgerApplication
) -> None:
    seen = await get(library, account_id)
    head = (await read_heads(history.pool, [account_id]))[account_id]
    row = await history.pool.fetchrow(
        "SELECT user_id, currency, balance_cents, status = 'closed', version FROM accounts WHERE id = $1", account_id
    )
    assert (account_id, head.version, head.state) == (seen.id, seen.version, seen.state)
    assert isinstance(seen.state, Account)
    in_table = (seen.state.owner_id, seen.state.currency, seen.state.balance_cents, seen.state.closed, seen.version)
    assert row is not None
    assert tuple(row) == in_table


async def test_the_library_sees_how_a_hold_ended(history: Runtime, library: LedgerApplication) -> None:
    del history
    states = [(await get(library, HELD, version=version)).state for version in (1, 2)]
    assert ["pending", "voided"] == [state.status for state in states if isinstance(state, Transaction)]


async def test_the_library_sees_an_account_as_it_was_at_any_version(
    history: Runtime, library: LedgerApplication, connection: Any
) -> None:
    del history
    events = [row for row in await event_reader.read_log(connection) if row.stream_id == KEPT]
    for row in events:
        expected = Stream(KEPT, row.version, fold(past.event for past in events[: row.version]))  # type: ignore[arg-type]
        assert expected == await get(library, KEPT, version=row.version)


async def test_the_balance_at_a_version_is_that_of_its_entry(history: Runtime, library: LedgerApplication) -> None:
    lines = await history.pool.fetch("SELECT version, balance_cents FROM entries WHERE account_id = $1", KEPT)
    for version, balance_cents in lines:
        state = (await get(library, KEPT, version=version)).state
        assert isinstance(state, Account)
        assert balance_cents == state.balance_cents
    assert 6 == len(lines)


async def test_the_log_of_the_library_has_all_events_in_order(
    history: Runtime, library: LedgerApplication, connection: Any
) -> None:
    del history
    notifications: list[Notification] = []
    while page := await asyncio.to_thread(
        library.notification_log.select, notifications[-1].id + 1 if notifications else 1, 10
    ):
        notifications += page
    seen = [
        (
            item.id,
            LedgerEvent(UUID(str(item.originator_id)), item.originator_version, event_of(library, item)),
        )
        for item in notifications
    ]
    recorded = await event_reader.read_log(connection)
    assert [(row.position, LedgerEvent(row.stream_id, row.version, row.event)) for row in recorded] == seen


async def test_the_library_stores_the_same_bytes_as_the_ledger(history: Runtime, connection: Any) -> None:
    del history
    mapper = LedgerMapper(None)  # type: ignore[arg-type]
    for row in await event_reader.read_log(connection):
        stored = StoredEvent(row.stream_id, row.version, TOPICS[type(row.event)], encode_event(row.event))
        assert stored == mapper.to_stored_event(mapper.to_domain_event(stored))


async def test_an_unknown_topic_is_an_error_and_imports_nothing() -> None:
    """Lesson 15."""
    mapper = LedgerMapper(None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown topic: os:system"):
        mapper.to_domain_event(StoredEvent(new_id(), 1, "os:system", b"{}"))


async def test_the_library_can_store_only_events_of_the_ledger() -> None:
    mapper = LedgerMapper(None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not an event of the ledger: object"):
        mapper.to_stored_event(object())  # type: ignore[arg-type]


async def test_a_stream_that_does_not_exist_is_not_found(library: LedgerApplication) -> None:
    with pytest.raises(AggregateNotFoundError):
        await get(library, new_id())


async def test_reading_through_the_library_creates_nothing_in_the_database(
    history: Runtime, settings: Settings, connection: Any
) -> None:
    del history
    things = """SELECT (SELECT count(*) FROM pg_class), (SELECT count(*) FROM pg_type),
                       (SELECT count(*) FROM pg_proc), (SELECT count(*) FROM ledger.stored_events)"""
    before = await connection.fetchrow(things)
    application = await asyncio.to_thread(LedgerApplication, environment(settings))
    await get(application, KEPT)
    await asyncio.to_thread(application.close)
    assert before == await connection.fetchrow(things)
