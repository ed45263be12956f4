"""`ledger import-reference` imports users, accounts and transactions, and its report proves the balances."""

import hashlib
from datetime import UTC
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from ledger.cli.seed import create_user
from ledger.import_reference import report as report_module
from ledger.import_reference.database import open_database
from ledger.import_reference.source import ReferenceUnusableError
from ledger.money import MAX_CENTS
from ledger.runtime import Runtime
from ledger.settings import Settings
from tests.support.controls import Api, new_id
from tests.support.processes import run_ledger
from tests.support.reference import (
    MONDAY,
    SECRET,
    TABLES,
    Reference,
    balances,
    codes,
    insert_invalid_rows,
    new_accounts,
    reference_api,
    run_import,
)


async def test_users_balances_and_transactions_keep_their_ids_dates_and_secrets(
    api: Api, settings: Settings, reference: Reference
) -> None:
    alice = await reference.user("alice", email="alice@mail.com")
    bob = await reference.user("bob", active=False, roles="customer, guest")
    first, second = await reference.account(alice, 10_000), await reference.account(bob, 5_000)
    rent = await reference.transfer(first, second, 2_500, created_at=MONDAY)
    lost = await reference.transfer(second, first, 100)
    await reference.put_balance(first, 7_000)  # as after a race or a change by an admin

    said = await run_ledger("import-reference", reference.url, "--json", variables=settings.environment())

    assert (0, "") == (said.status, said.error.replace("\n", ""))
    assert (True, True) == (said.document["complete"], said.document["proved"])
    assert [(2, 2), (2, 2), (2, 2)] == [
        (said.document[name]["at_reference"], said.document[name]["taken"])
        for name in ("users", "accounts", "transactions")
    ]
    answer = await api.get(f"/v1/users/{bob}")
    assert ("bob", False, "customer,guest") == tuple(answer.body[name] for name in ("username", "active", "roles"))
    as_alice = await api.nobody.post("/v1/auth/login", {"username": "alice", "password_hash": SECRET})
    assert 200 == as_alice.status
    assert [7_000, 7_400] == [await api.balance({"id": account}) for account in (first, second)]
    assert str(alice) == (await api.get(f"/v1/accounts/{first}")).body["user_id"]
    transaction = (await api.get(f"/v1/transactions/{rent}")).body
    assert [str(first), str(second), 2_500, "transfer"] == [
        transaction[name] for name in ("source_account_id", "destination_account_id", "amount_cents", "kind")
    ]
    assert "2024-01-15T09:30:00.123456Z" == transaction["effective_at"]
    entries = (await api.get(f"/v1/accounts/{first}/entries?order=asc")).body
    assert [9_400, -2_500, 100] == [entry["amount_cents"] for entry in entries]
    assert [str(rent), str(lost)] == [entry["transaction_id"] for entry in entries[1:]]


async def test_the_books_are_right_after_an_import_and_the_trial_balance_is_zero(
    settings: Settings, runtime: Runtime, connection: Any, reference: Reference
) -> None:
    first, second, _ = await new_accounts(reference, 300, -50, 0)
    for cents in (400, 1, 2):  # its history overdraws the account
        await reference.transfer(first, second, cents)

    report = await run_import(runtime, connection, reference)

    assert report.is_complete
    assert await reference.balances() == await balances(connection)
    assert (-250, 0) == (report.proof and report.proof.world_cents, report.proof and report.proof.trial_balance_cents)
    await reference.put_balance(first, 17)
    assert 1 == (await run_import(runtime, connection, reference)).corrected
    verified = await run_ledger("audit", "verify", variables=settings.environment())
    assert (0, "") == (verified.status, verified.output), verified.error


async def test_unacceptable_rows_are_named_and_all_other_balances_are_right(
    runtime: Runtime, connection: Any, reference: Reference
) -> None:
    expected = await insert_invalid_rows(reference)

    report = await run_import(runtime, connection, reference)

    assert expected == codes(report)
    there, here = await reference.balances(), await balances(connection)
    assert {account_id: there[account_id] for account_id in here} == here
    not_taken = {problem.id for problem in report.problems if problem.resource == "account"}
    assert there.keys() == here.keys() | not_taken
    assert sum(there.values()) == report.reference_cents
    assert sum(here.values()) == report.taken_cents
    assert (True, False) == (report.is_proved, report.is_complete)
    assert 1 == report.transactions.taken


