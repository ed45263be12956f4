"""Machines on this one: network namespaces on a bridge, with the addresses of the guide.

The addresses are of a range that is reserved for documentation, so they collide with no real network.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

BRIDGE = "ledger-ha"
OUTSIDE = ("198.51.100.1", "198.51.100.31", "198.51.100.32")  # HAProxy and the service, in the namespace of the test
SOCKETS = "/run/postgresql"
IP = shutil.which("ip", path="/usr/sbin:/sbin:/usr/bin:/bin")


def ip(*arguments: str) -> str:
    """Run `ip`, and return its output."""
    assert IP is not None
    return subprocess.run([IP, *arguments], check=True, capture_output=True, text=True).stdout


class Machine:
    """A network namespace with one address, and the processes in it."""

    def __init__(self, name: str, address: str) -> None:
        self.name, self.address = name, address
        self._space, self._cable = f"ledger-{name}", f"ha-{name}"

    def plug_in(self) -> None:
        """Create the namespace, and connect it to the bridge."""
        ip("netns", "add", self._space)
        ip("link", "add", self._cable, "type", "veth", "peer", "name", "eth0", "netns", self._space)
        ip("link", "set", self._cable, "master", BRIDGE, "up")
        ip("-n", self._space, "address", "add", f"{self.address}/24", "dev", "eth0")
        ip("-n", self._space, "link", "set", "eth0", "up")
        ip("-n", self._space, "link", "set", "lo", "up")

    def unplug(self) -> None:
        """Kill what runs, and remove the namespace."""
        with suppress(subprocess.CalledProcessError):
            self.send(signal.SIGKILL)
            ip("link", "del", self._cable)
            ip("netns", "del", self._space)

    def cut_off(self) -> None:
        """Let no packet in or out; nobody is notified."""
        ip("link", "set", self._cable, "nomaster")

    def reconnect(self) -> None:
        ip("link", "set", self._cable, "master", BRIDGE)

    def run(
        self, command: Sequence[str], *, user: str, sockets: Path, variables: dict[str, str], log: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        """Start a program there as this user; it has `sockets` for itself where PostgreSQL has its Unix sockets."""
        assert IP is not None
        mount = f'mount --bind "$1" {SOCKETS}; shift; exec setpriv "$@"'
        as_user = [f"--reuid={user}", f"--regid={user}", "--init-groups", "--pdeathsig=KILL", "--"]
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TZ": "UTC", **variables}
        return subprocess.Popen(
            [IP, "netns", "exec", self._space, "sh", "-euc", mount, "sh", sockets, *as_user, *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
        )

    def pids(self, *words: str) -> list[int]:
        """List its processes, those whose command has one of these words if any is given."""
        found = [int(pid) for pid in ip("netns", "pids", self._space).split()]
        return [pid for pid in found if not words or any(word in _command(pid) for word in words)]

    def send(self, number: signal.Signals, *words: str) -> None:
        """Signal these processes, those too that they start in the meantime."""
        reached: set[int] = set()
        while found := set(self.pids(*words)) - reached:
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            reached |= found


def connect(machines: Sequence[Machine]) -> None:
    """Create the bridge with everything on it."""
    ip("link", "add", BRIDGE, "type", "bridge", "forward_delay", "0")
    for address in OUTSIDE:
        ip("address", "add", f"{address}/24", "dev", BRIDGE)
    ip("link", "set", BRIDGE, "up")
    for machine in machines:
        machine.plug_in()


def disconnect(machines: Sequence[Machine]) -> None:
    """Remove the bridge and everything on it, as far as it is there."""
    for machine in machines:
        machine.unplug()
    with suppress(subprocess.CalledProcessError):
        ip("link", "del", BRIDGE)


def _command(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""
