"""Applying the log to shadow tables: in large runs, each in one transaction with the position that it reaches."""

import asyncio
import time
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, NamedTuple, get_args

import asyncpg
from asyncpg import Connection

from ledger import store
from ledger.events import TOPICS, Event, Recorded
from ledger.events.tokens import RevokedTokensForgotten
from ledger.projections import Projection, apply_all
from ledger.projections.shadow import RebuildError
from ledger.statements import Statement, run_together
from ledger.store import Page
from ledger.stored import LAST

KNOWN_TOPICS = frozenset(TOPICS[cls] for cls in get_args(Event))  # one that is not known is never left out

SMALL_BATCH = 500  # events in one transaction while others write: what makes them wait is short
_NOTHING_RESERVED = Statement("SELECT 0::bigint AS first_position, NULL::timestamptz AS recorded_at", ())


class Progress(NamedTuple):
    """How far a rebuild is: `position` of `head`, after `events` events of its own."""

    stage: str
    position: int
    head: int
    events: int


Report = Callable[[Progress], None]


@dataclass
class Replay:
    """A replay at a `position`. The reader is in the ledger's schema, the writer in that of the shadows."""

    reader: "Connection[Any]"
    writer: "Connection[Any]"
    schema: str
    projections: Sequence[Projection]
    batch: int
    report: Report
    stage: str = "replaying"
    position: int = 0
    head: int = 0
    events: int = 0
    at_once: int = 0
    seen: int | None = None

    def __post_init__(self) -> None:
        self.at_once = self.batch

    @property
    def names(self) -> list[str]:
        """The projections."""
        return [projection.name for projection in self.projections]

    async def run(self, last: int = LAST, *, gives_way: bool = False) -> None:
        """Apply what is in the log, up to a position or to its end; while one batch is written the next is read.

        One that gives way takes small batches while others append, and leaves them as much time as it takes.
        """
        reading = self._reading(self.position, last)
        try:
            while (page := await reading).size:
                begun, grows = time.monotonic(), gives_way and await self._grows()
                self.at_once = min(self.batch, SMALL_BATCH) if grows else self.batch
                reading = self._reading(page.reached, last)
                runs = _runs(page.events)
                for some in runs[:-1]:
                    await self._apply(some, some[-1].position)
                await self._apply(runs[-1], page.reached)
                self.events += page.size
                self.head = max(self.head, self.position)
                self.report(Progress(self.stage, self.position, self.head, self.events))
                if grows:
                    await asyncio.sleep(time.monotonic() - begun)
        finally:
            reading.cancel()
            await asyncio.wait((reading,))

    async def _grows(self) -> bool:
        """Whether the log has grown since this was asked last."""
        before, self.seen = (
            self.seen,
            await self.writer.fetchval(f'SELECT coalesce(max(notification_id), 0) FROM "{self.schema}".stored_events'),
        )
        return before not in {None, self.seen}

    def _reading(self, after: int, last: int) -> "asyncio.Task[Page]":
        handled = {TOPICS[cls] for projection in self.projections for cls in projection.handles}
        return asyncio.create_task(_read(self.reader, after, last, self.at_once, KNOWN_TOPICS - handled))

    async def _apply(self, run: Sequence[Recorded], reached: int) -> None:
        """Apply events, and note how far that is, in one transaction.

        Statements of one run have no order, so a name that one user gave up and another took looks taken twice: such a
        run is cut in two. If it is a single event that does not fit, that is said.
        """
        statements = apply_all(self.projections, run)
        try:
            async with self.writer.transaction():
                await run_together(self.writer, _NOTHING_RESERVED, [*statements, self._noted(reached)])
        except (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError) as error:
            if len(run) == 1:
                raise RebuildError(f"the event at position {run[0].position} cannot be applied: {error}") from error
            half = len(run) // 2
            await self._apply(run[:half], run[half - 1].position)
            await self._apply(run[half:], reached)
        else:
            self.position = reached

    def _noted(self, position: int) -> Statement:
        return Statement(
            f'UPDATE "{self.schema}".rebuilds SET position = $1, updated_at = now() WHERE projection = ANY($2::text[])',
            (position, self.names),
        )


async def _read(reader: "Connection[Any]", after: int, last: int, limit: int, left_out: AbstractSet[str]) -> Page:
    try:
        return await store.read_page(reader, after_position=after, upto_position=last, limit=limit, left_out=left_out)
    except ValueError as error:
        raise RebuildError(f"the log cannot be read after position {after}: {error}") from error


def _runs(events: Sequence[Recorded]) -> list[Sequence[Recorded]]:
    """Events that can be applied together, at least none: a clean-up sees all that was before it, and begins a run."""
    starts = [0, *(at for at, row in enumerate(events) if at and isinstance(row.event, RevokedTokensForgotten))]
    return [events[start:end] for start, end in zip(starts, [*starts[1:], len(events)], strict=True)]
