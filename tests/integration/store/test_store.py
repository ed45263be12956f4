"""The event store promises, for any writer: no event changes or is dropped, and positions appear in order."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import asyncpg
import hypothesis
import pytest
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.cli.seed import ensure_first_admin
from ledger.events import Event, Recorded, encode
from ledger.events.accounts import AccountOpened
from ledger.events.transactions import MoneyTransferred
from ledger.events.users import Name, NameClaimed, NameReleased
from ledger.runtime import open_runtime
from ledger.settings import Settings
from ledger.store import log as event_log
from ledger.store import reader as event_reader
from ledger.store.citus import find_table
from ledger.store.commands import LoggedCommand, log_commands
from ledger.store.heads import Head, fold_heads, read_heads, replace_heads
from ledger.store.log import StreamChangedError
from ledger.store.pool import connect
from ledger.store.statements import (
    Statement,
    blobs,
    booleans,
    columns,
    documents,
    integers,
    run_together,
    texts,
    times,
    uuids,
)
from ledger.values.ids import new_id
from tests.support.processes import DEADLINE_SECONDS, ledger, until

Connect = Callable[[], Awaitable[Any]]
CLAIMED = NameClaimed(UUID(int=1))
INSERT = "INSERT INTO stored_events (originator_id, originator_version, topic, state) VALUES ($1, $2, $3, $4)"
ON_A_CONNECTION_OF_ITS_OWN = hypothesis.settings(
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
    max_examples=50,
)


@pytest.fixture
async def another(settings: Settings) -> AsyncIterator[Connect]:
    """Return a function that opens further connections, as other programs would."""
    async with AsyncExitStack() as stack:

        async def opened() -> Any:
            connection = await connect(settings)
            stack.push_async_callback(connection.close)
            return connection

        yield opened


async def append(
    connection: Any, *events: Event, stream_id: UUID | None = None, after_version: int = 0
) -> list[Recorded]:
    """Append events to one stream, as the ledger does."""
    stream_id = stream_id or new_id()
    rows = [Recorded(number, stream_id, after_version + 1 + number, None, event) for number, event in enumerate(events)]
    statement = event_log.append_events(rows, [new_id() for _ in rows])
    done = await event_log.write(connection, {stream_id: after_version}, len(rows), [statement, *write_heads(rows)])
    return [replace(row, position=done.first_position + row.position, recorded_at=done.recorded_at) for row in rows]


def write_heads(rows: list[Recorded]) -> list[Statement]:
    """Return statements that write heads, with the members that these tests need."""
    return replace_heads({row.stream_id: Head(row.version, Name(None)) for row in rows})


async def insert(connection: Any, stream_id: UUID | None = None, version: int = 1) -> None:
    """Insert an event as a program that knows only the table does."""
    await connection.execute(INSERT, stream_id or new_id(), version, "NameClaimed", encode(CLAIMED))


async def is_blocked(eyes: Any, connection: Any) -> bool:
    """Return whether this connection waits for another."""
    return bool(await eyes.fetchval("SELECT cardinality(pg_blocking_pids($1))", connection.get_server_pid()))


# Nothing changes.


@pytest.mark.parametrize("condition", ["", "WHERE false"], ids=["all rows", "no row"])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE stored_events SET topic = topic",
        "DELETE FROM stored_events",
        "UPDATE command_log SET name = name",
        "DELETE FROM command_log",
    ],
)
async def test_what_was_appended_cannot_be_changed(statement: str, condition: str, connection: Any) -> None:
    await append(connection, CLAIMED)
    with pytest.raises(asyncpg.RestrictViolationError, match="is append-only"):
        await connection.execute(f"{statement} {condition}")


@pytest.mark.parametrize("table", ["stored_events", "command_log"])
async def test_what_was_appended_cannot_be_truncated(table: str, connection: Any) -> None:
    with pytest.raises(asyncpg.RestrictViolationError, match="is append-only"):
        await connection.execute(f"TRUNCATE {await find_table(connection, table)}")


async def test_an_insert_cannot_become_an_update(connection: Any) -> None:
    (row,) = await append(connection, CLAIMED)
    upsert = f"{INSERT} ON CONFLICT (originator_id, originator_version) DO UPDATE SET topic = 'AccountOpened'"
    with pytest.raises(asyncpg.RestrictViolationError, match="is append-only"):
        await connection.execute(upsert, row.stream_id, row.version, "NameClaimed", b"{}")


# Nothing is dropped.


async def test_a_version_that_is_taken_is_an_error_and_appends_nothing(connection: Any) -> None:
    """Lesson 16."""
    (row,) = await append(connection, CLAIMED)
    again = event_log.append_events([replace(row, position=1), Recorded(0, new_id(), 1, None, CLAIMED)], [new_id()] * 2)
    with pytest.raises(StreamChangedError):
        await event_log.write(connection, {}, 2, [again])
    assert [row] == await event_reader.read_log(connection)


async def test_a_stream_that_has_changed_since_it_was_read_is_an_error(connection: Any) -> None:
    """Lesson 1."""
    (row,) = await append(connection, CLAIMED)
    with pytest.raises(StreamChangedError):
        await append(connection, CLAIMED, stream_id=row.stream_id, after_version=2)
    assert [row] == await event_reader.read_log(connection)


async def test_a_stream_that_was_created_since_it_was_missing_is_an_error(connection: Any) -> None:
    """Lesson 1."""
    (row,) = await append(connection, CLAIMED)
    unrelated = event_log.append_events([Recorded(0, new_id(), 1, None, CLAIMED)], [new_id()])
    with pytest.raises(StreamChangedError):
        await event_log.write(connection, {row.stream_id: 0}, 1, [unrelated])
    assert [row] == await event_reader.read_log(connection)


async def test_a_stream_that_changes_while_a_writer_waits_for_the_lock_is_an_error(
    connection: Any, another: Connect
) -> None:
    """Lesson 1: the streams are checked again once no other writer can change them."""
    one, two = await another(), await another()
    (row,) = await append(connection, CLAIMED)
    async with one.transaction():
        await append(one, CLAIMED, stream_id=row.stream_id, after_version=1)
        waiting = asyncio.create_task(append(two, CLAIMED, stream_id=row.stream_id, after_version=1))
        await until(lambda: is_blocked(connection, two))
    with pytest.raises(StreamChangedError):
        await waiting
    assert 2 == len(await event_reader.read_log(connection))


async def test_no_other_writer_changes_what_a_lock_holder_has_read(connection: Any, another: Connect) -> None:
    one, two = await another(), await another()
    (row,) = await append(connection, CLAIMED)
    await event_log.begin_locked(one)
    waiting = asyncio.create_task(append(two, CLAIMED))
    await until(lambda: is_blocked(connection, two))
    await append(one, CLAIMED, stream_id=row.stream_id, after_version=1)
    await one.execute("COMMIT")
    await waiting
    assert [1, 2, 1] == [recorded.version for recorded in await event_reader.read_log(connection)]


async def test_another_program_cannot_insert_a_version_that_is_taken(connection: Any) -> None:
    """Lesson 16."""
    (row,) = await append(connection, CLAIMED)
    with pytest.raises(asyncpg.UniqueViolationError):
        await insert(connection, row.stream_id, row.version)
    assert [row] == await event_reader.read_log(connection)


async def test_a_command_id_that_is_taken_is_an_error(connection: Any) -> None:
    """Lesson 16."""
    logged = LoggedCommand(new_id(), "CloseAccount", None, None, None, None, None, "accepted", b"{}")
    await event_log.write(connection, {}, 0, [log_commands([logged])])
    with pytest.raises(event_log.CommandKnownError):
        await event_log.write(connection, {}, 0, [log_commands([logged])])


async def test_what_was_appended_is_read_back(connection: Any) -> None:
    first = await append(connection, CLAIMED, NameReleased(UUID(int=1)))
    second = await append(connection, CLAIMED, stream_id=first[0].stream_id, after_version=2)
    await append(connection, CLAIMED)
    log = await event_reader.read_log(connection)
    assert [*first, *second] == [row for row in log if row.stream_id == first[0].stream_id]


async def test_pages_of_the_log_leave_nothing_out(connection: Any) -> None:
    appended = [row for _ in range(5) for row in await append(connection, CLAIMED, CLAIMED)]
    found: list[Recorded] = []
    while page := await event_reader.read_log(connection, after_position=found[-1].position if found else 0, limit=3):
        found += page
    assert appended == found


async def test_heads_are_replaced_and_read_back(connection: Any) -> None:
    (row,) = await append(connection, CLAIMED)
    heads = fold_heads([row])
    await event_log.write(connection, {}, 0, replace_heads(heads))
    assert heads == await read_heads(connection, [row.stream_id, new_id()])


async def test_a_transfer_keeps_no_head_and_is_folded_from_its_events(connection: Any) -> None:
    event = MoneyTransferred(
        source_account_id=UUID(int=1),
        destination_account_id=UUID(int=2),
        amount_cents=3,
        currency="USD",
        kind="transfer",
        reference=None,
    )
    rows = [Recorded(0, new_id(), 1, None, event)]
    heads = fold_heads(rows)
    await event_log.write(connection, {}, 1, [event_log.append_events(rows, [new_id()]), *replace_heads(heads)])
    assert 0 == await connection.fetchval("SELECT count(*) FROM stream_heads")
    assert heads == await read_heads(connection, [rows[0].stream_id])


async def test_the_events_view_shows_json(connection: Any) -> None:
    (row,) = await append(connection, AccountOpened(UUID(int=1), "EUR"))
    found = await connection.fetchrow("SELECT *, state->>'currency' AS currency FROM events")
    seen = (found["position"], found["stream_id"], found["version"], found["topic"], found["currency"])
    assert (row.position, row.stream_id, 1, "AccountOpened", "EUR") == seen


# Positions and times are in order.


async def recorded_times(connection: Any) -> list[datetime]:
    rows = await connection.fetch("SELECT recorded_at FROM stored_events ORDER BY notification_id")
    return [row[0] for row in rows]


async def test_time_never_decreases_with_the_position(connection: Any, another: Connect) -> None:
    writers = [await another() for _ in range(4)]

    async def write(number: int, writer: Any) -> None:
        for _ in range(25):
            await (insert(writer) if number % 2 else append(writer, CLAIMED, CLAIMED))

    await asyncio.gather(*(write(number, writer) for number, writer in enumerate(writers)))
    times_seen = await recorded_times(connection)
    assert 150 == len(times_seen)
    assert sorted(times_seen) == times_seen


@pytest.mark.parametrize("write", [append, insert], ids=["ours", "another program's"])
async def test_time_does_not_go_back_when_the_clock_does(write: Any, connection: Any) -> None:
    future = datetime.now(UTC) + timedelta(hours=1)
    await connection.execute(
        """INSERT INTO stored_events (originator_id, originator_version, topic, state, recorded_at)
           VALUES ($1, 1, 'NameClaimed', $2, $3)""",
        new_id(),
        encode(CLAIMED),
        future,
    )
    await (append(connection, CLAIMED) if write is append else insert(connection))
    assert [future, future] == await recorded_times(connection)


@pytest.mark.parametrize("write", [append, insert], ids=["ours", "another program"])
async def test_a_second_writer_waits_for_the_first_so_positions_become_visible_in_order(
    write: Any, connection: Any, another: Connect
) -> None:
    """Lesson 9: this holds for a program that knows only INSERT."""
    one, two = await another(), await another()
    transaction = one.transaction()
    await transaction.start()
    await insert(one)
    waiting = asyncio.create_task(append(two, CLAIMED) if write is append else insert(two))
    await until(lambda: is_blocked(connection, two))
    assert ([], False) == (await event_reader.read_log(connection), waiting.done())

    await insert(one)
    await transaction.commit()
    await waiting
    log = await find_table(connection, "stored_events")
    writers = await connection.fetch(f"SELECT xmin::text FROM {log} ORDER BY notification_id")
    assert writers[0] == writers[1] != writers[2]


async def test_readers_do_not_wait_for_writers(connection: Any, another: Connect) -> None:
    one = await another()
    async with one.transaction():
        await insert(one)
        assert [] == await asyncio.wait_for(event_reader.read_log(connection), DEADLINE_SECONDS)


async def test_reserved_positions_are_consecutive_and_never_reused(connection: Any, another: Connect) -> None:
    first, second, third = [row.position for row in await append(connection, CLAIMED, CLAIMED, CLAIMED)]
    assert (second, third) == (first + 1, first + 2)
    other = await another()
    assert third < await other.fetchval("SELECT nextval('stored_events_notification_id_seq')")


async def lock_and_insert(connection: Any) -> None:
    """Lock as the `eventsourcing` library does."""
    async with connection.transaction():
        await connection.execute("LOCK TABLE stored_events IN EXCLUSIVE MODE")
        await insert(connection)


async def test_a_program_that_locks_the_table_first_delays_the_ledger_and_no_more(
    connection: Any, another: Connect
) -> None:
    one, two = await another(), await another()
    async with one.transaction():
        await one.execute("LOCK TABLE stored_events IN EXCLUSIVE MODE")
        waiting = asyncio.create_task(append(two, CLAIMED))
        await until(lambda: is_blocked(connection, two))
        await insert(one)
    assert 1 == len(await waiting)


async def test_the_ledger_delays_a_program_that_locks_the_table_and_no_more(connection: Any, another: Connect) -> None:
    one, two = await another(), await another()
    async with one.transaction():
        await append(one, CLAIMED)
        waiting = asyncio.create_task(lock_and_insert(two))
        await until(lambda: is_blocked(connection, two))
        await append(one, CLAIMED)
    await waiting
    assert 3 == len(await event_reader.read_log(connection))


async def test_a_program_that_locks_the_table_and_the_ledger_never_deadlock(connection: Any, another: Connect) -> None:
    one, two, three = await another(), await another(), await another()

    async def repeat(write: Any, writer: Any) -> None:
        for _ in range(40):
            await write(writer)

    await asyncio.gather(
        repeat(lock_and_insert, one), repeat(insert, two), repeat(lambda writer: append(writer, CLAIMED), three)
    )
    assert 120 == len(await event_reader.read_log(connection))


async def test_an_index_can_be_built_while_events_are_appended(connection: Any, another: Connect) -> None:
    """Lesson 19."""
    writer = await another()
    log = await find_table(connection, "stored_events")
    built = asyncio.create_task(connection.execute(f"CREATE INDEX CONCURRENTLY topics ON {log} (topic)"))
    written = 0
    while not built.done() or written == 0:
        await append(writer, CLAIMED)
        written += 1
    await built
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'topics'::regclass"
    assert (True, written) == (await connection.fetchval(valid), len(await event_reader.read_log(connection)))
    await connection.execute("DROP INDEX topics")


# Several ledgers in one database, and concurrent starts.


async def test_two_schemas_of_one_database_are_two_ledgers(
    settings: Settings, connection: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = settings.model_copy(update={"ledger_schema": "second"})
    await migrate_at_once(other, tmp_path_factory, 1)
    async with open_runtime(settings) as first, open_runtime(other) as second:
        assert (True, True) == (await ensure_first_admin(first), await ensure_first_admin(second))
        assert (False, False) == (await ensure_first_admin(first), await ensure_first_admin(second))
    counts = [await connection.fetchval(f"SELECT count(*) FROM {name}.stored_events") for name in ("ledger", "second")]
    assert [3, 3] == counts
    public = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    assert 0 == await connection.fetchval(public)


async def test_writers_of_two_schemas_do_not_wait_for_each_other(
    settings: Settings, another: Connect, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = settings.model_copy(update={"ledger_schema": "second"})
    await migrate_at_once(other, tmp_path_factory, 1)
    one, two = await another(), await connect(other)
    try:
        async with one.transaction():
            await insert(one)
            await asyncio.wait_for(append(two, CLAIMED), DEADLINE_SECONDS)
    finally:
        await two.close()


async def test_concurrent_migrations_all_succeed(
    settings: Settings, connection: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    fresh = settings.model_copy(update={"ledger_schema": "fresh"})
    await migrate_at_once(fresh, tmp_path_factory, 3)
    assert 1 == await connection.fetchval("SELECT count(*) FROM fresh.alembic_version")
    assert 0 == await connection.fetchval("SELECT count(*) FROM fresh.stored_events")


async def migrate_at_once(settings: Settings, folders: pytest.TempPathFactory, count: int) -> None:
    """Run `ledger migrate` in `count` processes."""
    async with AsyncExitStack() as stack:
        variables = {**settings.environment(), "LEDGER_SCHEMA": settings.ledger_schema}
        running = [stack.enter_context(ledger(folders.mktemp("migrate"), "migrate", **variables)) for _ in range(count)]
        statuses = [await one.status() for one in running]
        assert [0] * count == statuses, [one.lines for one in running]


# Columns as array literals.

any_text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
odd_text = st.sampled_from(
    [
        "",
        "NULL",
        "null",
        '"',
        "\\",
        '\\"',
        "{",
        "}",
        "{}",
        "{a,b}",
        ",",
        " ",
        "\t\n",
        "'",
        "$1",
        "a\\",
        "\u2028",
        "\U0001f600",
    ]
)
zones = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(-timedelta(hours=11))])
DAYS = timedelta(days=2)  # in no time zone does UTC leave the years that exist
EARLIEST, LATEST = datetime.min + DAYS, datetime.max - DAYS  # noqa: DTZ901 - in the zones below
any_time = st.datetimes(EARLIEST, LATEST, timezones=zones)


async def read_back(connection: Any, kind: str, encoded: bytes) -> list[Any]:
    """Return what PostgreSQL reads from an encoded array."""
    rows = await connection.fetch(f"SELECT * FROM {columns(kind)}", encoded)
    return [row[0] for row in rows]


@ON_A_CONNECTION_OF_ITS_OWN
@hypothesis.given(values=st.lists(st.none() | any_text | odd_text))
async def test_any_text_is_read_back(values: list[str | None], connection: Any) -> None:
    assert values == await read_back(connection, "text", texts(values))


@ON_A_CONNECTION_OF_ITS_OWN
@hypothesis.given(values=st.lists(st.none() | st.binary()))
async def test_any_bytes_are_read_back(values: list[bytes | None], connection: Any) -> None:
    assert values == await read_back(connection, "bytea", blobs(values))


@ON_A_CONNECTION_OF_ITS_OWN
@hypothesis.given(values=st.lists(st.none() | any_time))
async def test_any_time_is_read_back(values: list[datetime | None], connection: Any) -> None:
    assert values == await read_back(connection, "timestamptz", times(values))


@ON_A_CONNECTION_OF_ITS_OWN
@hypothesis.given(values=st.lists(st.none() | st.integers(-(2**63), 2**63 - 1)))
async def test_any_integer_is_read_back(values: list[int | None], connection: Any) -> None:
    assert values == await read_back(connection, "bigint", integers(values))


@ON_A_CONNECTION_OF_ITS_OWN
@hypothesis.given(values=st.lists(st.none() | st.uuids()))
async def test_any_id_is_read_back(values: list[UUID | None], connection: Any) -> None:
    assert values == await read_back(connection, "uuid", uuids(values))


async def test_booleans_are_read_back(connection: Any) -> None:
    values = [True, None, False]
    assert values == await read_back(connection, "boolean", booleans(values))


async def test_documents_are_read_back(connection: Any) -> None:
    values = [b'{"a": [1, null, "\xc3\xa9"]}', b"[]", b"null"]
    assert [value.decode() for value in values] == await read_back(connection, "jsonb", documents(values))


@pytest.mark.parametrize(
    ("kind", "values"),
    [("uuid", [UUID(int=7)]), ("bigint", [1, None]), ("text", ["a"]), ("bytea", [b"a"]), ("boolean", [True])],
)
async def test_plain_lists_are_encoded_too(kind: str, values: list[Any], connection: Any) -> None:
    """A query outside of a commit group passes lists, as on any connection."""
    assert values == await read_back(connection, kind, values)  # type: ignore[arg-type]


def a_table(name: str, rows: Iterable[tuple[int, str]]) -> Statement:
    """Return a statement that fills a table."""
    given = list(rows)
    return Statement(
        f"INSERT INTO {name} (number, word) SELECT * FROM {columns('bigint', 'text')}",
        (integers(number for number, _ in given), texts(word for _, word in given)),
    )


ONE = Statement("SELECT $1::text AS one", ("1",))


async def test_statements_run_together_each_with_its_own_values(connection: Any) -> None:
    """With more than ten values, $1 must not match the beginning of $10."""
    names = [f"words_{number}" for number in range(7)]
    for name in names:
        await connection.execute(f"CREATE TEMPORARY TABLE {name} (number bigint, word text)")
    expected = {name: [(number, f"{name} {number}") for number in range(3)] for name in names}
    row = await run_together(connection, ONE, [a_table(name, rows) for name, rows in expected.items()])
    found = {name: [tuple(row) for row in await connection.fetch(f"SELECT * FROM {name}")] for name in names}
    assert (expected, "1") == (found, row["one"])


async def test_statements_that_run_together_all_take_effect_or_none(connection: Any) -> None:
    await connection.execute("CREATE TEMPORARY TABLE words (number bigint PRIMARY KEY, word text)")
    await connection.execute("CREATE TEMPORARY TABLE others (number bigint, word text)")
    with pytest.raises(asyncpg.UniqueViolationError):
        await run_together(connection, ONE, [a_table("others", [(1, "a")]), a_table("words", [(1, "a"), (1, "b")])])
    assert 0 == await connection.fetchval("SELECT count(*) FROM others")


async def test_statements_that_run_together_know_what_was_reserved(connection: Any) -> None:
    await connection.execute("CREATE TEMPORARY TABLE words (word text)")
    await run_together(connection, ONE, [Statement("INSERT INTO words SELECT one || $1 FROM reserved", ("2",))])
    assert "12" == await connection.fetchval("SELECT word FROM words")
