"""Group commit: the commands that wait become one transaction.

Whoever submits a command gets its own answer once it is durable, or once it is certain that nothing has changed. A
command is carried out at most once: its id is in the command log, in the same transaction as its events. If the
connection is lost while a transaction commits, the log tells what became of it; it is never repeated blindly.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import structlog
from asyncpg import Connection

from ledger import credentials, errors, store
from ledger.batch import Batch, last_positions
from ledger.commands.decider import Command, Decision
from ledger.database import UNREACHABLE
from ledger.errors import DatabaseError, LedgerError, OverloadedError, Refusal, Refused
from ledger.events import encode
from ledger.projections import apply_inline
from ledger.statements import run_together
from ledger.store import LoggedCommand

MAX_ATTEMPTS = 4  # of one command, whatever fails
MAX_RECONNECT_PAUSE_SECONDS = 0.5

log = structlog.get_logger()
_refusals = msgspec.json.Decoder(tuple[Refusal, ...])


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a command comes from, for the command log. `request_hash` is there if its client may repeat it."""

    command_id: UUID
    actor_id: UUID | None = None
    session_id: UUID | None = None
    jti: UUID | None = None
    request_id: str | None = None
    request_hash: bytes | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """A command was carried out. `position` is that of its last event, if it has any and they are new."""

    result: Mapping[str, Any]
    recorded_at: datetime
    position: int | None = None
    replayed: bool = False


Answer = Outcome | Exception


