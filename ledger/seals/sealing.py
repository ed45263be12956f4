"""Seal the log: add events to the chain of blocks, each once and in order.

Any process may seal. A lock admits one at a time, and each block is one database transaction, so a crash leaves the
chain intact. A sealer keeps the head of the chain in a file outside the database, and only extends the chain that leads
there. So an attacker who can write to the database cannot make a service sign another history.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from uuid import UUID

import structlog

from ledger.concurrency.tasks import running
from ledger.events import StoredRow
from ledger.followers.follower import CannotApplyError, Follower, FollowerProgress, follow
from ledger.identity.keyring import load_sealing_key
from ledger.identity.keys import Key
from ledger.seals import receipts, store
from ledger.seals.anchoring import Anchor, open_anchor
from ledger.seals.blocks import Block, CommandPeriod, Header, event_leaf, seal_block
from ledger.seals.chain import BrokenChainError, Chain, check_signature, read_chain
from ledger.seals.head_file import ACCEPT, HeadFile, HeadFileError
from ledger.seals.receipts import Receipt
from ledger.settings import Settings
from ledger.store import command_rows, locks
from ledger.store.connections import Connection, Reader
from ledger.store.identity import read_ledger_id
from ledger.store.pool import connect
from ledger.store.rows import read_rows

PATIENCE_SECONDS = 5.0  # how long to wait for open transactions of writers
MAX_COMMANDS = 10_000  # in the tree of a block, if they were not recorded at the same time
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)

log = structlog.get_logger(__name__)


@contextlib.asynccontextmanager
async def sealing(settings: Settings) -> AsyncIterator[None]:
    """Seal the log continuously inside the context, if a key is configured.

    Use it in a process that serves no requests: hashing a block takes as long as some hundred requests.
    """
    key = load_sealing_key(settings)
    if key is None:
        yield
        return
    ledger_id = await begin_chain(settings)
    anchor = open_anchor(settings, ledger_id, key)
    sealer = Sealer(ledger_id, key, limit=settings.ledger_seal_events, head_file=HeadFile.find(settings), anchor=anchor)
    async with contextlib.AsyncExitStack() as tasks:
        if anchor is not None:
            await tasks.enter_async_context(running(anchor.follow()))
        await tasks.enter_async_context(running(sealer.follow(lambda: connect(settings), settings.ledger_seal_seconds)))
        yield


async def begin_chain(settings: Settings) -> UUID:
    """Keep the head of an empty chain while the log is empty, and return the ledger's id.

    From then on, the first block may begin with the first event. Without a key, nothing is kept.
    """
    connection = await connect(settings)
    try:
        ledger_id = await read_ledger_id(connection)
        head_file = HeadFile.find(settings)
        if head_file is not None and not head_file.path.exists() and await store.is_log_empty(connection):
            await head_file.keep(Chain(ledger_id, None))
        return ledger_id
    finally:
        await connection.close()


class Sealer:
    """Seals the log with one key, in blocks of at most `limit` events.

    Without a `head_file`, the sealer remembers the head of the chain by itself, and may begin a chain at any time.
    """

    def __init__(
        self, ledger_id: UUID, key: Key, *, limit: int, head_file: HeadFile | None = None, anchor: Anchor | None = None
    ) -> None:
        self._ledger_id = ledger_id
        self._key = key
        self._limit = limit
        self._head_file = head_file
        self._anchor = anchor
        self._chain: Chain | None = None
        self._warned_of = ""

    @property
    def progress(self) -> FollowerProgress:
        """The last sealed position that this process has seen."""
        last = None if self._chain is None else self._chain.last
        return FollowerProgress(None if last is None else last.last_position)

    @property
    def chain(self) -> Chain | None:
        """The chain that this process has seen."""
        return self._chain

    async def follow(self, connect: Callable[[], Awaitable[Connection]], pause_seconds: float) -> None:
        """Seal new events every `pause_seconds`, for as long as the process runs."""
        await follow(Follower("seals", self._step, lambda: asyncio.sleep(pause_seconds)), connect)

    async def seal(self, connection: Connection, *, wait: bool = True) -> int:
        """Seal all settled events and return their number. Without `wait`, return 0 if another process is sealing.

        Raises `TimeoutError` if a writer does not end its transaction, `BrokenChainError`, `HeadFileError`, and errors
        of PostgreSQL.
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
            if self._chain is None:
                await self._read_chain(connection)
            if self._anchor is not None and self._chain is not None:
                self._anchor.announce(self._chain)
        else:
            await self._watch(connection)
        return self.progress

    async def _watch(self, connection: Connection) -> None:
        """Keep the head of a chain that another process extends, so that this one could continue no other chain."""
        try:
            await self._read_chain(connection)
        except (BrokenChainError, HeadFileError) as error:
            if str(error) != self._warned_of:
                self._warned_of = str(error)
                log.error("the chain of seals is not the one that this process knows", error=str(error))  # noqa: TRY400

    async def _seal_next(self, connection: Connection, upto_position: int, *, wait: bool) -> int:
        """Add the next block and return the number of its events; 0 if there are no events to seal."""
        async with connection.transaction():
            if not await locks.lock_sealing(connection, wait=wait):
                return 0
            chain = await self._read_chain(connection)
            block = await self._build_next(connection, chain.last, upto_position)
            if block is not None:
                await store.insert(connection, block)
        if block is None:
            return 0
        await self._keep(chain.extend(block.signed_header))
        return len(block.leaves)

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
            await _hash_commands(connection, last, leaves.last_position),
            last_position=leaves.last_position,
            sealed_at=await store.read_clock(connection),
            key=self._key,
        )

    async def _read_chain(self, connection: Connection) -> Chain:
        """Return the chain in the database, and keep its head. Raises `BrokenChainError` if it is not the known one."""
        kept = None if self._head_file is None else await asyncio.to_thread(self._head_file.read)
        known = kept or self._chain
        if known is None:
            known = await self._begin(connection)
        if known.ledger != self._ledger_id:
            raise BrokenChainError(f"the kept head is that of ledger {known.ledger}: set LEDGER_SEAL_HEAD_FILE")
        chain = await read_chain(connection, known)
        check_signature(chain, self._key)
        if kept is None or chain.size > kept.size:
            await self._keep(chain)
        self._chain = chain
        return chain

    async def _begin(self, connection: Connection) -> Chain:
        """Return the empty chain, from which that in the database is checked. Raises `BrokenChainError`."""
        if self._head_file is not None:
            last = await store.read_last_header(connection, self._ledger_id)
            if last is not None:
                log.info("the chain of seals is adopted", block=last.block.number, file=str(self._head_file.path))
            elif not await store.is_log_empty(connection):
                raise BrokenChainError(
                    f"the log has events but no block, and {self._head_file.path} does not exist: if the log is to be"
                    f" sealed from its beginning, run {ACCEPT}"
                )
        return Chain(self._ledger_id, None)

    async def _keep(self, chain: Chain) -> None:
        if self._head_file is not None:
            await self._head_file.keep(chain)
        self._chain = chain


