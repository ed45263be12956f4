"""Where `ledger import-reference` cannot work, it prints one line without secrets and writes nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from ledger.cli.seed import create_user
from ledger.import_reference.api import open_api
from ledger.import_reference.database import open_database
from ledger.import_reference.source import ReferenceUnusableError
from ledger.money import UNKNOWN_ASSET
from ledger.runtime import Runtime
from ledger.settings import Settings
from tests.support.controls import NOBODY, new_id
from tests.support.processes import run_ledger, until
from tests.support.reference import (
    SECRET,
    Reference,
    new_accounts,
    reference_api,
    run_import,
    written_state,
)


@asynccontextmanager
async def refusing_passwords() -> AsyncIterator[str]:
    """Run a PostgreSQL that refuses every password; the tests' own asks for none. Yields a URL with a password."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (size := int.from_bytes(await reader.readexactly(4))) == 8:  # a request for TLS
            await reader.readexactly(4)
            writer.write(b"N")
        await reader.readexactly(size - 4)
        said = b'SFATAL\0C28P01\0Mpassword authentication failed for user "sample"\0\0'
        writer.write(b"E" + (len(said) + 4).to_bytes(4) + said)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        yield f"postgresql://sample:secret-word@127.0.0.1:{server.sockets[0].getsockname()[1]}/sample"


async def reading_error(source: AbstractAsyncContextManager[Any]) -> str:
    """Return the error for a reference that cannot be read."""
    with pytest.raises(ReferenceUnusableError) as caught:
        async with source as opened:
            await opened.users()
    said = str(caught.value)
    assert ("\n" in said, "secret-word" in said) == (False, False)
    return said


async def test_a_database_that_cannot_be_read_is_one_line_without_its_password(reference: Reference) -> None:
    missing = reference.url.replace("/r_", "/no_")
    assert "does not exist" in await reading_error(open_database(missing, "public"))
    nobody = "postgresql://a:secret-word@127.0.0.1:1/b"
    assert "127.0.0.1: the reference's database cannot be read: " in await reading_error(
        open_database(nobody, "public")
    )
    unescaped = "postgresql://a:secret-word/x@127.0.0.1/b"
    assert "the reference's URL cannot be used" in await reading_error(open_database(unescaped, "public"))
    assert "no table other.users to read" in await reading_error(open_database(reference.url, "other"))
    assert "--schema: must be a name" in await reading_error(open_database(reference.url, 'a"b'))
    async with refusing_passwords() as url:
        said = await reading_error(open_database(url, "public"))
        assert 'password authentication failed for user "sample"' in said
    await reference.connection.execute("ALTER TABLE transactions DROP COLUMN amount_cents")
    assert "its table transactions has no column amount_cents" in await reading_error(
        open_database(reference.url, "public")
    )
    await reference.connection.execute("DROP TABLE transactions")
    assert "no table public.transactions to read" in await reading_error(open_database(reference.url, "public"))


async def test_an_api_that_cannot_be_read_is_one_line_without_the_secret(reference: Reference) -> None:
    async def listing(text: str) -> str:
        async def answer(_: web.Request) -> web.Response:
            return web.Response(text=text, content_type="application/json")

        app = web.Application()
        app.add_routes([web.post("/v1/auth/login", answer), web.get("/v1/users", answer)])
        async with TestServer(app) as server:
            return await reading_error(open_api(str(server.make_url("")), "admin", "secret-word", None))

    async with reference_api(reference) as url:
        wrong = await reading_error(open_api(url, "admin", "secret-word", None))
        assert "/v1/auth/login with 401 authentication_wrong_credentials: wrong credentials" in wrong
        assert "with 404" in await reading_error(open_api(f"{url}/elsewhere", "admin", SECRET, None))
    assert "cannot be reached" in await reading_error(open_api("http://127.0.0.1:1", "admin", "secret-word", None))
    assert "/v1/users is not a response of the reference" in await listing('{"access_token": "secret-word"}')
    assert "/v1/auth/login is not a response of the reference" in await listing("<html>")


async def test_a_reference_that_disappears_during_a_run_is_one_line(reference: Reference) -> None:
    first, second = await new_accounts(reference, 1, 0)
    await reference.transfer(first, second, 1)
    async with open_database(reference.url, "public") as source:
        await reference.connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ledger import-reference'"
            " AND datname = current_database()"
        )

        async def never() -> bool:
            await source.count_transactions()
            return False

        with pytest.raises(ReferenceUnusableError, match="the reference's database cannot be read"):
            await until(never)


async def test_a_run_that_cannot_read_writes_nothing_and_exits_with_1(
    settings: Settings, connection: Any, reference: Reference
) -> None:
    before = await written_state(connection)
    await reference.connection.execute("DROP TABLE accounts")

    said = await run_ledger("import-reference", reference.url, variables=settings.environment())

    line = "ledger: the database has no table public.accounts to read\n"
    assert (1, "", line) == (said.status, said.output, said.error)
    assert before == await written_state(connection)


async def test_an_unknown_holder_stops_the_run(runtime: Runtime, connection: Any, reference: Reference) -> None:
    with pytest.raises(ReferenceUnusableError, match=r"^the ledger has no user 'nobody'$"):
        await run_import(runtime, connection, reference, holder="nobody")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("mysql://localhost/db",), "the URL must start with postgresql://, http:// or https://"),
        (("http://127.0.0.1:1",), "give --password-file, or set REFERENCE_PASSWORD"),
        (("postgresql://localhost/db", "--map-user", "bob=alice"), "--map-user: must be ID=USER, not 'bob=alice'"),
        (("postgresql://localhost/db", "--currency", "euro"), f"--currency: {UNKNOWN_ASSET}"),
    ],
)
async def test_invalid_arguments_are_one_line(settings: Settings, arguments: tuple[str, ...], why: str) -> None:
    said = await run_ledger("import-reference", *arguments, variables=settings.environment())

    assert (2, f"ledger: {why}\n") == (said.status, said.error)


async def test_a_mapping_of_an_unknown_user_stops_the_run(
    runtime: Runtime, connection: Any, reference: Reference
) -> None:
    """A typo in an id would leave out the accounts of the right user."""
    await create_user(runtime, new_id(), "admin", "a password", ("admin",))
    before = await written_state(connection)

    with pytest.raises(ReferenceUnusableError, match=f"the reference has no user {NOBODY}"):
        await run_import(runtime, connection, reference, mapped={UUID(NOBODY): "admin"})

    assert before == await written_state(connection)
