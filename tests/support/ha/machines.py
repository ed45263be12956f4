"""The three kinds of machines of the guide: etcd, PostgreSQL under Patroni, and HAProxy."""

import json
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

from tests.support.ha import document
from tests.support.ha.network import Machine

PATRONI, PATRONICTL, ETCD = shutil.which("patroni"), shutil.which("patronictl"), shutil.which("etcd")
HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/bin")
DATA_DIR = "/var/lib/postgresql/15/ledger"
ASK_SECONDS = 2


class Server:
    """A machine with the program that runs on it."""

    user = "postgres"

    def __init__(self, name: str, address: str, folder: Path) -> None:
        self.machine = Machine(name, address)
        self.name, self.address = name, address
        self.folder = folder / name
        self._process: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        """Create its folders."""
        for folder in (self.folder, self.folder / "sockets"):
            folder.mkdir()
            shutil.chown(folder, self.user)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def start(self) -> None:
        """Start the program; the machine has none that runs."""
        raise NotImplementedError

    def kill(self) -> None:
        """Kill every process, as a loss of power does."""
        self.machine.send(signal.SIGSTOP)
        self.machine.send(signal.SIGKILL)
        self.wait()

    def stop(self) -> None:
        """Stop the program as its service manager does."""
        assert self._process is not None
        self._process.terminate()
        self.wait()

    def pause(self) -> None:
        self.machine.send(signal.SIGSTOP)

    def resume(self) -> None:
        self.machine.send(signal.SIGCONT)

    def _run(self, *command: str, variables: dict[str, str]) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = self.machine.run(
                command,
                user=self.user,
                sockets=self.folder / "sockets",
                variables={"HOME": str(self.folder), **variables},
                log=log,
            )

    def wait(self) -> None:
        """Wait until the program has ended."""
        if self._process is not None:
            self._process.wait(60)


class Etcd(Server):
    """A member of etcd."""

    def start(self) -> None:
        assert ETCD is not None
        changes = {"ETCD_NAME=etcd1": f"ETCD_NAME={self.name}", "/var/lib/etcd": str(self.folder)}
        variables = document.variables(
            "etcd", changes | {f"//198.51.100.21:{port}\n": f"//{self.address}:{port}\n" for port in (2379, 2380)}
        )
        self._run(ETCD, variables=variables)


class Database(Server):
    """PostgreSQL under Patroni."""

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def configuration(self) -> Path:
        return self.folder / "config.yml"

    def start(self) -> None:
        assert PATRONI is not None
        self.configuration.write_text(document.block("patroni").replace(DATA_DIR, str(self.data)))
        changes = {"=db1": f"={self.name}", "198.51.100.11": self.address}
        self._run(PATRONI, str(self.configuration), variables=document.variables("patroni environment", changes))

    def count_rewinds(self) -> int:
        """Return how often it was rewound to follow another leader."""
        return self.log.count("pg_rewind exit code=0")

    def ask(self, path: str = "patroni") -> Any:
        """Return what Patroni's API says, or None."""
        direct = build_opener(ProxyHandler({}))  # whatever proxy the environment names
        with (
            suppress(OSError, ValueError),
            direct.open(f"http://{self.address}:8008/{path}", timeout=ASK_SECONDS) as answer,
        ):
            return json.load(answer)
        return None


class Proxy:
    """HAProxy in front of the service."""

    url = "http://198.51.100.1:8080"

    def __init__(self, folder: Path) -> None:
        self._file, self._log = folder / "haproxy.cfg", folder / "haproxy.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert HAPROXY is not None
        self._file.write_text(document.block("haproxy"))
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([HAPROXY, "-db", "-f", self._file], stdout=log, stderr=log)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
