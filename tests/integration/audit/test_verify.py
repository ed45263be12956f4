"""Verification finds tampering, names its place, and finds nothing in correct books."""

import asyncio
import itertools
import json
from typing import Any, NamedTuple, get_args
from uuid import UUID

import msgspec
import pytest
from redis.asyncio import Redis

from benchmarks.history import grow
from ledger.audit.verify import Finding, Sources, reading, verify
from ledger.commands.tokens import RevokeUserTokens, StartSession
from ledger.commands.transfers import TransferMoney
from ledger.events import Event
from ledger.events.accounts import world_account_id
from ledger.events.tokens import ALL_TOKENS, Pair
from ledger.projections.tokens import EVERYBODY
from ledger.runtime import Runtime
from ledger.settings import Settings
from ledger.store.identity import read_identity
from ledger.values.cache_values import CacheValues
from ledger.values.ids import new_id
from ledger.write.group import Origin
from tests.integration.audit.conftest import DEBIT, DECODED, TRANSFER, Progress, check, edit_row, plant
from tests.support import traffic
from tests.support.controls import Api
from tests.support.processes import Ran, run_ledger, until
from tests.support.traffic import (
    ALICE,
    BOB,
    CAROL,
    DINARS,
    ENTRY,
    EUROS,
    HELD,
    MORE_EUROS,
    OPEN_SESSION,
    PAYMENT,
    PAYMENT_COMMAND,
    PENDING,
    ROTATED_SESSION,
    YEN,
)


async def test_the_history_of_these_tests_leaves_no_table_empty(busy: Runtime) -> None:
    for table in ("users", "accounts", "entries", "transfers", "captures", "sessions", "tokens", "credentials"):
        assert await busy.pool.fetchval(f"SELECT count(*) FROM {table}") > 0, table
    topics = {row[0] for row in await busy.pool.fetch("SELECT DISTINCT topic FROM stored_events")}
    assert {kind.__name__ for kind in get_args(Event)} == topics


@pytest.mark.parametrize("options", [{}, {"fast": True}, {"since": 1}, {"since": 60}], ids=str)
async def test_nothing_is_found_in_correct_books(options: dict[str, Any], copied: Sources) -> None:
    assert [] == await check(copied, **options)


async def test_nothing_is_found_in_an_empty_ledger(runtime: Runtime, connection: Any) -> None:
    for fast in (False, True):
        assert [] == await check(Sources(connection, runtime.pool, runtime.redis), fast=fast)


async def test_nothing_is_found_in_the_history_of_the_benchmark(api: Api, runtime: Runtime, connection: Any) -> None:
    pair = [UUID((await api.new_account(balance_cents=100))["id"]) for _ in range(2)]
    await grow(connection, pair, 30)
    assert [] == await check(Sources(connection, runtime.pool, runtime.redis))


# Corruptions, and what verification finds.


class Planted(NamedTuple):
    """A corruption, and a finding that verification must report for it.

    `event` is the SQL condition for the event that the finding names, before the corruption. `fast` says that the check
    without history reports the same rule; `whole`, that the complete check does.
    """

    name: str
    sql: str
    rule: str
    place: dict[str, Any]
    event: str | None = None
    fast: bool = False
    whole: bool = True


ITS_VERSION = f"SELECT originator_version FROM stored_events WHERE {DEBIT}"
NEXT = f"originator_id = '{EUROS}' AND originator_version = ({ITS_VERSION}) + 1"
READ_TABLE = "the read table matches the events"
WORLD = world_account_id("EUR")


def change_row(table: str, key: str, row: Any, column: str, value: str, *, fast: bool = False) -> Planted:
    sql = f"UPDATE {table} SET {column} = {value} WHERE {key} = '{row}'"
    name = f"a changed {column} in {table}"
    return Planted(name, sql, READ_TABLE, {"table": table, "row": str(row), "column": column}, fast=fast)


