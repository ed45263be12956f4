"""Apply the log to shadow tables in large chunks, each in one database transaction with the position it reaches."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, get_args

import asyncpg

from ledger.events import TOPICS, Event, Recorded
from ledger.events.accounts import FOLLOWING_EVENTS
from ledger.events.tokens import RevokedTokensForgotten
from ledger.projections import TABLES, Projection, apply_all
from ledger.projections.rebuild.shadow import RebuildError
from ledger.store import reader as event_reader
from ledger.store.connections import Connection
from ledger.store.reader import MAX_POSITION, Page, log_end
from ledger.store.statements import Statement, copy_content, run_together

KNOWN_TOPICS = frozenset(TOPICS[cls] for cls in get_args(Event))  # an unknown one is never skipped

SMALL_CHUNK_EVENTS = 500  # while others append, so that they wait only briefly
AHEAD = 2  # chunks that are read while one waits to be written
_NEVER_CHANGED = frozenset(table.name for table in TABLES if table.changes == "never")
_NOTHING_RESERVED = Statement("SELECT 0::bigint AS first_position, NULL::timestamptz AS recorded_at", ())


class Progress(NamedTuple):
    """The progress of a rebuild: its position, the end of the log, and the number of events applied."""

    stage: str
    position: int
    log_end: int
    events: int


Report = Callable[[Progress], None]


class _Run(NamedTuple):
    """Events that can be applied together, their statements, and the position that they reach."""

    events: Sequence[Recorded]
    statements: Sequence[Statement]
    reached: int


@dataclass
class Replay:
    """A replay that has reached `position`. `reader` sees the ledger's schema, `writer` that of the shadows."""

    reader: Connection
    writer: Connection
    schema: str
    projections: Sequence[Projection]
    chunk: int
    report: Report
    stage: str = "replaying"
    position: int = 0
    log_end: int = 0
    events: int = 0
    page_size: int = 0
    last_seen_end: int | None = None

    def __post_init__(self) -> None:
        self.page_size = self.chunk

    @property
    def names(self) -> list[str]:
        """The names of the projections."""
        return [projection.name for projection in self.projections]

    async def run(self, last: int = MAX_POSITION, *, gives_way: bool = False) -> None:
        """Apply the log up to a position or to its end.

        While one chunk is written, the next is encoded, and those after it are read. A replay that gives way reads
        small chunks while others append, writes one chunk at a time, and pauses for as long as each took.
        """
        reading = deque([asyncio.create_task(self._read(self.position, last))])
        writing = asyncio.create_task(_do_nothing())
        try:
            while True:
                while len(reading) <= AHEAD:
                    reading.append(asyncio.create_task(self._read_after(reading[-1], last)))
                if not (page := await reading[0]).size:
                    break
                del reading[0]
                begun = time.monotonic()
                runs = self._split(page)
                await writing
                grows = gives_way and await self._has_log_grown()
                self.page_size = min(self.chunk, SMALL_CHUNK_EVENTS) if grows else self.chunk
                writing = asyncio.create_task(self._write(page, runs))
                await asyncio.sleep(0)  # lets the task send its statement
                if grows:
                    await writing
                    await asyncio.sleep(time.monotonic() - begun)
            await writing
        except Exception:
            await asyncio.wait((writing,))  # a failed read does not stop a write
            raise
        finally:
            for task in (*reading, writing):
                task.cancel()
            await asyncio.gather(*reading, writing, return_exceptions=True)

    async def _has_log_grown(self) -> bool:
        """Return whether the log has grown since the last call."""
        before, self.last_seen_end = self.last_seen_end, await log_end(self.writer, self.schema)
        return before not in {None, self.last_seen_end}

    async def _read_after(self, reading: "asyncio.Task[Page]", last: int) -> Page:
        """Read the page after the one being read; if that one is empty, return it, because it is the last."""
        page = await reading
        return await self._read(page.reached, last) if page.size else page

    async def _read(self, after: int, last: int) -> Page:
        handled = {TOPICS[cls] for projection in self.projections for cls in projection.handles}
        bounds = {"after_position": after, "upto_position": last, "limit": self.page_size}
        try:
            return await event_reader.read_page(self.reader, **bounds, left_out=KNOWN_TOPICS - handled)
        except ValueError as error:
            raise RebuildError(f"the log cannot be read after position {after}: {error}") from error

    def _split(self, page: Page) -> list["_Run"]:
        """Split the events of a page into runs that can be applied together.

        A clean-up of tokens depends on all events before it, so it begins a run.
        """
        events = page.events
        starts = [0, *(i for i, row in enumerate(events) if i and type(row.event) is RevokedTokensForgotten)]
        ends = [*starts[1:], len(events)]
        reached = [*(events[end - 1].position for end in ends[:-1]), page.reached]
        return [self._build_run(events[start:end], at) for start, end, at in zip(starts, ends, reached, strict=True)]

    def _build_run(self, events: Sequence[Recorded], reached: int) -> "_Run":
        return _Run(events, apply_all(self.projections, events), reached)

    async def _write(self, page: Page, runs: Sequence["_Run"]) -> None:
        for run in runs:
            await self._apply(run)
        self.events += page.size
        self.log_end = max(self.log_end, self.position)
        self.report(Progress(self.stage, self.position, self.log_end, self.events))

    async def _apply(self, run: "_Run") -> None:
        """Apply a run and record its position in one database transaction.

        Statements of one run have no order, so a name that one user released and another reserved looks taken twice:
        such a run is split in two. Raises `RebuildError` if the events of a single transaction cannot be applied.
        """
        events, statements, reached = run
        try:
            async with self.writer.transaction():
                rest = [one for one in statements if not await self._copied(one)]
                await run_together(self.writer, _NOTHING_RESERVED, [*rest, self._record_position(reached)])
        except (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError) as error:
            half = _find_middle(events)
            if half is None:
                raise RebuildError(f"the event at position {events[0].position} cannot be applied: {error}") from error
            await self._apply(self._build_run(events[:half], events[half - 1].position))
            await self._apply(self._build_run(events[half:], reached))
        else:
            self.position = reached

    async def _copied(self, statement: Statement) -> bool:
        """Load the rows of an insert into a table of rows that never change, and say whether that was possible.

        COPY takes half as long as an insert of the same arrays. What it loads no other statement of the run concerns.
        """
        table, names = statement.inserts or ("", ())
        content = copy_content(statement.values) if table in _NEVER_CHANGED else None
        if content is None:
            return False
        await self.writer.copy_to_table(table, source=_once(content), columns=names, format="binary")
        return True

    def _record_position(self, position: int) -> Statement:
        return Statement(
            f'UPDATE "{self.schema}".rebuilds SET position = $1, updated_at = now() WHERE projection = ANY($2::text[])',
            (position, self.names),
        )


def _find_middle(events: Sequence[Recorded]) -> int | None:
    """Return the place near the middle where a transaction begins; None if there is no second one."""
    places = [number for number, row in enumerate(events) if number and type(row.event) not in FOLLOWING_EVENTS]
    return min(places, key=lambda number: abs(2 * number - len(events)), default=None)


async def _once(content: bytes) -> AsyncIterator[bytes]:
    """Yield the content; asyncpg reads a file in a thread of its own."""
    yield content


async def _do_nothing() -> None:
    """Stand in for the write before the first chunk."""
