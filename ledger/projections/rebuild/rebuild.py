"""Rebuild projections from the log while the service continues to write.

The log is applied to shadow tables in large chunks, each in one database transaction with the position that it reaches.
A rebuild that is killed resumes from that position. Comparing with the live tables needs no lock, because in every
snapshot they match the log: the shadow tables are brought to the end of a snapshot's log and compared in the snapshot.
Rows that change afterwards are recorded, and only they are compared again, until few are left. One database transaction
then blocks appends, applies and compares the rest, blocks readers and swaps the tables. It gives up and tries again
rather than block others for long.

A writer locks the table of the log first, and the read tables and the append lock later, in either order. So a swap
locks the table of the log first as well: a writer that could deadlock with the swap waits before it holds any lock.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import asyncpg

from ledger.errors import DatabaseError
from ledger.events.operations import RebuildOutcome
from ledger.projections import INLINE, Projection
from ledger.projections.rebuild.ending import describe_ending
from ledger.projections.rebuild.fingerprint import compute_fingerprint
from ledger.projections.rebuild.replay import Replay, Report
from ledger.projections.rebuild.shadow import SHOWN, Difference, RebuildError, Schemas, Tables
from ledger.settings import Settings
from ledger.store import citus, locks, outbox
from ledger.store.connections import UNREACHABLE, Connection
from ledger.store.outbox import Cause
from ledger.store.pool import connect
from ledger.store.reader import log_end
from ledger.values.ids import new_id

CHUNK_EVENTS = 5000  # in one database transaction
SWAP_EVENTS = 500  # that may be left for the swap to apply
ATTEMPTS = 40  # of a swap, with a growing pause: about two minutes
MAX_PAUSE_SECONDS = 4.0
MIN_WAIT_MS, MAX_WAIT_MS = 100, 800  # that a swap waits for a lock, and blocks others that wait behind it
LOCK_SECONDS = 3  # wait for the lock of a killed rebuild, until PostgreSQL notices that its client is gone
AUTOVACUUM_SECONDS = 5  # that autovacuum takes at most to release a table
NOTHING_KEPT = "on Citus no old tables are kept: rebuild without --keep-old"
ROLLBACK = "rollback"  # instead of a fingerprint of the code: the shadows are tables that were kept


class Outcome(NamedTuple):
    """The outcome of a rebuild. The swap made appends wait for `locked_ms`, and readers for `blocked_ms`."""

    projections: tuple[str, ...]
    position: int
    events: int
    seconds: float
    differing: int
    differences: tuple[Difference, ...]
    swapped: bool
    resumed_from: int | None
    locked_ms: float = 0.0
    blocked_ms: float = 0.0


def select_projections(names: Sequence[str]) -> tuple[Projection, ...]:
    """Return the projections of these names, in the order of `INLINE`. Raises `RebuildError` for an unknown name."""
    if unknown := sorted(set(names) - {projection.name for projection in INLINE}):
        raise RebuildError(f"there is no projection {unknown[0]!r}: {', '.join(one.name for one in INLINE)}")
    return tuple(projection for projection in INLINE if projection.name in names)


async def rebuild(
    settings: Settings,
    names: Sequence[str],
    *,
    dry_run: bool,
    keep_old: bool,
    chunk: int,
    report: Report,
    leaves_shadows: bool = False,
    cause: Cause | None = None,
) -> Outcome:
    """Rebuild projections, or with `dry_run` only compare them. Raises `RebuildError`; nothing has changed then.

    With `leaves_shadows`, a rebuild that has only compared can be resumed, as one that was interrupted. `cause` is what
    the log says about who has started it. A rebuild that is refused, or is interrupted, has not ended.
    """
    async with _open_rebuild(settings, names, chunk, report, cause) as work:
        if keep_old and work.tables.are_shards:
            raise RebuildError(NOTHING_KEPT)
        await work.start()
        running = work.run(swap=not dry_run, keep=keep_old, compare=True)
        outcome = await _report_failure(settings, work, running)
        if dry_run:
            await (work.record if leaves_shadows else work.discard)("compared", work.names)
        return outcome


async def rollback(settings: Settings, name: str, *, chunk: int, report: Report, cause: Cause | None = None) -> Outcome:
    """Swap back the tables that a rebuild kept, after applying all events since. Keep the replaced tables instead."""
    async with _open_rebuild(settings, [name], chunk, report, cause) as work:
        if work.tables.are_shards:
            raise RebuildError(NOTHING_KEPT)
        await work.start_rollback()
        return await _report_failure(settings, work, work.run(swap=True, keep=True, compare=False))


async def cancel(settings: Settings, cause: Cause | None = None, begun: Sequence[str] = ()) -> list[str]:
    """Discard an interrupted rebuild, and return the names of its projections.

    `begun` are projections whose rebuild may have been interrupted before it had tables.
    """
    async with _open_rebuild(settings, [], CHUNK_EVENTS, lambda _: None, cause) as work:
        names = await work.list_unfinished()
        await work.discard("cancelled", [*names, *begun])
        return names


@asynccontextmanager
async def _open_rebuild(
    settings: Settings, names: Sequence[str], chunk: int, report: Report, cause: Cause | None
) -> AsyncIterator["_Rebuild"]:
    projections, owner = select_projections(names), settings.as_owner()
    reader = await connect(owner)
    try:
        shards = await citus.list_shards(reader, settings.ledger_schema) if reader.has_citus else {}
        schemas = Schemas.of(settings.ledger_schema, shards)
        writer = await _connect_writer(owner, schemas.shadow)
        try:
            await _lock_rebuilds(writer, schemas.live)
            tables = Tables(writer, schemas, [table for one in projections for table in one.tables])
            replay = Replay(reader, writer, schemas.live, projections, chunk, report)
            yield _Rebuild(replay, tables, cause or Cause(new_id()))
        finally:
            await _close(writer)
    finally:
        await _close(reader)


async def _connect_writer(settings: Settings, schema: str) -> Connection:
    """Open a connection whose statements find tables in this schema only, and have no time limit.

    Like the committer's, it looks rows up by key, however small a table is when a statement is planned. A crash loses
    the latest rows together with the position they reach, so commits do not wait for the disk.
    """
    connection = await connect(
        settings,
        statement_seconds=None,
        application_name="ledger rebuild",
        enable_seqscan="off",
        plan_cache_mode="force_generic_plan",
        synchronous_commit="off",
    )
    await connection.apply({"search_path": schema})
    with contextlib.suppress(asyncpg.InvalidParameterValueError):  # not every system can detect that a client is gone
        await connection.execute("SET client_connection_check_interval = '500ms'")
    return connection


async def _lock_rebuilds(writer: Connection, schema: str) -> None:
    try:
        await locks.lock_rebuilds(writer, schema, wait_seconds=LOCK_SECONDS)
    except asyncpg.LockNotAvailableError as error:
        raise RebuildError("another rebuild is running: wait for it, or stop it with Ctrl-C") from error
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError) as error:
        raise DatabaseError("the database has no ledger of this version: run `ledger migrate`") from error


async def _close(connection: Connection) -> None:
    with contextlib.suppress(Exception):  # an error here must not hide an earlier one
        await connection.close(timeout=AUTOVACUUM_SECONDS)


async def _report_failure(settings: Settings, work: "_Rebuild", running: Awaitable[Outcome]) -> Outcome:
    """Return the outcome. Raises `RebuildError` for any failure, which `status` and the log show from then on."""
    try:
        return await running
    except (RebuildError, asyncpg.PostgresError, ValueError) as error:
        text = " ".join(str(error).split())
        await work.record_failure(text)
        await outbox.try_to_add(settings, describe_ending(work.cause, work.names, "failed", error=error))
        raise error if isinstance(error, RebuildError) else RebuildError(text) from error
    except UNREACHABLE as error:
        await outbox.try_to_add(settings, describe_ending(work.cause, work.names, "failed", error=error))
        raise


@dataclass
class _Rebuild:
    replay: Replay
    tables: Tables
    cause: Cause
    resumed_from: int | None = None
    differing: Counter[str] = field(default_factory=Counter)  # rows by table
    differences: dict[tuple[str, tuple[Any, ...]], Difference] = field(default_factory=dict)
    locked_ms: float = 0.0
    blocked_ms: float = 0.0

    def __post_init__(self) -> None:
        self.reader, self.writer = self.replay.reader, self.replay.writer
        self.schema, self.names = self.replay.schema, self.replay.names

    async def list_unfinished(self) -> list[str]:
        """Return the names of the projections that have shadows."""
        rows = await self.reader.fetch("SELECT projection FROM rebuilds WHERE position IS NOT NULL")
        return [row[0] for row in rows]

    async def start(self) -> None:
        """Resume an interrupted rebuild. Without one, or if other code wrote its shadows, start from the beginning."""
        code = await compute_fingerprint(self.reader)
        if await self._refuse_others():
            row = await self.reader.fetchrow("SELECT code, position FROM rebuilds WHERE projection = $1", self.names[0])
            if row and row["code"] == code and await self.tables.has_shadows():
                await self._resume(row["position"])
                return
        async with self.writer.transaction():
            await self.tables.create()
            await self._record_start(0, code)

    async def start_rollback(self) -> None:
        """Resume an interrupted rollback, or start one."""
        unfinished = await self._refuse_others()
        row = await self.reader.fetchrow(
            "SELECT code, position, kept_position FROM rebuilds WHERE projection = $1", self.names[0]
        )
        if unfinished and row and row["code"] == ROLLBACK:
            await self._resume(row["position"])
        elif unfinished:
            raise RebuildError("a rebuild was interrupted: finish it, or run `ledger projections cancel`")
        elif row is None or row["kept_position"] is None:
            raise RebuildError(f"no old tables of {self.names[0]} are kept")
        else:
            self.replay.position = row["kept_position"]
            async with self.writer.transaction():
                await self.tables.reuse_old()
                await self._record_start(self.replay.position, ROLLBACK)

    async def discard(self, outcome: RebuildOutcome, names: Sequence[str]) -> None:
        """Drop the shadows, and clear the position that they had reached: the outcome for these projections."""
        async with self.writer.transaction():
            await self.tables.drop_shadows()
            await self.writer.execute(f'UPDATE "{self.schema}".rebuilds SET position = NULL, code = NULL')
            await self.record(outcome, names)

    async def record_failure(self, text: str) -> None:
        """Record an error for `status`."""
        with contextlib.suppress(Exception):  # the first error is the one to report
            await self.reader.execute(
                "UPDATE rebuilds SET error = $1, updated_at = now() WHERE projection = ANY($2)", text, self.names
            )

    async def run(self, *, swap: bool, keep: bool, compare: bool) -> Outcome:
        """Apply the log, compare, and swap."""
        started = time.monotonic()
        self.replay.log_end = await log_end(self.reader)
        await self.replay.run(gives_way=True)
        self.replay.stage = "comparing" if compare else "catching up"
        await self.tables.complete_indexes()
        await self.tables.analyze()
        await self.writer.execute(
            "SET synchronous_commit = on"
        )  # so that the disk is waited for before the swap, not in it
        applied = await self._catch_up(compare=compare, touched=False)
        while swap and applied > SWAP_EVENTS:
            applied = await self._catch_up(compare=compare, touched=True)
        if swap:
            self.replay.stage = "swapping"
            await self._swap(keep=keep, compare=compare)
        return Outcome(
            tuple(self.names),
            self.replay.position,
            self.replay.events,
            time.monotonic() - started,
            self.differing.total(),
            tuple(self.differences.values()),
            swap,
            self.resumed_from,
            self.locked_ms,
            self.blocked_ms,
        )

    async def _refuse_others(self) -> list[str]:
        """Return the names of an unfinished rebuild. Raises `RebuildError` if it is of other projections."""
        unfinished = await self.list_unfinished()
        if unfinished and set(unfinished) != set(self.names):
            raise RebuildError(
                f"a rebuild of {' '.join(unfinished)} was interrupted:"
                " give the same names to resume it, or run `ledger projections cancel`"
            )
        return unfinished

    async def _resume(self, position: int) -> None:
        """Continue after the position that an earlier run has reached."""
        self.replay.position = self.resumed_from = position
        await self.reader.execute(
            "UPDATE rebuilds SET started_at = now(), started_position = position WHERE projection = ANY($1)", self.names
        )

    async def _record_start(self, position: int, code: str) -> None:
        await self.writer.execute(
            f"""INSERT INTO "{self.schema}".rebuilds (projection, position, code, started_at, started_position)
                SELECT projection, $2, $3, now(), $2 FROM unnest($1::text[]) AS new(projection)
                ON CONFLICT (projection) DO UPDATE SET position = $2, code = $3, error = NULL, updated_at = now(),
                    started_at = now(), started_position = $2,
                    kept_position = CASE WHEN $3 = '{ROLLBACK}' THEN NULL ELSE rebuilds.kept_position END""",
            self.names,
            position,
            code,
        )

    async def _catch_up(self, *, compare: bool, touched: bool) -> int:
        """Apply the log up to a snapshot, compare in the snapshot, and return the number of events applied."""
        before = self.replay.events
        async with self.writer.transaction(isolation="repeatable_read"):
            last = await log_end(self.writer, self.schema)
            await self.replay.run(last)
            if compare:
                await self._compare(touched=touched)
                await self.tables.watch()
        return self.replay.events - before

    async def _compare(self, *, touched: bool) -> None:
        counts, rows = await self.tables.find_differences(touched=touched)
        new = {(row.table, row.key): row for row in rows}
        self.differing.update(counts)
        self.differing.subtract(table for table, _ in new.keys() & self.differences.keys())
        self.differences |= {key: row for key, row in new.items() if len(self.differences) < SHOWN * len(INLINE)}

    async def _swap(self, *, keep: bool, compare: bool) -> None:
        """Try to swap until no other transaction is in the way. Raises `RebuildError` after `ATTEMPTS` attempts."""
        for attempt in range(ATTEMPTS):
            before = (self.replay.position, self.replay.events, Counter(self.differing), dict(self.differences))
            try:
                wait_ms = min(MIN_WAIT_MS << attempt, MAX_WAIT_MS)
                return await _finish(self._swap_once(wait_ms, keep=keep, compare=compare))
            except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
                self.replay.position, self.replay.events, self.differing, self.differences = before
                await asyncio.sleep(min(0.05 * 2**attempt, MAX_PAUSE_SECONDS))
                await self._catch_up(compare=compare, touched=True)
        raise RebuildError(
            "the tables are always in use: end long queries and transactions, then run the same command again"
        )

    async def _swap_once(self, wait_ms: int, *, keep: bool, compare: bool) -> None:
        async with self.writer.transaction():
            await self.writer.execute(f"SET LOCAL lock_timeout = '{AUTOVACUUM_SECONDS}s'")
            await self.tables.pause_autovacuum()
            script = await self.tables.swap_script(keep=keep)
            await self.writer.execute(f"SET LOCAL lock_timeout = '{wait_ms}ms'")
            if self.tables.are_shards:
                await self._refuse_move()
            locked = time.monotonic()
            await locks.stop_appends(self.writer, self.schema)
            await self.replay.run()
            if compare:
                await self._compare(touched=True)
            await self._record_swap(self.replay.position if keep else None, compared=compare)
            blocked = time.monotonic()
            await self.writer.execute(script)
        ended = time.monotonic()
        self.locked_ms, self.blocked_ms = (ended - locked) * 1000, (ended - blocked) * 1000

    async def _refuse_move(self) -> None:
        """Raise `RebuildError` while Citus moves the ledger: what replaces a table would not be moved."""
        if await citus.is_moving(self.writer, self.tables.ledger_schema):
            raise RebuildError("the ledger is being moved to another node: run the same command again afterwards")

    async def _record_swap(self, kept_position: int | None, *, compared: bool) -> None:
        await self.writer.execute(
            f"""UPDATE "{self.schema}".rebuilds
                SET position = NULL, code = NULL, error = NULL, kept_position = $1, updated_at = now()
                WHERE projection = ANY($2::text[])""",
            kept_position,
            self.names,
        )
        await self.record("swapped" if compared else "rolled_back", self.names)

    async def record(self, outcome: RebuildOutcome, names: Sequence[str]) -> None:
        """Put the end of the rebuild into the outbox, in the database transaction that brings it about."""
        position = None if outcome == "cancelled" else self.replay.position
        differing = self.differing if outcome in {"compared", "swapped"} else None
        entries = describe_ending(self.cause, names, outcome, position=position, differing=differing)
        await outbox.add(self.writer, entries, self.schema)


async def _finish(work: Awaitable[None]) -> None:
    """Await `work` to its end. A cancellation takes effect only if `work` fails, because a commit cannot be undone."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,))
        if task.exception() is not None:
            raise