def delete_row(table: str, key: str, row: Any, *, fast: bool = False) -> Planted:
    rule = "the read table has every row that follows from the events"
    sql = f"DELETE FROM {table} WHERE {key} = '{row}'"
    return Planted(f"a deleted row of {table}", sql, rule, {"table": table, "row": str(row)}, fast=fast)


def add_row(table: str, key: str, row: Any, *, fast: bool = False) -> Planted:
    """Return the statement that copies a row to another key, which no event has."""
    new = new_id()
    rule = "the read table has only rows that follow from the events"
    indexes = {"users": "users_name_id_idx, users_position_idx", "accounts": "accounts_position_idx"}
    drop = f"DROP INDEX {indexes[table]};" if table in indexes else ""
    sql = f"""{drop} CREATE TEMPORARY TABLE copied AS SELECT * FROM {table} WHERE {key} = '{row}';
              UPDATE copied SET {key} = '{new}'; INSERT INTO {table} SELECT * FROM copied; DROP TABLE copied"""
    return Planted(f"an added row of {table}", sql, rule, {"table": table}, fast=fast)


def change_head(
    column: str, value: str, rule: str, finding_column: str | None = None, *, fast: bool = False
) -> Planted:
    sql = f"UPDATE stream_heads SET {column} = {value} WHERE originator_id = '{EUROS}'"
    place = {"table": "stream_heads", "row": str(EUROS), "column": finding_column or column, "stream_id": EUROS}
    return Planted(f"a head's {finding_column or column}: {value[:20]}", sql, rule, place, fast=fast)


AFTER = "the balance after an entry is the balance before it plus its amount"
SIDES = "the entries of a transaction match its postings"
HEAD_SAYS = "the head matches the events of its stream"
ENTRIES = {"table": "entries", "column": "balance_cents", "stream_id": EUROS}
OF_PAYMENT = {"table": "transfers", "row": str(PAYMENT), "stream_id": PAYMENT}
LOGGED = {"table": "command_log", "row": str(PAYMENT_COMMAND)}
HAS_CREDENTIAL = "a user has the credential that the events name"

