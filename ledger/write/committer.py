"""Group commit: commands that wait at the same time share one database transaction.

Each caller gets an outcome once it is durable, or once it is certain that nothing has changed. A command is executed at
most once: its id is written to the command log in the database transaction that writes its events. If the connection is
lost during a commit, the committer looks the command up in that log and never repeats it blindly.
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
from ledger.write.group import Origin, Outcome, OutcomeOrError, PreparedGroup, Submission, prepare, streams_of

MAX_ATTEMPTS = 4  # for one command, whatever the errors
LOCKED_GROUPS = 100  # groups that take the append lock before reading, after a conflict with another worker
GROUPS_AT_ONCE = 2  # one is written while the clients of the other get responses and send new requests
MIN_GROUP_SIZE = 8
CACHED_HEADS = 20_000  # about 10 MB
MAX_RECONNECT_PAUSE_SECONDS = 0.5

Watch = Callable[[Sequence[Submission], float], None]  # called for each group written, with the seconds it took

log = structlog.get_logger(__name__)
_refusals = msgspec.json.Decoder(tuple[Refusal, ...])


class _Pending(Submission):
    __slots__ = ("attempts", "future", "revoked", "weight")

    def __init__(self, command: Command, origin: Origin, future: "asyncio.Future[Outcome]", weight: int) -> None:
        super().__init__(command, origin)
        self.future = future
        self.weight = weight
        self.attempts = 0
        self.revoked = False  # tokens, or attempted to

    @property
    def may_be_known(self) -> bool:
        return self.attempts > 0 or self.origin.request_hash is not None

    def resolve(self, outcome: OutcomeOrError) -> None:
        if self.future.done():
            return
        if isinstance(outcome, Outcome):
            self.future.set_result(outcome)
        else:
            self.future.set_exception(outcome)


class Committer:
    """Executes commands in commit groups, on one connection of its own.

    At most `queue_limit` commands wait, and the weights in a group add up to at most `group_limit`; a command of a
    larger weight has a group to itself. If PostgreSQL is unreachable for longer than `patience_seconds`, all waiting
    commands fail with `DatabaseError`. A command that revokes tokens returns after `announce`. `watch` is called for
    each group written.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        *,
        queue_limit: int,
        group_limit: int,
        patience_seconds: float,
        announce: Callable[[], Awaitable[None]],
        watch: Watch = lambda *_: None,
    ) -> None:
        self._connect = connect
        self._queue_limit = queue_limit
        self._group_limit = group_limit
        self._patience_seconds = patience_seconds
        self._announce = announce
        self._watch = watch
        self._queue: deque[_Pending] = deque()
        self._queued_weight = 0
        self._in_flight: dict[UUID, _Pending] = {}
        self._work = asyncio.Event()
        self._group_ready: asyncio.Future[None] | None = None
        self._circulating = 0  # a recent maximum of the commands in flight at once
        self._closing = False
        self._connection: Connection | None = None
        self._locked_groups = 0
        self._heads: dict[UUID, Head] = {}  # as this worker last read or wrote them
        self._loop: asyncio.AbstractEventLoop  # set by `start`
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to execute submitted commands."""
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run(), name="committer")

    async def close(self) -> None:
        """Refuse new commands, execute those that wait, and close the connection."""
        self._closing = True
        self._work.set()
        if self._task is not None:
            await self._task
        await self._disconnect()

    @property
    def waiting(self) -> int:
        """Number of commands in the queue."""
        return len(self._queue)

    @property
    def in_flight(self) -> int:
        """Number of commands without an outcome, those in the queue included."""
        return len(self._in_flight)

    async def submit(self, command: Command, origin: Origin, *, weight: int = 1) -> Outcome:
        """Execute one command. Raises `Refused`, `OverloadedError`, or another `LedgerError`.

        `weight` is the number of plain commands that it counts as in a group. Cancelling this call does not cancel the
        command: once in the queue, it is executed.
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
        if self._queued_weight >= self._group_size():
            self._stop_waiting()
        try:
            return await pending.future
        finally:
            if pending.revoked:
                await self._announce()

    async def _run(self) -> None:
        while True:
            try:
                return await self._process_queue()
            except Exception as error:  # a bug: fail what waits and keep serving new commands
                log.exception("committer failed", commands=len(self._in_flight))
                self._queue.clear()
                self._queued_weight = 0
                self._heads.clear()
                waiting = list(self._in_flight.values())
                self._resolve(waiting, [error] * len(waiting))
                await self._disconnect()

    async def _process_queue(self) -> None:
        while True:
            if self._queue:
                group = self._take_group()
                prepared = self._try_prepare(group, {})
                await (self._commit(group) if prepared is None else self._write_pipelined(prepared))
            elif self._closing:
                return
            else:
                self._work.clear()
                await self._work.wait()
                await asyncio.sleep(0)  # commands that arrive in the same tick of the loop share the group
            if len(self._heads) > CACHED_HEADS:
                self._heads.clear()

    def _take_group(self) -> list[_Pending]:
        self._circulating = max(len(self._in_flight), self._circulating - self._circulating // 16)
        group: list[_Pending] = []
        weight = 0
        for _ in range(min(len(self._queue), self._group_size())):
            weight += self._queue[0].weight
            if group and weight > self._group_limit:
                break
            group.append(self._queue.popleft())
        self._queued_weight -= sum(pending.weight for pending in group)
        return group

    def _put_back(self, group: Sequence[_Pending]) -> None:
        self._queue.extendleft(reversed(group))
        self._queued_weight += sum(pending.weight for pending in group)

    def _group_size(self) -> int:
        """Return the size at which a group is worth writing: a part of the circulating commands, not all of them."""
        return max(MIN_GROUP_SIZE, -(-self._circulating // GROUPS_AT_ONCE))

    def _try_prepare(self, group: Sequence[_Pending], newer: Mapping[UUID, Head]) -> PreparedGroup[_Pending] | None:
        """Decide a group if that needs no query. `newer` heads take precedence over cached ones."""
        if self._locked_groups or any(pending.may_be_known for pending in group):
            return None
        streams = streams_of(group)
        known: dict[UUID, Head] = {}
        for stream in streams:
            head = newer.get(stream) or self._heads.get(stream)
            if head is None:
                return None
            known[stream] = head
        try:
            return prepare(group, streams, known)
        except Exception:  # noqa: BLE001 - `_commit` gets it again and isolates the command
            return None

    async def _write_pipelined(self, prepared: PreparedGroup[_Pending]) -> None:
        """Write a prepared group, and further groups that can each be prepared while the one before is written.

        A group is decided as if the one before had been written; if that write fails, it goes back into the queue. It
        is sent to PostgreSQL before the outcomes of the one before are returned, so neither waits for the other.
        """
        writing = await self._send(prepared)
        while True:
            following = await self._prepare_next(writing, prepared)
            try:
                outcomes = await writing
            except Exception as error:  # noqa: BLE001 - `_handle_failure` distinguishes errors
                if following is not None:
                    self._put_back(following.commands)
                return await self._handle_failure(prepared.commands, error)
            self._heads |= prepared.heads
            if following is None:
                return self._resolve(prepared.commands, outcomes)
            writing = await self._send(following)
            self._resolve(prepared.commands, outcomes)
            prepared = following

    async def _send(self, prepared: PreparedGroup[_Pending]) -> "asyncio.Task[list[OutcomeOrError]]":
        writing = asyncio.create_task(self._write(prepared))
        await asyncio.sleep(0)  # the task sends the group in this turn of the loop
        return writing

    async def _write(self, prepared: PreparedGroup[_Pending]) -> list[OutcomeOrError]:
        connection = await self._get_connection()
        began = time.perf_counter()
        outcomes = await _write_prepared(connection, prepared)
        self._watch(prepared.commands, time.perf_counter() - began)
        return outcomes

    async def _prepare_next(
        self, writing: "asyncio.Task[list[OutcomeOrError]]", prepared: PreparedGroup[_Pending]
    ) -> PreparedGroup[_Pending] | None:
        """Prepare the next group once enough commands wait for one, or at the latest when this one is written."""
        if self._queued_weight < self._group_size():
            self._group_ready = asyncio.get_running_loop().create_future()
            writing.add_done_callback(self._stop_waiting)
            await self._group_ready
        if not self._queue or (writing.done() and writing.exception()):
            return None
        group = self._take_group()
        following = self._try_prepare(group, prepared.heads)
        if following is None:
            self._put_back(group)
        return following

    def _stop_waiting(self, _: object = None) -> None:
        if self._group_ready is not None and not self._group_ready.done():
            self._group_ready.set_result(None)

    async def _commit(self, group: Sequence[_Pending]) -> None:
        began = time.perf_counter()
        try:
            outcomes = await self._transact(group)
        except Exception as error:  # noqa: BLE001 - `_handle_failure` distinguishes errors
            await self._handle_failure(group, error)
        else:
            self._watch(group, time.perf_counter() - began)
            self._resolve(group, outcomes)

    async def _handle_failure(self, group: Sequence[_Pending], error: Exception) -> None:
        if not isinstance(error, StreamChangedError | LedgerError):  # conflicts are routine; clients get the others
            log.warning("transaction failed", commands=len(group), error=type(error).__name__, exc_info=error)
        match error:
            case StreamChangedError():
                self._locked_groups = LOCKED_GROUPS
                await self._retry(group)
            case LedgerError():
                self._resolve(group, [error] * len(group))
            case _ if isinstance(error, UNREACHABLE):
                await self._disconnect()
                await self._retry(group)
            case _:  # the transaction is rolled back: isolate the command that fails
                for pending in group:
                    await self._retry([pending])

    async def _retry(self, group: Sequence[_Pending]) -> None:
        self._heads.clear()
        for pending in group:
            pending.attempts += 1
        if any(pending.attempts >= MAX_ATTEMPTS for pending in group):
            self._resolve(group, [DatabaseError(f"gave up after {MAX_ATTEMPTS} attempts")] * len(group))
        else:
            await self._commit(group)

    def _resolve(self, group: Sequence[_Pending], outcomes: Sequence[OutcomeOrError]) -> None:
        if any(isinstance(outcome, StaleCommandError) for outcome in outcomes):
            self._heads.clear()  # no write checked them, so the stale side may be this worker
        for pending, outcome in zip(group, outcomes, strict=True):
            self._in_flight.pop(pending.origin.command_id, None)
            pending.resolve(outcome)

    async def _transact(self, group: Sequence[_Pending]) -> list[OutcomeOrError]:
        """Execute a group, in one round trip if all the heads that it needs are cached.

        If a cached head is stale, the write detects it and changes nothing. Then this group and the next ones take the
        append lock before they read: workers on the same hot accounts take turns instead of failing each other.
        """
        connection = await self._get_connection()
        if not self._locked_groups:
            return await _execute(connection, group, self._heads)
        self._locked_groups -= 1
        try:
            await event_log.begin_locked(connection)
            outcomes = await _execute(connection, group, {})
        except BaseException:
            await connection.execute("ROLLBACK")
            raise
        await connection.execute("COMMIT")
        return outcomes

    async def _get_connection(self) -> Connection:
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


async def _execute(connection: Connection, group: Sequence[_Pending], heads: dict[UUID, Head]) -> list[OutcomeOrError]:
    """Return the outcome of each command: a replay if it is in the command log, otherwise that of executing it."""
    known = await _find_known(connection, group)
    fresh = [pending for pending in group if pending.origin.command_id not in known]
    new = dict(zip(fresh, await _decide_and_write(connection, fresh, heads), strict=True)) if fresh else {}
    return [new[pending] if pending in new else _replay(pending, known) for pending in group]


async def _find_known(connection: Connection, group: Sequence[_Pending]) -> dict[UUID, LoggedCommand]:
    """Return the commands of a group that are in the command log."""
    ids = [pending.origin.command_id for pending in group if pending.may_be_known]
    return await find_commands(connection, ids) if ids else {}


def _replay(pending: _Pending, known: Mapping[UUID, LoggedCommand]) -> OutcomeOrError:
    row = known[pending.origin.command_id]
    if row.request_hash != pending.origin.request_hash:
        return Refused(errors.idempotency_key_reused())
    if row.outcome == "refused":
        return Refused(*_refusals.decode(row.result), replayed=True)
    assert row.recorded_at is not None  # noqa: S101 - it was read from the log
    # Clients cannot retry a command without a key: this is its first outcome, delayed by a lost connection.
    replayed = pending.origin.request_hash is not None
    return Outcome(msgspec.json.decode(row.result), row.recorded_at, replayed=replayed)


async def _decide_and_write(
    connection: Connection, fresh: Sequence[_Pending], heads: dict[UUID, Head]
) -> list[OutcomeOrError]:
    """Read the missing heads, decide, write, and update `heads`."""
    streams = streams_of(fresh)
    if unknown := streams - heads.keys():
        heads |= dict.fromkeys(unknown, NO_STREAM) | await read_heads(connection, unknown)
    prepared = prepare(fresh, streams, {stream: heads[stream] for stream in streams})
    outcomes = await _write_prepared(connection, prepared)
    heads |= prepared.heads
    return outcomes


async def _write_prepared(connection: Connection, prepared: PreparedGroup[_Pending]) -> list[OutcomeOrError]:
    """Write a prepared group, unless it writes nothing, and return the outcome of each command."""
    if not prepared.statements:
        return prepared.build_outcomes(None)
    for pending in prepared.commands if prepared.revoking else ():
        # Set before the write: if the connection is lost during it, the decision is lost too.
        pending.revoked |= pending.origin.command_id in prepared.revoking
    return prepared.build_outcomes(
        await event_log.write(connection, prepared.read, len(prepared.command_ids), prepared.statements)
    )
