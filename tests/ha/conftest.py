"""The cluster of the guide to high availability, under load while its machines fail: `make ha`, not `make check`."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ledger.embedded import Services
from ledger.store.migrate import migrate
from tests.conftest import settings_for
from tests.support.faults.table import print_table
from tests.support.faults.trial import Trial, run_trial
from tests.support.ha.lab import Lab
from tests.support.ha.needs import missing

TIMES = int(os.environ.get("HA_TIMES", "0"))
collect_ignore_glob = [] if TIMES else ["test_*.py"]
Break = Callable[..., AbstractAsyncContextManager[Trial]]


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Run the cluster, for all tests.

    Its folder is not one of pytest's: the servers have other users, and the next run of pytest would lock these out.
    """
    assert not (needs := missing()), "make ha needs " + "; ".join(needs)
    folder = Path(tempfile.mkdtemp(prefix="ledger-ha-"))
    folder.chmod(0o755)
    lab = Lab(folder)
    try:
        asyncio.run(lab.start())
        yield lab
    finally:
        lab.stop()
        for database in lab.databases:
            shutil.rmtree(database.data, ignore_errors=True)  # the logs stay


@pytest.fixture
def under_load(lab: Lab, servers: Services, tmp_path: Path, record_property: Callable[[str, object], None]) -> Break:
    """Return a function that runs two instances behind HAProxy under load, in a database of their own."""

    @asynccontextmanager
    async def start(fault: str) -> AsyncIterator[Trial]:
        await lab.until_whole()
        await lab.create_ledger(settings_for(servers, "ledger"))
        await migrate(lab.instances[0])
        variables = {"SERVICE_PORT": "8080"}
        front = lab.proxy.url
        async with run_trial(
            fault, tmp_path, record_property, lab.instances, variables=variables, front=front
        ) as trial:
            yield trial
            await lab.until_whole()

    return start


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what was measured."""
    print_table(terminalreporter, f"`make ha TIMES={TIMES}`")