PLANTED = [
    # The log.
    Planted("a changed amount", edit_row(DEBIT, "amount_cents", "2499"), AFTER, ENTRIES, DEBIT),
    Planted("a changed amount of an entry", edit_row(DEBIT, "amount_cents", "2499"), SIDES, OF_PAYMENT),
    Planted("a changed amount of a transfer", edit_row(TRANSFER, "amount_cents", "2499"), SIDES, OF_PAYMENT),
    Planted("a changed source", edit_row(TRANSFER, "source_account_id", f'"{WORLD}"'), SIDES, OF_PAYMENT),
    Planted("a forged balance", edit_row(DEBIT, "balance_cents", "1000000"), AFTER, ENTRIES, DEBIT),
    Planted(
        "a negative amount",
        edit_row(TRANSFER, "amount_cents", "-1"),
        "the amount of a transaction is positive",
        OF_PAYMENT,
    ),
    Planted(
        "another currency",
        edit_row(TRANSFER, "currency", '"USD"'),
        "every posting has the currency of its account",
        OF_PAYMENT,
    ),
    Planted("a transfer without its entry", f"DELETE FROM stored_events WHERE {DEBIT}", SIDES, OF_PAYMENT),
    Planted(
        "an entry without its transfer",
        f"DELETE FROM stored_events WHERE {TRANSFER}",
        "every entry belongs to a transaction",
        OF_PAYMENT,
    ),
    Planted(
        "a deleted event",
        f"DELETE FROM stored_events WHERE {DEBIT}",
        "the versions of a stream have no gaps",
        {"table": "stored_events"},
        NEXT,
    ),
    Planted(
        "a deleted last event",
        f"""DELETE FROM stored_events WHERE originator_id = '{EUROS}' AND originator_version =
            (SELECT max(originator_version) FROM stored_events WHERE originator_id = '{EUROS}')""",
        "the head has the version of the last event",
        {"table": "stream_heads", "row": str(EUROS), "column": "version"},
        fast=True,
    ),
    Planted(
        "a deleted stream",
        f"DELETE FROM stored_events WHERE originator_id = '{ALL_TOKENS}'",
        "every head and credential belongs to a stream",
        {"table": "stream_heads", "row": str(ALL_TOKENS)},
        fast=True,
    ),
    Planted(
        "a deleted beginning",
        f"DELETE FROM stored_events WHERE originator_id = '{YEN}' AND originator_version = 1",
        "every event can follow the earlier events of its stream",
        {"table": "stored_events"},
        f"originator_id = '{YEN}' AND originator_version = 2",
    ),
    Planted(
        "swapped versions",
        f"""UPDATE stored_events SET originator_version = -originator_version
            WHERE originator_id = '{EUROS}' AND originator_version IN (2, 3);
            UPDATE stored_events SET originator_version = 5 + originator_version
            WHERE originator_id = '{EUROS}' AND originator_version < 0""",
        "the positions in a stream increase with its versions",
        {"table": "stored_events", "version": 3},
        f"originator_id = '{EUROS}' AND originator_version = 2",
    ),
    Planted(
        "an undecodable event",
        f"UPDATE stored_events SET state = '{{\"amount' WHERE {DEBIT}",
        "every event decodes under its topic",
        {"table": "stored_events", "expected": "a valid AccountDebited"},
        DEBIT,
    ),
    Planted(
        "an unknown topic",
        f"UPDATE stored_events SET topic = 'os:system' WHERE {DEBIT}",
        "every event decodes under its topic",
        {"table": "stored_events", "found": "unknown topic: os:system"},
        DEBIT,
    ),
    Planted(
        "a state in the place of an event",
        f"""UPDATE stored_events SET topic = 'Name', state = '{{"holder_id":null}}' WHERE {DEBIT}""",
        "every event decodes under its topic",
        {"table": "stored_events", "found": "a state: Name"},
        DEBIT,
    ),
    Planted(
        "an event that no table can hold",
        edit_row(TRANSFER, "amount_cents", "1" + "0" * 30),
        "the projections can apply every event",
        {"table": "stored_events"},
        TRANSFER,
    ),
    Planted(
        "a time that goes back",
        f"UPDATE stored_events SET recorded_at = '2000-01-01' WHERE {TRANSFER}",
        "times never decrease from one position to the next",
        {"table": "stored_events"},
        TRANSFER,
    ),
    # The command log.
    Planted(
        "a time that is not the command's",
        f"UPDATE stored_events SET recorded_at = recorded_at + interval '1 microsecond' WHERE {TRANSFER}",
        "a command and its events are recorded at the same time",
        {**LOGGED, "column": "recorded_at"},
        TRANSFER,
    ),
    Planted(
        "a deleted command",
        f"DELETE FROM command_log WHERE command_id = '{PAYMENT_COMMAND}'",
        "the command of every event is in the command log",
        LOGGED,
        TRANSFER,
    ),
    Planted(
        "a command without its events",
        f"UPDATE stored_events SET command_id = NULL WHERE command_id = '{PAYMENT_COMMAND}'",
        "every accepted command has its events",
        LOGGED,
    ),
    # Heads.
    change_head("version", "version - 1", "the head has the version of the last event", fast=True),
    change_head(
        "state",
        f"convert_to(jsonb_set({DECODED}, '{{balance_cents}}', '1')::text, 'UTF8')",
        HEAD_SAYS,
        "state.balance_cents",
    ),
    change_head("state", "'x'", "every head decodes under its topic", fast=True),
    change_head("topic", "'os:system'", "every head decodes under its topic", "state", fast=True),
    change_head("(topic, state)", """('Name', '{"holder_id":null}')""", HEAD_SAYS, "topic"),
    Planted(
        "a deleted head",
        f"DELETE FROM stream_heads WHERE originator_id = '{EUROS}'",
        "every stream that needs a head has one",
        {"table": "stream_heads", "row": str(EUROS)},
    ),
    # Read tables.
    change_row("users", "id", BOB, "username", "'mallory'", fast=True),
    change_row("users", "id", BOB, "roles", "'admin'", fast=True),
    change_row("users", "id", BOB, "name_id", f"'{new_id()}'"),
    change_row("users", "id", ALICE, "created_at", "'2000-01-01'"),
    change_row("accounts", "id", EUROS, "balance_cents", "balance_cents + 1", fast=True),
    change_row("accounts", "id", EUROS, "user_id", f"'{BOB}'", fast=True),
    change_row("accounts", "id", EUROS, "status", "'closed'", fast=True),
    change_row("transfers", "id", PAYMENT, "reference", "NULL"),
    change_row("transfers", "id", PAYMENT, "amount_cents", "1"),
    change_row("sessions", "id", ROTATED_SESSION, "revoked_below", "0"),
    change_row("sessions", "id", OPEN_SESSION, "expires_at", "'2000-01-01'"),
    change_row("sessions", "id", OPEN_SESSION, "user_id", f"'{BOB}'", fast=True),
    change_row("cutoffs", "user_id", EVERYBODY, "position", "1"),
    change_row("cutoffs", "user_id", ALICE, "position", "1"),
    change_row("tokens", "jti", traffic.fixed_id(54), "revoked_position", "NULL"),
    delete_row("users", "id", BOB, fast=True),
    delete_row("accounts", "id", EUROS, fast=True),
    delete_row("transfers", "id", PAYMENT),
    delete_row("sessions", "id", OPEN_SESSION, fast=True),
    delete_row("cutoffs", "user_id", ALICE),
    delete_row("tokens", "jti", traffic.fixed_id(52)),
    add_row("users", "id", BOB, fast=True),
    add_row("accounts", "id", EUROS, fast=True),
    add_row("transfers", "id", PAYMENT),
    add_row("sessions", "id", OPEN_SESSION, fast=True),
    add_row("cutoffs", "user_id", ALICE),
    add_row("tokens", "jti", traffic.fixed_id(52)),
    # Sums, and tables beside the log.
    Planted(
        "balances that do not sum to zero",
        f"UPDATE accounts SET balance_cents = balance_cents + 1 WHERE id = '{EUROS}'",
        "the balances of each currency sum to zero",
        {"table": "accounts", "row": "EUR", "expected": 0, "found": 1},
        fast=True,
    ),
    Planted(
        "money that is held by no hold",
        f"UPDATE accounts SET held_cents = held_cents + 1 WHERE id = '{EUROS}'",
        "the held amount of an account is the sum of its pending holds",
        {"table": "accounts", "row": str(EUROS), "column": "held_cents"},
        fast=True,
    ),
    Planted(
        "a hold that holds more than its account knows",
        f"UPDATE transfers SET amount_cents = 99 WHERE id = '{PENDING}'",
        "the held amount of an account is the sum of its pending holds",
        {"table": "accounts", "row": str(EUROS), "column": "held_cents"},
        fast=True,
        whole=False,
    ),
    Planted(
        "a journal entry that does not sum to zero",
        edit_row(f"originator_id = '{ENTRY}' AND originator_version = 1", "postings,0,amount_cents", "-31"),
        "the postings of a journal entry sum to zero in each currency",
        {"table": "transfers", "row": str(ENTRY), "found": "EUR"},
    ),
    Planted(
        "a leg of a journal entry that its account does not have",
        f"""UPDATE transfers SET postings = jsonb_set(postings, '{{0,amount_cents}}', '-31') WHERE id = '{ENTRY}'""",
        SIDES,
        {"table": "transfers", "row": str(ENTRY)},
        fast=True,
        whole=False,
    ),
    Planted(
        "a capture of another amount",
        f"UPDATE transfers SET captured_cents = 5 WHERE id = '{HELD}'",
        SIDES,
        {"table": "transfers", "row": str(HELD)},
        fast=True,
        whole=False,
    ),
    Planted(
        "a row of a capture with another amount",
        f"UPDATE captures SET amount_cents = 2 WHERE transaction_id = '{HELD}' AND version = 2",
        SIDES,
        {"table": "transfers", "row": str(HELD)},
        fast=True,
        whole=False,
    ),
    Planted(
        "a row of a capture without its reference",
        f"UPDATE captures SET reference = NULL WHERE transaction_id = '{HELD}' AND version = 2",
        READ_TABLE,
        {"table": "captures", "row": f"{HELD} 2", "column": "reference"},
    ),
    Planted(
        "no row of a capture",
        f"DELETE FROM captures WHERE transaction_id = '{HELD}' AND version = 3",
        "the read table has every row that follows from the events",
        {"table": "captures", "row": f"{HELD} 3"},
    ),
    change_row("accounts", "id", DINARS, "overdraft_limit_cents", "0", fast=True),
    change_row("accounts", "id", DINARS, "frozen", "'all'", fast=True),
    change_row("transfers", "id", HELD, "status", "'voided'"),
    change_row("transfers", "id", HELD, "settled_at", "NULL"),
    change_row("transfers", "id", ENTRY, "reversed_by", "NULL"),
    change_row("transfers", "id", ENTRY, "metadata", "'{}'"),
    Planted(
        "another credential",
        f"UPDATE credentials SET id = gen_random_uuid() WHERE user_id = '{BOB}'",
        HAS_CREDENTIAL,
        {"table": "credentials", "row": str(BOB), "column": "id"},
        fast=True,
    ),
    Planted(
        "a deleted credential",
        f"DELETE FROM credentials WHERE user_id = '{BOB}'",
        HAS_CREDENTIAL,
        {"table": "credentials", "row": str(BOB), "found": None},
        fast=True,
    ),
    Planted(
        "the credential of a deleted user",
        f"INSERT INTO credentials VALUES ('{CAROL}', gen_random_uuid(), '')",
        HAS_CREDENTIAL,
        {"table": "credentials", "row": str(CAROL), "expected": None},
        fast=True,
    ),
    Planted(
        "the credential of nobody",
        f"INSERT INTO credentials VALUES ('{traffic.fixed_id(98)}', gen_random_uuid(), '')",
        "every head and credential belongs to a stream",
        {"table": "credentials", "row": str(traffic.fixed_id(98))},
        fast=True,
    ),
]


