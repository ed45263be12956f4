"""Group commit: commands that wait at the same time share one database transaction.

Each caller gets an outcome once it is durable, or once it is certain that nothing has changed, or an error at its
deadline. A command is executed at most once: its id is written to the command log in the database transaction that
writes its events. If the connection is lost during a commit, the committer looks the command up in that log and never
repeats it blindly.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from uuid import UUID

import asyncpg
import structlog

from ledger import errors
from ledger.commands.command import Command
from ledger.concurrency.tasks import running
from ledger.errors import DatabaseError, LedgerError, OverloadedError, Refused, StaleCommandError
from ledger.store.connections import UNREACHABLE, Connection
from ledger.store.heads import Head
from ledger.store.log import CommandKnownError, StreamChangedError
from ledger.write import execution
from ledger.write.connection import MAX_PAUSE_SECONDS, WriteConnection
from ledger.write.group import Origin, Outcome, OutcomeOrError, PreparedGroup, Submission, prepare, streams_of
from ledger.write.health import WriteHealth
from ledger.write.parking import PROBE_SECONDS, Parking
from ledger.write.pending import Awaited, Pending, RecentCommands, look_up
from ledger.write.queue import CommandQueue

MAX_ATTEMPTS = 3  # for a command that fails alone
LOCKED_GROUPS = 100  # groups that take the append lock before reading, after a conflict with another writer
GROUPS_AT_ONCE = 2  # one is written while the clients of the other get responses and send new requests
MIN_GROUP_SIZE = 8
CACHED_HEADS = 20_000  # about 10 MB
TICK_SECONDS = 0.1  # between two looks at deadlines
SUSPECT_SECONDS = 1.0  # after which a statement without a result may have been lost
FIRST_PAUSE_SECONDS = 0.005  # before a group is tried once more
HEARTBEAT_SECONDS = 1.0  # between the writes of a committer that has nothing else to write

Watch = Callable[[Sequence[Submission], float], None]  # called for each group written, with the seconds it took

log = structlog.get_logger(__name__)


class Committer:
    """Executes commands in commit groups, on one connection of its own.

    At most `queue_limit` commands wait, and the weights in a group add up to at most `group_limit`; a command of a
    larger weight has a group to itself. A command without an outcome after `patience_seconds`, or at its own deadline,
    fails with `DatabaseError`, or with `OutcomeUnknownError` if it was sent to PostgreSQL. A command that revokes
    tokens returns after `announce`. `watch` is called for each group written.
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
        self._link = WriteConnection(connect)
        self._queue_limit = queue_limit
        self._group_limit = group_limit
        self._patience_seconds = patience_seconds
        self._announce = announce
        self._watch = watch
        self._queue = CommandQueue()
        self._in_flight: dict[UUID, Pending] = {}
        self._parking = Parking()
        self._work = asyncio.Event()
        self._group_ready: asyncio.Future[None] | None = None
        self._circulating = 0  # a recent maximum of the commands in flight at once
        self._closing = False
        self._busy_since: float | None = None  # a statement has been running since then
        self._locked_groups = 0
        self._heads: dict[UUID, Head] = {}  # as this committer last read or wrote them
        self._recent = RecentCommands()
        self.health = WriteHealth()
        self._loop: asyncio.AbstractEventLoop  # set by `start`
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to execute submitted commands."""
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run(), name="committer")

    async def close(self) -> None:
        """Refuse new commands, execute those that wait, and close the connection."""
        self._closing = True
        self._forget_expired()
        if self._task is not None:
            await self._task
        await self._link.close()

    @property
    def waiting(self) -> int:
        """Number of commands in the queue."""
        return len(self._queue)

    @property
    def in_flight(self) -> int:
        """Number of commands without an outcome, those in the queue included."""
        return len(self._in_flight)

    def oldest_seconds(self) -> float:
        """Return for how long the oldest command without an outcome has been waiting; 0 if there is none."""
        deadlines = (pending.deadline for pending in self._in_flight.values())
        return max(0.0, self._patience_seconds - next(deadlines, math.inf) + self._loop.time())

    async def submit(
        self, command: Command, origin: Origin, *, weight: int = 1, deadline: float | None = None
    ) -> Outcome:
        """Execute one command. Raises `Refused`, `OverloadedError`, or another `LedgerError`.

        `weight` is the number of plain commands that it counts as in a group, `deadline` a time of the event loop.
        Cancelling this call does not cancel the command: once in the queue, it is executed.
        """
        if deadline is None:
            deadline = self._loop.time() + self._patience_seconds
        pending = Awaited(command, origin, weight=weight, deadline=deadline)
        self.enqueue(pending)
        try:
            return await pending.future
        finally:
            if pending.revoked:
                await self._announce()

    def find(self, command_id: UUID) -> Pending | None:
        """Return the command with this id if it has no outcome yet."""
        return self._in_flight.get(command_id)

    def enqueue(self, pending: Pending) -> None:
        """Put a command into the queue; its outcome is delivered later. Raises `Refused` or `OverloadedError`."""
        command_id = pending.origin.command_id
        if command_id in self._in_flight:
            raise Refused(errors.idempotency_key_in_use())
        if self._closing or len(self._queue) >= self._queue_limit:
            raise OverloadedError("the queue of commands is full")
        pending.may_be_known |= command_id in self._recent
        self._in_flight[command_id] = pending
        self._queue.append(pending)
        self._work.set()
        if self._queue.weight >= self._group_size():
            self._stop_waiting()

    async def _run(self) -> None:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(running(self._watch_deadlines()))
            await stack.enter_async_context(running(self._watch_connection()))
            while True:
                try:
                    return await self._process_queue()
                except Exception as error:  # a bug: fail what waits and keep serving new commands
                    log.exception("committer failed", commands=len(self._in_flight))
                    self._queue.clear()
                    self._parking.clear()
                    self._heads.clear()
                    waiting = list(self._in_flight.values())
                    self._resolve(waiting, [error] * len(waiting))
                    self._link.drop()

    async def _process_queue(self) -> None:
        while True:
            if self._parking.is_due():
                self._busy_since = self._loop.time()  # until `_commit` is done
                await self._commit(await self._parking.probe(self._link))
            if self._queue:
                group = self._take_group()
                prepared = self._try_prepare(group, {}) if group else None
                await (self._commit(group) if prepared is None else self._write_pipelined(prepared))
            elif self._closing and not self._in_flight:
                return
            else:
                await self._wait_for_work()
            if len(self._heads) > CACHED_HEADS:
                self._heads.clear()

    async def _wait_for_work(self) -> None:
        self._work.clear()
        try:
            async with asyncio.timeout(HEARTBEAT_SECONDS if self._parking.is_empty() else PROBE_SECONDS):
                await self._work.wait()
        except TimeoutError:
            if not self._closing:
                await self._beat()
        else:
            await asyncio.sleep(0)  # commands that arrive in the same tick of the loop share the group

    async def _beat(self) -> None:
        self._busy_since = self._loop.time()
        try:
            await self.health.beat(await self._link.get())
        except Exception as error:  # noqa: BLE001 - whatever it is, a write would fail as well
            self.health.fail(error)
            if isinstance(error, (*UNREACHABLE, *execution.ASTRAY)):
                self._link.drop()
        finally:
            self._busy_since = None

    def _take_group(self) -> Sequence[Pending]:
        self._circulating = max(len(self._in_flight), self._circulating - self._circulating // 16)
        return self._parking.park(self._queue.take(self._group_size(), self._group_limit))

    def _group_size(self) -> int:
        """Return the size at which a group is worth writing: a part of the circulating commands, not all of them."""
        return max(MIN_GROUP_SIZE, -(-self._circulating // GROUPS_AT_ONCE))

    def _try_prepare(self, group: Sequence[Pending], newer: Mapping[UUID, Head]) -> PreparedGroup[Pending] | None:
        """Decide a group if that needs no query. `newer` heads take precedence over cached ones."""
        if self._locked_groups or any(pending.may_be_known or pending.resolved for pending in group):
            return None
        streams, known = streams_of(group), dict[UUID, Head]()
        for stream in streams:
            head = newer.get(stream) or self._heads.get(stream)
            if head is None:
                return None
            known[stream] = head
        try:
            prepared = prepare(group, streams, known)
        except Exception:  # noqa: BLE001 - `_commit` gets it again and isolates the command
            return None
        return None if prepared.suspects else prepared

    async def _write_pipelined(self, prepared: PreparedGroup[Pending]) -> None:
        """Write a prepared group, and further groups that can each be prepared while the one before is written.

        A group is decided as if the one before had been written; if that write fails, it goes back into the queue. It
        is sent to PostgreSQL before the outcomes of the one before are returned, so neither waits for the other.
        """
        writing = await self._send(prepared)
        while True:
            following = await self._prepare_next(writing, prepared)
            try:
                outcomes = await writing
            except Exception as error:  # noqa: BLE001 - `_recover` distinguishes errors
                if following is not None:
                    self._queue.put_back(following.commands)
                return await self._commit(await self._recover(prepared.commands, error))
            self._heads |= prepared.heads
            if following is None:
                return self._resolve(prepared.commands, outcomes)
            writing = await self._send(following)
            self._resolve(prepared.commands, outcomes)
            prepared = following

    async def _send(self, prepared: PreparedGroup[Pending]) -> "asyncio.Task[list[OutcomeOrError]]":
        writing = asyncio.create_task(self._write(prepared))
        await self._link.flush()
        return writing

    async def _write(self, prepared: PreparedGroup[Pending]) -> list[OutcomeOrError]:
        began = time.perf_counter()
        self._busy_since = self._loop.time()
        outcomes = await execution.write(self._link, prepared)
        self._record(prepared.commands, began)
        return outcomes

    async def _prepare_next(
        self, writing: "asyncio.Task[list[OutcomeOrError]]", prepared: PreparedGroup[Pending]
    ) -> PreparedGroup[Pending] | None:
        """Prepare the next group once enough commands wait for one, or at the latest when this one is written."""
        if self._queue.weight < self._group_size():
            self._group_ready = self._loop.create_future()
            writing.add_done_callback(self._stop_waiting)
            await self._group_ready
        if not self._queue or self._parking.is_due() or (writing.done() and writing.exception()):
            return None
        group = self._take_group()
        following = self._try_prepare(group, prepared.heads) if group else None
        if following is None:
            self._queue.put_back(group)
        return following

    def _stop_waiting(self, _: object = None) -> None:
        if self._group_ready is not None and not self._group_ready.done():
            self._group_ready.set_result(None)

    async def _commit(self, group: Sequence[Pending]) -> None:
        """Execute a group, again and again until each of its commands has an outcome."""
        pause = 0.0
        while group := [pending for pending in group if not pending.resolved]:
            await asyncio.sleep(pause)
            pause = min(2 * pause + FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS)
            began = time.perf_counter()
            self._busy_since = self._loop.time()
            try:
                outcomes = await self._transact(group)
            except Exception as error:  # noqa: BLE001 - `_recover` distinguishes errors
                group = await self._recover(group, error)
            else:
                self._record(group, began)
                self._resolve(group, outcomes)
                return
        self._busy_since = None

    async def _transact(self, group: Sequence[Pending]) -> list[OutcomeOrError]:
        """Execute a group, in one round trip if all the heads that it needs are cached.

        Writers that met another one take the append lock before they read: on the same hot accounts they take turns
        instead of failing each other.
        """
        if not self._locked_groups:
            return await execution.execute(self._link, group, self._heads)
        self._locked_groups -= 1
        outcomes, met = await execution.execute_locked(self._link, group, self._heads)
        if met:
            self._locked_groups = LOCKED_GROUPS
        return outcomes

    async def _recover(self, group: Sequence[Pending], error: Exception) -> Sequence[Pending]:
        """Return the commands of a group to execute again after an error; the others have their outcome or wait."""
        self._heads.clear()
        if is_lost := isinstance(error, UNREACHABLE) and not isinstance(error, execution.LOCKED):
            self.health.fail(error)
            self._link.drop()
        for pending in group:
            if is_lost:
                pending.lose()
            else:
                pending.settle()
        match error:
            case _ if is_lost:
                return group
            case CommandKnownError():
                return look_up(group)
            case execution.ExpiredError() | StreamChangedError():
                self._locked_groups = LOCKED_GROUPS if isinstance(error, StreamChangedError) else self._locked_groups
                return group
            case _ if isinstance(error, execution.LOCKED):
                return await self._parking.probe(self._link, group)
            case _:
                return await self._isolate(group, error)

    async def _isolate(self, group: Sequence[Pending], error: Exception) -> Sequence[Pending]:
        """Fail a command that fails alone; of many, execute each alone. Where no write can succeed, fail them all."""
        failure = error if isinstance(error, LedgerError) else DatabaseError(type(error).__name__)
        if isinstance(error, execution.HOPELESS):
            self.health.fail(error)
        elif len(group) > 1 and failure is not error:
            for pending in group:
                await self._commit([pending])
            return ()
        elif isinstance(error, asyncpg.PostgresError) and group[0].count_attempt() < MAX_ATTEMPTS:
            return group  # what it met may be gone: a unique name that another writer took is a refusal now
        elif failure is not error:
            log.warning("command failed", error=type(error).__name__, exc_info=error)
        self._resolve(group, [failure] * len(group))
        return ()

    async def _watch_deadlines(self) -> None:
        """Fail each command at its deadline, and drop a connection on which a statement takes longer than that."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = self._loop.time()
            expired = [pending for pending in self._in_flight.values() if pending.deadline <= now]
            for pending in expired:
                self._in_flight.pop(pending.origin.command_id, None)
                pending.expire()
            if expired:
                self._forget_expired()
            if self._busy_since is not None and now - self._busy_since > self._patience_seconds:
                self._link.drop()

    async def _watch_connection(self) -> None:
        """Drop a connection whose statement or result the network has lost, without telling either end."""
        while True:
            await asyncio.sleep(SUSPECT_SECONDS)
            began = self._busy_since
            if began is None or self._loop.time() - began < SUSPECT_SECONDS or not await self._link.is_cut_off():
                continue
            await asyncio.sleep(TICK_SECONDS)  # the result may be on its way
            if self._busy_since == began:
                log.warning("connection dropped: the network lost a statement or its result")
                self._link.drop()

    def _forget_expired(self) -> None:
        self._queue.drop_resolved()
        self._work.set()
        if self._closing and not self._in_flight:
            self._link.stop_trying()

    def _record(self, group: Sequence[Pending], began: float) -> None:
        self._busy_since = None
        self.health.succeed()
        self._watch(group, time.perf_counter() - began)

    def _resolve(self, group: Sequence[Pending], outcomes: Sequence[OutcomeOrError]) -> None:
        if any(isinstance(outcome, StaleCommandError) for outcome in outcomes):
            self._heads.clear()  # no write checked them, so the stale side may be this worker
        for pending, outcome in zip(group, outcomes, strict=True):
            self._in_flight.pop(pending.origin.command_id, None)
            self._recent.add(pending.origin)
            pending.resolve(outcome)
