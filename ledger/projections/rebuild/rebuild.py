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
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg

from ledger.errors import DatabaseError
from ledger.projections import INLINE, Projection
from ledger.projections.rebuild.replay import Replay, Report
from ledger.projections.rebuild.shadow import SHOWN, Difference, RebuildError, Schemas, Tables
from ledger.settings import Settings
from ledger.store import locks
from ledger.store.connections import Connection
from ledger.store.pool import connect
from ledger.store.reader import log_end
from ledger.store.statements import send_encoded_arrays

CHUNK_EVENTS = 5000  # events in one transaction
FEW = 500  # events that may be left for the swap
ATTEMPTS = 40  # of a swap, with a growing pause: about two minutes
MAX_PAUSE_SECONDS = 4.0
MIN_WAIT_MS, MAX_WAIT_MS = 100, 800  # that a swap waits for a lock, and others behind it
LOCK_SECONDS = 3  # that a rebuild waits for one whose process was killed to be noticed
AUTOVACUUM_SECONDS = 5  # that autovacuum takes to give way, at most
ROLLBACK = "rollback"  # in the place of the code's fingerprint: the shadows are tables that were kept


class Outcome(NamedTuple):
    """What a rebuild did. `locked_ms` is how long appends waited for the swap, `blocked_ms` how long readers did."""

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


def chosen(names: Sequence[str]) -> tuple[Projection, ...]:
    """The projections of these names, in the order of all. Raises `RebuildError` for a name that there is not."""
    if unknown := sorted(set(names) - {projection.name for projection in INLINE}):
        raise RebuildError(f"there is no projection {unknown[0]!r}: {', '.join(one.name for one in INLINE)}")
    return tuple(projection for projection in INLINE if projection.name in names)


async def rebuild(
    settings: Settings, names: Sequence[str], *, dry_run: bool, keep_old: bool, chunk: int, report: Report
) -> Outcome:
    """Rebuild projections, or only compare them with the log. Raises `RebuildError`, and nothing has changed."""
    async with _opened(settings, names, chunk, report) as work:
        await work.start()
        outcome = await _recorded(work, work.run(swap=not dry_run, keep=keep_old, compare=True))
        if dry_run:
            await work.forget()
        return outcome


async def rollback(settings: Settings, name: str, *, chunk: int, report: Report) -> Outcome:
    """Put the tables that a rebuild kept back, with all that has happened since; those of now are kept instead."""
    async with _opened(settings, [name], chunk, report) as work:
        await work.take_back()
        return await _recorded(work, work.run(swap=True, keep=True, compare=False))


async def cancel(settings: Settings) -> list[str]:
    """Throw away what an interrupted rebuild has done; the names of its projections."""
    async with _opened(settings, [], CHUNK_EVENTS, lambda _: None) as work:
        names = await work.under_way()
        await work.forget()
        return names


@asynccontextmanager
async def _opened(settings: Settings, names: Sequence[str], chunk: int, report: Report) -> AsyncIterator["_Rebuild"]:
    projections, schemas = chosen(names), Schemas.of(settings.ledger_schema)
    reader = await connect(settings)
    try:
        writer = await _connect_writer(settings, schemas.shadow)
        try:
            await _become_the_only_one(writer, schemas.live)
            tables = Tables(writer, schemas, [table for one in projections for table in one.tables])
            yield _Rebuild(Replay(reader, writer, schemas.live, projections, chunk, report), tables)
        finally:
            await _close(writer)
    finally:
        await _close(reader)


async def _connect_writer(settings: Settings, schema: str) -> Connection:
    """A connection whose statements find tables in that schema and no other, and may take as long as they need.

    Like the committer's it looks rows up by key, however small a table is when the statement is planned. What is
    written is lost together with the position it reaches, so nothing waits for the disk.
    """
    connection = await asyncpg.connect(
        settings.database_dsn(),
        timeout=AUTOVACUUM_SECONDS,
        server_settings={
            "search_path": schema,
            "application_name": "ledger rebuild",
            "jit": "off",
            "enable_seqscan": "off",
            "plan_cache_mode": "force_generic_plan",
            "synchronous_commit": "off",
        },
    )
    send_encoded_arrays(connection)
    with contextlib.suppress(asyncpg.InvalidParameterValueError):  # not every system can tell that a client is gone
        await connection.execute("SET client_connection_check_interval = '500ms'")
    return connection