async def test_a_user_who_exists_under_another_id_is_named_with_a_remedy_that_works(
    runtime: Runtime, connection: Any, reference: Reference
) -> None:
    mine = new_id()
    await create_user(runtime, mine, "admin", "a password", ("admin",))
    theirs = await reference.user("admin", email="admin@admin.com", roles="admin")
    alice = await reference.account(await reference.user("alice"), 100)
    account = await reference.account(theirs, 50)
    paid = await reference.transfer(account, alice, 10)

    first = await run_import(runtime, connection, reference)
    second = await run_import(runtime, connection, reference, mapped={theirs: "admin"})

    (user, of_user, of_transaction) = first.problems
    assert f"its user name belongs to user {mine} here" == user.reason
    assert f"--map-user {theirs}=" in str(user.remedy) + str(of_user.remedy)
    assert (account, 40) == (of_user.id, of_user.cents)
    assert (paid, "account_not_taken") == (of_transaction.id, of_transaction.code)
    assert first.is_proved
    assert second.is_complete
    assert (1, 1, 1) == (second.accounts.taken, second.transactions.taken, second.corrected)
    assert await reference.balances() == await balances(connection)
    assert mine == await connection.fetchval("SELECT user_id FROM accounts WHERE id = $1", account)


async def test_accounts_without_an_owner_go_to_the_holder(
    runtime: Runtime, connection: Any, reference: Reference
) -> None:
    holder = new_id()
    await create_user(runtime, holder, "holder", "a password", ("guest",))
    account = await reference.account(uuid4(), 50)

    report = await run_import(runtime, connection, reference, holder=str(holder))

    assert report.is_complete
    assert holder == await connection.fetchval("SELECT user_id FROM accounts WHERE id = $1", account)
    assert (
        await run_import(runtime, connection, reference)
    ).is_complete  # it is imported already, so no holder is needed


async def test_a_history_beyond_the_bounds_is_part_of_the_opening_balances(
    runtime: Runtime, connection: Any, reference: Reference
) -> None:
    first, second, third, fourth = await new_accounts(reference, MAX_CENTS, -MAX_CENTS + 200, 5, 5)
    up = await reference.transaction(second, first, 100)
    down = await reference.transaction(first, second, 100)
    fine = await reference.transaction(third, fourth, 1)

    report = await run_import(runtime, connection, reference)

    assert {"transaction.balance_too_large": {up, down}} == codes(report)
    assert (1, True) == (report.transactions.taken, report.is_proved)
    assert await reference.balances() == await balances(connection)
    assert await connection.fetchval("SELECT true FROM transfers WHERE id = $1", fine)


async def test_an_account_with_an_impossible_opening_balance_is_named(
    runtime: Runtime, connection: Any, reference: Reference
) -> None:
    first, second, third = await new_accounts(reference, MAX_CENTS, 1, -1)
    paid = await reference.transaction(second, third, 1)

    report = await run_import(runtime, connection, reference)

    assert {"account.world_too_large": {second}, "transaction.account_not_taken": {paid}} == codes(report)
    assert {first: MAX_CENTS, third: -1} == await balances(connection)
    assert (report.is_proved, MAX_CENTS) == (True, report.reference_cents)


async def test_everything_is_read_at_one_point_in_time(reference: Reference) -> None:
    first, second = await new_accounts(reference, 300, 0)
    async with open_database(reference.url, "public") as source:
        await source.accounts()

        await reference.transfer(first, second, 100)

        assert [300, 0] == [account.balance_cents for account in await source.accounts()]
        assert [] == [piece async for piece in source.transactions()]


async def test_tables_of_the_ledger_are_not_mistaken_for_those_of_the_reference(
    settings: Settings, runtime: Runtime, connection: Any
) -> None:
    """Both may share a database, and the schema of the role comes first in its search path."""
    url = settings.database_dsn()
    for schema, why in (("public", "no table public.users to read"), ("ledger", "its table users has no column")):
        with pytest.raises(ReferenceUnusableError, match=why):
            async with open_database(url, schema):
                pass
    beside = await asyncpg.connect(url, server_settings={"search_path": "public"})
    await beside.execute(TABLES)
    (account,) = await new_accounts(Reference(url, beside), 70)
    await beside.close()

    assert (await run_import(runtime, connection, Reference(url, connection))).is_complete

    assert {account: 70} == await balances(connection)


