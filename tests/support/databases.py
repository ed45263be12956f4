"""Keep the data of the run's servers in memory if there is room.

A database is about 300 small files. Creating and removing them in memory takes a third of the time it takes on disk.
The data need not survive the run: tests of durability start their own servers in their own folders.
"""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108 - an in-memory file system on Linux; absent on macOS
ROOM_BYTES = 1024**3  # several times what the suite needs
PREFIX = "ledger-tests-"
YOUNG_SECONDS = 60  # a run locks its folder well before that


@contextmanager
def folder_in_memory() -> Iterator[Path | None]:
    """Yield a new folder in memory and remove it afterwards; None if there is too little room."""
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
    """Remove the folders of killed runs, whose locks are free."""
    for folder in MEMORY.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > YOUNG_SECONDS:
                with _locked(folder):
                    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock. Raises OSError if another process holds it."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(opened)
