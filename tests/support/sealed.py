"""A ledger with some history and a sealing key, and an attacker with full access to its database."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from ledger.commands.accounts import OpenAccount
from ledger.commands.command import Command, Credential
from ledger.commands.transfers import TransferMoney
from ledger.commands.users import CreateUser
from ledger.errors import Refused
from ledger.events import StoredRow
from ledger.identity.keys import Key, new_private_pem, private_key
from ledger.runtime import Runtime
from ledger.seals import store
from ledger.seals.blocks import (
    Block,
    CommandPeriod,
    Header,
    SignedHeader,
    command_digest,
    event_leaf,
    seal_block,
)
from ledger.seals.chain import Chain, read_chain
from ledger.seals.head_file import HeadFile
from ledger.seals.sealing import Sealer
from ledger.seals.verifying import Finding, Witnesses, verify
from ledger.settings import Settings
from ledger.store.command_rows import CommandRow
from ledger.store.identity import read_ledger_id
from ledger.store.pool import open_pool
from ledger.store.rows import read_rows
from ledger.values.ids import new_id
from ledger.write.group import Origin
from tests.support.controls import Api
from tests.support.processes import until

BLOCK = 4  # events
INSERT = """INSERT INTO stored_events (originator_id, originator_version, topic, state)
            VALUES ($1, 1, 'NameClaimed', '{}')"""


def block_of(
    ledger_id: UUID,
    previous: Header | None,
    rows: Sequence[StoredRow],
    commands: Mapping[UUID | None, CommandRow] | None = None,
    *,
    period: CommandPeriod | None = None,
    sealed_at: datetime,
    key: Key,
) -> Block:
    """Seal these events as the next block; without the rows of their commands, as a block of version 1."""
    digests = [None if commands is None else command_digest(commands.get(row.command_id)) for row in rows]
    leaves = tuple(event_leaf(row, digest) for row, digest in zip(rows, digests, strict=True))
    position = rows[-1].notification_id
    return seal_block(ledger_id, previous, leaves, period, last_position=position, sealed_at=sealed_at, key=key)


class Sealed:
    """A ledger with its own sealing key."""

    def __init__(self, connection: Any, pool: Any, ledger_id: UUID, key: Key, accounts: tuple[UUID, UUID]) -> None:
        self.connection, self.pool, self.ledger_id, self.key = connection, pool, ledger_id, key
        self.accounts = accounts

    async def seal(self, key: Key | None = None, head_file: HeadFile | None = None) -> int:
        return await Sealer(self.ledger_id, key or self.key, limit=BLOCK, head_file=head_file).seal(self.connection)

    async def findings(self, heads: Sequence[SignedHeader] = ()) -> list[Finding]:
        return (await verify(self.pool, {self.key.kid: self.key}, Witnesses(heads))).findings

    async def chain(self) -> Chain:
        return await read_chain(self.pool, Chain(self.ledger_id, None))

    async def blocks(self) -> list[Block]:
        return await store.list_blocks(self.pool, self.ledger_id, after_number=None, limit=1000)

    async def heads(self) -> list[SignedHeader]:
        return await store.list_headers(self.pool, self.ledger_id, after_number=0, limit=1000)

    async def rows(self) -> list[StoredRow]:
        return await read_rows(self.pool, after_position=0, upto_position=2**62, limit=1000)

    async def is_whole(self) -> bool:
        return (await store.read_status(self.pool)).unsealed_events == 0

    async def tamper(self, *statements: str) -> None:
        """Run statements that bypass all triggers; each must change a row."""
        await self.connection.execute("SET session_replication_role = replica")
        for statement in statements:
            assert "0" != (await self.connection.execute(statement)).split()[-1], statement
        await self.connection.execute("RESET session_replication_role")


def write_key_file(path: Path) -> Path:
    path.write_text(new_private_pem())
    return path


async def keep_no_head(connection: Any, key_file: Path) -> HeadFile:
    """Keep an empty chain beside the key: the sealer may begin with the first event."""
    head_file = HeadFile(key_file.with_suffix(".head"))
    await head_file.keep(Chain(await read_ledger_id(connection), None))
    return head_file


@asynccontextmanager
async def ledger_to_seal(
    settings: Settings, runtime: Runtime, connection: Any, key_file: Path
) -> AsyncIterator[Sealed]:
    """Yield a ledger of about 25 events and two refused commands, unsealed, with a gap before the last event.

    The kept head says that nothing is sealed, as in a service that has begun with an empty log.
    """
    await keep_no_head(connection, key_file)
    owner_id, source, destination = new_id(), new_id(), new_id()
    commands: tuple[Command, ...] = (
        CreateUser(
            user_id=owner_id,
            username="owner",
            email="owner@example.com",
            active=True,
            roles=("customer",),
            credential=Credential(new_id(), owner_id, ""),
        ),
        OpenAccount(account_id=source, owner_id=owner_id, currency="USD", balance_cents=1_000, transaction_id=new_id()),
        OpenAccount(
            account_id=destination, owner_id=owner_id, currency="USD", balance_cents=0, transaction_id=new_id()
        ),
        *(
            TransferMoney(
                transaction_id=new_id(), source_account_id=source, destination_account_id=destination, amount_cents=1
            )
            for _ in range(5)
        ),
    )
    for command in commands:
        await runtime.committer.submit(command, Origin(new_id(), actor_id=owner_id, request_id="r"))
    for cents in (2_000, 3_000):
        too_much = TransferMoney(
            transaction_id=new_id(), source_account_id=source, destination_account_id=destination, amount_cents=cents
        )
        with pytest.raises(Refused):
            await runtime.committer.submit(too_much, Origin(new_id(), actor_id=owner_id, request_id="r"))
    await connection.execute("SELECT nextval('stored_events_notification_id_seq')")
    await connection.execute(INSERT, new_id())
    pool = await open_pool(settings)
    yield Sealed(connection, pool, await read_ledger_id(pool), private_key(key_file), (source, destination))
    await pool.close()


async def wait_for_seal(api: Api, transaction_id: str) -> None:
    """Wait until a transaction has a proof."""

    async def is_sealed() -> bool:
        return (await api.get(f"/v1/transactions/{transaction_id}/proof")).status == 200

    await until(is_sealed)
