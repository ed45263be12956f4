"""Seal the log: add events to the chain of blocks, each once and in order.

Any process may seal. A lock admits one at a time, and each block is one database transaction, so a crash leaves the
chain intact. A sealer remembers the last block it saw, and never extends a chain in which this block has changed.
So an attacker who can write to the database cannot make a running service extend a forged chain.
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
from ledger.seals.blocks import Block, Header, SignedHeader, event_leaf, seal_block
from ledger.seals.receipts import FORMAT, Receipt, prove
from ledger.settings import Settings
from ledger.store import locks
from ledger.store.connections import Connection, Reader
from ledger.store.identity import read_ledger_id
from ledger.store.pool import connect
from ledger.store.rows import read_rows

PATIENCE_SECONDS = 5.0  # how long to wait for open transactions of writers


class BrokenChainError(CannotApplyError):
    """The seals differ from those that this process or its key made. The message is one sentence for the operator."""


@contextlib.asynccontextmanager
async def sealing(settings: Settings) -> AsyncIterator[None]:
    """Seal the log continuously inside the context, if a key is configured.

    Use it in a process that serves no requests: hashing a block takes as long as some hundred requests.
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
    def progress(self) -> FollowerProgress:
        """The last sealed position that this process has seen."""
        return FollowerProgress(None if self._seen is None else self._seen.last_position)

    async def follow(self, connect: Callable[[], Awaitable[Connection]], pause_seconds: float) -> None:
        """Seal new events every `pause_seconds`, for as long as the process runs."""
        await follow(Follower("seals", self._step, lambda: asyncio.sleep(pause_seconds)), connect)

    async def seal(self, connection: Connection, *, wait: bool = True) -> int:
        """Seal all settled events and return their number. Without `wait`, return 0 if another process is sealing.

        Raises `TimeoutError` if a writer does not end its transaction, `BrokenChainError`, and errors of PostgreSQL.
        """
        last = await store.read_last_header(connection, self._ledger_id)
        upto_position = await locks.settled_position(
            connection,
            after_position=0 if last is None else last.block.last_position,
            patience_seconds=PATIENCE_SECONDS,
        )
        total, started_at = 0, time.monotonic()
        while upto_position is not None and (count := await self._seal_next(connection, upto_position, wait=wait)):
            total += count
            if not wait:  # leave half of the time to writers, however long the backlog is
                await asyncio.sleep(time.monotonic() - started_at)
                started_at = time.monotonic()
        return total

    async def _step(self, connection: Connection, leads: bool) -> FollowerProgress:
        if leads:
            await self.seal(connection, wait=False)
        return self.progress

    async def _seal_next(self, connection: Connection, upto_position: int, *, wait: bool) -> int:
        """Add the next block and return the number of its events; 0 if there are no events to seal."""
        async with connection.transaction():
            if not await locks.lock_sealing(connection, wait=wait):
                return 0
            last = await self._check_last(connection)
            block = await self._build_next(connection, last, upto_position)
            if block is not None:
                await store.insert(connection, block)
                last = block.signed_header.block
        self._seen = last
        return 0 if block is None else len(block.leaves)

    async def _build_next(self, connection: Connection, last: Header | None, upto_position: int) -> Block | None:
        """Return the block after `last`; None if there are no events to seal."""
        after = 0 if last is None else last.last_position
        leaves = await store.hash_events(
            connection, after_position=after, upto_position=upto_position, limit=self._limit
        )
        if leaves is None:
            return None
        if leaves.hashes is None:
            raise _explain_unsealable(
                await read_rows(connection, after_position=after, upto_position=upto_position, limit=self._limit)
            )
        return seal_block(
            self._ledger_id,
            last,
            leaves.hashes,
            last_position=leaves.last_position,
            sealed_at=await store.read_clock(connection),
            key=self._key,
        )

    async def _check_last(self, connection: Connection) -> Header | None:
        """Return the last block header. Raises `BrokenChainError` if the known chain does not lead to it."""
        last = await store.read_last_header(connection, self._ledger_id)
        if self._seen is not None:
            known = await store.find_header(connection, self._ledger_id, self._seen.number)
            if known is None or known.block != self._seen:
                raise BrokenChainError(f"block {self._seen.number} has changed: run `ledger audit verify-seals`")
        if last is not None and last.block.key_id == self._key.kid and not _is_signed(last, self._key):
            raise BrokenChainError(
                f"block {last.block.number} has an invalid signature: run `ledger audit verify-seals`"
            )
        return None if last is None else last.block


def _explain_unsealable(rows: Sequence[StoredRow]) -> CannotApplyError:
    """Return the error for the first event that cannot be sealed."""
    for row in rows:
        try:
            event_leaf(row)
        except ValueError as error:
            return CannotApplyError(str(error), row.notification_id)
    return CannotApplyError("an event could not be sealed but has changed since: seal again", rows[0].notification_id)


def _is_signed(header: SignedHeader, key: Key) -> bool:
    try:
        return header.is_signed_by(key)
    except ValueError:
        return False


async def build_receipt(reader: Reader, rows: Sequence[StoredRow]) -> Receipt | None:
    """Return the receipt of these events; None if one is not sealed yet. Raises `SealMismatchError`."""
    ledger_id = await read_ledger_id(reader)
    proofs = []
    for row in rows:
        block = await store.find_block_at(reader, ledger_id, row.notification_id)
        if block is None:
            return None
        proofs.append(prove(block, row))
    return Receipt(FORMAT, proofs)
