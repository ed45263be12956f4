"""The operations of a ledger, as a worker starts and shows them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

from ledger import errors
from ledger.errors import Refused
from ledger.service.operations.launcher import START_SECONDS, Launcher
from ledger.service.operations.process import BEGUN
from ledger.service.operations.state import NO_VALKEY, Board, Kind, Operation
from ledger.settings import Settings
from ledger.store import roles
from ledger.store.connections import Pool
from ledger.store.locks import is_rebuilding
from ledger.values.ids import new_id

POLL_SECONDS = 0.1  # while the owner's process starts an operation


class Operations:
    """The operations of a ledger, as one worker starts and shows them."""

    def __init__(self, settings: Settings, pool: Pool, board: Board) -> None:
        self._pool = pool
        self._board = board
        self._launcher = Launcher(settings.child_environment())

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
        return await self._start("rebuild", name, started_by, swap=swap)

    async def swap(self, name: str, started_by: UUID) -> Operation:
        """Resume a rebuild that has compared its tables, and swap them. Raises `Refused`."""
        known = await self._read("rebuild", name)
        if known is None or known.state not in {"compared", "interrupted"}:
            raise Refused(errors.rebuild_not_compared(name))
        return await self.start_rebuild(name, started_by, swap=True)

    async def cancel_rebuild(self, name: str, started_by: UUID) -> Operation:
        """Cancel a rebuild that runs, or discard what it has compared. The live tables stay. Raises `Refused`."""
        known = await self._read("rebuild", name)
        if known is None or known.state not in {"running", "compared", "interrupted", "failed"}:
            raise Refused(errors.operation_not_running())
        if known.state == "running":
            await self._board.request_cancellation(known.id)
            return known
        return await self._start("rebuild", name, started_by, discard=True)

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
        await self._launcher.close()

    async def _read(self, kind: Kind, subject: str) -> Operation | None:
        try:
            return await self._board.read(kind, subject)
        except NO_VALKEY as error:
            raise Refused(errors.operations_unavailable()) from error

    async def _start(
        self,
        kind: Kind,
        subject: str,
        started_by: UUID,
        *,
        swap: bool = False,
        fast: bool = False,
        discard: bool = False,
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
            discard=discard,
        )
        try:
            if await self._board.find_running(kind) is not None:
                raise Refused(errors.operation_running())
            await (self._rebuild(operation) if kind == "rebuild" else self._launch(operation))
        except NO_VALKEY as error:
            raise Refused(errors.operations_unavailable()) from error
        return operation

    async def _rebuild(self, operation: Operation) -> None:
        """Start a rebuild, in the owner's process if the role of the service does not own the tables."""
        if await is_rebuilding(self._pool):  # on a command line
            raise Refused(errors.operation_running())
        if await roles.owns_tables(self._pool):
            await self._launch(operation)
            return
        if not await self._board.has_owner():
            raise Refused(errors.operation_impossible(NOT_THE_OWNER))
        await self._board.request(operation)
        clock = asyncio.get_running_loop().time
        until = clock() + START_SECONDS
        while await self._find_begun(operation) is None:
            if clock() > until:
                raise Refused(errors.operations_unavailable())
            await asyncio.sleep(POLL_SECONDS)

    async def _find_begun(self, operation: Operation) -> Operation | None:
        known = await self._board.read(operation.kind, operation.subject)
        return known if known is not None and known.id == operation.id else None

    async def _launch(self, operation: Operation) -> None:
        word = await self._launcher.launch(operation)
        if word != BEGUN:
            raise Refused(errors.operation_running() if word else errors.operations_unavailable())


NOT_THE_OWNER = "the role of DATABASE_URL does not own the tables: run `ledger projections rebuild` as the owner"


@asynccontextmanager
async def open_operations(settings: Settings, pool: Pool, board: Board) -> AsyncIterator[Operations]:
    """Open the operations for the time of a worker."""
    operations = Operations(settings, pool, board)
    try:
        yield operations
    finally:
        await operations.close()
