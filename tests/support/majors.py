"""Servers of other major versions of PostgreSQL, if the machine has them."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ledger.embedded.folder import server_users

INSTALLED = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))


@contextmanager
def postgres_server(postgres: Path, prepare: Callable[[Path], str] = lambda _: "") -> Iterator[str]:
    """Run a server of an installed version with a new cluster, and yield its URL.

    `prepare` gets the folder of the cluster, and returns more options of the server.
    """
    folder = Path(tempfile.mkdtemp(prefix="ledger-postgres-"))
    uid, gid = server_users()[0] if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    os.chown(folder, uid, gid)
    cluster = str(folder / "cluster")

    def run(program: str, *arguments: str) -> None:
        identity: dict[str, Any] = {"user": uid, "group": gid, "extra_groups": []} if os.geteuid() == 0 else {}
        command = [str(postgres.with_name(program)), "-D", cluster, *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **identity)

    run("initdb", "-U", "ledger", "-A", "trust", "-E", "UTF8", "--locale=C")
    options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off {prepare(folder / 'cluster')}"
    run("pg_ctl", "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield f"postgresql://ledger@/postgres?host={quote(str(folder), safe='')}"
    finally:
        run("pg_ctl", "-w", "-m", "immediate", "stop")
        shutil.rmtree(folder)
