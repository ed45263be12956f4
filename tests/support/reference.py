"""A stand-in for the reference service (its database and API), and runs of the import."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import asyncpg
from aiohttp import web
from aiohttp.test_utils import TestServer

from ledger.import_reference.books import Books, RehearsedBooks
from ledger.import_reference.database import open_database
from ledger.import_reference.report import Report
from ledger.import_reference.run import Options, import_reference
from ledger.money import MAX_CENTS
from ledger.runtime import Runtime
from ledger.settings import Settings
from ledger.values.derived import derived_id
from ledger.write.group import Origin
from tests.support.controls import new_id

SECRET = "a digest that a client of the reference made"
MONDAY = datetime(2024, 1, 15, 9, 30, 0, 123456)  # noqa: DTZ001 - the reference keeps no zone

# The reference's columns and constraints that an import depends on. Only the e-mail address is unique.
TABLES = """
CREATE TABLE users (
    id uuid PRIMARY KEY, username text NOT NULL, email text NOT NULL UNIQUE, password_hash text NOT NULL,
    password_salt text NOT NULL, active boolean NOT NULL, roles text NOT NULL,
    created_at timestamp NOT NULL, updated_at timestamp NOT NULL);
CREATE TABLE accounts (
    id uuid PRIMARY KEY, user_id uuid NOT NULL, balance_cents bigint NOT NULL,
    created_at timestamp NOT NULL, updated_at timestamp NOT NULL);
CREATE TABLE transactions (
    id uuid PRIMARY KEY, source_account_id uuid NOT NULL, destination_account_id uuid NOT NULL,
    amount_cents bigint NOT NULL, created_at timestamp NOT NULL);
"""

_minutes = itertools.count()


def at(minutes: int | None = None) -> datetime:
    """Return a time without a zone, a minute later on each call unless `minutes` is given."""
    return MONDAY + timedelta(minutes=next(_minutes) if minutes is None else minutes)


class Reference:
    """A database with the reference's tables."""

    def __init__(self, url: str, connection: "asyncpg.Connection[Any]") -> None:
        self.url = url
        self.connection = connection

    async def user(self, username: str, **columns: Any) -> UUID:
        row = {
            "id": uuid4(),
            "username": username,
            "email": f"{uuid4().hex}@example.com",
            "password_hash": SECRET,
            "password_salt": "salt",
            "active": True,
            "roles": "customer",
            "created_at": at(),
            **columns,
        }
        await self.insert("users", {**row, "updated_at": row["created_at"]})
        return UUID(str(row["id"]))

    async def account(self, user_id: UUID, balance_cents: int = 0, **columns: Any) -> UUID:
        row = {"id": uuid4(), "user_id": user_id, "balance_cents": balance_cents, "created_at": at(), **columns}
        await self.insert("accounts", {**row, "updated_at": row["created_at"]})
        return UUID(str(row["id"]))

    async def transaction(self, source: UUID, destination: UUID, amount_cents: int, **columns: Any) -> UUID:
        """Insert a row without changing the balances."""
        row = {
            "id": uuid4(),
            "source_account_id": source,
            "destination_account_id": destination,
            "amount_cents": amount_cents,
            "created_at": at(),
            **columns,
        }
        await self.insert("transactions", row)
        return UUID(str(row["id"]))

    async def transfer(self, source: UUID, destination: UUID, amount_cents: int, **columns: Any) -> UUID:
        """Insert a row and change the balances, as the reference does."""
        for account_id, cents in ((source, -amount_cents), (destination, amount_cents)):
            await self.connection.execute(
                "UPDATE accounts SET balance_cents = balance_cents + $2 WHERE id = $1", account_id, cents
            )
        return await self.transaction(source, destination, amount_cents, **columns)

    async def put_balance(self, account_id: UUID, balance_cents: int) -> None:
        await self.connection.execute("UPDATE accounts SET balance_cents = $2 WHERE id = $1", account_id, balance_cents)

    async def insert(self, table: str, row: dict[str, Any]) -> None:
        places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
        await self.connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})", *row.values())

    async def balances(self) -> dict[UUID, int]:
        return {row[0]: row[1] for row in await self.connection.fetch("SELECT id, balance_cents FROM accounts")}


@asynccontextmanager
async def reference_database(settings: Settings) -> AsyncIterator[Reference]:
    """Create a reference database beside the ledger's."""
    own = await asyncpg.connect(settings.database_dsn())
    name = f"r_{uuid4().hex}"
    await own.execute(f"CREATE DATABASE {name} TEMPLATE template0 STRATEGY file_copy")
    url = urlunsplit(urlsplit(settings.database_dsn())._replace(path=f"/{name}"))
    connection = await asyncpg.connect(url)
    await connection.execute(TABLES)
    yield Reference(url, connection)
    await connection.close()
    await own.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await own.close()


