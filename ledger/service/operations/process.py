"""The process of one operation: its description comes on standard input, and the end of the input ends the process."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import asyncpg
import msgspec
import structlog
import uvloop

from ledger.audit.limited import Limited
from ledger.audit.verify import Processes, Sources, json_line, verify
from ledger.audit.verify.ending import describe_ending as describe_verification
from ledger.audit.verify.processes import count_cores
from ledger.errors import LedgerError
from ledger.identity.valkey import open_client
from ledger.projections.rebuild import rebuild, replay
from ledger.projections.rebuild.ending import describe_ending as describe_rebuild
from ledger.projections.rebuild.shadow import Difference
from ledger.service.child import configure
from ledger.service.operations.state import NO_VALKEY, Board, Operation, State
from ledger.settings import Settings
from ledger.store import outbox
from ledger.store.connections import UNREACHABLE
from ledger.store.identity import read_identity
from ledger.store.outbox import Cause, Entry
from ledger.store.pool import connect
from ledger.store.reader import log_end

BEGUN, BUSY = "begun", "busy"  # the first line of the output
REPORT_SECONDS = 0.5
MAX_SHOWN = 100  # findings, and differing rows
REVOCATION_TABLES = frozenset({"sessions", "cutoffs"})
WRONG_REVOCATIONS = "tables of revoked tokens were wrong: run `ledger tokens mirror rebuild` now"
DISCARD_ATTEMPTS = 10  # each of which waits some seconds for the lock
NICENESS = 10  # requests come first
FAILURES = (LedgerError, asyncpg.PostgresError, *UNREACHABLE)

log = structlog.get_logger("ledger.service.operations.process")  # `__name__` is `__main__` here


async def main(settings: Settings) -> None:
    """Run the operation, and report its progress, until it ends or is cancelled."""
    lines = await _open_input()
    operation = msgspec.json.decode(await lines.readline(), type=Operation)
    watching = asyncio.create_task(_end_with_input(lines))
    redis = open_client(settings)
    try:
        connection = await connect(settings)
        board = Board(redis, await read_identity(connection))
        await connection.close()
        if not await board.begin(operation):
            _say(BUSY)
            return
        _say(BEGUN)
        await _run(settings, board, operation)
    finally:
        watching.cancel()
        await redis.aclose()


async def _run(settings: Settings, board: Board, operation: Operation) -> None:
    """Do the work in a task that a cancellation reaches, and write the outcome."""
    began, failure = time.monotonic(), None
    work = asyncio.create_task(_WORK[operation.kind](settings, operation))
    reporting = asyncio.create_task(_report(board, operation, work))
    state: State = "compared" if operation.kind == "rebuild" and not operation.swap else "succeeded"
    try:
        await work
        if state == "compared" and (operation.discard or await _is_cancelled(board, operation)):
            state = await _discard(settings, operation)
    except asyncio.CancelledError:
        state = await _discard(settings, operation)
    except FAILURES as error:
        state, operation.error, failure = "failed", _describe(error), error
    reporting.cancel()
    await asyncio.gather(reporting, return_exceptions=True)
    operation.state = state  # not before: what is reported with an outcome must have given its lease back
    if operation.kind == "verification":  # a rebuild records its end with what it changes
        await outbox.try_to_add(settings, [_describe_verification(operation, failure)])
    operation.seconds, operation.updated_at = time.monotonic() - began, datetime.now(UTC)
    log.info("operation ended", kind=operation.kind, subject=operation.subject, state=operation.state)
    await board.end(operation)


def _describe_verification(operation: Operation, failure: Exception | None) -> Entry:
    return describe_verification(
        _cause_of(operation),
        "failed" if failure else "cancelled" if operation.state == "cancelled" else "succeeded",
        fast=operation.fast,
        position=operation.position,
        findings=operation.found,
        error=failure,
    )


def _cause_of(operation: Operation) -> Cause:
    return Cause(operation.id, operation.started_by)


async def _is_cancelled(board: Board, operation: Operation) -> bool:
    try:
        return await board.is_cancelled(operation.id)
    except NO_VALKEY:
        return False


async def _discard(settings: Settings, operation: Operation) -> State:
    """Discard the tables of a cancelled rebuild, once PostgreSQL has released its lock, and return the outcome."""
    if operation.kind != "rebuild":
        return "cancelled"
    cause = _cause_of(operation)
    for attempt in range(DISCARD_ATTEMPTS):
        try:
            await rebuild.cancel(settings, cause, [operation.subject])
        except FAILURES as error:
            if attempt + 1 == DISCARD_ATTEMPTS:
                operation.error = _describe(error)
                ended = describe_rebuild(cause, [operation.subject], "failed", error=error)
                await outbox.try_to_add(settings, ended)
        else:
            return "cancelled"
    return "failed"


def _describe(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


async def _report(board: Board, operation: Operation, work: "asyncio.Task[None]") -> None:
    """Write the progress; cancel the work if a caller asks for it, or if another process has taken the lease."""
    began = time.monotonic()
    while True:
        await asyncio.sleep(REPORT_SECONDS)
        operation.seconds, operation.updated_at = time.monotonic() - began, datetime.now(UTC)
        with contextlib.suppress(*NO_VALKEY):  # the work goes on without reports
            if not await board.write(operation) or await board.is_cancelled(operation.id):
                work.cancel()


async def _rebuild(settings: Settings, operation: Operation) -> None:
    if operation.discard:
        operation.stage = "discarding"
        return

    def note(at: replay.Progress) -> None:
        operation.stage, operation.done, operation.total = at.stage, at.position, at.log_end

    outcome = await rebuild.rebuild(
        settings,
        [operation.subject],
        dry_run=not operation.swap,
        keep_old=False,
        leaves_shadows=True,
        chunk=rebuild.CHUNK_EVENTS,
        report=note,
        cause=_cause_of(operation),
    )
    operation.done = operation.total = outcome.position
    operation.differing, operation.swapped = outcome.differing, outcome.swapped
    if outcome.swapped and any(row.table in REVOCATION_TABLES for row in outcome.differences):
        operation.notes = [WRONG_REVOCATIONS]
    operation.differences = [_format_difference(row) for row in outcome.differences[:MAX_SHOWN]]


def _format_difference(row: Difference) -> dict[str, object]:
    return {"table": row.table, "key": [str(part) for part in row.key], "found": row.found, "expected": row.expected}


class _Notes:
    """Receives the progress of a verification."""

    def __init__(self, operation: Operation) -> None:
        self._operation = operation

    def begin(self, what: str, rows: int) -> None:
        operation = self._operation
        operation.stage, operation.done, operation.total = what, 0, rows

    def advance(self, rows: int) -> None:
        self._operation.done += rows

    def note(self, sentence: str) -> None:
        self._operation.notes = [*self._operation.notes, sentence]


async def _verify(settings: Settings, operation: Operation) -> None:
    limited, redis = Limited(MAX_SHOWN), open_client(settings)
    connection, now = await connect(settings), await connect(settings)
    operation.found = 0
    try:
        operation.position = await log_end(now)
        checking = verify(
            Sources(connection, now, redis),
            _Notes(operation),
            fast=operation.fast,
            processes=Processes(settings, count_cores()),
        )
        async with aclosing(checking) as findings:
            async for finding in findings:
                if limited.admits(finding.rule):
                    operation.findings.append(msgspec.json.decode(json_line(finding)))
                operation.found, operation.omitted = limited.count, dict(limited.omitted)
    finally:
        for opened in (connection, now):
            opened.terminate()
        await redis.aclose()


_WORK: dict[str, Callable[[Settings, Operation], Coroutine[Any, Any, None]]] = {
    "rebuild": _rebuild,
    "verification": _verify,
}


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def _open_input() -> asyncio.StreamReader:
    stream = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), sys.stdin)
    return stream


async def _end_with_input(lines: asyncio.StreamReader) -> None:
    """End the process when the worker that started it is gone; another rebuild resumes where this one was."""
    await lines.read()
    os._exit(0)


if __name__ == "__main__":
    os.nice(NICENESS)
    uvloop.run(main(configure()))
