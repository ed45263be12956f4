"""`ledger import-reference`: what the reference holds is taken over once, whatever interrupts it, and proved."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from ledger.batch import Origin
from ledger.commands.accounts import CloseAccount, OpenAccount, UpdateAccount
from ledger.commands.transfers import TransferMoney
from ledger.derived import derived_id
from ledger.import_reference import report as report_module
from ledger.import_reference.books import Books, RehearsedBooks
from ledger.import_reference.database import open_database
from ledger.import_reference.report import Report
from ledger.import_reference.run import Options, import_reference
from ledger.import_reference.source import ReferenceUnusableError
from ledger.money import MAX_CENTS
from ledger.people import create_user
from ledger.runtime import Runtime
from ledger.settings import Settings
from tests.controls import NOBODY, Api, new_id
from tests.processes import ledger, until
from tests.reference import MONDAY, SECRET, TABLES, Reference, a_reference, an_api, at


class Quiet:
    """Nobody watches."""

    def begin(self, what: str, rows: int) -> None:
        pass

    def advance(self, rows: int) -> None:
        pass


class Said:
    """What a command said, and how it ended."""

    def __init__(self, status: int, output: str, error: str) -> None:
        self.status, self.output, self.error = status, output, error

    @property
    def body(self) -> dict[str, Any]:
        return json.loads(self.output)


@pytest.fixture
async def reference(settings: Settings) -> AsyncIterator[Reference]:
    async with a_reference(settings) as made:
        yield made


async def run(folder: Path, settings: Settings, *arguments: str, **variables: str) -> Said:
    with ledger(folder / "run", *arguments, **settings.environment(), **variables) as running:
        status = await running.status()
        return Said(status, running.output.read_text(), running.log.read_text())


async def taken(runtime: Runtime, connection: Any, reference: Reference, **options: Any) -> Report:
    """The report of one run."""
    chosen = Options(**{"currency": "USD", "mapped": {}, **options})
    async with open_database(reference.url, "public") as source:
        return await import_reference(source, Books(connection, runtime), chosen, Quiet())


async def rehearsed(connection: Any, reference: Reference) -> Report:
    async with open_database(reference.url, "public") as source:
        return await import_reference(source, RehearsedBooks(connection), Options("USD", {}), Quiet())


async def balances(connection: Any) -> dict[UUID, int]:
    """Those of all accounts but `world`."""
    rows = await connection.fetch("SELECT id, balance_cents FROM accounts WHERE user_id IS NOT NULL")
    return {row[0]: row[1] for row in rows}


async def everything(connection: Any) -> list[Any]:
    """What any write would change."""
    return [
        await connection.fetchval("SELECT max(notification_id) FROM stored_events"),
        await connection.fetchval("SELECT count(*) FROM command_log"),
        await connection.fetch("SELECT * FROM credentials ORDER BY user_id"),
    ]


def codes(report: Report) -> dict[str, set[UUID | None]]:
    """The rows that were not taken or differ, by resource and code."""
    found: dict[str, set[UUID | None]] = {}
    for problem in report.problems:
        found.setdefault(f"{problem.resource}.{problem.code}", set()).add(problem.id)
    return found


async def submit(runtime: Runtime, command: Any) -> None:
    await runtime.committer.submit(command, Origin(new_id()))


async def a_pair(reference: Reference, *cents: int) -> list[UUID]:
    """An account of this balance for each, of users of their own."""
    return [await reference.account(await reference.user(f"user-{uuid4().hex}"), balance) for balance in cents]


async def test_users_balances_and_transactions_are_taken_with_their_ids_dates_and_secrets(
    api: Api, settings: Settings, reference: Reference, tmp_path: Path
) -> None:
    alice = await reference.user("alice", email="alice@mail.com")
    bob = await reference.user("bob", active=False, roles="customer, guest")
    first, second = await reference.account(alice, 10_000), await reference.account(bob, 5_000)
    rent = await reference.transfer(first, second, 2_500, created_at=MONDAY)
    lost = await reference.transfer(second, first, 100)
    await reference.put_balance(first, 7_000)  # what a race or an admin did

    said = await run(tmp_path, settings, "import-reference", reference.url, "--json")

    assert (0, "") == (said.status, said.error.replace("\n", ""))
    assert (True, True) == (said.body["complete"], said.body["proved"])
    assert [(2, 2), (2, 2), (2, 2)] == [
        (said.body[name]["at_reference"], said.body[name]["taken"]) for name in ("users", "accounts", "transactions")
    ]
    answer = await api.get(f"/v1/users/{bob}")
    assert ("bob", False, "customer,guest") == tuple(answer.body[name] for name in ("username", "active", "roles"))
    as_alice = await api.nobody.post("/v1/auth/login", {"username": "alice", "password_hash": SECRET})
    assert 200 == as_alice.status
    assert [7_000, 7_400] == [await api.balance({"id": account}) for account in (first, second)]
    assert str(alice) == (await api.get(f"/v1/accounts/{first}")).body["user_id"]
    made = (await api.get(f"/v1/transactions/{rent}")).body
    assert [str(first), str(second), 2_500, "transfer"] == [
        made[name] for name in ("source_account_id", "destination_account_id", "amount_cents", "kind")
    ]
    assert "2024-01-15T09:30:00.123456Z" == made["effective_at"]
    entries = (await api.get(f"/v1/accounts/{first}/entries?order=asc")).body
    assert [9_400, -2_500, 100] == [entry["amount_cents"] for entry in entries]
    assert [str(rent), str(lost)] == [entry["transaction_id"] for entry in entries[1:]]


async def test_the_books_are_right_after_an_import_and_the_trial_balance_is_zero(
    settings: Settings, runtime: Runtime, connection: Any, reference: Reference, tmp_path: Path
) -> None:
    first, second, _ = await a_pair(reference, 300, -50, 0)
    for cents in (400, 1, 2):  # overdraws on the way
        await reference.transfer(first, second, cents)

    report = await taken(runtime, connection, reference)

    assert report.is_complete
    assert await reference.balances() == await balances(connection)
    assert (-250, 0) == (report.proof and report.proof.world_cents, report.proof and report.proof.trial_balance_cents)
    await reference.put_balance(first, 17)
    assert 1 == (await taken(runtime, connection, reference)).corrected
    verified = await run(tmp_path, settings, "audit", "verify")
    assert (0, "") == (verified.status, verified.output), verified.error


async def test_a_second_run_changes_nothing(runtime: Runtime, connection: Any, reference: Reference) -> None:
    """Lesson 4."""
    first, second = await a_pair(reference, 300, 0)
    await reference.transfer(first, second, 100)
    await reference.user("no-email", email="none")  # is refused each time
    await taken(runtime, connection, reference)
    before = await everything(connection)

    report = await taken(runtime, connection, reference)

    assert before == await everything(connection)
    for tally in (report.users, report.accounts, report.transactions):
        assert (0, tally.at_reference) == (tally.taken, tally.already_here + tally.not_taken)
    assert (report.is_proved, 0) == (True, report.corrected)


async def test_a_dry_run_changes_nothing_and_foretells_the_run(
    runtime: Runtime, connection: Any, reference: Reference
) -> None:
    """Lesson 6."""
    await awful(reference)
    before = await everything(connection)

    foretold = await rehearsed(connection, reference)

    assert before == await everything(connection)
    report = await taken(runtime, connection, reference)
    assert report.problems == foretold.problems
    for name in ("users", "accounts", "transactions", "reference_cents", "taken_cents", "notes"):
        assert getattr(report, name) == getattr(foretold, name), name


async def test_a_dry_run_says_that_nothing_was_written(
    settings: Settings, connection: Any, reference: Reference, tmp_path: Path
) -> None:
    await a_pair(reference, 300)
    before = await everything(connection)

    said = await run(tmp_path, settings, "import-reference", reference.url, "--dry-run")

    assert (0, before) == (said.status, await everything(connection))
    assert "dry run: nothing was written" in said.output.splitlines()


async def awful(reference: Reference) -> dict[str, set[UUID | None]]:
    """Rows that the reference accepts and the ledger does not, by the code with which each is reported."""
    good, other = await a_pair(reference, 1_000, 2_000)
    eight, nobody = derived_id("user", "somebody"), uuid4()
    bob = await reference.user("bob")
    late = await reference.account(bob, 5, created_at=at())
    both = await reference.account(bob, 7, id=bob)
    await reference.transfer(good, other, 100)
    invalid = {
        "user.id_reserved": {await reference.user("reserved", id=eight)},
        "user.username_taken": {await reference.user("BOB")},
        "user.email_taken": {
            await reference.user("upper", email="Some@Example.com", created_at=at(10_000)),
        },
        "user.username_invalid": {
            await reference.user(""),
            await reference.user("a" * 65),
            await reference.user("bell\a"),
            await reference.user(" blank"),
        },
        "user.email_invalid": {await reference.user("e1", email=""), await reference.user("e2", email="none")},
        "user.roles_invalid": {
            await reference.user("r1", roles=""),
            await reference.user("r2", roles="root"),
            await reference.user("r3", roles="admin,admin"),
        },
        "user.password_invalid": {
            await reference.user("p1", password_hash=""),
            await reference.user("p2", password_hash="a" * 1025),
        },
    }
    await reference.user("lower", email="some@example.com", created_at=at(0))
    gone = uuid4()
    return {
        **invalid,
        "account.id_reserved": {await reference.account(bob, 3, id=derived_id("account", "somebody"))},
        "account.id_taken": {both},
        "account.balance_too_large": {
            await reference.account(bob, MAX_CENTS + 1),
            await reference.account(bob, -(2**63)),
        },
        "account.owner_not_taken": {await reference.account(nobody, 11), await reference.account(eight, 13)},
        "transaction.id_reserved": {await reference.transfer(good, other, 1, id=derived_id("transfer", "some"))},
        "transaction.amount_not_positive": {
            await reference.transfer(good, other, 0),
            await reference.transfer(good, other, -70),
        },
        "transaction.amount_too_large": {await reference.transaction(good, other, 2**53)},
        "transaction.accounts_are_same": {await reference.transaction(good, good, 5)},
        "transaction.account_not_taken": {
            await reference.transfer(good, gone, 40),
            await reference.transfer(gone, other, 40),
            await reference.transaction(both, other, 3),
        },
        "transaction.date_out_of_range": {
            await reference.transaction(good, other, 3, created_at=datetime.max),  # noqa: DTZ901
        },
        "transaction.id_taken": {
            await reference.transfer(good, other, 6, id=late),
            await reference.transfer(good, other, 6, id=bob),
        },
    }


async def test_what_the_ledger_does_not_accept_is_named_and_every_other_balance_is_right(
    runtime: Runtime, connection: Any, reference: Reference
) -> None:
    expected = await awful(reference)

    report = await taken(runtime, connection, reference)

    assert expected == codes(report)
    there, here = await reference.balances(), await balances(connection)
    assert {account_id: there[account_id] for account_id in here} == here
    not_taken = {problem.id for problem in report.problems if problem.resource == "account"}
    assert there.keys() == here.keys() | not_taken
    assert sum(there.values()) == report.reference_cents
    assert sum(here.values()) == report.taken_cents
    assert (True, False) == (report.is_proved, report.is_complete)
    assert 1 == report.transactions.taken


async def test_a_user_who_is_taken_by_another_id_is_named_with_the_remedy_which_works(
    runtime: Runtime, connection: Any, reference: Reference
) -> None:
    mine = new_id()
    await create_user(runtime, mine, "admin", "a password", ("admin",))
    theirs = await reference.user("admin", email="admin@admin.com", roles="admin")
    alice = await reference.account(await reference.user("alice"), 100)
    account = await reference.account(theirs, 50)
    paid = await reference.transfer(account, alice, 10)

    first = await taken(runtime, connection, reference)
    second = await taken(runtime, connection, reference, mapped={theirs: "admin"})

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


async def test_accounts_of_nobody_go_to_the_holder(runtime: Runtime, connection: Any, reference: Reference) -> None:
    holder = new_id()
    await create_user(runtime, holder, "holder", "a password", ("guest",))
    account = await reference.account(uuid4(), 50)

    report = await taken(runtime, connection, reference, holder=str(holder))

    assert report.is_complete
    assert holder == await connection.fetchval("SELECT user_id FROM accounts WHERE id = $1", account)
    assert (await taken(runtime, connection, reference)).is_complete  # it is here now, whoever's it was


async def test_what_the_reference_did_since_an_earlier_run_is_made_up_for(
    runtime: Runtime, connection: Any, reference: Reference
) -> None:
    first, second = await a_pair(reference, 300, 0)
    await reference.transfer(first, second, 100)
    await taken(runtime, connection, reference)
    await reference.transfer(second, first, 30)
    await reference.put_balance(second, 1_000)
    third = (await a_pair(reference, 5))[0]
    await reference.transfer(first, third, 3)

    report = await taken(runtime, connection, reference)

    assert report.is_complete
    assert await reference.balances() == await balances(connection)
    assert (1, 930, 2) == (report.corrected, report.corrected_cents, report.transactions.taken)


async def test_what_moved_here_since_is_told_and_does_not_disprove(
    runtime: Runtime, connection: Any, reference: Reference
) -> None:
    first, second = await a_pair(reference, 300, 0)
    await reference.transfer(first, second, 100)
    await taken(runtime, connection, reference)
    await submit(runtime, TransferMoney(new_id(), first, second, 20))

    report = await taken(runtime, connection, reference)

    assert report.is_complete
    assert report.proof is not None
    assert (2, 0, 0) == (report.proof.moved_accounts, report.proof.moved_cents, report.corrected)
    assert {first: 180, second: 120} == await balances(connection)


async def test_what_is_here_with_other_content_is_named(
    runtime: Runtime, connection: Any, reference: Reference
) -> None:
    user = await reference.user("alice")
    account, other = await reference.account(user, 5), await reference.account(user, 5)
    paid = await reference.transfer(account, other, 1)
    own = await reference.account(user, 9)
    await taken(runtime, connection, reference)
    elsewhere = new_id()
    await submit(runtime, OpenAccount(elsewhere, user, "USD", 70, new_id()))
    await reference.account(user, 70, id=elsewhere)
    await reference.connection.execute("UPDATE users SET email = 'new@example.com', active = false")
    await reference.connection.execute("UPDATE transactions SET amount_cents = 2")
    await reference.connection.execute(
        "UPDATE accounts SET user_id = $1 WHERE id = $2", await reference.user("bob"), own
    )

    report = await taken(runtime, connection, reference)

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
async def test_an_account_that_is_shut_here_is_left_alone_and_named(
    runtime: Runtime, connection: Any, reference: Reference, shut: str
) -> None:
    first, second = await a_pair(reference, 0, 50)
    await taken(runtime, connection, reference)
    if shut == "closed":
        await submit(runtime, CloseAccount(first))
    else:
        await submit(runtime, UpdateAccount(first, None, None, "USD", new_id(), frozen="all"))
    assert (await taken(runtime, connection, reference)).is_complete
    paid = await reference.transfer(second, first, 20)

    report = await taken(runtime, connection, reference)

    assert {"account.not_correctable": {first}, "transaction.account_not_open": {paid}} == codes(report)
    assert {first: 0, second: 30} == await balances(connection)
    assert not report.is_proved
    assert [(first, 20, 0)] == (report.proof and report.proof.differences)


async def test_a_history_that_leaves_the_bounds_is_kept_in_the_opening_balances(
    runtime: Runtime, connection: Any, reference: Reference
) -> None:
    first, second, third, fourth = await a_pair(reference, MAX_CENTS, -MAX_CENTS + 200, 5, 5)
    up = await reference.transaction(second, first, 100)
    down = await reference.transaction(first, second, 100)
    fine = await reference.transaction(third, fourth, 1)

    report = await taken(runtime, connection, reference)

    assert {"transaction.balance_too_large": {up, down}} == codes(report)
    assert (1, True) == (report.transactions.taken, report.is_proved)
    assert await reference.balances() == await balances(connection)
    assert await connection.fetchval("SELECT true FROM transfers WHERE id = $1", fine)


async def test_an_account_whose_opening_world_cannot_give_is_named(
    runtime: Runtime, connection: Any, reference: Reference
) -> None:
    first, second, third = await a_pair(reference, MAX_CENTS, 1, -1)
    paid = await reference.transaction(second, third, 1)

    report = await taken(runtime, connection, reference)

    assert {"account.world_too_large": {second}, "transaction.account_not_taken": {paid}} == codes(report)
    assert {first: MAX_CENTS, third: -1} == await balances(connection)
    assert (report.is_proved, MAX_CENTS) == (True, report.reference_cents)


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_the_reference_lost_or_made_up_every_balance_is_the_reference_s(
    runtime: Runtime, connection: Any, reference: Reference, seed: int
) -> None:
    """Lesson 1: its transfers lose updates, so its balances do not follow from its transactions."""
    random = Random(seed)  # noqa: S311 - samples
    accounts = await a_pair(reference, *(random.randint(-500, 5_000) for _ in range(6)))
    strangers = [uuid4(), uuid4()]
    for _ in range(3):
        for _ in range(40):
            source, destination = random.sample(accounts + strangers, 2)
            move = random.choice([reference.transfer, reference.transaction])
            await move(source, destination, random.randint(-3, 900), created_at=at(random.randint(0, 99)))
        await reference.put_balance(random.choice(accounts), random.randint(-500, 5_000))
        report = await taken(runtime, connection, reference)
        assert report.is_proved
        assert await reference.balances() == await balances(connection)


STAGES = {
    "users": "SELECT count(*) >= 32 FROM users",
    "accounts": "SELECT count(*) >= 1 FROM accounts",
    "transactions": "SELECT count(*) >= 1000 FROM transfers WHERE kind = 'transfer'",
}


@pytest.mark.parametrize("stage", STAGES)
async def test_a_run_that_is_killed_is_completed_by_the_next_and_nothing_is_doubled(
    settings: Settings, connection: Any, reference: Reference, tmp_path: Path, stage: str
) -> None:
    """Lesson 4."""
    users = [await reference.user(f"user-{number}") for number in range(40)]
    accounts = [await reference.account(user, 1_000 + number) for number, user in enumerate(users)]
    random = Random(stage)  # noqa: S311 - samples
    rows = [(uuid4(), *random.sample(accounts, 2), random.randint(1, 500), at(number)) for number in range(4_000)]
    await reference.connection.copy_records_to_table("transactions", records=rows)

    async def is_at_stage() -> bool:
        return bool(await connection.fetchval(STAGES[stage]))

    with ledger(tmp_path / "killed", "import-reference", reference.url, **settings.environment()) as running:
        await until(is_at_stage)
        assert running.process.poll() is None
    interrupted = await connection.fetchval("SELECT count(*) FROM transfers WHERE kind = 'transfer'")

    said = await run(tmp_path, settings, "import-reference", reference.url, "--json")

    assert (0, True) == (said.status, said.body["complete"])
    assert interrupted < 4_000
    assert 4_000 == said.body["transactions"]["taken"] + said.body["transactions"]["already_here"]
    assert 4_000 == await connection.fetchval("SELECT count(*) FROM transfers WHERE kind = 'transfer'")
    assert await reference.balances() == await balances(connection)
    assert 0 == said.body["corrected"]


async def test_two_runs_at_once_double_nothing(
    settings: Settings, connection: Any, reference: Reference, tmp_path: Path
) -> None:
    accounts = await a_pair(reference, *range(1_000, 1_020))
    random = Random(1)  # noqa: S311 - samples
    for number in range(100):
        await reference.transfer(*random.sample(accounts, 2), number + 1)
    variables = settings.environment()

    with (
        ledger(tmp_path / "one", "import-reference", reference.url, **variables) as one,
        ledger(tmp_path / "two", "import-reference", reference.url, **variables) as two,
    ):
        await one.status()
        await two.status()

    assert (0, True) == (
        (said := await run(tmp_path, settings, "import-reference", reference.url, "--json")).status,
        True,
    )
    assert (0, 100) == (said.body["corrected"], said.body["transactions"]["already_here"])
    assert await reference.balances() == await balances(connection)


async def test_all_is_read_as_it_was_at_one_point_in_time(reference: Reference) -> None:
    first, second = await a_pair(reference, 300, 0)
    async with open_database(reference.url, "public") as source:
        await source.accounts()

        await reference.transfer(first, second, 100)

        assert [300, 0] == [account.balance_cents for account in await source.accounts()]
        assert [] == [piece async for piece in source.transactions()]


async def test_tables_of_the_ledger_itself_are_not_taken_for_those_of_the_reference(
    settings: Settings, runtime: Runtime, connection: Any
) -> None:
    """The two may share a database, and the role's own schema comes first in its search path."""
    url = settings.database_dsn()
    for schema, why in (("public", "no table public.users to read"), ("ledger", "its table users has no column")):
        with pytest.raises(ReferenceUnusableError, match=why):
            async with open_database(url, schema):
                pass
    beside = await asyncpg.connect(url, server_settings={"search_path": "public"})
    await beside.execute(TABLES)
    (account,) = await a_pair(Reference(url, beside), 70)
    await beside.close()

    assert (await taken(runtime, connection, Reference(url, connection))).is_complete

    assert {account: 70} == await balances(connection)


