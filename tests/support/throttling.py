"""Limits, a clock and attempts, for the tests of the login throttle."""

import asyncio
from dataclasses import dataclass

import pytest

from ledger.identity.login_throttle import Attempt, Limits, LoginThrottle, TooManyAttemptsError

MINUTE, DAY = 60, 86_400


WINDOW = 60 * MINUTE  # too long to end during a test, however busy the machine is


LIMITS = Limits(per_account=3, per_address=5, window_seconds=WINDOW)


LOOSE = Limits(per_account=3, per_address=1000, window_seconds=WINDOW)


HOME, ELSEWHERE = "192.0.2.1", "198.51.100.7"


@dataclass
class Clock:
    """A clock that stands still until a test sets `now`."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


async def assert_refused(throttled: LoginThrottle, account: str, address: str) -> int:
    """Assert that an attempt is refused; return the seconds to wait."""
    with pytest.raises(TooManyAttemptsError) as caught:
        await throttled.admit(account, address)
    return caught.value.retry_after_seconds


async def count_admitted(throttled: LoginThrottle, account: str, address: str, *, of: int) -> int:
    """Make `of` concurrent attempts; return how many are admitted."""
    results = await asyncio.gather(*(throttled.admit(account, address) for _ in range(of)), return_exceptions=True)
    assert all(isinstance(result, Attempt | TooManyAttemptsError) for result in results)
    return sum(isinstance(result, Attempt) for result in results)
