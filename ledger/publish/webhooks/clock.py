"""The time by which deliveries are dated and retried."""

import asyncio
import time

from ledger.values.ids import new_id

LONGEST_SLEEP_SECONDS = 60.0  # after which the time is read again: clocks are set, and machines are suspended


class Clock:
    """The clock of the machine."""

    def time(self) -> float:
        """Return the seconds since the epoch."""
        return time.time()

    def draw(self) -> float:
        """Return a random number from 0 to 1, which spreads attempts over time."""
        return (new_id().int & 0xFFFF_FFFF) / 0xFFFF_FFFF

    async def sleep_until(self, moment: float) -> None:
        """Wait until a time, and no longer than it is away now, even if the clock is set back."""
        running = asyncio.get_running_loop().time
        until = running() + moment - self.time()
        while (left := min(moment - self.time(), until - running())) > 0:  # noqa: ASYNC110 - it is time that it waits for
            await asyncio.sleep(min(left, LONGEST_SLEEP_SECONDS))
