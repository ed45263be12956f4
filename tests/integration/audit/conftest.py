"""Ledgers whose history has every kind of event, to verify and to tamper with."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import asyncpg
import pytest

from ledger.audit.verify import Finding, Sources, verify
from ledger.embedded import Services
from ledger.identity.revocation_cache import RevocationCache
from ledger.identity.valkey import open_client
from ledger.runtime import Runtime, open_runtime
from ledger.settings import Settings
from ledger.store.identity import read_identity
from ledger.store.pool import connect
from ledger.values.ids import new_id
from tests.conftest import create_once, settings_for
from tests.support import citus
from tests.support.traffic import EUROS, PAYMENT, execute

BUSY_TEMPLATE = "template_busy"
DECODED = "event_json(topic, state)"
TRANSFER = f"originator_id = '{PAYMENT}'"
DEBIT = f"originator_id = '{EUROS}' AND topic = 'AccountDebited' AND {DECODED} ->> 'transfer_id' = '{PAYMENT}'"


def edit_row(condition: str, member: str, value: str) -> str:
    """Return the statement that changes a member of events."""
    state = f"convert_to(jsonb_set({DECODED}, '{{{member}}}', '{value}')::text, 'UTF8')"
    return f"UPDATE stored_events SET state = {state} WHERE {condition}"


class Progress:
    """Record the progress and the notes that verification reports."""

    def __init__(self) -> None:
        self.parts: list[tuple[str, int]] = []
        self.rows = 0
        self.notes: list[str] = []

    def begin(self, what: str, rows: int) -> None:
        self.parts.append((what, rows))

    def advance(self, rows: int) -> None:
        self.rows += rows

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)


@pytest.fixture
async def sources(busy: Runtime, settings: Settings) -> AsyncIterator[Sources]:
    connection = await connect(settings)
    yield Sources(connection, busy.pool, busy.redis)
    await connection.close()


@pytest.fixture
async def with_cache(copied: Sources) -> Sources:
    """Return a copy of the busy ledger with a revocation cache of its own."""
    await copied.now.fetchval("UPDATE ledger_identity SET id = gen_random_uuid()")
    identity = await read_identity(copied.now)
    await RevocationCache(copied.redis, cast("Any", copied.now), identity, leeway_seconds=0).fill()
    return copied


async def be_busy(settings: Settings) -> None:
    """Let a ledger have every kind of event, and an identity that no other ledger has."""
    async with open_runtime(settings) as runtime:
        await runtime.pool.fetch("UPDATE ledger_identity SET id = gen_random_uuid()")
    async with open_runtime(settings) as runtime:
        await execute(runtime)


@pytest.fixture(scope="session")
def busy_template(servers: Services, template: str) -> str:
    """Return the name of a busy ledger's database: copying it takes less time than executing the commands again."""

    async def fill(draft: str) -> None:
        await be_busy(settings_for(servers, draft))

    asyncio.run(create_once(servers, BUSY_TEMPLATE, template, fill))
    return BUSY_TEMPLATE


@pytest.fixture
async def copy(servers: Services, busy_template: str) -> AsyncIterator[Settings]:
    """Yield the settings of a copy that no other test uses. All copies share one revocation cache."""
    if citus.URL:  # a schema has no template
        async with citus.lend_schema() as schema:
            settings = settings_for(servers, "", **citus.settings(schema))
            await be_busy(settings)
            yield settings
        return
    name = f"t_{new_id().hex}"
    maker = await asyncpg.connect(servers.database_url)
    await maker.execute(f"CREATE DATABASE {name} TEMPLATE {busy_template} STRATEGY file_copy")
    yield settings_for(servers, name)
    await maker.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await maker.close()


@pytest.fixture
async def copied(copy: Settings) -> AsyncIterator[Sources]:
    """Yield the copy, as verification reads it."""
    one, two = await connect(copy), await connect(copy)
    async with open_client(copy) as redis:
        yield Sources(one, two, redis)
    await one.close()
    await two.close()


async def check(sources: Sources, **options: Any) -> list[Finding]:
    return [finding async for finding in verify(sources, Progress(), **options)]


async def plant(connection: Any, sql: str) -> None:
    """Change rows that triggers protect, as an attacker with the database's password can."""
    await connection.execute(f"SET session_replication_role = replica; {sql}; RESET session_replication_role")
