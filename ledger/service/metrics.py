"""Metrics in memory that all processes of the service share, so that each of them can report the metrics of all.

Each worker counts in a slot of its own, with plain additions: no lock, no file, no message. A restarted worker
continues in the slot of its predecessor, so no counter decreases while the service runs. Nothing here knows a format or
a protocol.
"""

import hashlib
import mmap
import os
import tempfile
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Literal, NamedTuple

from ledger.concurrency.signal import Signal
from ledger.followers.follower import BROKERS

SLOT_BYTES = 1 << 18  # the system allocates only the pages that are used
CELL_BYTES = 8
HEADER_CELLS = 1  # the fingerprint of the slot's layout

MICROSECONDS = 1_000_000

Kind = Literal["counter", "gauge", "histogram"]


class Family(NamedTuple):
    """The series of one name. Cells have integers: values in the unit of the name, times `scale`.

    A histogram has the upper `bounds` of its buckets, scaled. Gauges are reported for each worker, other metrics for
    the whole service.
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
        """The number of cells of a series: one; for a histogram, one for each bucket, one for the rest and the sum."""
        return len(self.bounds) + 2 if self.kind == "histogram" else 1


def _in_microseconds(*bounds: float) -> tuple[int, ...]:
    return tuple(int(bound * MICROSECONDS) for bound in bounds)


SECONDS = _in_microseconds(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

BATCH_COMMANDS = Family(
    "ledger_batch_commands",
    "Commands that shared a database transaction.",
    "histogram",
    bounds=tuple(2**power for power in range(11)),
)
COMMIT_SECONDS = Family(
    "ledger_commit_seconds",
    "Time from sending a commit group to PostgreSQL until it was durable.",
    "histogram",
    bounds=SECONDS,
    scale=MICROSECONDS,
)
WAITING = Family("ledger_commands_waiting", "Commands in the queue.", "gauge")
IN_FLIGHT = Family("ledger_commands_in_flight", "Commands without a result yet, including those in the queue.", "gauge")
OLDEST_COMMAND = Family(
    "ledger_oldest_command_seconds",
    "Age of the oldest command without a result.",
    "gauge",
    scale=MICROSECONDS,
)
WRITE_AGE = Family(
    "ledger_last_write_seconds",
    "Time since a commit group or a heartbeat was last written.",
    "gauge",
    scale=MICROSECONDS,
)
EARLY_TOKENS = Family(
    "ledger_early_tokens",
    "Valid tokens that were refused because they were issued later than this clock says.",
    "counter",
)
SWAPPED_PASSWORDS = Family(
    "ledger_swapped_passwords",
    "Logins that were refused because the stored password hash is not the one that the events name.",
    "counter",
)
CONNECTIONS = Family(
    "ledger_database_connections", "Connections for queries.", "gauge", ("state",), (("idle",), ("used",))
)
REVOCATION_CACHE_TRUSTED = Family(
    "ledger_mirror_trusted", "Whether revocations are looked up in Redis (1) or in PostgreSQL (0).", "gauge"
)
LOOP_LAG = Family(
    "ledger_loop_lag_seconds",
    "How late the event loop ran a task that is due every second.",
    "gauge",
    scale=MICROSECONDS,
)
WEBHOOK_ATTEMPTS = Family(
    "ledger_webhook_attempts",
    "Attempts to deliver an event to a webhook.",
    "counter",
    ("outcome",),
    (("delivered",), ("failed",)),
)
WEBHOOK_SECONDS = Family(
    "ledger_webhook_delay_seconds",
    "Time from recording an event until a webhook's endpoint had accepted it.",
    "histogram",
    bounds=(*SECONDS, *_in_microseconds(60, 600, 3600)),
    scale=MICROSECONDS,
)
WEBHOOK_LOOKUPS = Family(
    "ledger_webhook_lookups_waiting",
    "Names of webhooks' hosts that wait for a thread: one of many, or of the few for names that were not found.",
    "gauge",
    ("threads",),
    (("many",), ("few",)),
)
PUBLISHED_EVENTS = Family(
    "ledger_published_events", "Events that a broker has stored.", "counter", ("broker",), [(name,) for name in BROKERS]
)
PUBLISH_FAILURES = Family(
    "ledger_publish_failures",
    "Attempts to publish that have failed, and are repeated.",
    "counter",
    ("broker",),
    [(name,) for name in BROKERS],
)
STARTS = Family("ledger_worker_starts", "Workers that were started or restarted.", "counter")
PID = Family("ledger_worker_pid", "The process id of a worker.", "gauge")

FAMILIES = (
    *(BATCH_COMMANDS, COMMIT_SECONDS, WAITING, IN_FLIGHT, CONNECTIONS, OLDEST_COMMAND, WRITE_AGE, EARLY_TOKENS),
    *(REVOCATION_CACHE_TRUSTED, LOOP_LAG, STARTS, PID, SWAPPED_PASSWORDS, WEBHOOK_ATTEMPTS, WEBHOOK_SECONDS),
    *(PUBLISHED_EVENTS, PUBLISH_FAILURES, WEBHOOK_LOOKUPS),
)


class Layout:
    """The place of each series in a slot. A slot of the writer, which serves no requests, has the first `FAMILIES`."""

    def __init__(self, families: Sequence[Family]) -> None:
        self.families = families
        self._first: dict[tuple[str, tuple[str, ...]], int] = {}
        self.readable = set()  # fingerprints of the slots whose cells have these places
        size = HEADER_CELLS
        for number, family in enumerate(families, 1):
            for labels in family.series:
                self._first[family.name, labels] = size
                size += family.cells
            if number in (len(FAMILIES), len(families)):
                self.readable.add(self._compute_fingerprint())
        if size * CELL_BYTES > SLOT_BYTES:
            raise ValueError(f"{size} cells do not fit into a slot")
        self.fingerprint = self._compute_fingerprint()

    def _compute_fingerprint(self) -> int:
        text = repr([(key, first) for key, first in self._first.items()]).encode()
        return int.from_bytes(hashlib.sha256(text).digest()[:7])

    def first_cell(self, family: Family, *labels: str) -> int:
        """Return the index of the first cell of a series. Raises `KeyError`."""
        return self._first[family.name, labels]


class Histogram:
    """Counts the values of one series by size."""

    __slots__ = ("_bounds", "_cells", "_first", "_sum")

    def __init__(self, cells: "memoryview[int]", first: int, bounds: Sequence[int]) -> None:
        self._cells = cells
        self._first = first
        self._bounds = bounds
        self._sum = first + len(bounds) + 1

    def observe(self, value: int) -> None:
        """Count a value, already scaled."""
        cells = self._cells
        cells[self._first + bisect_left(self._bounds, value)] += 1
        cells[self._sum] += value


class Meter:
    """The slots of all workers, of which this process writes one. Without a file, the memory is its own."""

    def __init__(self, layout: Layout, file: int | None = None, slot: int = 0) -> None:
        self.layout = layout
        memory = memoryview(bytearray(SLOT_BYTES) if file is None else mmap.mmap(file, 0))
        cells_each = SLOT_BYTES // CELL_BYTES
        cells = memory.cast("q")
        self._slots = [cells[at : at + cells_each] for at in range(0, len(cells), cells_each)]
        self.cells = self._slots[slot]
        if self.cells[0] != layout.fingerprint:  # empty, or of another version of this program
            self.cells[:] = memoryview(bytes(SLOT_BYTES)).cast("q")
            self.cells[0] = layout.fingerprint
        self.add(STARTS)
        self.set(PID, os.getpid())

    def add(self, family: Family, *labels: str, count: int = 1) -> None:
        """Add to a counter. Hot paths add to `cells` themselves instead."""
        self.cells[self.layout.first_cell(family, *labels)] += count

    def set(self, family: Family, value: int, *labels: str) -> None:
        """Set a gauge to a value, already scaled."""
        self.cells[self.layout.first_cell(family, *labels)] = value

    def histogram(self, family: Family, *labels: str) -> Histogram:
        """Return the histogram that counts the values of a series."""
        return Histogram(self.cells, self.layout.first_cell(family, *labels), family.bounds)

    def sum_series(self, family: Family) -> Iterator[tuple[tuple[str, ...], list[int]]]:
        """Yield the labels of each series and its cells, summed over all workers; omit series with zeros only."""
        slots = [cells for _, cells in self.workers()]
        for labels in family.series:
            first = self.layout.first_cell(family, *labels)
            summed = [sum(cells[at] for cells in slots) for at in range(first, first + family.cells)]
            if any(summed):
                yield labels, summed

    def workers(self) -> Iterator[tuple[int, "memoryview[int]"]]:
        """Yield the number and cells of each worker that has started and is of this version."""
        for number, cells in enumerate(self._slots):
            if cells[0] in self.layout.readable:
                yield number, cells


class CommitGroups:
    """Counts the commit groups that a committer wrote."""

    def __init__(self, meter: Meter) -> None:
        self._commands = meter.histogram(BATCH_COMMANDS)
        self._seconds = meter.histogram(COMMIT_SECONDS)

    def record(self, commands: Sequence[object], seconds: float) -> None:
        """Count a commit group and the time until it was durable."""
        self._commands.observe(len(commands))
        self._seconds.observe(int(seconds * MICROSECONDS))

    def signalling(self, signal: Signal) -> Callable[[Sequence[object], float], None]:
        """Return `record`, which also wakes the task that waits for the signal."""

        def record(commands: Sequence[object], seconds: float) -> None:
            signal.set()
            self.record(commands, seconds)

        return record


class WebhookDeliveries:
    """Counts what webhooks deliver."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._seconds = meter.histogram(WEBHOOK_SECONDS)

    def count(self, *, delivered: bool, age_seconds: float | None) -> None:
        """Count an attempt; `age_seconds` is the time since the event was recorded, if it counts."""
        self._meter.add(WEBHOOK_ATTEMPTS, "delivered" if delivered else "failed")
        if delivered and age_seconds is not None:
            self._seconds.observe(int(max(0.0, age_seconds) * MICROSECONDS))


def create_shared_file(slots: int) -> int:
    """Return a descriptor of memory with `slots` slots, which lives until the last process closes it."""
    if hasattr(os, "memfd_create"):  # Linux: works without a writable folder
        descriptor = os.memfd_create("ledger-metrics")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, slots * SLOT_BYTES)
    return descriptor


def cumulate_buckets(family: Family, cells: Sequence[int]) -> tuple[list[tuple[str, int]], float]:
    """Return a histogram's buckets, each as its bound and the number of values up to it, and the sum, unscaled."""
    bounds = (*(str(bound / family.scale) for bound in family.bounds), "+Inf")
    return list(zip(bounds, accumulate(cells[:-1]), strict=True)), cells[-1] / family.scale
