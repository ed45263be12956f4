"""Starts the processes of operations in a worker, and ends them with it."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from ledger import errors
from ledger.errors import DatabaseError, Refused
from ledger.projections.rebuild import rebuild
from ledger.projections.rebuild.shadow import RebuildError
from ledger.service.operations.process import BEGUN
from ledger.service.operations.state import NO_VALKEY, Board, Kind, Operation
from ledger.settings import Settings
from ledger.store import roles
from ledger.store.connections import Pool
from ledger.store.locks import is_rebuilding
from ledger.values.ids import new_id

MODULE = "ledger.service.operations.process"
START_SECONDS = 30.0  # for a process to start
END_SECONDS = 2.0  # for processes to end with the worker


class Operations:
    """The operations of a ledger, as one worker starts and shows them."""

    def __init__(self, settings: Settings, pool: Pool, board: Board) -> None:
        self._settings = settings
        self._pool = pool
        self._board = board
        self._processes: set[asyncio.subprocess.Process] = set()
        self._waiting: set[asyncio.Task[int]] = set()

    async def find(self, kind: Kind, subject: str = "") -> Operation | None:
        """Return the last operation, or None if there was none, or Valkey does not answer."""
        try:
            return await self._board.read(kind, subject)
        except NO_VALKEY:
            return None

    async def start_rebuild(self, name: str, started_by: UUID, *, swap: bool) -> Operation:
        """Start a rebuild of a projection. With `swap`, its tables replace the live ones at the end.

        Raises `Refused` while another rebuild runs, and if the service may not rebuild.
        """
        await self._check_may_rebuild()
        return await self._start("rebuild", name, started_by, swap=swap)

    async def swap(self, name: str, started_by: UUID) -> Operation:
        """Resume a rebuild that has compared its tables, and swap them. Raises `Refused`."""
        known = await self._read("rebuild", name)
        if known is None or known.state not in {"compared", "interrupted"}:
            raise Refused(errors.rebuild_not_compared(name))
        return await self.start_rebuild(name, started_by, swap=True)

    async def cancel_rebuild(self, name: str) -> Operation:
        """Cancel a rebuild that runs, or discard what it has compared. The live tables stay. Raises `Refused`."""
        known = await self._read("rebuild", name)
        if known is None or known.state not in {"running", "compared", "interrupted", "failed"}:
            raise Refused(errors.operation_not_running())
        if known.state == "running":
            await self._board.request_cancellation(known.id)
            return known
        await self._check_may_rebuild()
        try:
            await rebuild.cancel(self._settings)
        except (RebuildError, DatabaseError) as error:
            raise Refused(errors.operation_impossible(str(error))) from error
        await self._board.forget("rebuild", name)
        known.state, known.updated_at = "cancelled", datetime.now(UTC)
        return known

    async def start_verification(self, started_by: UUID, *, fast: bool) -> Operation:
        """Start a verification of the whole ledger. Raises `Refused` while another one runs."""
        return await self._start("verification", "", started_by, fast=fast)

    async def cancel_verification(self) -> Operation:
        """Cancel the verification that runs. Raises `Refused`."""
        known = await self._read("verification", "")
        if known is None or known.state != "running":
            raise Refused(errors.operation_not_running())
        await self._board.request_cancellation(known.id)
        return known

    async def close(self) -> None:
        """End the processes of this worker."""
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        if self._waiting:
            await asyncio.wait(self._waiting, timeout=END_SECONDS)

    async def _read(self, kind: Kind, subject: str) -> Operation | None:
        try:
            return await self._board.read(kind, subject)
        except NO_VALKEY as error:
            raise Refused(errors.operations_unavailable()) from error

    async def _check_may_rebuild(self) -> None:
        """Raise `Refused` if a command line rebuilds, or if the role of the service does not own the tables."""
        if not await roles.owns_tables(self._pool):
            raise Refused(errors.operation_impossible(NOT_THE_OWNER))
        if await is_rebuilding(self._pool):
            raise Refused(errors.operation_running())

    async def _start(
        self, kind: Kind, subject: str, started_by: UUID, *, swap: bool = False, fast: bool = False
    ) -> Operation:
        now = datetime.now(UTC)
        operation = Operation(
            id=new_id(),
            kind=kind,
            subject=subject,
            started_by=started_by,
            started_at=now,
            updated_at=now,
            swap=swap,
            fast=fast,
        )
        try:
            if await self._board.find_running(kind) is not None:
                raise Refused(errors.operation_running())
        except NO_VALKEY as error:
            raise Refused(errors.operations_unavailable()) from error
        await self._launch(operation)
        return operation

    async def _launch(self, operation: Operation) -> None:
        """Start the process, and wait until it has begun. Raises `Refused`."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", MODULE),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=self._settings.child_environment(),
        )
        assert process.stdin is not None  # noqa: S101 - both were asked for
        assert process.stdout is not None  # noqa: S101
        self._processes.add(process)
        waiting = asyncio.create_task(process.wait())
        self._waiting.add(waiting)
        waiting.add_done_callback(lambda _: self._forget(process, waiting))
        process.stdin.write(msgspec.json.encode(operation) + b"\n")
        try:
            async with asyncio.timeout(START_SECONDS):
                word = (await process.stdout.readline()).decode().strip()
        except TimeoutError:
            process.kill()
            word = ""
        if word != BEGUN:
            raise Refused(errors.operation_running() if word else errors.operations_unavailable())

    def _forget(self, process: asyncio.subprocess.Process, waiting: "asyncio.Task[int]") -> None:
        self._processes.discard(process)
        self._waiting.discard(waiting)


NOT_THE_OWNER = "the role of DATABASE_URL does not own the tables: run `ledger projections rebuild` as the owner"


@asynccontextmanager
async def open_operations(settings: Settings, pool: Pool, board: Board) -> AsyncIterator[Operations]:
    """Open the operations for the time of a worker."""
    operations = Operations(settings, pool, board)
    try:
        yield operations
    finally:
        await operations.close()
