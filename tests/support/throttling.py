"""A throttle with a clock of its own, for its tests."""

import asyncio
from dataclasses import dataclass

import pytest

from ledger.identity.login_throttle import Attempt, Limits, LoginThrottle, TooManyAttemptsError

MINUTE, DAY = 60, 86_400


WINDOW = 60 * MINUTE  # so long that none ends before the test says so, however busy the machine is


LIMITS = Limits(per_account=3, per_address=5, window_seconds=WINDOW)


LOOSE = Limits(per_account=3, per_address=1000, window_seconds=WINDOW)


HOME, ELSEWHERE = "192.0.2.1", "198.51.100.7"


@dataclass
class Clock:
    """A clock that stands still unless it is told otherwise."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


async def assert_refused(throttled: LoginThrottle, account: str, address: str) -> int:
    """For how many seconds the next attempt has to wait."""
    with pytest.raises(TooManyAttemptsError) as caught:
        await throttled.admit(account, address)
    return caught.value.retry_after_seconds


async def count_admitted(throttled: LoginThrottle, account: str, address: str, *, of: int) -> int:
    """How many of so many attempts at once are let through."""
    results = await asyncio.gather(*(throttled.admit(account, address) for _ in range(of)), return_exceptions=True)
    assert all(isinstance(result, Attempt | TooManyAttemptsError) for result in results)
    return sum(isinstance(result, Attempt) for result in results)