async def _hash_commands(connection: Connection, last: Header | None, last_position: int) -> CommandPeriod:
    """Return the commands for the tree of the next block.

    A command that is committed later is recorded later than the last event, or at the same time. So the period ends
    before that time.
    """
    since = BEGINNING if last is None else await _find_end(connection, last)
    before = max(since, await command_rows.read_time_at(connection, last_position) or since)
    cut = await command_rows.find_answered_time(connection, since, before, skip=MAX_COMMANDS)
    digests = await command_rows.read_answered_digests(connection, since, cut or before)
    return CommandPeriod(tuple(digests), since, cut or before)


async def _find_end(connection: Connection, last: Header) -> datetime:
    """Return the end of the period of a block; for one of version 1, the time of its last event."""
    if last.commands is not None:
        return last.commands.before
    return await command_rows.read_time_at(connection, last.last_position) or BEGINNING


def _explain_unsealable(rows: Sequence[StoredRow]) -> CannotApplyError:
    """Return the error for the first event that cannot be sealed."""
    for row in rows:
        try:
            event_leaf(row)
        except ValueError as error:
            return CannotApplyError(str(error), row.notification_id)
    return CannotApplyError("an event could not be sealed but has changed since: seal again", rows[0].notification_id)


async def build_receipt(reader: Reader, rows: Sequence[StoredRow]) -> Receipt | None:
    """Return the receipt of these events; None if one is not sealed yet. Raises `SealMismatchError`."""
    ledger_id = await read_ledger_id(reader)
    ids = {row.command_id for row in rows if row.command_id is not None}
    commands = await command_rows.read_command_rows(reader, ids)
    proofs = []
    for row in rows:
        block = await store.find_block_at(reader, ledger_id, row.notification_id)
        if block is None:
            return None
        command = None if row.command_id is None else commands.get(row.command_id)
        proofs.append(receipts.prove(block, row, command))
    return receipts.build(proofs)
