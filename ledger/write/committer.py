"""Group commit: the commands that wait share one database transaction.

The caller of each command gets its outcome once it is durable, or once it is certain that nothing has changed. A
command is executed at most once: its id is written to the command log in the transaction that writes its events. If the
connection is lost during a commit, the committer looks the command up in that log, and never repeats it blindly.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from uuid import UUID

import msgspec
import structlog

from ledger import errors
from ledger.commands.command import Command
from ledger.errors import DatabaseError, LedgerError, OverloadedError, Refusal, Refused, StaleCommandError
from ledger.store import log as event_log
from ledger.store.commands import LoggedCommand, find_commands
from ledger.store.connections import Connection
from ledger.store.heads import NO_STREAM, Head, read_heads
from ledger.store.log import StreamChangedError
from ledger.store.pool import UNREACHABLE
from ledger.write.group import Answer, Origin, Outcome, Prepared, Submission, prepare, streams_of

MAX_ATTEMPTS = 4  # of one command, whatever fails
LOCKED_BATCHES = 100  # after another worker came between reading and writing
SHARES = 2  # one is written while the other is answered, asked for more, and prepared
SMALL_BATCH = 8  # no share is smaller
CACHED_HEADS = 20_000  # some 10 MB
MAX_RECONNECT_PAUSE_SECONDS = 0.5

Watch = Callable[[Sequence[Submission], float], None]  # who is told of each batch written, and in how many seconds

log = structlog.get_logger(__name__)
_refusals = msgspec.json.Decoder(tuple[Refusal, ...])


class _Pending(Submission):
    __slots__ = ("attempts", "future", "revoked", "weight")

    def __init__(self, command: Command, origin: Origin, future: "asyncio.Future[Outcome]", weight: int) -> None:
        super().__init__(command, origin)
        self.future = future
        self.weight = weight
        self.attempts = 0
        self.revoked = False  # tokens, or tried to

    @property
    def may_be_known(self) -> bool:
        return self.attempts > 0 or self.origin.request_hash is not None

    def answer(self, answer: Answer) -> None:
        if self.future.done():
            return
        if isinstance(answer, Outcome):
            self.future.set_result(answer)
        else:
            self.future.set_exception(answer)


class Committer:
    """Carries out commands, many in a transaction, on one connection of its own.

    At most `queue_limit` commands wait and at most `batch_limit` share a transaction; one that weighs as much as many
    counts as many there, and one that weighs more than that has a transaction to itself. When PostgreSQL is away for
    longer than `patience_seconds`, all that wait fail with `DatabaseError`. Who revoked tokens is answered after
    `announce`. Who watches is told of every batch.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        *,
        queue_limit: int,
        batch_limit: int,
        patience_seconds: float,
        announce: Callable[[], Awaitable[None]],
        watch: Watch = lambda *_: None,
    ) -> None:
        self._connect = connect
        self._queue_limit = queue_limit
        self._batch_limit = batch_limit
        self._patience_seconds = patience_seconds
        self._announce = announce
        self._watch = watch
        self._queue: deque[_Pending] = deque()
        self._queued_weight = 0
        self._in_flight: dict[UUID, _Pending] = {}
        self._work = asyncio.Event()
        self._enough: asyncio.Future[None] | None = None
        self._circulating = 0  # how many commands are under way at once, of late
        self._closing = False
        self._connection: Connection | None = None
        self._locked_batches = 0
        self._heads: dict[UUID, Head] = {}  # as this worker last saw or made them
        self._loop: asyncio.AbstractEventLoop  # in which it was started
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to carry out what is submitted."""
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run(), name="committer")

    async def close(self) -> None:
        """Accept nothing more, carry out what waits, and let the connection go."""
        self._closing = True
        self._work.set()
        if self._task is not None:
            await self._task
        await self._disconnect()

    @property
    def waiting(self) -> int:
        """How many commands are in the queue."""
        return len(self._queue)

    @property
    def in_flight(self) -> int:
        """How many have no answer yet."""
        return len(self._in_flight)

    async def submit(self, command: Command, origin: Origin, *, weight: int = 1) -> Outcome:
        """Carry out one command. Raises `Refused`, `OverloadedError`, or another `LedgerError`.

        `weight` is as how many plain commands it counts in a transaction.
        Cancelling the wait cancels nothing: a command that is in the queue will be carried out.
        """
        if origin.command_id in self._in_flight:
            raise Refused(errors.idempotency_key_in_use())
        if self._closing or len(self._queue) >= self._queue_limit:
            raise OverloadedError("the queue of commands is full")
        pending = _Pending(command, origin, self._loop.create_future(), weight)
        self._in_flight[origin.command_id] = pending
        self._queue.append(pending)
        self._queued_weight += weight
        self._work.set()
        if self._queued_weight >= self._share():
            self._end_wait()
        try:
            return await pending.future
        finally:
            if pending.revoked:
                await self._announce()

    async def _run(self) -> None:
        while True:
            try:
                return await self._work_off()
            except Exception as error:  # a fault of ours: nobody may wait for ever, and all others go on
                log.exception("committer failed", commands=len(self._in_flight))
                self._queue.clear()
                self._queued_weight = 0
                self._heads.clear()
                waiting = list(self._in_flight.values())
                self._finish(waiting, [error] * len(waiting))
                await self._disconnect()

    async def _work_off(self) -> None:
        while True:
            if self._queue:
                batch = self._next_batch()
                prepared = self._prepared(batch, {})
                await (self._commit(batch) if prepared is None else self._write(prepared))
            elif self._closing:
                return
            else:
                self._work.clear()
                await self._work.wait()
                await asyncio.sleep(0)  # what arrives in the same tick of the loop shares the transaction
            if len(self._heads) > CACHED_HEADS:
                self._heads.clear()

    def _next_batch(self) -> list[_Pending]:
        self._circulating = max(len(self._in_flight), self._circulating - self._circulating // 16)
        batch: list[_Pending] = []
        weight = 0
        for _ in range(min(len(self._queue), self._share())):
            weight += self._queue[0].weight
            if batch and weight > self._batch_limit:
                break
            batch.append(self._queue.popleft())
        self._queued_weight -= sum(pending.weight for pending in batch)
        return batch

    def _put_back(self, batch: Sequence[_Pending]) -> None:
        self._queue.extendleft(reversed(batch))
        self._queued_weight += sum(pending.weight for pending in batch)

    def _share(self) -> int:
        """How many of the commands that come again and again make a batch, so that nobody waits for all of them."""
        return max(SMALL_BATCH, -(-self._circulating // SHARES))

    def _prepared(self, batch: Sequence[_Pending], newer: Mapping[UUID, Head]) -> Prepared[_Pending] | None:
        """The batch, decided, if that takes no look-up; `newer` heads go before those that are remembered."""
        if self._locked_batches or any(pending.may_be_known for pending in batch):
            return None
        streams = streams_of(batch)
        known: dict[UUID, Head] = {}
        for stream in streams:
            head = newer.get(stream) or self._heads.get(stream)
            if head is None:
                return None
            known[stream] = head
        try:
            return prepare(batch, streams, known)
        except Exception:  # noqa: BLE001 - `_commit` meets it again, and finds the guilty one
            return None

    async def _write(self, prepared: Prepared[_Pending]) -> None:
        """Write a prepared batch, and those that can be prepared while the one before is written.

        They are decided as if that one had been written already; if it fails, the next goes back into the queue. The
        next is on its way to PostgreSQL before the answers to this one are made, so neither waits for the other.
        """
        writing = await self._begin(prepared)
        while True:
            following = await self._meanwhile(writing, prepared)
            try:
                answers = await writing
            except Exception as error:  # noqa: BLE001 - `_failed` tells them apart
                if following is not None:
                    self._put_back(following.commands)
                return await self._failed(prepared.commands, error)
            self._heads |= prepared.heads
            if following is None:
                return self._finish(prepared.commands, answers)
            writing = await self._begin(following)
            self._finish(prepared.commands, answers)
            prepared = following

    async def _begin(self, prepared: Prepared[_Pending]) -> "asyncio.Task[list[Answer]]":
        """Send a batch to PostgreSQL."""
        writing = asyncio.create_task(self._written(prepared))
        await asyncio.sleep(0)  # in this turn of the loop it is sent
        return writing

    async def _written(self, prepared: Prepared[_Pending]) -> list[Answer]:
        connection = await self._connected()
        began = time.perf_counter()
        answers = await _execute(connection, prepared)
        self._watch(prepared.commands, time.perf_counter() - began)
        return answers

    async def _meanwhile(
        self, writing: "asyncio.Task[list[Answer]]", prepared: Prepared[_Pending]
    ) -> Prepared[_Pending] | None:
        """Prepare the next batch once there are enough commands for one, or else when this one is written."""
        if self._queued_weight < self._share():
            self._enough = asyncio.get_running_loop().create_future()
            writing.add_done_callback(self._end_wait)
            await self._enough
        if not self._queue or (writing.done() and writing.exception()):
            return None
        batch = self._next_batch()
        following = self._prepared(batch, prepared.heads)
        if following is None:
            self._put_back(batch)
        return following

    def _end_wait(self, _: object = None) -> None:
        if self._enough is not None and not self._enough.done():
            self._enough.set_result(None)

    async def _commit(self, batch: Sequence[_Pending]) -> None:
        began = time.perf_counter()
        try:
            answers = await self._transact(batch)
        except Exception as error:  # noqa: BLE001 - `_failed` tells them apart
            await self._failed(batch, error)
        else:
            self._watch(batch, time.perf_counter() - began)
            self._finish(batch, answers)

    async def _failed(self, batch: Sequence[_Pending], error: Exception) -> None:
        if not isinstance(error, StreamChangedError | LedgerError):  # the one is how workers meet, the other is told
            log.warning("transaction failed", commands=len(batch), error=type(error).__name__, exc_info=error)
        match error:
            case StreamChangedError():
                self._locked_batches = LOCKED_BATCHES
                await self._try_again(batch)
            case LedgerError():
                self._finish(batch, [error] * len(batch))
            case _ if isinstance(error, UNREACHABLE):
                await self._disconnect()
                await self._try_again(batch)
            case _:  # the transaction is rolled back: find the guilty one
                for pending in batch:
                    await self._try_again([pending])

    async def _try_again(self, batch: Sequence[_Pending]) -> None:
        self._heads.clear()
        for pending in batch:
            pending.attempts += 1
        if any(pending.attempts >= MAX_ATTEMPTS for pending in batch):
            self._finish(batch, [DatabaseError(f"gave up after {MAX_ATTEMPTS} attempts")] * len(batch))
        else:
            await self._commit(batch)

    def _finish(self, batch: Sequence[_Pending], answers: Sequence[Answer]) -> None:
        if any(isinstance(answer, StaleCommandError) for answer in answers):
            self._heads.clear()  # nothing was written, so nothing told whether it is this worker that is behind
        for pending, answer in zip(batch, answers, strict=True):
            self._in_flight.pop(pending.origin.command_id, None)
            pending.answer(answer)

    async def _transact(self, batch: Sequence[_Pending]) -> list[Answer]:
        """Carry out a batch, in one round trip if this worker knows all the heads that it needs.

        What it knows may be old: then the write finds out and changes nothing, and this batch and the next ones are
        carried out in transactions that have the append lock before they read. Workers on the same hot accounts wait
        for each other that way, instead of working in vain.
        """
        connection = await self._connected()
        if not self._locked_batches:
            return await self._answers(connection, batch, self._heads)
        self._locked_batches -= 1
        try:
            await event_log.begin_locked(connection)
            answers = await self._answers(connection, batch, {})
        except BaseException:
            await connection.execute("ROLLBACK")
            raise
        await connection.execute("COMMIT")
        return answers

    async def _answers(
        self, connection: Connection, batch: Sequence[_Pending], heads: dict[UUID, Head]
    ) -> list[Answer]:
        """Each command's answer: the one it had before, or what comes of it now."""
        known = await _known(connection, batch)
        fresh = [pending for pending in batch if pending.origin.command_id not in known]
        new = dict(zip(fresh, await _carry_out(connection, fresh, heads), strict=True)) if fresh else {}
        return [new[pending] if pending in new else _replay(pending, known) for pending in batch]

    async def _connected(self) -> Connection:
        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        pause = 0.02
        deadline = asyncio.get_running_loop().time() + self._patience_seconds
        while True:
            try:
                self._connection = await self._connect()
            except UNREACHABLE as error:
                if asyncio.get_running_loop().time() + pause > deadline:
                    raise DatabaseError("PostgreSQL cannot be reached") from error
            else:
                return self._connection
            await asyncio.sleep(pause)
            pause = min(2 * pause, MAX_RECONNECT_PAUSE_SECONDS)

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(*UNREACHABLE):
                await connection.close(timeout=1)


