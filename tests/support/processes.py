"""Real `ledger` processes for tests, and `until`, which waits for a condition with a deadline."""

import asyncio
import inspect
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ledger.environment import variables
from ledger.environment.variables import OWN_PREFIXES
from ledger.settings import VARIABLES

DEADLINE_SECONDS = 120  # only for what hangs: a busy machine must not fail a test
PS = shutil.which("ps") or "ps"
TERMINAL = (
    "COLUMNS",
    "LINES",
    "TERM",
    "FORCE_COLOR",
    "NO_COLOR",
    "CLICOLOR",
    "CLICOLOR_FORCE",
)  # these change how output looks
LEDGER = (sys.executable, "-m", "ledger")
ROOT = Path(__file__).parents[2]
NO_SETTINGS = Path(tempfile.gettempdir())  # a folder without an `.env` file, which a repository may have


async def until(condition: Callable[..., Any]) -> Any:  # `...`: a lambda may bind a loop variable as a default
    """Wait until the condition is true, and return its value."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        found = condition()
        if found := (await found if inspect.isawaitable(found) else found):
            return found
        assert time.monotonic() < deadline, "the condition did not become true in time"
        await asyncio.sleep(0.02)


@dataclass(frozen=True)
class Process:
    """A process in the system's list."""

    pid: int
    parent: int = field(compare=False)  # changes when the parent ends
    uid: int
    command: str


def processes() -> list[Process]:
    """List all live processes, without the code under test."""
    columns = "pid=,ppid=,uid=,stat=,args="
    command = [PS, "-A", "-ww", "-o", columns]
    # Arguments of other users' processes can be in any encoding.
    listing = subprocess.run(command, capture_output=True, text=True, errors="surrogateescape", check=True)
    rows = (line.split(None, 4) for line in listing.stdout.splitlines())
    return [Process(int(r[0]), int(r[1]), int(r[2]), r[4]) for r in rows if len(r) == 5 and "Z" not in r[3]]


def is_alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    return any(process.pid == pid for process in processes())


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return an environment with only these of the ledger's settings, and without a terminal."""
    inherited = {name: value for name, value in without_settings(os.environ).items() if name not in TERMINAL}
    return {**inherited, "PYTHONPATH": str(ROOT), **settings}


def without_settings(given: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that the ledger neither reads nor reports as misspelt, in any case."""
    kept = variables.without_settings(given, VARIABLES)
    own = {name for name in kept if name.upper().startswith(OWN_PREFIXES)} - variables.TESTS
    return {name: value for name, value in kept.items() if name not in own}


class Ran(NamedTuple):
    """The exit status and the outputs of a process that has ended. `os.fsencode` gives back the bytes of an output."""

    status: int
    output: str
    error: str

    @property
    def document(self) -> Any:
        """Return the output, decoded from JSON."""
        return json.loads(self.output)

    @property
    def documents(self) -> list[Any]:
        """Return the lines of the output, each decoded from JSON."""
        return [json.loads(line) for line in self.output.splitlines()]


async def run_program(
    *command: str,
    folder: Path = NO_SETTINGS,
    given: str = "",
    variables: Mapping[str, str] | None = None,
    deadline_seconds: float = DEADLINE_SECONDS,
) -> Ran:
    """Run a command to its end, in a session of its own and with these settings alone."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env=environment(variables or {}),
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(deadline_seconds):
            output, error = await process.communicate(given.encode())
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode is not None
    return Ran(process.returncode, os.fsdecode(output), os.fsdecode(error))


async def run_ledger(*arguments: str, folder: Path = NO_SETTINGS, variables: Mapping[str, str] | None = None) -> Ran:
    """Run a `ledger` command to its end."""
    return await run_program(*LEDGER, *arguments, folder=folder, variables=variables)


class Ledger:
    """A running `ledger` command. `log` has its standard error, `output` its standard output."""

    def __init__(self, folder: Path, *arguments: str, given: str = "", **variables: str) -> None:
        folder.mkdir(exist_ok=True)
        self.log, self.output = folder / "stderr", folder / "stdout"
        with self.log.open("wb") as log, self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [*LEDGER, *arguments],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=log,
                cwd=folder,
                env=environment(variables),
                start_new_session=True,
            )
        assert self.process.stdin is not None
        with self.process.stdin as stdin:
            stdin.write(given.encode())

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def lines(self) -> list[str]:
        """Return the complete lines on standard error so far."""
        return [line for line in self.log.read_text().split("\n")[:-1] if line.strip()]

    @property
    def records(self) -> list[dict[str, Any]]:
        """Return the log records so far."""
        return [json.loads(line) for line in self.lines if line.startswith("{")]

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Return the log records of this event."""
        return [record for record in self.records if record["event"] == event]

    async def url(self) -> str:
        """Wait until it serves, and return its URL."""
        (record,) = await until(self._serving)
        return str(record["url"])

    async def address(self) -> tuple[str, int]:
        """Wait until it serves, and return its host and port."""
        parts = urlsplit(await self.url())
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port

    def workers(self) -> list[int]:
        """Return the ids of its worker processes."""
        return [row.pid for row in processes() if row.parent == self.pid and " -m web.worker " in row.command]

    def writers(self) -> list[int]:
        """Return the id of its writer process, if it has one."""
        return [row.pid for row in processes() if row.parent == self.pid and " -m web.writer " in row.command]

    def publishers(self) -> list[int]:
        """Return the id of its publisher process, if it has one."""
        return [row.pid for row in processes() if row.parent == self.pid and " -m web.publisher " in row.command]

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def status(self) -> int:
        """Wait until it ends, and return its exit status."""
        await until(lambda: self.process.poll() is not None)
        return self.process.wait()

    async def stop(self) -> int:
        """Send SIGTERM and return the exit status."""
        self.send(signal.SIGTERM)
        return await self.status()

    def _serving(self) -> list[dict[str, Any]]:
        found = self.logged("serving")
        assert found or self.process.poll() is None, self.log.read_text()
        return found


@contextmanager
def ledger(folder: Path, *arguments: str, given: str = "", **variables: str) -> Iterator[Ledger]:
    """Run a `ledger` command, and kill it when the block ends."""
    running = Ledger(folder, *arguments, given=given, **variables)
    try:
        yield running
    finally:
        running.process.kill()  # its workers and servers then end too
        running.process.wait()