async def test_the_api_gives_users_accounts_and_balances_and_says_what_it_does_not_list(
    settings: Settings, connection: Any, reference: Reference, tmp_path: Path
) -> None:
    admin = await reference.user("admin", roles="admin")
    account, other = await reference.account(admin, 300), await reference.account(admin, -20)
    await reference.transfer(account, other, 100)
    async with an_api(reference) as url:
        variables = {"REFERENCE_PASSWORD": SECRET}
        said = await run(tmp_path, settings, "import-reference", url, "--json", **variables)
        enough = await run(tmp_path, settings, "import-reference", url, "--balances-only", **variables)

    assert (1, False, True) == (said.status, said.body["complete"], said.body["proved"])
    assert [("transaction", "not_listed")] == [(row["resource"], row["code"]) for row in said.body["problems"]]
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
    (tmp_path / "password").write_text("pswd1234\n")
    options = ("--username", "root", "--password-file", str(tmp_path / "password"), "--balances-only")
    salt = ("--password-salt", "pjZKk6A8YtC8$9p&UIp62bv4PLwD7@dF")

    async with an_api(reference, username="root", secret=published) as url:
        said = await run(tmp_path, settings, "import-reference", url, *options, *salt)

    assert 0 == said.status, said.output + said.error
    assert f"user {admin} has the password that the reference publishes: change it" in said.output
    assert published not in said.output + said.error
    assert [(admin,)] == await connection.fetch("SELECT id FROM users")


