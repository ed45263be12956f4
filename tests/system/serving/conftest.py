"""The `ledger` command as a process."""

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from ledger.settings import Settings
from tests.support.processes import Ledger, ledger, until
from tests.support.serving import no_process_left


@pytest.fixture
async def run(tmp_path: Path, data_dir: Path) -> AsyncIterator[Callable[..., Ledger]]:
    """Return a function that runs `ledger` commands. All of them, and their own servers, have ended after the test."""
    with ExitStack() as stack:
        numbers = itertools.count()

        def start(*arguments: str, **options: str) -> Ledger:
            return stack.enter_context(ledger(tmp_path / f"run-{next(numbers)}", *arguments, **options))

        yield start
    await until(lambda: no_process_left(data_dir))


@pytest.fixture
def alone(data_dir: Path) -> dict[str, str]:
    """Return the variables of a service with servers of its own."""
    return {"LEDGER_DATA_DIR": str(data_dir), "SERVICE_PORT": "0"}


@pytest.fixture
def shared(settings: Settings) -> dict[str, str]:
    """Return the variables of a service on the run's servers, which starts faster."""
    return {**settings.environment(), "SERVICE_PORT": "0"}
