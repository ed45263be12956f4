"""Faults under load: each run ends with the same checks and gives a row of the table in the page on reliability."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from ledger.embedded import Services
from ledger.settings import Settings
from tests.conftest import settings_for
from tests.support.faults.cluster import Cluster
from tests.support.faults.extent import FULL
from tests.support.faults.table import print_table
from tests.support.faults.trial import Trial, run_trial

Begin = Callable[..., AbstractAsyncContextManager[Trial]]
SettingsOf = Callable[[str], Settings]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave a fault that another test has among its faults to the full suite."""
    left = [] if FULL else [item for item in items if item.get_closest_marker("covered")]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in left]


@pytest.fixture
def begin(tmp_path: Path, record_property: Callable[[str, object], None]) -> Begin:
    """Return a function that runs instances of the service under load: `begin(fault, *instances, workers=2)`."""

    def start(fault: str, *instances: Settings, **options: Any) -> AbstractAsyncContextManager[Trial]:
        return run_trial(fault, tmp_path, record_property, instances, **options)

    return start


@pytest.fixture
def settings_of(servers: Services) -> SettingsOf:
    """Return a function that gives the settings of a service on another PostgreSQL, with the run's Valkey."""

    def settings(url: str) -> Settings:
        return settings_for(servers, "ledger").model_copy(update={"database_url": SecretStr(url)})

    return settings


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what was measured."""
    print_table(terminalreporter)


__all__ = ["Begin", "Cluster", "SettingsOf"]
