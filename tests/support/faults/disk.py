"""A small disk for a PostgreSQL cluster: a file system in memory where root may mount one, else a quota of its files.

The write-ahead log is elsewhere, as operators are advised: a full disk of that makes PostgreSQL end.
"""

import os
import resource
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Protocol

from tests.support.faults.cluster import Cluster
from tests.support.processes import until

DISK_BYTES = 256 * 1024**2
ROOM_BYTES = 512 * 1024  # that is left when the disk is full: tables need more at once
SEGMENT_BYTES = 1024**2  # of the log of a cluster with a quota, which holds for files of the log as well
LARGEST = "SELECT pg_relation_size('ledger.stored_events')"


class Disk(Protocol):
    """A disk with a cluster on it."""

    cluster: Cluster

    async def prepare(self) -> None:
        """Wait until the disk can be filled."""

    async def fill(self) -> None:
        """Leave no room."""

    def free(self) -> None:
        """Have room again."""


class MountedDisk:
    """A file system of its own, which a large file fills."""

    def __init__(self, folder: Path, cluster: Cluster) -> None:
        self.cluster = cluster
        self._folder = folder
        self._ballast = folder / "ballast"

    async def prepare(self) -> None:
        pass

    async def fill(self) -> None:
        size = shutil.disk_usage(self._folder).free - ROOM_BYTES
        with self._ballast.open("wb") as ballast:
            os.posix_fallocate(ballast.fileno(), 0, size)

    def free(self) -> None:
        self._ballast.unlink()


class QuotaDisk:
    """A bound on how long each file of the server's processes may get (`ulimit -f`)."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    async def prepare(self) -> None:
        await until(self._is_longer_than_a_segment)

    async def fill(self) -> None:
        self._limit(int(await self.cluster.value(LARGEST)))

    def free(self) -> None:
        self._limit(resource.RLIM_INFINITY)

    async def _is_longer_than_a_segment(self) -> bool:
        return int(await self.cluster.value(LARGEST)) > SEGMENT_BYTES

    def _limit(self, size: int) -> None:
        for pid in self.cluster.pids():
            _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))


@asynccontextmanager
async def make_small_disk(folder: Path) -> AsyncIterator[Disk]:
    """Make a cluster on a disk that can be filled."""
    with _mount(folder) as is_mounted:
        log = folder.with_name("wal")
        if is_mounted:
            async with Cluster.launch(folder / "data", log=log) as cluster:
                yield MountedDisk(folder, cluster)
        else:
            async with Cluster.launch(folder / "data", log=log, segment_bytes=SEGMENT_BYTES) as cluster:
                yield QuotaDisk(cluster)


@contextmanager
def _mount(folder: Path) -> Iterator[bool]:
    """Mount a file system in memory, if this user may."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        yield False
        return
    try:
        yield True
    finally:
        subprocess.run(["umount", str(folder)], check=True)
