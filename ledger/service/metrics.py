"""What the service counts, in memory that all of its processes share, so that any of them can tell the whole.

Each worker counts in a slot of its own, with plain additions: no lock, no file, no message. A worker that is started
again goes on in the slot of the one before it, so that a counter never goes back while the service runs. Nothing here
knows a format or a protocol.
"""

import hashlib
import mmap
import os
import tempfile
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Literal, NamedTuple

SLOT_BYTES = 1 << 18  # of which only what is used takes memory
CELL_BYTES = 8
HEADER_CELLS = 1  # which layout the slot has

MICROSECONDS = 1_000_000

Kind = Literal["counter", "gauge", "histogram"]


class Family(NamedTuple):
    """Series of one name. What is counted is whole; `scale` of it make one of the unit that the name says.

    A histogram has the upper `bounds` of its buckets, in what is counted. A gauge is of each worker, all else of the
    service.
    """

    name: str
    text: str
    kind: Kind
    labels: tuple[str, ...] = ()
    series: Sequence[tuple[str, ...]] = ((),)
    bounds: tuple[int, ...] = ()
    scale: int = 1

    @property
    def cells(self) -> int:
        """How many cells a series has: one, or one a bucket, one for what is above, and the sum."""
        return len(self.bounds) + 2 if self.kind == "histogram" else 1


def _steps(*bounds: float) -> tuple[int, ...]:
    return tuple(int(bound * MICROSECONDS) for bound in bounds)


SECONDS = _steps(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

BATCH_COMMANDS = Family(
    "ledger_batch_commands",
    "Commands that shared a transaction.",
    "histogram",
    bounds=tuple(2**power for power in range(11)),
)
COMMIT_SECONDS = Family(
    "ledger_commit_seconds",
    "How long a batch took from being sent to PostgreSQL until it was durable.",
    "histogram",
    bounds=SECONDS,
    scale=MICROSECONDS,
)
WAITING = Family("ledger_commands_waiting", "Commands in the queue.", "gauge")
IN_FLIGHT = Family(
    "ledger_commands_in_flight", "Commands that have no answer yet, those in the queue included.", "gauge"
)
CONNECTIONS = Family(
    "ledger_database_connections", "Connections for queries.", "gauge", ("state",), (("idle",), ("used",))
)
REVOCATION_CACHE_TRUSTED = Family(
    "ledger_mirror_trusted", "Whether revocations are looked up in Redis (1) or in PostgreSQL (0).", "gauge"
)
LOOP_LAG = Family(
    "ledger_loop_lag_seconds", "How late the event loop came to a task a second.", "gauge", scale=MICROSECONDS
)
STARTS = Family("ledger_worker_starts", "Workers that were started, again or for the first time.", "counter")
PID = Family("ledger_worker_pid", "The process that a worker is.", "gauge")

FAMILIES = (
    *(BATCH_COMMANDS, COMMIT_SECONDS, WAITING, IN_FLIGHT, CONNECTIONS),
    *(REVOCATION_CACHE_TRUSTED, LOOP_LAG, STARTS, PID),
)


class Layout:
    """Where each series is in a slot."""

    def __init__(self, families: Sequence[Family]) -> None:
        self.families = families
        self._first: dict[tuple[str, tuple[str, ...]], int] = {}
        size = HEADER_CELLS
        for family in families:
            for labels in family.series:
                self._first[family.name, labels] = size
                size += family.cells
        if size * CELL_BYTES > SLOT_BYTES:
            raise ValueError(f"{size} cells do not fit into a slot")
        text = repr([(key, first) for key, first in self._first.items()]).encode()
        self.fingerprint = int.from_bytes(hashlib.sha256(text).digest()[:7])

    def first(self, family: Family, *labels: str) -> int:
        """The first cell of a series. Raises `KeyError`."""
        return self._first[family.name, labels]


class Histogram:
    """Counts how often values of one series were how large."""

    __slots__ = ("_bounds", "_cells", "_first", "_sum")

    def __init__(self, cells: "memoryview[int]", first: int, bounds: Sequence[int]) -> None:
        self._cells = cells
        self._first = first
        self._bounds = bounds
        self._sum = first + len(bounds) + 1

    def observe(self, value: int) -> None:
        """Take one value in."""
        cells = self._cells
        cells[self._first + bisect_left(self._bounds, value)] += 1
        cells[self._sum] += value


class Meter:
    """The slots of all workers, one of which is this process's to write. Alone, it needs no file."""

    def __init__(self, layout: Layout, file: int | None = None, slot: int = 0) -> None:
        self.layout = layout
        memory = memoryview(bytearray(SLOT_BYTES) if file is None else mmap.mmap(file, 0))
        cells_each = SLOT_BYTES // CELL_BYTES
        cells = memory.cast("q")
        self._slots = [cells[at : at + cells_each] for at in range(0, len(cells), cells_each)]
        self.cells = self._slots[slot]
        if self.cells[0] != layout.fingerprint:  # it is empty, or of another version of this program
            self.cells[:] = memoryview(bytes(SLOT_BYTES)).cast("q")
            self.cells[0] = layout.fingerprint
        self.add(STARTS)
        self.set(PID, os.getpid())

    def add(self, family: Family, *labels: str) -> None:
        """Count one. Where it must cost nothing, add to the cell itself instead."""
        self.cells[self.layout.first(family, *labels)] += 1

    def set(self, family: Family, value: int, *labels: str) -> None:
        """Say how much there is now."""
        self.cells[self.layout.first(family, *labels)] = value

    def histogram(self, family: Family, *labels: str) -> Histogram:
        """Where the values of a series are counted."""
        return Histogram(self.cells, self.layout.first(family, *labels), family.bounds)

    def total(self, family: Family) -> Iterator[tuple[tuple[str, ...], list[int]]]:
        """The cells of each series of a family, added up over all workers; of those that are not all zero."""
        slots = [cells for _, cells in self.workers()]
        for labels in family.series:
            first = self.layout.first(family, *labels)
            summed = [sum(cells[at] for cells in slots) for at in range(first, first + family.cells)]
            if any(summed):
                yield labels, summed

    def workers(self) -> Iterator[tuple[int, "memoryview[int]"]]:
        """Each worker's number and cells; not of one that has not started, or is of another version."""
        for number, cells in enumerate(self._slots):
            if cells[0] == self.layout.fingerprint:
                yield number, cells


class CommitGroups:
    """Counts what a committer wrote."""

    def __init__(self, meter: Meter) -> None:
        self._commands = meter.histogram(BATCH_COMMANDS)
        self._seconds = meter.histogram(COMMIT_SECONDS)

    def written(self, commands: Sequence[object], seconds: float) -> None:
        """Count a batch, which took so long to be durable."""
        self._commands.observe(len(commands))
        self._seconds.observe(int(seconds * MICROSECONDS))


def shared_file(slots: int) -> int:
    """A descriptor of memory for so many workers, which is gone with the last process that has it open."""
    if hasattr(os, "memfd_create"):  # Linux: also where no folder can be written to
        descriptor = os.memfd_create("ledger-metrics")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, slots * SLOT_BYTES)
    return descriptor


def cumulative(family: Family, cells: Sequence[int]) -> tuple[list[tuple[str, int]], float]:
    """A histogram's buckets, each with how many are not above its bound, and the sum; both in the name's unit."""
    bounds = (*(str(bound / family.scale) for bound in family.bounds), "+Inf")
    return list(zip(bounds, accumulate(cells[:-1]), strict=True)), cells[-1] / family.scale
