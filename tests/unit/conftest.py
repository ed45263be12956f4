"""Tests in this folder are pure: they start no server, so that `make unit` takes seconds."""

from typing import NoReturn

import pytest


@pytest.fixture(scope="session")
def servers() -> NoReturn:
    """Fail, because every fixture that needs a server starts here."""
    pytest.fail("tests in tests/unit start no server: move this one to tests/integration, tests/api or tests/system")
