"""Starts programs that cannot outlive us unseen.

Whatever they fork is counted with them, the data folder's lock is theirs too, and on Linux they are told to
stop when the supervisor dies.
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


class Process:
    """A program that runs, with all that it has forked."""

    def __init__(self, process: subprocess.Popen[bytes], lifeline: int) -> None:
        loop = asyncio.get_running_loop()
        self.pid = process.pid
        self.ended: asyncio.Future[int] = loop.create_future()  # its exit code, once nothing of it is left
        self._process = process
        self._lifeline = lifeline
        loop.add_reader(lifeline, self._bury)

    async def stop(self, ask: signal.Signals, insist: signal.Signals, *, ask_seconds: float) -> None:
        """Ask, insist, kill; return when nothing of it is left, or when killing did not help."""
        for number, seconds in ((ask, ask_seconds), (insist, KILL_SECONDS), (signal.SIGKILL, KILL_SECONDS)):
            if self.ended.done():
                return
            self._process.send_signal(number)
            await asyncio.wait({self.ended}, timeout=seconds)

    def _bury(self) -> None:
        asyncio.get_running_loop().remove_reader(self._lifeline)
        os.close(self._lifeline)
        self.ended.set_result(self._process.wait())  # a process closes its files just before it can be waited for


@dataclass(frozen=True, slots=True)
class Launcher:
    """How every program of one data folder is started."""

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
        """Run a program with its output in that log and `stdin`, at most a pipe's worth, to read.

        The program and its children keep the writing end of a pipe; its end of file says that all are gone.
        """
        lifeline, theirs = os.pipe()
        given, giving = os.pipe()
        os.write(giving, stdin)
        os.close(giving)
        try:
            with self.folder.open_log(log) as output:
                process = subprocess.Popen(  # noqa: S603 - our own programs
                    command,
                    preexec_fn=self._in_child(when_orphaned),  # noqa: PLW1509 - the supervisor has no threads
                    stdin=given,
                    stdout=output,
                    stderr=output,
                    cwd="/",
                    env=server_environment(os.environ),
                    pass_fds=(self.lock, theirs),
                )
        except BaseException:
            os.close(lifeline)
            raise
        finally:
            os.close(theirs)
            os.close(given)
        return Process(process, lifeline)

    def _in_child(self, when_orphaned: signal.Signals) -> Callable[[], None]:
        libc, supervisor = ctypes.CDLL(None), os.getpid()

        def prepare() -> None:
            self.identity.assume()
            if sys.platform == "linux":  # and only now: a change of user clears it
                libc.prctl(PR_SET_PDEATHSIG, int(when_orphaned))
                if os.getppid() != supervisor:
                    os._exit(1)

        return prepare


def server_environment(ours: Mapping[str, str]) -> dict[str, str]:
    """Choose what the servers see: neither the user's PG* variables nor his language or time zone."""
    return {k: v for k, v in ours.items() if not k.startswith("PG")} | {"LC_ALL": "C", "TZ": "UTC"}
