"""Repeated runs of `ledger import-reference` double nothing and lose nothing, whatever happened between them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import pytest

from ledger.commands.accounts import CloseAccount, OpenAccount, UpdateAccount
from ledger.commands.transfers import TransferMoney
from ledger.runtime import Runtime
from ledger.settings import Settings
from tests.support.controls import new_id
from tests.support.outages import terminate_connections
from tests.support.processes import ledger, run_ledger, until
from tests.support.reference import (
    Reference,
    at,
    balances,
    codes,
    insert_invalid_rows,
    new_accounts,
    rehearse_import,
    run_import,
    submit,
    written_state,
)


async def test_a_second_run_changes_nothing(runtime: Runtime, connection: Any, reference: Reference) -> None:
    """Lesson 4."""
    first, second = await new_accounts(reference, 300, 0)
    await reference.transfer(first, second, 100)
    await reference.user("no-email", email="none")  # is refused each time
    await run_import(runtime, connection, reference)
    before = await written_state(connection)

    report = await run_import(runtime, connection, reference)

    assert before == await written_state(connection)
    for tally in (report.users, report.accounts, report.transactions):
        assert (0, tally.at_reference) == (tally.taken, tally.already_here + tally.not_taken)
    assert (report.is_proved, 0) == (True, report.corrected)


async def test_a_dry_run_changes_nothing_and_predicts_the_run(
    runtime: Runtime, connection: Any, reference: Reference
) -> None:
    """Lesson 6."""
    await insert_invalid_rows(reference)
    before = await written_state(connection)

    foretold = await rehearse_import(connection, reference)

    assert before == await written_state(connection)
    report = await run_import(runtime, connection, reference)
    assert report.problems == foretold.problems
    for name in ("users", "accounts", "transactions", "reference_cents", "taken_cents", "notes"):
        assert getattr(report, name) == getattr(foretold, name), name


async def test_a_dry_run_says_that_nothing_was_written(
    settings: Settings, connection: Any, reference: Reference
) -> None:
    await new_accounts(reference, 300)
    before = await written_state(connection)

    said = await run_ledger("import-reference", reference.url, "--dry-run", variables=settings.environment())

    assert (0, before) == (said.status, await written_state(connection))
    assert "dry run: nothing was written" in said.output.splitlines()


async def test_later_changes_of_the_reference_are_imported(
    runtime: Runtime, connection: Any, reference: Reference
) -> None:
    first, second = await new_accounts(reference, 300, 0)
    await reference.transfer(first, second, 100)
    await run_import(runtime, connection, reference)
    await reference.transfer(second, first, 30)
    await reference.put_balance(second, 1_000)
    third = (await new_accounts(reference, 5))[0]
    await reference.transfer(first, third, 3)

    report = await run_import(runtime, connection, reference)

    assert report.is_complete
    assert await reference.balances() == await balances(connection)
    assert (1, 930, 2) == (report.corrected, report.corrected_cents, report.transactions.taken)


async def test_later_transfers_in_the_ledger_are_reported_and_disprove_nothing(
    runtime: Runtime, connection: Any, reference: Reference
) -> None:
    first, second = await new_accounts(reference, 300, 0)
    await reference.transfer(first, second, 100)
    await run_import(runtime, connection, reference)
    await submit(
        runtime,
        TransferMoney(transaction_id=new_id(), source_account_id=first, destination_account_id=second, amount_cents=20),
    )

    report = await run_import(runtime, connection, reference)

    assert report.is_complete
    assert report.proof is not None
    assert (2, 0, 0) == (report.proof.moved_accounts, report.proof.moved_cents, report.corrected)
    assert {first: 180, second: 120} == await balances(connection)


async def test_rows_that_differ_in_the_ledger_are_named(
    runtime: Runtime, connection: Any, reference: Reference
) -> None:
    user = await reference.user("alice")
    account, other = await reference.account(user, 5), await reference.account(user, 5)
    paid = await reference.transfer(account, other, 1)
    own = await reference.account(user, 9)
    await run_import(runtime, connection, reference)
    elsewhere = new_id()
    await submit(
        runtime,
        OpenAccount(account_id=elsewhere, owner_id=user, currency="USD", balance_cents=70, transaction_id=new_id()),
    )
    await reference.account(user, 70, id=elsewhere)
    await reference.connection.execute("UPDATE users SET email = 'new@example.com', active = false")
    await reference.connection.execute("UPDATE transactions SET amount_cents = 2")
    await reference.connection.execute(
        "UPDATE accounts SET user_id = $1 WHERE id = $2", await reference.user("bob"), own
    )

    report = await run_import(runtime, connection, reference)

    assert {
        "user.differs": {user},
        "account.id_taken": {elsewhere},
        "account.owner_differs": {own},
        "transaction.id_taken": {paid},
    } == codes(report)
    assert "is here already, with another email and another active" == report.problems[0].reason
    assert (report.is_proved, 0) == (True, report.corrected)
    assert 70 == (await balances(connection))[elsewhere]


@pytest.mark.parametrize("shut", ["closed", "frozen"])
async def test_an_account_that_is_closed_in_the_ledger_is_named_and_unchanged(
    runtime: Runtime, connection: Any, reference: Reference, shut: str
) -> None:
    first, second = await new_accounts(reference, 0, 50)
    await run_import(runtime, connection, reference)
    if shut == "closed":
        await submit(runtime, CloseAccount(first))
    else:
        await submit(
            runtime,
            UpdateAccount(
                account_id=first,
                owner_id=None,
                balance_cents=None,
                currency="USD",
                transaction_id=new_id(),
                frozen="all",
            ),
        )
    assert (await run_import(runtime, connection, reference)).is_complete
    paid = await reference.transfer(second, first, 20)

    report = await run_import(runtime, connection, reference)

    assert {"account.not_correctable": {first}, "transaction.account_not_open": {paid}} == codes(report)
    assert {first: 0, second: 30} == await balances(connection)
    assert not report.is_proved
    assert [(first, 20, 0)] == (report.proof and report.proof.differences)


@pytest.mark.parametrize("seed", range(4))
async def test_every_balance_is_the_reference_s_whatever_its_transactions_say(
    runtime: Runtime, connection: Any, reference: Reference, seed: int
) -> None:
    """Lesson 1: its transfers lose updates, so its balances do not follow from its transactions."""
    random = Random(seed)  # noqa: S311 - samples
    accounts = await new_accounts(reference, *(random.randint(-500, 5_000) for _ in range(6)))
    strangers = [uuid4(), uuid4()]
    for _ in range(3):
        for _ in range(40):
            source, destination = random.sample(accounts + strangers, 2)
            move = random.choice([reference.transfer, reference.transaction])
            await move(source, destination, random.randint(-3, 900), created_at=at(random.randint(0, 99)))
        await reference.put_balance(random.choice(accounts), random.randint(-500, 5_000))
        report = await run_import(runtime, connection, reference)
        assert report.is_proved
        assert await reference.balances() == await balances(connection)


STAGES = {"users": ("users", 32), "accounts": ("accounts", 1), "transactions": ("transfers", 2_000)}


@asynccontextmanager
async def stopping_at(connection: Any, stage: str) -> AsyncIterator[Callable[[], Awaitable[bool]]]:
    """Block the run in its database transaction, at the last row of a stage, until the context ends.

    Yields a function that returns whether a run is blocked.
    """
    table, rows = STAGES[stage]
    await connection.execute(
        f"""CREATE FUNCTION wait_there() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF (SELECT count(*) FROM {table}) >= {rows} THEN PERFORM pg_advisory_xact_lock(42); END IF;
                RETURN NULL;
            END $$;
            CREATE TRIGGER wait_there AFTER INSERT ON {table} FOR EACH STATEMENT EXECUTE FUNCTION wait_there()"""
    )
    await connection.execute("SELECT pg_advisory_lock(42)")

    async def run_is_blocked() -> bool:
        return bool(
            await connection.fetchval(
                """SELECT count(*) FROM pg_locks JOIN pg_database ON oid = database
                   WHERE datname = current_database() AND locktype = 'advisory' AND objid = 42 AND NOT granted"""
            )
        )

    try:
        yield run_is_blocked
    finally:
        await connection.execute("SELECT pg_advisory_unlock(42)")


async def create_transactions(reference: Reference, transactions: int) -> None:
    """Create forty accounts, and transactions between them that do not determine their balances."""
    accounts = await new_accounts(reference, *range(1_000, 1_040))
    random = Random(transactions)  # noqa: S311 - samples
    rows = [(uuid4(), *random.sample(accounts, 2), random.randint(1, 500), at(n)) for n in range(transactions)]
    await reference.connection.copy_records_to_table("transactions", records=rows)


@pytest.mark.parametrize("stage", STAGES)
async def test_a_killed_run_is_completed_by_the_next_without_doubles(
    settings: Settings, connection: Any, reference: Reference, tmp_path: Path, stage: str
) -> None:
    """Lesson 4. PostgreSQL may commit the statement of a client that died while the next run reads."""
    await create_transactions(reference, 3_500)
    async with stopping_at(connection, stage) as is_stopped:
        with ledger(tmp_path / "killed", "import-reference", reference.url, **settings.environment()):
            await until(is_stopped)
    interrupted = await connection.fetchval("SELECT count(*) FROM transfers WHERE kind = 'transfer'")

    said = await run_ledger("import-reference", reference.url, "--json", variables=settings.environment())

    assert (0, True, 0) == (said.status, said.document["complete"], said.document["corrected"])
    assert interrupted < 3_500
    assert 3_500 == said.document["transactions"]["taken"] + said.document["transactions"]["already_here"]
    assert 3_500 == await connection.fetchval("SELECT count(*) FROM transfers WHERE kind = 'transfer'")
    assert await reference.balances() == await balances(connection)


async def test_a_run_that_loses_the_database_is_completed_by_the_next(
    settings: Settings, connection: Any, reference: Reference, tmp_path: Path
) -> None:
    await create_transactions(reference, 1_500)
    with ledger(tmp_path / "lost", "import-reference", reference.url, **settings.environment()) as running:
        async with stopping_at(connection, "accounts") as is_stopped:
            await until(is_stopped)
            await terminate_connections(connection)
        status = await running.status()
        said = running.lines[-1]

    again = await run_ledger("import-reference", reference.url, "--json", variables=settings.environment())

    assert (1, True) == (status, said.startswith("ledger: the connection to PostgreSQL was lost"))
    assert "run the command again to resume" in said
    assert (0, True, 0) == (again.status, again.document["complete"], again.document["corrected"])
    assert await reference.balances() == await balances(connection)


async def test_two_concurrent_runs_double_nothing(
    settings: Settings, connection: Any, reference: Reference, tmp_path: Path
) -> None:
    accounts = await new_accounts(reference, *range(1_000, 1_020))
    random = Random(1)  # noqa: S311 - samples
    for number in range(100):
        source, destination = random.sample(accounts, 2)
        await reference.transfer(source, destination, number + 1)
    variables = settings.environment()

    with (
        ledger(tmp_path / "one", "import-reference", reference.url, **variables) as one,
        ledger(tmp_path / "two", "import-reference", reference.url, **variables) as two,
    ):
        await one.status()
        await two.status()

    said = await run_ledger("import-reference", reference.url, "--json", variables=settings.environment())
    assert (0, 0, 100) == (said.status, said.document["corrected"], said.document["transactions"]["already_here"])
    assert await reference.balances() == await balances(connection)
