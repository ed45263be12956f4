"""How many cores this process may use, and how many worker processes suit them."""

import os
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container: microseconds of CPU time in a period, and the period


def count_cores(quota: Path = QUOTA) -> int:
    """Return the number of cores that this process may use: at least one, and no more than its container is given."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        given, period = quota.read_text().split()
        return max(1, min(cores, round(int(given) / int(period))))
    except (OSError, ValueError):  # no container, or no limit
        return cores


def count_suitable_workers(cores: int) -> int:
    """Return how many workers suit this many cores.

    Up to two cores, one process does everything: beside PostgreSQL there is no core to spare for a second. Beyond, the
    writer and PostgreSQL need about half of the cores.
    """
    return 1 if cores <= 2 else max(2, cores // 2)  # noqa: PLR2004 - the docstring says why
