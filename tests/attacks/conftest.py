"""What several attacks need."""

import pytest

from tests.support.controls import Clock


@pytest.fixture
def code_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Stop the time that one-time codes are checked with, until the test advances it."""
    stopped = Clock()
    monkeypatch.setattr("web.handlers.codes.time", stopped)
    monkeypatch.setattr("web.handlers.second_factors.time", stopped)
    return stopped
