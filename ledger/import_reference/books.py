"""Read and write the ledger for an import; in a dry run, keep the changes in memory.

A dry run decides the same commands on the same states.
"""

import asyncio
from collections.abc import Awaitable, Collection, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from ledger.commands.batch import ItemResult
from ledger.commands.command import Command, Credential
from ledger.commands.imports import ImportAccounts, ImportTransfers
from ledger.commands.users import CreateUser
from ledger.errors import Refused
from ledger.events import State, evolve
from ledger.events.accounts import world_account_id
from ledger.money import Assets
from ledger.projections.assets import read_assets
from ledger.runtime import Runtime
from ledger.store.connections import Connection
from ledger.store.heads import read_heads
from ledger.store.sql import EVENT_COMMANDS
from ledger.values.ids import new_id
from ledger.write.group import Origin

CHUNK = 5000  # accounts whose entries one query reads
MAX_CONCURRENT_HASHES = 2
REQUEST_ID = "import-reference"  # in the command log


class Imported(NamedTuple):
    """What imports and other commands have moved into an account. `openings` counts the import's corrections."""

    openings: int = 0
    opening_cents: int = 0
    transferred_cents: int = 0
    moved_cents: int = 0

    @property
    def cents(self) -> int:
        """The balance that the account would have if nothing but the import had moved money."""
        return self.opening_cents + self.transferred_cents


class NewUser(NamedTuple):
    """A user to create; the credential still has to be made from the secret."""

    command: CreateUser
    secret: str


class RehearsedBooks:
    """The ledger in a dry run: nothing is written."""

    is_rehearsal = True

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._changed: dict[UUID, State] = {}

    async def states(self, streams: Collection[UUID]) -> dict[UUID, State | None]:
        """Return the states of streams, None for those that do not exist."""
        heads = await read_heads(self._connection, streams)
        stored = {stream: heads[stream].state if stream in heads else None for stream in streams}
        return {stream: self._changed.get(stream, state) for stream, state in stored.items()}

    async def create_users(self, users: Sequence[NewUser]) -> list[Refused | None]:
        """Create users, in order; return for each its refusal, or None."""
        return [await _catch_refusal(self._rehearse(user.command)) for user in users]

    async def execute(self, command: ImportAccounts | ImportTransfers, *, weight: int) -> list[ItemResult]:
        """Execute a command with `weight` items, and return the result of each item."""
        del weight
        return list((await self._rehearse(command))["results"])

    async def _rehearse(self, command: Command) -> Mapping[str, Any]:
        states = await self.states({*command.streams(), *command.creates()})
        decision = command.decide(states)
        for stream, event in decision.events:
            self._changed[stream] = states[stream] = evolve(states[stream], event)
        return decision.result

    async def imported(self, account_ids: Sequence[UUID]) -> dict[UUID, Imported]:
        """Return what was moved into the accounts, for those that an import has opened."""
        found: dict[UUID, Imported] = {}
        for start in range(0, len(account_ids), CHUNK):
            rows = await self._connection.fetch(_IMPORTED, account_ids[start : start + CHUNK])
            found |= {row[0]: Imported(row[1], int(row[2]), int(row[3]), int(row[4])) for row in rows}
        return found

    async def assets(self) -> Assets:
        """Return the currencies and the registered assets."""
        return await read_assets(self._connection)

    async def totals(self, currency: str) -> tuple[int, int]:
        """Return the balance of `world`, and the sum of all balances."""
        row = await self._connection.fetchrow(_TOTALS, currency, world_account_id(currency))
        assert row is not None  # noqa: S101 - it has no GROUP BY
        return int(row[0]), int(row[1])


class Books(RehearsedBooks):
    """The ledger itself. Commands go through the committer, as they do in the service."""

    is_rehearsal = False

    def __init__(self, connection: Connection, runtime: Runtime) -> None:
        super().__init__(connection)
        self._runtime = runtime
        self._hashing = asyncio.Semaphore(min(MAX_CONCURRENT_HASHES, runtime.settings.ledger_login_queue_limit))
        self._submitting = asyncio.Semaphore(runtime.settings.ledger_queue_limit)

    async def create_users(self, users: Sequence[NewUser]) -> list[Refused | None]:
        """Create users, in order; return for each its refusal, or None."""
        hashes = await asyncio.gather(*(self._hash(user.secret) for user in users))
        return await asyncio.gather(
            *(
                _catch_refusal(self._submit(_with_hash(user.command, hashed), weight=1))
                for user, hashed in zip(users, hashes, strict=True)
            )
        )

    async def execute(self, command: ImportAccounts | ImportTransfers, *, weight: int) -> list[ItemResult]:
        """Execute a command with `weight` items, and return the result of each item."""
        return msgspec.convert((await self._submit(command, weight=weight))["results"], list[ItemResult])

    async def _submit(self, command: Command, *, weight: int) -> Mapping[str, Any]:
        # A new command id, so that the next run decides a refused command again. Recorded items are not repeated,
        # because their streams exist.
        async with self._submitting:
            outcome = await self._runtime.committer.submit(
                command, Origin(new_id(), request_id=REQUEST_ID), weight=weight
            )
        return outcome.result

    async def _hash(self, secret: str) -> str:
        async with self._hashing:
            return await self._runtime.passwords.hash(secret)


def _with_hash(command: CreateUser, hashed: str) -> CreateUser:
    return msgspec.structs.replace(command, credential=Credential(new_id(), command.user_id, hashed))


async def _catch_refusal(work: Awaitable[object]) -> Refused | None:
    try:
        await work
    except Refused as refused:
        return refused
    return None


# Entries by their command. Only the command log tells which accounts an import has opened.
_IMPORTED = f"""
SELECT opened.stream_id,
       count(*) FILTER (WHERE recorded.command = '{ImportAccounts.name}'),
       coalesce(sum(amount_cents) FILTER (WHERE recorded.command = '{ImportAccounts.name}'), 0),
       coalesce(sum(amount_cents) FILTER (WHERE recorded.command = '{ImportTransfers.name}'), 0),
       coalesce(sum(amount_cents) FILTER (
           WHERE coalesce(recorded.command, '') NOT IN ('{ImportAccounts.name}', '{ImportTransfers.name}')), 0)
FROM ({EVENT_COMMANDS}) AS opened
LEFT JOIN entries ON account_id = opened.stream_id
LEFT JOIN ({EVENT_COMMANDS}) AS recorded ON recorded.stream_id = account_id AND recorded.version = entries.version
WHERE opened.stream_id = ANY($1) AND opened.version = 1 AND opened.command = '{ImportAccounts.name}'
GROUP BY opened.stream_id
"""
_TOTALS = """
SELECT coalesce(sum(balance_cents) FILTER (WHERE id = $2), 0), coalesce(sum(balance_cents), 0)
FROM accounts WHERE currency = $1
"""
