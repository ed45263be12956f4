"""Starts the processes of operations, and ends them with the process that has started them."""

import asyncio
import contextlib
import sys
from collections.abc import Mapping

import msgspec

from ledger.service.operations.state import Operation

MODULE = "ledger.service.operations.process"
START_SECONDS = 30.0  # for a process to begin
END_SECONDS = 2.0  # for processes to end with their parent


class Launcher:
    """Starts processes with an environment."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._processes: dict[asyncio.Task[int], asyncio.subprocess.Process] = {}

    async def launch(self, operation: Operation) -> str:
        """Start the process of an operation, and return its first word; nothing if it did not begin in time."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", MODULE),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=self._environment,
        )
        assert process.stdin is not None  # noqa: S101 - both were asked for
        assert process.stdout is not None  # noqa: S101
        waiting = asyncio.create_task(process.wait())
        self._processes[waiting] = process
        waiting.add_done_callback(lambda _: self._processes.pop(waiting))
        process.stdin.write(msgspec.json.encode(operation) + b"\n")
        try:
            async with asyncio.timeout(START_SECONDS):
                return (await process.stdout.readline()).decode().strip()
        except TimeoutError:
            process.kill()
            return ""

    async def close(self) -> None:
        """End all processes."""
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        if self._processes:
            await asyncio.wait([*self._processes], timeout=END_SECONDS)
