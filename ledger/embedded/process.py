"""Starts programs that cannot outlive the supervisor unnoticed.

The processes that they fork are tracked too, all of them hold the data folder's lock, and on Linux they get a signal
when the supervisor dies.
"""

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ledger.embedded.folder import DataFolder
from ledger.embedded.identity import Identity

PR_SET_PDEATHSIG = 1
KILL_SECONDS = 10
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH")


class Process:
    """A running program with all the processes that it has forked."""

    def __init__(self, process: subprocess.Popen[bytes], lifeline: int) -> None:
        loop = asyncio.get_running_loop()
        self.pid = process.pid
        self.ended: asyncio.Future[int] = loop.create_future()  # its exit code, once all its processes have ended
        self._process = process
        self._lifeline = lifeline
        loop.add_reader(lifeline, self._reap)

    async def stop(self, ask: signal.Signals, insist: signal.Signals, *, ask_seconds: float) -> None:
        """Send `ask`, then `insist`, then SIGKILL, until all processes have ended or the last wait is over."""
        for number, seconds in ((ask, ask_seconds), (insist, KILL_SECONDS), (signal.SIGKILL, KILL_SECONDS)):
            if self.ended.done():
                return
            self._process.send_signal(number)
            await asyncio.wait({self.ended}, timeout=seconds)

    def _reap(self) -> None:
        asyncio.get_running_loop().remove_reader(self._lifeline)
        os.close(self._lifeline)
        self.ended.set_result(self._process.wait())  # files are closed just before the process can be waited for


@dataclass(frozen=True, slots=True)
class Launcher:
    """Starts the programs of one data folder."""

    folder: DataFolder
    identity: Identity
    lock: int

    def start(
        self,
        command: Sequence[str | Path],
        log: str,
        *,
        when_orphaned: signal.Signals,
        stdin: bytes = b"",
    ) -> Process:
        """Run a program with its output in a log and `stdin` to read, which must fit into a pipe.

        The program and its children hold the write end of a pipe: its end of file means that all of them have ended.
        """
        lifeline, write_end = os.pipe()
        stdin_read, stdin_write = os.pipe()
        os.write(stdin_write, stdin)
        os.close(stdin_write)
        try:
            with self.folder.open_log(log) as output:
                process = subprocess.Popen(  # noqa: S603 - our own programs
                    command,
                    preexec_fn=self._prepare_child(when_orphaned),  # noqa: PLW1509 - the supervisor has no threads
                    stdin=stdin_read,
                    stdout=output,
                    stderr=output,
                    cwd="/",
                    env=server_environment(os.environ),
                    pass_fds=(self.lock, write_end),
                )
        except BaseException:
            os.close(lifeline)
            raise
        finally:
            os.close(write_end)
            os.close(stdin_read)
        return Process(process, lifeline)

    def _prepare_child(self, when_orphaned: signal.Signals) -> Callable[[], None]:
        libc, supervisor = ctypes.CDLL(None), os.getpid()

        def prepare() -> None:
            self.identity.assume()
            if sys.platform == "linux":  # after `assume`, because a change of user clears it
                libc.prctl(PR_SET_PDEATHSIG, int(when_orphaned))
                if os.getppid() != supervisor:
                    os._exit(1)

        return prepare


def server_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the servers' variables: the inherited ones among this process's, and a fixed locale and time zone.

    All others may be secrets, which any program of the servers' user could read from them.
    """
    return {name: variables[name] for name in INHERITED if name in variables} | {"LC_ALL": "C", "TZ": "UTC"}