async def _known(connection: Connection, batch: Sequence[_Pending]) -> dict[UUID, LoggedCommand]:
    """Those of the batch that were carried out or refused before."""
    ids = [pending.origin.command_id for pending in batch if pending.may_be_known]
    return await find_commands(connection, ids) if ids else {}


def _replay(pending: _Pending, known: Mapping[UUID, LoggedCommand]) -> Answer:
    row = known[pending.origin.command_id]
    if row.request_hash != pending.origin.request_hash:
        return Refused(errors.idempotency_key_reused())
    if row.outcome == "refused":
        return Refused(*_refusals.decode(row.result), replayed=True)
    assert row.recorded_at is not None  # noqa: S101 - it was read from the log
    # Without a key nobody can have asked twice: this is the first answer, which a lost connection had kept back.
    replayed = pending.origin.request_hash is not None
    return Outcome(msgspec.json.decode(row.result), row.recorded_at, replayed=replayed)


async def _carry_out(connection: Connection, fresh: Sequence[_Pending], heads: dict[UUID, Head]) -> list[Answer]:
    """Read what is not among the heads, decide, write all there is to write, and take the new heads over."""
    streams = streams_of(fresh)
    if unknown := streams - heads.keys():
        heads |= dict.fromkeys(unknown, NO_STREAM) | await read_heads(connection, unknown)
    prepared = prepare(fresh, streams, {stream: heads[stream] for stream in streams})
    answers = await _execute(connection, prepared)
    heads |= prepared.heads
    return answers


async def _execute(connection: Connection, prepared: Prepared[_Pending]) -> list[Answer]:
    """Write what was prepared, if there is anything to write, and answer."""
    if not prepared.statements:
        return prepared.answers(None)
    for pending in prepared.commands if prepared.revoking else ():
        # Before it is written: should the connection be lost then, nobody could say any more what it was.
        pending.revoked |= pending.origin.command_id in prepared.revoking
    return prepared.answers(
        await event_log.write(connection, prepared.read, len(prepared.command_ids), prepared.statements)
    )