def has(findings: list[Finding], rule: str, place: dict[str, Any]) -> bool:
    return any(
        finding.rule == rule and all(getattr(finding, name) == value for name, value in place.items())
        for finding in findings
    )


async def place_of(connection: Any, event: str) -> dict[str, Any]:
    row = await connection.fetchrow(
        f"SELECT originator_id, originator_version, notification_id FROM stored_events WHERE {event}"
    )
    return {"stream_id": row[0], "version": row[1], "position": row[2]}


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name)
async def test_a_corruption_is_found_and_its_place_named(planted: Planted, copied: Sources) -> None:
    """Lessons 12, 15 and 17.

    A wrong read model is found, and an unknown topic is a finding and imports nothing. The rules of the books are in
    verification: the fold accepts any amount, so a stricter rule leaves old history readable.
    """
    place = (await place_of(copied.now, planted.event) if planted.event else {}) | planted.place
    await plant(copied.now, planted.sql)
    for fast in [*([False] if planted.whole else []), *([True] if planted.fast else [])]:
        found = await check(copied, fast=fast)
        seen = place if not fast or planted.place["table"] in {"entries", "transfers"} else place | {"position": None}
        assert has(found, planted.rule, seen), "\n".join(finding.text() for finding in found)


# Partial checks, and checks under load.


