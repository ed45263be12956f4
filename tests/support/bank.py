"""Accounts and a committer, for the tests of commit groups."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ledger.commands.accounts import OpenAccount
from ledger.commands.command import Command, Credential
from ledger.commands.transfers import TransferMoney
from ledger.commands.users import CreateUser
from ledger.projections import INLINE, apply_all
from ledger.settings import Settings
from ledger.store import log as event_log
from ledger.store.citus import find_table
from ledger.store.heads import read_heads, replace_heads
from ledger.store.pool import connect
from ledger.values.ids import new_id
from ledger.write.committer import Committer
from ledger.write.group import CommitGroup, Origin, Outcome
from tests.support.processes import until


@dataclass(frozen=True)
class Bank:
    """A ledger behind its committer, and a second connection that reads the results."""

    committer: Committer
    observer: Any
    owner_id: UUID

    async def submit(
        self, command: Command, command_id: UUID | None = None, request_hash: bytes | None = None
    ) -> Outcome:
        return await self.committer.submit(command, Origin(command_id or new_id(), request_hash=request_hash))

    async def outcomes(self, *commands: Command) -> list[Any]:
        """Submit commands concurrently; return the outcome or the exception of each."""
        return await asyncio.gather(*map(self.submit, commands), return_exceptions=True)

    async def accounts(self, *balances: int) -> list[UUID]:
        opened = [
            OpenAccount(
                account_id=new_id(),
                owner_id=self.owner_id,
                currency="USD",
                balance_cents=balance,
                transaction_id=new_id(),
            )
            for balance in balances
        ]
        for outcome in await self.outcomes(*opened):
            assert isinstance(outcome, Outcome), outcome
        return [command.account_id for command in opened]

    async def balances(self, account_ids: Sequence[UUID]) -> list[int]:
        rows = await self.observer.fetch("SELECT id, balance_cents FROM accounts")
        found = dict(rows)
        return [found[account_id] for account_id in account_ids]

    async def transfers(self, kind: str = "transfer") -> int:
        """Count the transfer events of this kind."""
        query = "SELECT count(*) FROM events WHERE topic = 'MoneyTransferred' AND state->>'kind' = $1"
        return int(await self.observer.fetchval(query, kind))

    async def transactions(self, name: str = "TransferMoney") -> int:
        """Count the database transactions that executed commands of this name."""
        commands = await find_table(self.observer, "command_log")
        query = f"SELECT count(DISTINCT (xmin::text, recorded_at)) FROM {commands} WHERE name = $1"
        return int(await self.observer.fetchval(query, name))

    async def blocked(self) -> bool:
        """Return whether a statement waits for a lock."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        return bool(await self.observer.fetchval(query))


def transfer_command(source: UUID, destination: UUID, amount_cents: int = 1, **members: Any) -> TransferMoney:
    return TransferMoney(
        transaction_id=new_id(),
        source_account_id=source,
        destination_account_id=destination,
        amount_cents=amount_cents,
        **members,
    )


async def announce_nothing() -> None:
    """Do nothing: these tests have no revocation cache."""


@asynccontextmanager
async def run_committer(
    settings: Settings, *, using: Callable[[], Awaitable[Any]] | None = None, **limits: Any
) -> AsyncIterator[Committer]:
    """Run a committer on its own connection."""
    bounds = {"queue_limit": 2048, "group_limit": 256, "patience_seconds": 10, **limits}
    committer = Committer(
        using or (lambda: connect(settings, statement_seconds=None, lock_timeout="1s")),
        announce=announce_nothing,
        **bounds,
    )
    committer.start()
    try:
        yield committer
    finally:
        await committer.close()


@asynccontextmanager
async def open_bank(settings: Settings, observer: Any, **options: Any) -> AsyncIterator[Bank]:
    """Run a committer, with a user who can own accounts."""
    async with run_committer(settings, **options) as committer:
        bank = Bank(committer, observer, new_id())
        credential = Credential(new_id(), bank.owner_id, "a hash")
        await bank.submit(
            CreateUser(
                user_id=bank.owner_id,
                username="owner",
                email="owner@example.com",
                active=True,
                roles=("customer",),
                credential=credential,
            )
        )
        yield bank


@asynccontextmanager
async def competing_commit(settings: Settings, command: Command) -> AsyncIterator[None]:
    """Hold the append lock like another process that has executed a command; commit when the block ends."""
    connection = await connect(settings)
    try:
        await event_log.begin_locked(connection)
        await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")  # it waits for the test
        batch = CommitGroup(await read_heads(connection, list(command.streams())))
        batch.decide(command, new_id())
        statements = [
            event_log.append_events(batch.appended, batch.command_ids),
            *replace_heads(batch.changed),
        ]
        await event_log.write(connection, {}, len(batch.appended), [*statements, *apply_all(INLINE, batch.appended)])
        yield
        await connection.execute("COMMIT")
    finally:
        await connection.close()


async def submit_with_conflict(settings: Settings, bank: Bank, source: UUID, destination: UUID) -> None:
    """Submit a transfer of 1 while another process commits the same one between its read and its write."""
    async with competing_commit(settings, transfer_command(source, destination)):
        waiting = asyncio.create_task(bank.submit(transfer_command(source, destination)))
        await until(bank.blocked)
    await waiting