async def _become_the_only_one(writer: Connection, schema: str) -> None:
    try:
        await locks.lock_rebuilds(writer, schema, wait_seconds=LOCK_SECONDS)
    except asyncpg.LockNotAvailableError as error:
        raise RebuildError("another rebuild is running: wait for it, or stop it with Ctrl-C") from error
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError) as error:
        raise DatabaseError("the database has no ledger of this version: run `ledger migrate`") from error


async def _close(connection: Connection) -> None:
    with contextlib.suppress(Exception):  # it must not take the place of what went wrong
        await connection.close(timeout=AUTOVACUUM_SECONDS)


async def _recorded(work: "_Rebuild", running: Awaitable[Outcome]) -> Outcome:
    """The outcome; what goes wrong is told, and remembered for `status`."""
    try:
        return await running
    except (RebuildError, asyncpg.PostgresError, ValueError) as error:
        text = " ".join(str(error).split())
        await work.fail(text)
        raise error if isinstance(error, RebuildError) else RebuildError(text) from error


@dataclass
class _Rebuild:
    replay: Replay
    tables: Tables
    resumed_from: int | None = None
    differing: int = 0
    differences: dict[tuple[str, tuple[Any, ...]], Difference] = field(default_factory=dict)
    locked_ms: float = 0.0
    blocked_ms: float = 0.0

    def __post_init__(self) -> None:
        self.reader, self.writer = self.replay.reader, self.replay.writer
        self.schema, self.names = self.replay.schema, self.replay.names

    async def under_way(self) -> list[str]:
        """The projections that have shadows."""
        rows = await self.reader.fetch("SELECT projection FROM rebuilds WHERE position IS NOT NULL")
        return [row[0] for row in rows]

    async def start(self) -> None:
        """Go on with what was interrupted; if there is nothing, or other code wrote it, begin anew."""
        code = await _fingerprint(self.reader)
        under_way = await self._refuse_others()
        if under_way:
            row = await self.reader.fetchrow("SELECT code, position FROM rebuilds WHERE projection = $1", self.names[0])
            if row and row["code"] == code:
                await self._go_on(row["position"])
                return
        async with self.writer.transaction():
            await self.tables.create()
            await self._note_start(0, code)

    async def take_back(self) -> None:
        """Go on with a rollback that was interrupted, or begin one."""
        under_way = await self._refuse_others()
        row = await self.reader.fetchrow(
            "SELECT code, position, kept_position FROM rebuilds WHERE projection = $1", self.names[0]
        )
        if under_way and row and row["code"] == ROLLBACK:
            await self._go_on(row["position"])
        elif under_way:
            raise RebuildError("a rebuild was interrupted: finish it, or run `ledger projections cancel`")
        elif row is None or row["kept_position"] is None:
            raise RebuildError(f"no old tables of {self.names[0]} are kept")
        else:
            self.replay.position = row["kept_position"]
            async with self.writer.transaction():
                await self.tables.take_back()
                await self._note_start(self.replay.position, ROLLBACK)

    async def forget(self) -> None:
        """Do away with the shadows and with what is known of them."""
        async with self.writer.transaction():
            await self.tables.drop_shadows()
            await self.writer.execute(f'UPDATE "{self.schema}".rebuilds SET position = NULL, code = NULL')

    async def fail(self, text: str) -> None:
        """Remember what went wrong."""
        with contextlib.suppress(Exception):  # the error that is told is the one that came first
            await self.reader.execute(
                "UPDATE rebuilds SET error = $1, updated_at = now() WHERE projection = ANY($2)", text, self.names
            )

    async def run(self, *, swap: bool, keep: bool, compare: bool) -> Outcome:
        """Apply the log, compare, and swap."""
        started = time.monotonic()
        self.replay.head = await log_end(self.reader)
        await self.replay.run(gives_way=True)
        self.replay.stage = "comparing" if compare else "catching up"
        await self.tables.analyze()
        await self.writer.execute("SET synchronous_commit = on")  # the disk is waited for now, not at the swap
        applied = await self._round(compare=compare, touched=False)
        while swap and applied > FEW:
            applied = await self._round(compare=compare, touched=True)
        if swap:
            self.replay.stage = "swapping"
            await self._swap(keep=keep, compare=compare)
        return Outcome(
            tuple(self.names),
            self.replay.position,
            self.replay.events,
            time.monotonic() - started,
            self.differing,
            tuple(self.differences.values()),
            swap,
            self.resumed_from,
            self.locked_ms,
            self.blocked_ms,
        )

    async def _refuse_others(self) -> list[str]:
        under_way = await self.under_way()
        if under_way and set(under_way) != set(self.names):
            raise RebuildError(
                f"a rebuild of {' '.join(under_way)} was interrupted:"
                " name the same to go on with it, or run `ledger projections cancel`"
            )
        return under_way

    async def _go_on(self, position: int) -> None:
        """Go on after a position that an earlier run has reached."""
        self.replay.position = self.resumed_from = position
        await self.reader.execute(
            "UPDATE rebuilds SET started_at = now(), started_position = position WHERE projection = ANY($1)", self.names
        )

    async def _note_start(self, position: int, code: str) -> None:
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

    async def _round(self, *, compare: bool, touched: bool) -> int:
        """Come up to where one snapshot stands, and compare in it; how many events that took."""
        before = self.replay.events
        async with self.writer.transaction(isolation="repeatable_read"):
            last = await log_end(self.writer, self.schema)
            await self.replay.run(last)
            if compare:
                await self._compare(touched=touched)
                await self.tables.watch()
        return self.replay.events - before

    async def _compare(self, *, touched: bool) -> None:
        count, rows = await self.tables.differences(touched=touched)
        new = {(row.table, row.key): row for row in rows}
        self.differing += count - len(new.keys() & self.differences.keys())
        self.differences |= {key: row for key, row in new.items() if len(self.differences) < SHOWN * len(INLINE)}

    async def _swap(self, *, keep: bool, compare: bool) -> None:
        """Swap, however often it takes until nobody is in the way."""
        for attempt in range(ATTEMPTS):
            before = (self.replay.position, self.replay.events, self.differing, dict(self.differences))
            try:
                wait_ms = min(MIN_WAIT_MS << attempt, MAX_WAIT_MS)
                return await _to_its_end(self._swap_once(wait_ms, keep=keep, compare=compare))
            except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
                self.replay.position, self.replay.events, self.differing, self.differences = before
                await asyncio.sleep(min(0.05 * 2**attempt, MAX_PAUSE_SECONDS))
                await self._round(compare=compare, touched=True)
        raise RebuildError(
            "the tables are always in use: end the long queries or transactions, and run the same command again"
        )

    async def _swap_once(self, wait_ms: int, *, keep: bool, compare: bool) -> None:
        async with self.writer.transaction():
            await self.writer.execute(f"SET LOCAL lock_timeout = '{AUTOVACUUM_SECONDS}s'")
            await self.tables.still()
            script = await self.tables.swap_script(keep=keep)
            await self.writer.execute(f"SET LOCAL lock_timeout = '{wait_ms}ms'")
            begun = time.monotonic()
            await locks.stop_appends(self.writer, self.schema)
            await self.replay.run()
            if compare:
                await self._compare(touched=True)
            await self._note_swap(self.replay.position if keep else None)
            blocked = time.monotonic()
            await self.writer.execute(script)
        ended = time.monotonic()
        self.locked_ms, self.blocked_ms = (ended - begun) * 1000, (ended - blocked) * 1000

    async def _note_swap(self, kept_position: int | None) -> None:
        await self.writer.execute(
            f"""UPDATE "{self.schema}".rebuilds
                SET position = NULL, code = NULL, error = NULL, kept_position = $1, updated_at = now()
                WHERE projection = ANY($2::text[])""",
            kept_position,
            self.names,
        )


async def _to_its_end(work: Awaitable[None]) -> None:
    """Await `work` to its end. A cancellation takes effect only if `work` fails, because a commit cannot be undone."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,))
        if task.exception() is not None:
            raise


async def _fingerprint(reader: Connection) -> str:
    """What decides the rows: the code of the projections and of the events, and the version of the schema."""
    version: str = await reader.fetchval("SELECT version_num FROM alembic_version")
    return await asyncio.to_thread(_digest, version)


def _digest(version: str) -> str:
    digest = hashlib.sha256(version.encode())
    package = Path(__file__).parents[2]
    for folder in (package / "projections", package / "events"):
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()
