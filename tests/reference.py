"""The reference service as an import meets it: a database with its tables, and an API that answers as it does."""

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

from ledger.settings import Settings

SECRET = "a digest that a client of the reference made"
MONDAY = datetime(2024, 1, 15, 9, 30, 0, 123456)  # noqa: DTZ001 - the reference keeps no zone

# The columns and constraints of the reference, as far as they matter here. Nothing but the e-mail address is unique.
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
    """A date without a zone; later each time, unless one is wanted."""
    return MONDAY + timedelta(minutes=next(_minutes) if minutes is None else minutes)


class Reference:
    """A database with the reference's tables, and what has happened to it."""

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
        return row["id"]

    async def account(self, user_id: UUID, balance_cents: int = 0, **columns: Any) -> UUID:
        row = {"id": uuid4(), "user_id": user_id, "balance_cents": balance_cents, "created_at": at(), **columns}
        await self.insert("accounts", {**row, "updated_at": row["created_at"]})
        return row["id"]

    async def transaction(self, source: UUID, destination: UUID, amount_cents: int, **columns: Any) -> UUID:
        """A row alone: the balances stay as they are."""
        row = {
            "id": uuid4(),
            "source_account_id": source,
            "destination_account_id": destination,
            "amount_cents": amount_cents,
            "created_at": at(),
            **columns,
        }
        await self.insert("transactions", row)
        return row["id"]

    async def transfer(self, source: UUID, destination: UUID, amount_cents: int, **columns: Any) -> UUID:
        """The row, and the balances as the reference moves them."""
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
async def a_reference(settings: Settings) -> AsyncIterator[Reference]:
    """A database of its own beside that of the ledger."""
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
async def an_api(reference: Reference, *, username: str = "admin", secret: str = SECRET) -> AsyncIterator[str]:
    """The reference's API over real HTTP: login and the two lists, as its handlers answer them. Yields its URL."""

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
        return web.json_response([{name: _shown(value) for name, value in row.items()} for row in rows])

    app = web.Application()
    app.add_routes([web.post("/v1/auth/login", log_in), web.get("/v1/{table:users|accounts}", show)])
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


def _shown(value: Any) -> Any:
    match value:
        case UUID():
            return str(value)
        case datetime():
            return value.isoformat()
        case _:
            return value