async def test_checks_begin_at_since(copied: Sources) -> None:
    place = await place_of(copied.now, TRANSFER)
    await plant(copied.now, f"UPDATE stored_events SET topic = 'os:system' WHERE {TRANSFER}")
    rule = "every event decodes under its topic"
    assert has(await check(copied, since=place["position"] - 1), rule, place)
    last_of_its_transaction = place["position"] + 3
    assert not has(await check(copied, since=last_of_its_transaction), rule, place)


async def test_since_may_be_inside_a_database_transaction(copied: Sources) -> None:
    last = await copied.now.fetchval("SELECT max(notification_id) FROM stored_events")
    for since in range(last - 3, last + 2):
        assert [] == await check(copied, since=since)


async def test_since_finds_what_changed_rows_that_came_after(copied: Sources) -> None:
    since = await copied.now.fetchval("SELECT max(position) - 1 FROM entries")
    await plant(copied.now, f"UPDATE accounts SET balance_cents = 1 WHERE id = '{EUROS}'")
    place = {"table": "accounts", "row": str(EUROS), "column": "balance_cents", "found": 1}
    assert has(await check(copied, since=since), READ_TABLE, place)


@pytest.mark.parametrize("fast", [False, True])
async def test_books_are_checked_as_they_were_at_one_point_in_time(fast: bool, sources: Sources, busy: Runtime) -> None:
    written, done = 0, False

    async def write(source: UUID, destination: UUID) -> None:
        nonlocal written
        for number in itertools.count():
            if done:
                return
            await busy.committer.submit(
                TransferMoney(
                    transaction_id=new_id(),
                    source_account_id=source,
                    destination_account_id=destination,
                    amount_cents=1,
                ),
                Origin(new_id()),
            )
            await busy.committer.submit(RevokeUserTokens(ALICE), Origin(new_id()))
            session = StartSession(
                session_id=new_id(),
                user_id=ALICE,
                credential_id=traffic.secret(ALICE).id,
                pair=traffic.token_pair(0),
                session_expires_at=traffic.FUTURE,
            )
            pair = Pair(new_id(), traffic.FUTURE - 5, new_id(), traffic.FUTURE, number)
            await busy.committer.submit(msgspec.structs.replace(session, pair=pair), Origin(new_id()))
            written += 1

    writers = [asyncio.create_task(write(*accounts)) for accounts in ((EUROS, MORE_EUROS), (MORE_EUROS, EUROS))]
    for _ in range(3):
        before = written
        assert [] == await check(sources, fast=fast)
        await until(lambda before=before: written > before)
    done = True
    await asyncio.gather(*writers)