@asynccontextmanager
async def refusing_passwords() -> AsyncIterator[str]:
    """A PostgreSQL that knows nobody; the tests' own one asks for no password. Yields a URL with a password."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (size := int.from_bytes(await reader.readexactly(4))) == 8:  # wants TLS
            await reader.readexactly(4)
            writer.write(b"N")
        await reader.readexactly(size - 4)
        said = b'SFATAL\0C28P01\0Mpassword authentication failed for user "sample"\0\0'
        writer.write(b"E" + (len(said) + 4).to_bytes(4) + said)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        yield f"postgresql://sample:secret-word@127.0.0.1:{server.sockets[0].getsockname()[1]}/sample"


async def test_a_reference_that_cannot_be_read_is_one_line(
    settings: Settings, connection: Any, reference: Reference, tmp_path: Path
) -> None:
    before = await everything(connection)
    missing = reference.url.replace("/r_", "/no_")

    async def said(url: str, *arguments: str, **variables: str) -> str:
        said = await run(tmp_path, settings, "import-reference", url, *arguments, **variables)
        assert (1, "") == (said.status, said.output), said.error
        assert 1 == len(said.error.splitlines())
        assert "secret-word" not in said.error
        return said.error

    assert "does not exist" in await said(missing)
    assert "127.0.0.1: the reference's database cannot be read: " in await said(
        "postgresql://a:secret-word@127.0.0.1:1/b"
    )
    assert "the reference's URL cannot be used" in await said("postgresql://a:secret-word/x@127.0.0.1/b")
    assert "no table other.users to read" in await said(reference.url, "--schema", "other")
    assert "--schema: must be a name" in await said(reference.url, "--schema", 'a"b')
    assert "the ledger has no user 'nobody'" in await said(reference.url, "--holder", "nobody")
    async with refusing_passwords() as url:
        assert 'password authentication failed for user "sample"' in await said(url)
    async with an_api(reference) as url:
        wrong = await said(url, REFERENCE_PASSWORD="secret-word")
        assert "/v1/auth/login with 401 authentication_wrong_credentials: wrong credentials" in wrong
        assert "with 404" in await said(f"{url}/elsewhere", REFERENCE_PASSWORD=SECRET)
    assert "cannot be reached" in await said("http://127.0.0.1:1", REFERENCE_PASSWORD=SECRET)
    await reference.connection.execute("ALTER TABLE transactions DROP COLUMN amount_cents")
    assert "its table transactions has no column amount_cents" in await said(reference.url)
    await reference.connection.execute("DROP TABLE transactions")
    assert "no table public.transactions to read" in await said(reference.url)
    assert before == await everything(connection)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("mysql://localhost/db",), "the URL must start with postgresql://, http:// or https://"),
        (("http://127.0.0.1:1",), "give --password-file, or set REFERENCE_PASSWORD"),
        (("postgresql://localhost/db", "--map-user", "bob=alice"), "--map-user: must be ID=USER, not 'bob=alice'"),
        (("postgresql://localhost/db", "--currency", "EURO"), "--currency: must be an ISO 4217 code"),
    ],
)
async def test_arguments_that_do_not_fit_are_one_line(
    settings: Settings, tmp_path: Path, arguments: tuple[str, ...], why: str
) -> None:
    said = await run(tmp_path, settings, "import-reference", *arguments)

    assert (2, f"ledger: {why}\n") == (said.status, said.error)


async def test_a_user_who_is_mapped_but_unknown_to_the_reference_stops_the_run(
    runtime: Runtime, connection: Any, reference: Reference
) -> None:
    """A typo in an id would leave the accounts of the right user out."""
    await create_user(runtime, new_id(), "admin", "a password", ("admin",))
    before = await everything(connection)

    with pytest.raises(ReferenceUnusableError, match=f"the reference has no user {NOBODY}"):
        await taken(runtime, connection, reference, mapped={UUID(NOBODY): "admin"})

    assert before == await everything(connection)


async def test_the_report_is_bounded_and_counts_all(
    runtime: Runtime, connection: Any, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lesson 36."""
    monkeypatch.setattr(report_module, "MAX_LISTED", 3)
    for _ in range(5):
        await reference.account(uuid4(), 10)

    report = await taken(runtime, connection, reference)

    assert (3, {"account.owner_not_taken": 5}) == (len(report.problems), report.body()["counts"])
    assert "and 2 more" in [*report.lines()]


async def test_no_secret_is_in_a_report_a_log_or_an_event(
    settings: Settings, connection: Any, reference: Reference, tmp_path: Path
) -> None:
    """Lesson 31."""
    await reference.user("alice")
    await reference.user("bob", email="")

    said = await run(tmp_path, settings, "import-reference", reference.url, "--json", LOG_LEVEL="debug")

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
    settings: Settings, reference: Reference, tmp_path: Path
) -> None:
    await reference.user("\x1b[31mred", roles="\x1b[31m")

    said = await run(tmp_path, settings, "import-reference", reference.url)

    assert (1, True) == (said.status, "\\x1b[31mred" in said.output)
    assert "\x1b" not in said.output
