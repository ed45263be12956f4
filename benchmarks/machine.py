"""What the figures were measured on, and the processor time that processes take."""

import os
import platform
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg

BACKENDS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'ledger'"
_TICKS = os.sysconf("SC_CLK_TCK")  # a second


def describe(postgres: str) -> str:
    """Return a line about the interpreter and how it was built, PostgreSQL and the processor."""
    options = sysconfig.get_config_var("CONFIG_ARGS") or ""
    flags = sysconfig.get_config_var("PY_CFLAGS") or ""
    python = f"{platform.python_implementation()} {platform.python_version()} {describe_build(options, flags)}"
    return f"{python}; PostgreSQL {postgres}; {len(os.sched_getaffinity(0))} cores"


def describe_build(options: str, flags: str) -> str:
    """Return whether an interpreter was built with optimisations, from its options of `configure` and of the compiler.

    The last of several levels counts. Without a profile (PGO), CPython takes about a tenth to a fifth more time.
    """
    levels = [word for word in flags.split() if word.startswith("-O")]
    profiled = "with" if "--enable-optimizations" in options else "without"
    linked = "with" if "--with-lto" in options else "without"
    return f"({levels[-1] if levels else 'unknown level'}, {profiled} PGO, {linked} LTO)"


def parse_processor_seconds(stat: str) -> float:
    """Return the time in user and kernel mode in a `/proc/<pid>/stat`. The name in it may have blanks and brackets."""
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def processor_seconds(pids: Sequence[int]) -> dict[int, float]:
    """Return the processor time of each process so far; one that has ended has none."""
    found: dict[int, float] = {}
    for pid in pids:
        try:
            found[pid] = parse_processor_seconds(Path(f"/proc/{pid}/stat").read_text())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


class Clock(NamedTuple):
    """The processor time that each process had taken when the clock was started."""

    database: "asyncpg.Connection[Any]"
    before: Mapping[int, float]

    @classmethod
    async def start(cls, database: "asyncpg.Connection[Any]", pids: Sequence[int]) -> "Clock":
        """Start a clock for these processes and the ledger's backends."""
        return cls(database, processor_seconds([*pids, *await list_backends(database)]))

    def read(self, pids: Sequence[int]) -> float:
        """Return the seconds that these processes have taken since."""
        return sum(self._since(pids).values())

    async def read_backend(self) -> float:
        """Return the seconds that the busiest backend has taken since: the committer's."""
        return max(self._since(await list_backends(self.database)).values(), default=0.0)

    def _since(self, pids: Sequence[int]) -> dict[int, float]:
        return {pid: seconds - self.before.get(pid, 0.0) for pid, seconds in processor_seconds(pids).items()}


async def list_backends(database: "asyncpg.Connection[Any]") -> list[int]:
    """Return the process ids of PostgreSQL's backends that serve the ledger."""
    return [row[0] for row in await database.fetch(BACKENDS)]
