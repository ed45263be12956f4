"""Applying the log to shadow tables: in large runs, each in one transaction with the position that it reaches."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, get_args

import asyncpg

from ledger.events import TOPICS, Event, Recorded
from ledger.events.tokens import RevokedTokensForgotten
from ledger.projections import Projection, apply_all
from ledger.projections.rebuild.shadow import RebuildError
from ledger.store import reader as event_reader
from ledger.store.connections import Connection
from ledger.store.reader import MAX_POSITION, Page, log_end
from ledger.store.statements import Statement, run_together

KNOWN_TOPICS = frozenset(TOPICS[cls] for cls in get_args(Event))  # one that is not known is never left out

SMALL_BATCH = 500  # events in one transaction while others write: what makes them wait is short
AHEAD = 2  # batches that are read while one waits to be written
_NOTHING_RESERVED = Statement("SELECT 0::bigint AS first_position, NULL::timestamptz AS recorded_at", ())


class Progress(NamedTuple):
    """How far a rebuild is: `position` of `head`, after `events` events of its own."""

    stage: str
    position: int
    head: int
    events: int


Report = Callable[[Progress], None]


class _Run(NamedTuple):
    """Events, what they do, and the position that has been reached once they have done it."""

    events: Sequence[Recorded]
    statements: Sequence[Statement]
    reached: int


@dataclass
class Replay:
    """A replay at a `position`. The reader is in the ledger's schema, the writer in that of the shadows."""

    reader: Connection
    writer: Connection
    schema: str
    projections: Sequence[Projection]
    chunk: int
    report: Report
    stage: str = "replaying"
    position: int = 0
    head: int = 0
    events: int = 0
    at_once: int = 0
    seen: int | None = None

    def __post_init__(self) -> None:
        self.at_once = self.chunk

    @property
    def names(self) -> list[str]:
        """The projections."""
        return [projection.name for projection in self.projections]

    async def run(self, last: int = MAX_POSITION, *, gives_way: bool = False) -> None:
        """Apply what is in the log, up to a position or to its end.

        While one batch is written the next is encoded, and those after it are read. A replay that gives way takes
        small batches while others append, one at a time, after those that are read already, and leaves them as much
        time as it takes.
        """
        reading = deque([asyncio.create_task(self._read(self.position, last))])
        writing = asyncio.create_task(_nothing())
        try:
            while True:
                while len(reading) <= AHEAD:
                    reading.append(asyncio.create_task(self._read_after(reading[-1], last)))
                if not (page := await reading[0]).size:
                    break
                del reading[0]
                begun = time.monotonic()
                runs = self._runs(page)
                await writing
                grows = gives_way and await self._grows()
                self.at_once = min(self.chunk, SMALL_BATCH) if grows else self.chunk
                writing = asyncio.create_task(self._write(page, runs))
                await asyncio.sleep(0)  # in this turn of the loop it is sent
                if grows:
                    await writing
                    await asyncio.sleep(time.monotonic() - begun)
            await writing
        except Exception:
            await asyncio.wait((writing,))  # what can be written is, whatever cannot be read
            raise
        finally:
            for task in (*reading, writing):
                task.cancel()
            await asyncio.gather(*reading, writing, return_exceptions=True)

    async def _grows(self) -> bool:
        """Whether the log has grown since this was asked last."""
        before, self.seen = (
            self.seen,
            await log_end(self.writer, self.schema),
        )
        return before not in {None, self.seen}

    async def _read_after(self, reading: "asyncio.Task[Page]", last: int) -> Page:
        """The page after the one that is being read; if that is empty, it is the last."""
        page = await reading
        return await self._read(page.reached, last) if page.size else page

    async def _read(self, after: int, last: int) -> Page:
        handled = {TOPICS[cls] for projection in self.projections for cls in projection.handles}
        bounds = {"after_position": after, "upto_position": last, "limit": self.at_once}
        try:
            return await event_reader.read_page(self.reader, **bounds, left_out=KNOWN_TOPICS - handled)
        except ValueError as error:
            raise RebuildError(f"the log cannot be read after position {after}: {error}") from error

    def _runs(self, page: Page) -> list["_Run"]:
        """The events of a page, in runs that can be applied together, at least none.

        A clean-up of tokens sees all that was before it, and begins a run.
        """
        events = page.events
        starts = [0, *(at for at, row in enumerate(events) if at and type(row.event) is RevokedTokensForgotten)]
        ends = [*starts[1:], len(events)]
        reached = [*(events[end - 1].position for end in ends[:-1]), page.reached]
        return [self._run(events[start:end], at) for start, end, at in zip(starts, ends, reached, strict=True)]

    def _run(self, events: Sequence[Recorded], reached: int) -> "_Run":
        return _Run(events, apply_all(self.projections, events), reached)

    async def _write(self, page: Page, runs: Sequence["_Run"]) -> None:
        for run in runs:
            await self._apply(run)
        self.events += page.size
        self.head = max(self.head, self.position)
        self.report(Progress(self.stage, self.position, self.head, self.events))

    async def _apply(self, run: "_Run") -> None:
        """Apply events, and note how far that is, in one statement, which is a transaction if none has begun.

        Statements of one run have no order, so a name that one user gave up and another took looks taken twice: such a
        run is cut in two. If it is a single event that does not fit, that is said.
        """
        events, statements, reached = run
        inner = self.writer.transaction() if self.writer.is_in_transaction() else contextlib.nullcontext()
        try:
            async with inner:
                await run_together(self.writer, _NOTHING_RESERVED, [*statements, self._noted(reached)])
        except (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError) as error:
            if len(events) == 1:
                raise RebuildError(f"the event at position {events[0].position} cannot be applied: {error}") from error
            half = len(events) // 2
            await self._apply(self._run(events[:half], events[half - 1].position))
            await self._apply(self._run(events[half:], reached))
        else:
            self.position = reached

    def _noted(self, position: int) -> Statement:
        return Statement(
            f'UPDATE "{self.schema}".rebuilds SET position = $1, updated_at = now() WHERE projection = ANY($2::text[])',
            (position, self.names),
        )


async def _nothing() -> None:
    """What is written before the first batch."""
