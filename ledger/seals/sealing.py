"""Seal the log: new events become the next block of the chain, once and in order.

Any process may seal. A lock admits one at a time, and each block is one database transaction, so a crash leaves the
chain intact. A sealer remembers the last block that it saw, and never extends a chain in which this block has changed.
So an attacker who can write to the database cannot make a running service sign the continuation of a forged chain.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from uuid import UUID

from ledger.concurrency.tasks import running
from ledger.events import StoredRow
from ledger.followers.follower import CannotApplyError, Follower, FollowerProgress, follow
from ledger.identity.keyring import load_sealing_key
from ledger.identity.keys import Key
from ledger.seals import store
from ledger.seals.blocks import Block, Header, SignedHeader, event_leaf, seal
from ledger.seals.receipts import FORMAT, Receipt, prove
from ledger.settings import Settings
from ledger.store import locks
from ledger.store import log as event_log
from ledger.store.connections import Connection, Reader
from ledger.store.identity import read_ledger_id
from ledger.store.pool import connect

PATIENCE_SECONDS = 5.0  # with writers who are under way


class BrokenChainError(CannotApplyError):
    """The seals are not those that this process, or its key, has made. One sentence for the operator."""


@contextlib.asynccontextmanager
async def sealing(settings: Settings) -> AsyncIterator[None]:
    """Seal the log meanwhile, if there is a key to do so.

    It belongs into a process that serves no requests: hashing a block takes the time of some hundred of them.
    """
    key = load_sealing_key(settings)
    if key is None:
        yield
        return
    connection = await connect(settings)
    try:
        ledger_id = await read_ledger_id(connection)
    finally:
        await connection.close()
    sealer = Sealer(ledger_id, key, limit=settings.ledger_seal_events)
    async with running(sealer.follow(lambda: connect(settings), settings.ledger_seal_seconds)):
        yield


class Sealer:
    """Seals the log with one key, in blocks of at most `limit` events."""

    def __init__(self, ledger_id: UUID, key: Key, *, limit: int) -> None:
        self._ledger_id = ledger_id
        self._key = key
        self._limit = limit
        self._seen: Header | None = None

    @property
    def reached(self) -> FollowerProgress:
        """Up to where the log is sealed, as far as this process has seen."""
        return FollowerProgress(None if self._seen is None else self._seen.last_position)

    async def follow(self, connect: Callable[[], Awaitable[Connection]], pause_seconds: float) -> None:
        """Seal whatever there is, again and again, for as long as the process runs."""
        await follow(Follower("seals", self._step, lambda: asyncio.sleep(pause_seconds)), connect)

    async def seal(self, connection: Connection, *, wait: bool = True) -> int:
        """Seal all that is settled now; how many events that were. Without `wait`, none if another one is sealing.

        Raises `TimeoutError` if a writer does not end, `BrokenChainError`, and what PostgreSQL raises.
        """
        last = await store.last(connection, self._ledger_id)
        upto = await locks.settled_position(
            connection,
            after_position=0 if last is None else last.block.last_position,
            patience_seconds=PATIENCE_SECONDS,
        )
        total, begun = 0, time.monotonic()
        while upto is not None and (count := await self._seal_block(connection, upto, wait=wait)):
            total += count
            if not wait:  # half of the time belongs to those who write, however much there is to seal
                await asyncio.sleep(time.monotonic() - begun)
                begun = time.monotonic()
        return total

    async def _step(self, connection: Connection, leads: bool) -> FollowerProgress:
        if leads:
            await self.seal(connection, wait=False)
        return self.reached

    async def _seal_block(self, connection: Connection, upto_position: int, *, wait: bool) -> int:
        """Add one block, or none if there is nothing for it; how many events it has."""
        async with connection.transaction():
            if not await locks.lock_sealing(connection, wait=wait):
                return 0
            last = await self._checked_last(connection)
            block = await self._next(connection, last, upto_position)
            if block is not None:
                await store.insert(connection, block)
                last = block.head.block
        self._seen = last
        return 0 if block is None else len(block.leaves)

    async def _next(self, connection: Connection, last: Header | None, upto_position: int) -> Block | None:
        """The block after the last one; None if there is nothing for it."""
        after = 0 if last is None else last.last_position
        leaves = await store.leaves(connection, after_position=after, upto_position=upto_position, limit=self._limit)
        if leaves is None:
            return None
        if leaves.hashes is None:
            raise _unsealable(
                await event_log.read_rows(
                    connection, after_position=after, upto_position=upto_position, limit=self._limit
                )
            )
        return seal(
            self._ledger_id,
            last,
            leaves.hashes,
            last_position=leaves.last_position,
            sealed_at=await store.now(connection),
            key=self._key,
        )

    async def _checked_last(self, connection: Connection) -> Header | None:
        """The last block, which the chain that this process knows leads to."""
        last = await store.last(connection, self._ledger_id)
        if self._seen is not None:
            known = await store.find(connection, self._ledger_id, self._seen.number)
            if known is None or known.block != self._seen:
                raise BrokenChainError(f"block {self._seen.number} is not any more what it was: run verify-seals")
        if last is not None and last.block.key_id == self._key.kid and not _is_signed(last, self._key):
            raise BrokenChainError(f"block {last.block.number} has a wrong signature: run verify-seals")
        return None if last is None else last.block


def _unsealable(rows: Sequence[StoredRow]) -> CannotApplyError:
    """What stands against the first event that has no leaf."""
    for row in rows:
        try:
            event_leaf(row)
        except ValueError as error:
            return CannotApplyError(str(error), row.notification_id)
    return CannotApplyError("an event had no leaf, and has one now: seal again", rows[0].notification_id)


def _is_signed(head: SignedHeader, key: Key) -> bool:
    try:
        return head.is_signed_by(key)
    except ValueError:
        return False


async def receipt(reader: Reader, rows: Sequence[StoredRow]) -> Receipt | None:
    """The receipt of these events; None while one of them is not sealed. Raises `SealMismatchError`."""
    ledger_id = await read_ledger_id(reader)
    proofs = []
    for row in rows:
        block = await store.covering(reader, ledger_id, row.notification_id)
        if block is None:
            return None
        proofs.append(prove(block, row))
    return Receipt(FORMAT, proofs)