async def test_users_accounts_and_balances_come_from_the_api_and_gaps_are_reported(
    settings: Settings, connection: Any, reference: Reference
) -> None:
    admin = await reference.user("admin", roles="admin")
    account, other = await reference.account(admin, 300), await reference.account(admin, -20)
    await reference.transfer(account, other, 100)
    async with reference_api(reference) as url:
        variables = {**settings.environment(), "REFERENCE_PASSWORD": SECRET}
        said = await run_ledger("import-reference", url, "--json", variables=variables)
        enough = await run_ledger("import-reference", url, "--balances-only", variables=variables)

    assert (1, False, True) == (said.status, said.document["complete"], said.document["proved"])
    assert [("transaction", "not_listed")] == [(row["resource"], row["code"]) for row in said.document["problems"]]
    assert 0 == enough.status, enough.output
    assert {account: 200, other: 80} == await balances(connection)
    opened = await connection.fetchval("SELECT effective_at FROM transfers WHERE destination_account_id = $1", account)
    assert opened.astimezone(UTC).replace(tzinfo=None) == await reference.connection.fetchval(
        "SELECT created_at FROM accounts WHERE id = $1", account
    )


async def test_a_password_and_its_salt_are_hashed_as_the_reference_s_clients_do(
    settings: Settings, connection: Any, reference: Reference, tmp_path: Path
) -> None:
    published = "7c44575b741f02d49c3e988ba7aa95a8fb6d90c0ef63a97236fa54bfcfbd9d51"
    admin = await reference.user("root", roles="admin", password_hash=published)
    weak = await reference.user("weak", password_hash=hashlib.sha256(b"iloveyou").hexdigest())
    (tmp_path / "password").write_text("pswd1234\n")
    options = ("--username", "root", "--password-file", str(tmp_path / "password"), "--balances-only")
    salt = ("--password-salt", "pjZKk6A8YtC8$9p&UIp62bv4PLwD7@dF")

    async with reference_api(reference, username="root", secret=published) as url:
        said = await run_ledger("import-reference", url, *options, *salt, variables=settings.environment())

    assert 0 == said.status, said.output + said.error
    assert f"user {admin} has the password that the reference publishes: change it" in said.output
    assert f"user {weak} has the digest of a common password: change it" in said.output
    assert published not in said.output + said.error
    assert {(admin,), (weak,)} == {*await connection.fetch("SELECT id FROM users")}


async def test_the_report_is_bounded_and_counts_everything(
    runtime: Runtime, connection: Any, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lesson 36."""
    monkeypatch.setattr(report_module, "MAX_LISTED", 3)
    for _ in range(5):
        await reference.account(uuid4(), 10)

    report = await run_import(runtime, connection, reference)

    assert (3, {"account.owner_not_taken": 5}) == (len(report.problems), report.body()["counts"])
    assert "and 2 more" in [*report.lines()]


async def test_no_secret_is_in_a_report_a_log_or_an_event(
    settings: Settings, connection: Any, reference: Reference
) -> None:
    """Lesson 31."""
    await reference.user("alice")
    await reference.user("bob", email="")

    said = await run_ledger(
        "import-reference", reference.url, "--json", variables={**settings.environment(), "LOG_LEVEL": "debug"}
    )

    assert SECRET not in said.output + said.error
    for table in ("stored_events", "command_log", "users", "credentials"):
        rows = await connection.fetch(
            f"SELECT row::text FROM {table} AS row WHERE row::text LIKE '%' || $1 || '%'", SECRET
        )
        assert [] == rows
    assert not await connection.fetchval(
        "SELECT bool_or(position($1 IN state) > 0) FROM stored_events", SECRET.encode()
    )


async def test_a_name_with_control_characters_cannot_write_to_the_terminal(
    settings: Settings, reference: Reference
) -> None:
    await reference.user("\x1b[31mred", roles="\x1b[31m")

    said = await run_ledger("import-reference", reference.url, variables=settings.environment())

    assert (1, True) == (said.status, "\\x1b[31mred" in said.output)
    assert "\x1b" not in said.output