async def test_verification_leaves_nothing_behind(copied: Sources) -> None:
    count = "SELECT count(*) FROM pg_class WHERE relpersistence = 't' AND relkind IN ('r', 'i')"
    before = await copied.now.fetchval(count)
    await check(copied)
    assert before == await copied.now.fetchval(count)
    assert 0 < await copied.connection.fetchval("SELECT count(*) FROM users")


async def test_memory_does_not_grow_with_the_log(copied: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of one row lead to the same findings as one page with all rows."""
    monkeypatch.setattr(reading, "PAGE", 1)
    progress = Progress()
    assert [] == [finding async for finding in verify(copied, progress)]
    assert sum(rows for _, rows in progress.parts) == progress.rows


# The revocation cache.


@pytest.mark.parametrize("fast", [False, True])
async def test_a_cutoff_that_the_revocation_cache_lacks_is_found(fast: bool, with_cache: Sources) -> None:
    values = CacheValues(*await read_identity(with_cache.now))
    key = values.cutoffs
    await with_cache.redis.hset(key, str(ALICE), values.encode(key, str(ALICE), 1))
    await with_cache.redis.hdel(key, str(EVERYBODY))
    found = await check(with_cache, fast=fast)
    rule = "the revocation cache matches the read tables"
    assert has(found, rule, {"table": "redis", "row": key, "column": str(ALICE), "found": 1})
    assert has(found, rule, {"table": "redis", "row": key, "column": str(EVERYBODY), "found": None})


@pytest.mark.parametrize("value", [0, 2**53], ids=["alive again", "dead"])
async def test_a_wrong_session_in_the_revocation_cache_is_found(value: int, with_cache: Sources) -> None:
    values = CacheValues(*await read_identity(with_cache.now))
    key = f"{values.prefix}{ALICE}:{ROTATED_SESSION}"
    assert await with_cache.redis.exists(key)
    await with_cache.redis.set(key, values.encode(key, "", value))
    found = await check(with_cache)
    assert has(found, "the revocation cache matches the read tables", {"table": "redis", "row": key, "found": value})
    assert 1 == len(found)


async def test_a_revocation_cache_that_no_process_trusts_is_not_checked(with_cache: Sources) -> None:
    values = CacheValues(*await read_identity(with_cache.now))
    marker = values.encode(values.cutoffs, "position", 1)
    await with_cache.redis.hset(values.cutoffs, mapping={"position": marker, str(ALICE): "1"})
    assert [] == await check(with_cache)


@pytest.mark.parametrize("member", ["position", str(ALICE), None])
async def test_a_planted_value_in_the_revocation_cache_is_found(member: str | None, with_cache: Sources) -> None:
    values = CacheValues(*await read_identity(with_cache.now))
    key = values.cutoffs if member else f"{values.prefix}{ALICE}:{ROTATED_SESSION}"
    if member:
        await with_cache.redis.hset(key, member, str(2**53))
    else:
        await with_cache.redis.set(key, 0)
    (found,) = await check(with_cache)
    rule = "the ledger itself wrote each value of the revocation cache"
    assert (rule, "redis", key, member) == (found.rule, found.table, found.row, found.column)


async def test_without_redis_the_rest_is_checked(copied: Sources) -> None:
    progress = Progress()
    async with Redis.from_url("unix:///nowhere/valkey.sock") as gone:
        assert [] == [finding async for finding in verify(copied._replace(redis=gone), progress)]
    assert ["the revocation cache was not checked: Redis is not usable: ConnectionError"] == progress.notes


# The command.


async def run_verify(settings: Settings, *arguments: str) -> Ran:
    return await run_ledger("audit", "verify", *arguments, variables=settings.environment())


async def test_the_command_reports_correct_books(busy: Runtime) -> None:
    for arguments in ((), ("--fast",), ("--since", "5"), ("--json",)):
        status, output, log = await run_verify(busy.settings, *arguments)
        assert (0, "") == (status, output), log
        assert "the books are right" in log


async def test_the_command_fails_and_names_the_place(busy: Runtime, connection: Any) -> None:
    await plant(connection, f"UPDATE transfers SET reference = NULL WHERE id = '{PAYMENT}'")
    status, output, log = await run_verify(busy.settings, "--json")
    (finding,) = (json.loads(line) for line in output.splitlines())
    expected = {"rule": READ_TABLE, "table": "transfers", "row": str(PAYMENT), "column": "reference"}
    assert (1, expected | {"expected": traffic.REFERENCE}) == (status, finding), log
    status, output, log = await run_verify(busy.settings)
    assert 1 == status
    assert output.startswith(f"{READ_TABLE}: table transfers, row {PAYMENT}, column reference: expected rent")
    assert "1 finding" in log


async def test_the_command_refuses_contradicting_options(settings: Settings) -> None:
    status, output, log = await run_verify(settings, "--fast", "--since", "7")
    assert (2, "") == (status, output)
    assert "--since limits the history that is read" in log
