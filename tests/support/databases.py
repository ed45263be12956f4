"""Where the run's servers keep their data: in memory, where there is room for it.

A copy of a database is some 300 small files. In memory, making and removing them costs a third of what it does on a
disk, and nobody waits for the disk's other users. Nothing of the run's servers must outlive the run: tests of
durability start servers of their own, in folders of their own.
"""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108 - Linux has a file system there that is in memory; macOS has none
ROOM_BYTES = 1024**3  # several times what a run of the suite takes
PREFIX = "ledger-tests-"
YOUNG_SECONDS = 60  # a run locks its folder long before


@contextmanager
def folder_in_memory() -> Iterator[Path | None]:
    """Make a folder in memory for this run and remove it in the end; None if there is not enough room."""
    _remove_abandoned()
    if not _has_room():
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=MEMORY))
    with _locked(folder):
        yield folder
        shutil.rmtree(folder, ignore_errors=True)


def _has_room() -> bool:
    with suppress(OSError):
        return os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ROOM_BYTES
    return False


def _remove_abandoned() -> None:
    """Remove the folders of runs that were killed: nobody holds their locks, and memory is dear."""
    for folder in MEMORY.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > YOUNG_SECONDS:
                with _locked(folder):
                    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock. OSError if another process does."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(opened)
