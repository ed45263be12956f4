"""The ledger command as a process, for its tests."""

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
    """Runs `ledger` commands; none of them, and no server that they brought along, is left in the end."""
    with ExitStack() as stack:
        numbers = itertools.count()

        def started(*arguments: str, **options: str) -> Ledger:
            return stack.enter_context(ledger(tmp_path / f"run-{next(numbers)}", *arguments, **options))

        yield started
    await until(lambda: no_process_left(data_dir))


@pytest.fixture
def alone(data_dir: Path) -> dict[str, str]:
    """Variables of a service that brings its own servers."""
    return {"LEDGER_DATA_DIR": str(data_dir), "SERVICE_PORT": "0"}


@pytest.fixture
def shared(settings: Settings) -> dict[str, str]:
    """Variables of a service on the run's servers, which start faster."""
    return {**settings.environment(), "SERVICE_PORT": "0"}
