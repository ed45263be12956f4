"""Tests that need a cluster of Citus with two nodes that take shards: `make test-citus` runs them."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from ledger.settings import Settings
from tests.support import citus
from tests.support.faults.table import print_table
from tests.support.faults.trial import Trial, run_trial

collect_ignore_glob = [] if citus.URL else ["test_*.py"]

Begin = Callable[..., AbstractAsyncContextManager[Trial]]


@pytest.fixture
def begin(tmp_path: Path, key_file: Path, record_property: Callable[[str, object], None]) -> Begin:
    """Return a function that runs instances under load, which seal their log: `begin(what, *instances)`."""

    def start(fault: str, *instances: Settings, **options: Any) -> AbstractAsyncContextManager[Trial]:
        folder = tmp_path / instances[0].ledger_schema
        folder.mkdir()
        sealing = [one.model_copy(update={"ledger_seal_key_file": key_file}) for one in instances]
        return run_trial(fault, folder, record_property, sealing, workers=2, **options)

    return start


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what was measured."""
    print_table(terminalreporter)