class _Pending:
    __slots__ = ("attempts", "command", "future", "origin")

    def __init__(self, command: Command, origin: Origin, future: "asyncio.Future[Outcome]") -> None:
        self.command = command
        self.origin = origin
        self.future = future
        self.attempts = 0

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

    At most `queue_limit` commands wait and at most `batch_limit` share a transaction. When PostgreSQL is away for
    longer than `patience_seconds`, all that wait fail with `DatabaseError`.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable["Connection[Any]"]],
        *,
        queue_limit: int,
        batch_limit: int,
        patience_seconds: float,
    ) -> None:
        self._connect = connect
        self._queue_limit = queue_limit
        self._batch_limit = batch_limit
        self._patience_seconds = patience_seconds
        self._queue: deque[_Pending] = deque()
        self._in_flight: set[UUID] = set()
        self._work = asyncio.Event()
        self._closing = False
        self._connection: Connection[Any] | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to carry out what is submitted."""
        self._task = asyncio.create_task(self._run(), name="committer")

    async def close(self) -> None:
        """Accept nothing more, carry out what waits, and let the connection go."""
        self._closing = True
        self._work.set()
        if self._task is not None:
            await self._task
        await self._disconnect()

    async def submit(self, command: Command, origin: Origin) -> Outcome:
        """Carry out one command. Raises `Refused`, `OverloadedError`, or another `LedgerError`.

        Cancelling the wait cancels nothing: a command that is in the queue will be carried out.
        """
        if origin.command_id in self._in_flight:
            raise Refused(errors.idempotency_key_in_use())
        if self._closing or len(self._queue) >= self._queue_limit:
            raise OverloadedError("the queue of commands is full")
        pending = _Pending(command, origin, asyncio.get_running_loop().create_future())
        self._in_flight.add(origin.command_id)
        self._queue.append(pending)
        self._work.set()
        return await pending.future

    async def _run(self) -> None:
        while True:
            await self._work.wait()
            await asyncio.sleep(0)  # what arrived in the same tick of the loop shares the transaction
            if self._queue:
                await self._commit(self._next_batch())
            elif self._closing:
                return
            else:
                self._work.clear()

    def _next_batch(self) -> list[_Pending]:
        return [self._queue.popleft() for _ in range(min(len(self._queue), self._batch_limit))]

    async def _commit(self, batch: Sequence[_Pending]) -> None:
        try:
            answers = await self._transact(batch)
        except UNREACHABLE as error:
            await self._disconnect()
            await self._try_again(batch, error)
        except LedgerError as error:
            self._finish(batch, [error] * len(batch))
        except Exception as error:  # noqa: BLE001 - the transaction is rolled back: find the guilty one
            for pending in batch:
                await self._try_again([pending], error)
        else:
            self._finish(batch, answers)

    async def _try_again(self, batch: Sequence[_Pending], error: BaseException) -> None:
        for pending in batch:
            pending.attempts += 1
        log.warning("transaction failed", commands=len(batch), error=type(error).__name__, exc_info=error)
        if any(pending.attempts >= MAX_ATTEMPTS for pending in batch):
            self._finish(batch, [DatabaseError(f"gave up after {MAX_ATTEMPTS} attempts")] * len(batch))
        else:
            await self._commit(batch)

    def _finish(self, batch: Sequence[_Pending], answers: Sequence[Answer]) -> None:
        for pending, answer in zip(batch, answers, strict=True):
            self._in_flight.discard(pending.origin.command_id)
            pending.answer(answer)

    async def _transact(self, batch: Sequence[_Pending]) -> list[Answer]:
        connection = await self._connected()
        async with connection.transaction():
            known = await _known(connection, batch)
            fresh = [pending for pending in batch if pending.origin.command_id not in known]
            carried_out = dict(zip(fresh, await _carry_out(connection, fresh), strict=True)) if fresh else {}
        return [carried_out[pending] if pending in carried_out else _replay(pending, known) for pending in batch]

    async def _connected(self) -> "Connection[Any]":
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


async def _known(connection: "Connection[Any]", batch: Sequence[_Pending]) -> dict[UUID, LoggedCommand]:
    """Those of the batch that were carried out or refused before."""
    ids = [pending.origin.command_id for pending in batch if pending.may_be_known]
    return await store.find_commands(connection, ids) if ids else {}


def _replay(pending: _Pending, known: Mapping[UUID, LoggedCommand]) -> Answer:
    row = known[pending.origin.command_id]
    if row.request_hash != pending.origin.request_hash:
        return Refused(errors.idempotency_key_reused())
    if row.outcome == "refused":
        return Refused(*_refusals.decode(row.result))
    return Outcome(msgspec.json.decode(row.result), row.recorded_at, replayed=True)


async def _carry_out(connection: "Connection[Any]", fresh: Sequence[_Pending]) -> list[Answer]:
    """Decide, and write all there is to write; the caller commits."""
    streams = {stream for pending in fresh for stream in pending.command.streams()}
    batch = Batch(await store.lock_heads(connection, streams))
    verdicts = [batch.decide(pending.command, pending.origin.command_id) for pending in fresh]
    logged = [
        (pending, verdict)
        for pending, verdict in zip(fresh, verdicts, strict=True)
        if isinstance(verdict, Decision | Refused)
    ]
    if not logged:
        return [verdict for verdict in verdicts if isinstance(verdict, Exception)]
    reservation = await store.reserve(connection, len(batch.appended))
    at = reservation.recorded_at
    recorded = batch.recorded(reservation)
    decisions = [verdict for _, verdict in logged if isinstance(verdict, Decision)]
    secrets = [decision.credential for decision in decisions if decision.credential is not None]
    statements = [store.log_commands([_logged(pending, verdict, at) for pending, verdict in logged])]
    if recorded:
        statements += [
            store.append_events(recorded, [row.command_id for row in batch.appended]),
            store.replace_heads(batch.changed),
            *apply_inline(recorded),
            *credentials.store(secrets, recorded),
        ]
    await run_together(connection, statements)
    positions = last_positions(batch.appended, reservation)
    return [
        Outcome(verdict.result, at, positions.get(pending.origin.command_id))
        if isinstance(verdict, Decision)
        else verdict
        for pending, verdict in zip(fresh, verdicts, strict=True)
    ]


def _logged(pending: _Pending, verdict: Decision | Refused, recorded_at: datetime) -> LoggedCommand:
    origin = pending.origin
    accepted = isinstance(verdict, Decision)
    return LoggedCommand(
        origin.command_id,
        pending.command.name,
        origin.actor_id,
        origin.session_id,
        origin.jti,
        origin.request_id,
        origin.request_hash,
        "accepted" if accepted else "refused",
        encode(verdict.result if isinstance(verdict, Decision) else verdict.refusals).decode(),
        recorded_at,
    )