@asynccontextmanager
async def reference_api(reference: Reference, *, username: str = "admin", secret: str = SECRET) -> AsyncIterator[str]:
    """Serve the reference's login and its two lists over real HTTP. Yields the URL."""

    async def log_in(request: web.Request) -> web.Response:
        body = await request.json()
        if (body["username"], body["password_hash"]) != (username, secret):
            entry = {"code": "authentication_wrong_credentials", "kind": "authentication_error"}
            return web.json_response({"status": 401, "errors": [{**entry, "message": "wrong credentials"}]}, status=401)
        return web.json_response({"access_token": "access", "refresh_token": "refresh", "token_type": "Bearer"})

    async def show(request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != "Bearer access":
            return web.Response(status=401)
        rows = await reference.connection.fetch(f"SELECT * FROM {request.match_info['table']}")
        return web.json_response([{name: _to_json(value) for name, value in row.items()} for row in rows])

    app = web.Application()
    app.add_routes([web.post("/v1/auth/login", log_in), web.get("/v1/{table:users|accounts}", show)])
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


def _to_json(value: Any) -> Any:
    match value:
        case UUID():
            return str(value)
        case datetime():
            return value.isoformat()
        case _:
            return value


class SilentProgress:
    """Progress that is not shown."""

    def begin(self, what: str, rows: int) -> None:
        pass

    def advance(self, rows: int) -> None:
        pass


async def run_import(runtime: Runtime, connection: Any, reference: Reference, **options: Any) -> Report:
    """Run the import once and return its report."""
    chosen = Options(**{"currency": "USD", "mapped": {}, **options})
    async with open_database(reference.url, "public") as source:
        return await import_reference(source, Books(connection, runtime), chosen, SilentProgress())


async def rehearse_import(connection: Any, reference: Reference) -> Report:
    async with open_database(reference.url, "public") as source:
        return await import_reference(source, RehearsedBooks(connection), Options("USD", {}), SilentProgress())


async def balances(connection: Any) -> dict[UUID, int]:
    """Return the balances of all accounts except `world`."""
    rows = await connection.fetch("SELECT id, balance_cents FROM accounts WHERE user_id IS NOT NULL")
    return {row[0]: row[1] for row in rows}


async def written_state(connection: Any) -> list[Any]:
    """Return values that every write changes."""
    return [
        await connection.fetchval("SELECT max(notification_id) FROM stored_events"),
        await connection.fetchval("SELECT count(*) FROM command_log"),
        await connection.fetch("SELECT * FROM credentials ORDER BY user_id"),
    ]


def codes(report: Report) -> dict[str, set[UUID | None]]:
    """Return the ids of rows that were skipped or differ, by resource and code."""
    found: dict[str, set[UUID | None]] = {}
    for problem in report.problems:
        found.setdefault(f"{problem.resource}.{problem.code}", set()).add(problem.id)
    return found


async def submit(runtime: Runtime, command: Any) -> None:
    await runtime.committer.submit(command, Origin(new_id()))


async def new_accounts(reference: Reference, *cents: int) -> list[UUID]:
    """Create an account with each balance, each with its own user."""
    return [await reference.account(await reference.user(f"user-{uuid4().hex}"), balance) for balance in cents]


async def insert_invalid_rows(reference: Reference) -> dict[str, set[UUID | None]]:
    """Insert rows that the reference accepts and the ledger refuses; return their ids by the expected code."""
    good, other = await new_accounts(reference, 1_000, 2_000)
    eight, nobody = derived_id("user", "somebody"), uuid4()
    bob = await reference.user("bob")
    late = await reference.account(bob, 5, created_at=at())
    both = await reference.account(bob, 7, id=bob)
    await reference.transfer(good, other, 100)
    invalid: dict[str, set[UUID | None]] = {
        "user.id_reserved": {await reference.user("reserved", id=eight)},
        "user.username_taken": {
            await reference.user("BOB"),
            await reference.user("\u0455\u0441\u043e\u0440\u0435", created_at=at(10_000)),  # scope, in Cyrillic letters
        },
        "user.email_taken": {
            await reference.user("upper", email="Some@Example.com", created_at=at(10_000)),
        },
        "user.username_invalid": {
            await reference.user(""),
            await reference.user("a" * 65),
            await reference.user("bell\a"),
            await reference.user(" blank"),
            await reference.user("b\u043eb"),
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
    await reference.user("scope", created_at=at(0))
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
