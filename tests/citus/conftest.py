"""Tests that need a cluster of Citus with two nodes that take shards: `make test-citus` runs them."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from ledger.settings import Settings
from tests.support import citus
from tests.support.citus import Cluster
from tests.support.faults.table import print_table
from tests.support.faults.trial import Record, Trial, run_trial

collect_ignore_glob = [] if citus.URL else ["test_*.py"]

Begin = Callable[..., AbstractAsyncContextManager[Trial]]


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    """Yield the cluster, as its operator sees it."""
    async with Cluster.connect() as connected:
        yield connected


@pytest.fixture
def begin(tmp_path: Path, record_property: Record) -> Begin:
    """Return a function that runs instances under load: `begin(what, *instances)`."""

    def start(fault: str, *instances: Settings, **options: Any) -> AbstractAsyncContextManager[Trial]:
        folder = tmp_path / instances[0].ledger_schema / "services"
        folder.mkdir(parents=True)
        return run_trial(fault, folder, record_property, instances, workers=2, **options)

    return start


@pytest.fixture
def measured(record_property: Record) -> Record:
    """Return a function that has a figure printed at the end of the run: `measured(what, figure)`."""

    def record(what: str, figure: object) -> None:
        record_property("measured", f"{what}: {figure}")

    return record


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what was measured."""
    print_table(terminalreporter)
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, ()):
            for name, value in report.user_properties:
                if name == "measured":
                    terminalreporter.write_line(value)
